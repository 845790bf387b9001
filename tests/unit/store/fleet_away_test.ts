import { State } from "../../../store/state.ts";
import { PostgresDatabase } from "../../../store/postgres/database.ts";
import { parseStoreAddress } from "../../../store/postgres/address.ts";
import { migrate } from "../../../store/migrate.ts";
import { Database } from "../../../store/kv.ts";
import { systemClock } from "../../../core/clock.ts";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { fleetTest, policyOf, spreadOf, until } from "./fleet_support.ts";
import { assertCode, rule, secret } from "./support.ts";

function hostsOf(state: State): string {
  return state.listRules("ci-1").map(({ host }) => host).join();
}

fleetTest("a host that was away catches up by sequence, or by reading everything", async (stage) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  const client = await a.createClient("ci-1");
  const [kept, gone] = await a.addRules("ci-1", [rule("kept.test"), rule("gone.test")]);
  assert(kept && gone);
  for (const mode of ["sequence", "everything"] as const) {
    await stage.server.crash();
    await until("both know", () => [a, b].every((each) => each.fleet?.status.awaySince !== undefined));
    for (const each of [a, b]) {
      const error = await assertCode(each.createClient("never"), "store.away");
      assertStringIncludes(error.message, "is away for");
      assertEquals((await each.figures()).databaseBytes, undefined); // a status can be had
      assert(each.isLive({ client, rule: kept }), "it goes on with what it has");
    }
    await stage.server.begin();
    await until("a is back", () => a.fleet?.status.awaySince === undefined);
    if (mode === "sequence") await a.revokeHost("ci-1", "gone.test");
    else {
      await a.addRule("ci-1", rule("new.test"));
      await stage.server.sql("DELETE FROM slicer_proxy.changes");
    }
    await until("b has it", () => hostsOf(b) === hostsOf(a));
    assertEquals(policyOf(b), policyOf(a));
    assertEquals([b.isLive({ client, rule: kept }), b.isLive({ client, rule: gone })], [true, false]);
  }
});

fleetTest(
  "a paused server: calls end, all is denied after the grace, and comes back by itself",
  async (stage) => {
    await using a = await stage.host("host-1", { graceMs: 3_000 });
    const stopped = await stage.host("host-2", { graceMs: 3_000 });
    const client = await a.createClient("ci-1");
    const kept = await a.addRule("ci-1", rule("kept.test"));
    let wasTold = false;
    const goOn = await stage.server.pause();
    try {
      const stoppedAt = performance.now();
      await stopped[Symbol.asyncDispose]();
      if (performance.now() - stoppedAt > 10_000) throw new Error("a stop waited for a paused server");
      const startedAt = performance.now();
      await assertCode(a.createClient("never"), "store.away");
      await assertCode(a.createClient("never"), "store.away");
      if (performance.now() - startedAt > 10_000) throw new Error("a call waited for a paused server");
      a.onChange(() => wasTold ||= a.isLost());
      await until("the grace is over", () => a.isLost());
      await until("what is open is told", () => wasTold);
      assertEquals(a.isLive({ client, rule: kept }), false);
      assertEquals(a.rulesFor(client, "kept.test"), []);
    } finally {
      goOn();
    }
    await until("it is in force again", () => !a.isLost());
    assert(a.isLive({ client, rule: kept }));
    await a.createClient("after");
    assertEquals(a.getClient("never"), undefined);
  },
);

fleetTest("a host that does not answer is waited for, by name, until it certainly denies", async (stage) => {
  await using a = await stage.host("host-1", { graceMs: 2_000 });
  // A host that died: it is in the store, and never beats again.
  await stage.server.sql(`INSERT INTO slicer_proxy.hosts (fleet, id, name, instance, version, grace_ms)
    VALUES ('default', gen_random_uuid(), 'host-9', gen_random_uuid(), '0', 2000)`);
  assertEquals(await spreadOf(() => a.createClient("ci-1")), { live: 2, waitingFor: ["host-9"] });
  await until(
    "it is known to deny",
    async () => (await a.fleet?.list())?.some(({ state }) => state === "denies") ?? false,
  );
  assertEquals(await spreadOf(() => a.createClient("ci-2")), { live: 1, waitingFor: [] });
  assertEquals((await a.fleet?.list())?.map(({ name, state }) => [name, state === "denies"]), [
    ["host-1", false],
    ["host-9", true],
  ]);
});

fleetTest(
  "a host starts from its local copy while the store is away, within the grace alone",
  async (stage) => {
    let nowMs = Date.now();
    const clock = { now: () => nowMs, monotonic: () => performance.now() };
    const copyFile = `${stage.dir}/host-1/fleet-copy`;
    let token: string;
    {
      await using a = await stage.host("host-1", { clock, graceMs: 60_000 });
      token = (await a.createClient("ci-1")).token;
      await a.putSecret(secret("s-1"), { force: false });
      await a.addRule("ci-1", rule("a.test"), { ttlMs: 30_000 });
      await a.addRule("ci-1", rule("b.test"));
      await until("the copy is written", () => Deno.stat(copyFile).then(() => true, () => false));
      const text = new TextDecoder("latin1").decode(await Deno.readFile(copyFile));
      assertEquals([text.includes("a.test"), text.includes("ci-1")], [false, false]);
      await stage.server.crash();
      await until("it knows", () => a.fleet?.status.awaySince !== undefined);
    }
    nowMs += 31_000;
    {
      await using a = await stage.host("host-1", { clock, graceMs: 60_000 });
      assertEquals(a.listRules("ci-1").map(({ host }) => host), ["b.test"]); // the TTL ran on
      assertEquals(a.secretValue("s-1")?.value, "sk-planted");
      assertEquals(a.clientByToken(token)?.name, "ci-1");
      assertEquals(a.isLost(), false);
      await assertCode(a.createClient("never"), "store.away");
      nowMs += 30_000; // 61 s after the last contact: a restart gives no new grace
      assert(a.isLost());
    }
    await assertCode(stage.host("host-1", { clock, graceMs: 60_000 }), "store.away");
    nowMs -= 120_000; // nor does a clock that was set back
    await assertCode(stage.host("host-1", { clock, graceMs: 60_000 }), "store.away");
    await Deno.writeTextFile(`${stage.dir}/other`, `${"ab".repeat(32)}\n`, { mode: 0o600 });
    await assertCode(stage.host("host-1", { sealKeyFile: `${stage.dir}/other` }), "store.away");
    await assertCode(stage.host("host-new", { clock }), "store.away");
    await stage.server.begin();
    await using a = await stage.host("host-1", { graceMs: 60_000 });
    assertEquals(a.listClients().map(({ name }) => name), ["ci-1"]);
  },
);

fleetTest(
  "what a host has said to be in force is not undone by a restart without the store",
  async (stage) => {
    const copyFile = `${stage.dir}/host-2/fleet-copy`;
    const isThere = () => Deno.stat(copyFile).then(() => true, () => false);
    await using a = await stage.host("host-1");
    const b = await stage.host("host-2");
    try {
      await a.createClient("ci-1");
      await a.addRule("ci-1", rule("gone.test"));
      await until("the copy has the rule", isThere);
      assertEquals(await spreadOf(() => a.revokeHost("ci-1", "gone.test")), { live: 2, waitingFor: [] });
      // At this moment b could be killed: no copy with the rule may be left.
      assertEquals(await isThere(), false);
      await until("the copy is written anew", isThere);
    } finally {
      await b[Symbol.asyncDispose]();
    }
    // It has said goodbye, so nobody waits for it: it may not start alone.
    await stage.server.crash();
    await assertCode(stage.host("host-2"), "store.away");
  },
);

fleetTest("a host that has started from its copy goes on when the store comes back", async (stage) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  const client = await a.createClient("ci-1");
  const [kept, gone] = await a.addRules("ci-1", [rule("kept.test"), rule("gone.test")]);
  assert(kept && gone);
  const copyFile = `${stage.dir}/host-2/fleet-copy`;
  await until("the copy is written", () => Deno.stat(copyFile).then(() => true, () => false));
  await stage.server.crash();
  await until("it knows", () => b.fleet?.status.awaySince !== undefined);
  await b[Symbol.asyncDispose]();
  await using again = await stage.host("host-2");
  assert(again.isLive({ client, rule: gone }));
  await stage.server.begin();
  await until("a is back", () => a.fleet?.status.awaySince === undefined);
  await a.revokeHost("ci-1", "gone.test");
  await until("it has caught up", () => !again.isLive({ client, rule: gone }));
  assert(again.isLive({ client, rule: kept }));
  assertEquals(await spreadOf(() => again.createClient("ci-2")), { live: 2, waitingFor: [] });
  assertEquals(policyOf(again), policyOf(a));
});

fleetTest(
  "a host knows tokens from before a new seal key, also when it starts without the store",
  async (stage) => {
    const alone = `${stage.dir}/alone`;
    let token: string;
    {
      await using state = await State.open({ dir: alone, clock: systemClock() });
      token = (await state.createClient("ci-1")).token;
      await state.putSecret(secret("s-1"), { force: false });
      await state.rotateSealKey();
    }
    await Deno.copyFile(`${alone}/mk`, `${stage.dir}/mk`);
    {
      await using from = await Database.open(alone);
      await using to = await PostgresDatabase.open({
        address: parseStoreAddress(stage.server.url),
        password: () => Promise.resolve("change-me"),
        caPem: await Deno.readTextFile(stage.server.caFile),
        ...{ fleet: "default", timeoutMs: 5_000, name: "test", host: "", now: () => Date.now() },
      });
      await migrate({ from, to }, `${stage.dir}/mk`, Date.now());
    }
    const copyFile = `${stage.dir}/host-1/fleet-copy`;
    {
      await using a = await stage.host("host-1", { graceMs: 60_000 });
      assertEquals([a.clientByToken(token)?.name, a.secretValue("s-1")?.value], ["ci-1", "sk-planted"]);
      await until("the copy is written", () => Deno.stat(copyFile).then(() => true, () => false));
      await stage.server.crash();
      await until("it knows", () => a.fleet?.status.awaySince !== undefined);
    }
    {
      await using a = await stage.host("host-1", { graceMs: 60_000 });
      assertEquals(a.clientByToken(token)?.name, "ci-1");
      await stage.server.begin();
      await until("the store is back", () => a.fleet?.status.awaySince === undefined);
      const made = (await a.createClient("ci-2")).token;
      await using b = await stage.host("host-2");
      assertEquals(b.clientByToken(made)?.name, "ci-2");
      const formerId = (await b.sealKey()).id;
      await b.fleet?.beginRotation(undefined); // of two hosts that share the file
      await until("another seal key is in force", async () => {
        const { id, rotation } = await a.sealKey();
        return id !== formerId && rotation === undefined && (await b.sealKey()).id === id;
      });
      assertEquals([token, made].map((each) => a.clientByToken(each)?.name), ["ci-1", "ci-2"]);
      await using c = await stage.host("host-3");
      assertEquals([token, made].map((each) => c.clientByToken(each)?.name), ["ci-1", "ci-2"]);
      assertEquals(c.secretValue("s-1")?.value, "sk-planted");
    }
  },
);
