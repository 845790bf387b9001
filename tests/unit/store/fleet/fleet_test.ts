/** What one host of a fleet does by itself; what hosts do together: `../fleet_test.ts` and those beside it. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { fleetTest, spreadOf, until } from "../fleet_support.ts";
import { assertCode, rule, secret } from "../support.ts";

fleetTest("Fleet: a host as it stands, makes changes, and leaves", async (stage, t) => {
  const { server, dir } = stage;
  const sql = async (text: string) => (await server.sql(text)).trim();
  const a = await stage.host("host-a");
  await using b = await stage.host("host-b");
  const [one, two] = [a.fleet, b.fleet];
  assert(one && two);

  await t.step("its status says who it is and where it stands", async () => {
    await a.createClient("ci-1");
    const { fleet, host, hostId, sequence, behind, awaySince, heldUntilMs } = one.status;
    assertEquals([fleet, host, sequence, behind, awaySince], ["default", "host-a", 1, 0, undefined]);
    assertEquals(`${hostId}\n`, await Deno.readTextFile(`${dir}/host-a/fleet-host`));
    assert(heldUntilMs > Date.now() && heldUntilMs <= Date.now() + 20_000);
    await until("both are read", async () => (await one.report()).roster.hosts.length === 2);
    assertEquals((await one.report()).host, "host-a");
    assertEquals((await two.list()).map(({ name }) => name), ["host-a", "host-b"]);
    const { id, file, nextFile } = one.sealKey;
    assertEquals([id, file, nextFile], [(await a.sealKey()).id, `${dir}/mk`, `${dir}/mk.next`]);
    assertEquals(await one.rotation(), undefined);
    assert(await one.sizeBytes() > 0);
  });

  await t.step(
    "a change is in force on all when its call returns, and its place is behind all others",
    async () => {
      assertEquals(await spreadOf(() => a.addRule("ci-1", rule("a.test"))), { live: 2, waitingFor: [] });
      assertEquals(b.listRules("ci-1").map(({ host }) => host), ["a.test"]);
      assertEquals(await spreadOf(() => b.addRule("ci-1", rule("b.test"))), { live: 2, waitingFor: [] });
      assertEquals(a.listRules("ci-1").map(({ host }) => host), ["a.test", "b.test"]);
      assertEquals(await spreadOf(() => a.addRules("ci-1", [rule("c.test")], { isDryRun: true })), undefined);
      await assertCode(b.createClient("ci-1"), "input.conflict");
      assertEquals([one.status.sequence, two.status.sequence], [3, 3]);
    },
  );

  await t.step("nothing of the policy changes outside of a turn", async () => {
    await assertRejects(
      () => one.commit([{ key: ["client", "x"], value: {} }]),
      TypeError,
      "outside of a turn",
    );
    const mixed = [{ key: ["used", "1"], value: {} }, { key: ["client", "x"], value: {} }];
    await assertRejects(() => one.commit(mixed), TypeError, "outside of a turn");
    assertEquals(await sql("SELECT sequence FROM slicer_proxy.fleets"), "3");
  });

  await t.step("a client that goes takes the switch of its mode along, and others keep theirs", async () => {
    for (const name of ["old", "other"]) {
      await a.createClient(name);
      await a.switchMode({ mode: "audit", client: name });
    }
    await a.deleteClient("old");
    assertEquals(
      await sql(
        "SELECT count(*) FROM slicer_proxy.rows WHERE key >= '\\x026d6f6465'::bytea AND key < '\\x026d6f6466'::bytea",
      ),
      "1",
    );
    await a.putSecret(secret("key"), { force: false });
    await a.deleteSecret("key");
  });

  await t.step("what was used of budgets is each host's own, and no change", async () => {
    const { sequence } = one.status;
    const use = { meter: "a1", period: 1, used: 5, untilMs: Date.now() + 600_000 };
    await a.saveUse([use]);
    assertEquals(await a.savedUse(), [use]);
    assertEquals(await b.savedUse(), []);
    assertEquals(one.status.sequence, sequence);
  });

  await t.step(
    "a host that stops is waited for no more, and comes back with no policy of its own",
    async () => {
      assert(await sql("SELECT count(*) FROM slicer_proxy.hosts") === "2");
      await until(
        "there is a copy",
        () => Deno.stat(`${dir}/host-a/fleet-copy`).then(() => true, () => false),
      );
      await a[Symbol.asyncDispose]();
      assertEquals(await sql("SELECT name FROM slicer_proxy.hosts"), "host-b");
      await assertRejects(() => Deno.stat(`${dir}/host-a/fleet-contact`), Deno.errors.NotFound);
      await assertRejects(() => one.list());
      assertEquals(await spreadOf(() => b.addRule("ci-1", rule("d.test"))), { live: 1, waitingFor: [] });
      await using again = await stage.host("host-a"); // its folder is free
      assertEquals(again.listRules("ci-1").length, 3);
    },
  );

  await t.step("a host whose store is away refuses changes and goes on", async () => {
    await server.crash();
    await assertCode(b.createClient("ci-2"), "store.away");
    assertEquals(b.listRules("ci-1").length, 3);
    await until("it knows", () => two.status.awaySince !== undefined);
    await assertCode(two.list(), "store.away");
    assertEquals(stage.lines.some((line) => line.includes("host-b error: the store is away")), true);
  });
});
