import { assert, assertEquals } from "@std/assert";
import { parsePolicyFile } from "../../../policy/policy_file.ts";
import { fleetTest, policyOf, spreadOf, until } from "./fleet_support.ts";
import { rule, secret } from "./support.ts";

fleetTest(
  "a fleet has one policy: every kind of change is in force on every host when its call returns",
  async (stage) => {
    await using a = await stage.host("host-1");
    await using b = await stage.host("host-2");
    const made = await a.createClient("ci-1");
    assertEquals(b.clientByToken(made.token)?.name, "ci-1");
    assertEquals(await spreadOf(() => b.addRule("ci-1", rule("a.test"))), { live: 2, waitingFor: [] });
    await a.addRules("ci-1", [rule("b.test"), rule("c.test", { methods: ["GET"] })], { ttlMs: 3_600_000 });
    await b.addRule("ci-1", rule("first.test"), { place: 1 });
    await a.moveRule("ci-1", { from: 4, before: 1 });
    await b.putSecret(secret("s-1"), { force: false });
    await a.putSecret(secret("s-1", { value: "sk-other" }), { force: true });
    await a.addRule("ci-1", rule("api.example.com", { secret: "s-1" }));
    await b.setBudget("ci-1", ["requests=100/h"]);
    assertEquals(a.listRules("ci-1").map(({ host }) => host), [
      "c.test",
      "first.test",
      "a.test",
      "b.test",
      "api.example.com",
    ]);
    assertEquals(policyOf(b), policyOf(a));
    assertEquals(b.secretValue("s-1")?.value, "sk-other");

    const rotated = await b.rotateClient("ci-1");
    assertEquals(a.clientByToken(made.token), undefined);
    assertEquals(a.clientByToken(rotated.token)?.name, "ci-1");
    await a.suspend("ci-1");
    assert(b.isSuspended("ci-1"));
    await b.resume("ci-1");
    await b.suspend(undefined);
    assert(a.isSuspended("anybody"));
    await a.resume(undefined);
    await b.revokeHost("ci-1", "a.test");
    await a.revokeRule("ci-1", rule("c.test", { methods: ["GET"] }));
    const clients = { "ci-1": { allow: [{ host: "b.test" }] }, "ci-2": { allow: [] } };
    const file = parsePolicyFile(JSON.stringify({ version: 1, clients }), "f");
    await b.applyPolicy(file, { prune: "rules", isDryRun: false });
    assertEquals(policyOf(b), policyOf(a));
    assertEquals(a.listRules("ci-1").map(({ host }) => host), ["b.test"]);
    await a.switchMode({ client: "ci-1", mode: "audit" });
    await b.switchMode({ client: "ci-2", mode: "audit", ttlMs: 60_000 });
    await using late = await stage.host("host-late");
    for (const each of [a, b, late]) {
      assertEquals([each.modeOf("ci-1"), each.modeOf("ci-2"), each.modeOf("ci-3")], [
        "audit",
        "audit",
        undefined,
      ]);
    }
    await b.switchMode({ mode: "strict" });
    for (const each of [a, b, late]) {
      assertEquals([each.modeOf("ci-1"), each.modeOf(undefined)], ["strict", "strict"]);
    }
    await a.switchMode({ client: "ci-1", mode: "audit" });
    await a.deleteSecret("s-1");
    await b.deleteClient("ci-1");
    assertEquals(policyOf(b), policyOf(a));
    assertEquals(a.listClients().map(({ name }) => name), ["ci-2"]);
    await a.createClient("ci-1");
    await using c = await stage.host("host-3");
    for (const each of [a, b, c]) assertEquals(each.modeOf("ci-1"), "strict"); // not its namesake's
    assertEquals(policyOf(c), policyOf(a));
  },
);

fleetTest("two hosts that make the same client at once: exactly one is refused", async (stage) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  for (let i = 0; i < 20; i++) {
    const name = `ci-${i}`;
    const made = await Promise.allSettled([a.createClient(name), b.createClient(name)]);
    const won = made.flatMap((each) => each.status === "fulfilled" ? [each.value.token] : []);
    const lost = made.flatMap((each) => each.status === "rejected" ? [each.reason.code] : []);
    assertEquals([won.length, lost], [1, ["input.conflict"]]);
    for (const host of [a, b]) assertEquals(host.clientByToken(won[0] ?? "")?.name, name);
  }
  // Rules too have one order, whoever adds them.
  await Promise.all(
    Array.from({ length: 30 }, (_, i) => (i % 2 ? a : b).addRule("ci-0", rule(`h${i}.test`))),
  );
  assertEquals(policyOf(b), policyOf(a));
  assertEquals(a.listRules("ci-0").length, 30);
});

fleetTest("a revocation ends what is live on the other host, and leaves the rest", async (stage) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  const client = await a.createClient("ci-1");
  const [gone, kept] = await a.addRules("ci-1", [rule("gone.test"), rule("kept.test")]);
  assert(gone && kept);
  let told = 0;
  b.onChange(() => told++);
  assert(b.isLive({ client, rule: gone }) && b.isLive({ client, rule: kept }));
  await a.revokeHost("ci-1", "gone.test");
  assertEquals([b.isLive({ client, rule: gone }), b.isLive({ client, rule: kept })], [false, true]);
  assert(told > 0);
});

fleetTest("rules end by the store's clock: hosts whose clocks are ten minutes apart agree", async (stage) => {
  const shifted = (byMs: number) => ({ now: () => Date.now() + byMs, monotonic: () => performance.now() });
  await using a = await stage.host("host-1", { clock: shifted(600_000) });
  await using b = await stage.host("host-2", { clock: shifted(-600_000) });
  await a.createClient("ci-1");
  await a.addRule("ci-1", rule("a.test"), { ttlMs: 300_000 });
  const leftMs = (host: typeof a, byMs: number) => {
    const [found] = host.listRules("ci-1");
    return (found?.expiresAt ?? 0) - (Date.now() + byMs);
  };
  for (const left of [leftMs(a, 600_000), leftMs(b, -600_000)]) {
    assert(left > 280_000 && left < 310_000, `${left} ms are left`);
  }
});

fleetTest("what is used of budgets is each host's own, and no change of the policy", async (stage) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  const use = { meter: "ab", period: 1, used: 5, untilMs: Date.now() + 60_000 };
  await a.saveUse([use]);
  assertEquals(await a.savedUse(), [use]);
  assertEquals(await b.savedUse(), []);
  assertEquals(a.fleet?.status.sequence, 0);
});

fleetTest(
  "a host says that a change is in force when all its threads have it, and not before",
  async (stage) => {
    await using a = await stage.host("host-1");
    await using b = await stage.host("host-2", { graceMs: 200_000 }); // a beat, which waits for threads too, is rare
    await a.createClient("ci-1");
    const gate = Promise.withResolvers<void>();
    b.keepCopies(() => gate.promise);
    try {
      const own = b.addRule("ci-1", rule("b.test"));
      await until("it is committed", () => a.listRules("ci-1").length === 1);
      // By the time when this call has waited in vain, b has looked at the store several times.
      const spread = await spreadOf(() => a.addRule("ci-1", rule("a.test")));
      assertEquals(spread, { live: 2, waitingFor: ["host-2"] });
      assertEquals((await a.fleet?.list())?.map(({ applied }) => applied), [3, 1]);
      gate.resolve();
      await own;
      await until("b has both", async () => (await a.fleet?.list())?.[1]?.applied === 3);
    } finally {
      gate.resolve();
    }
  },
);
