import { assertEquals } from "@std/assert";
import { BudgetKeeper } from "../../../../cli/up/budget_keeper.ts";
import { accountsOfClient, accountsOfRule } from "../../../../proxy/decide/budgets.ts";
import { periodOf } from "../../../../policy/budget.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { Meters } from "../../../../proxy/records/meters.ts";
import { assertCode, HandClock, openState, rule, tempFolder } from "../../store/support.ts";

Deno.test("what is used of budgets outlives a restart, as long as its hour or day", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  const log = { warn: () => {} };
  const period = (per: "h" | "d") => periodOf({ per }, clock.nowMs);
  {
    await using state = await openState(folder.state, clock);
    const meters = new Meters();
    await state.createClient("one");
    await state.setBudget("one", ["requests=10/h", "requests=100/d"]);
    const added = await state.addRule("one", rule("a.test", { budget: ["bytes-up=1000/d"] }));
    await using _keeper = await BudgetKeeper.start({ state, meters, clock, log });
    const [hour, day] = accountsOfClient("one", state.getClient("one")?.budget ?? []);
    const [bytes] = accountsOfRule(added);
    meters.add(hour?.key ?? 0n, 7, { period: period("h"), limit: 10 });
    meters.add(day?.key ?? 0n, 7, { period: period("d"), limit: 100 });
    meters.add(bytes?.key ?? 0n, 900, { period: period("d"), limit: 1_000 });
  }
  {
    await using state = await openState(folder.state, clock);
    await using keeper = await BudgetKeeper.start({ state, meters: new Meters(), clock, log });
    assertEquals(keeper.usesOf("one").map(({ budget, ruleHost, used }) => [budget, ruleHost, used]), [
      ["requests=10/h", undefined, 7],
      ["requests=100/d", undefined, 7],
      ["bytes-up=1K/d", "a.test", 900],
    ]);
  }
  clock.nowMs += 3_600_000;
  await using state = await openState(folder.state, clock);
  await using keeper = await BudgetKeeper.start({ state, meters: new Meters(), clock, log });
  assertEquals(keeper.usesOf("one").map(({ used }) => used), [0, 7, 900]);
  assertEquals((await state.savedUse()).length, 2);
});

Deno.test("what is saved and no number of a budget is damage, and said so", async (t) => {
  for (
    const [name, row] of [
      ["a meter", { meter: "0x1", period: 1, used: 1 }],
      ["a period", { meter: "1f", period: 1.5, used: 1 }],
      ["what was used", { meter: "1f", period: 1, used: -1 }],
    ] as const
  ) {
    await t.step(name, async () => {
      await using folder = await tempFolder();
      await using state = await openState(folder.state);
      await state.saveUse([{ ...row, untilMs: Date.now() + 3_600_000 }]);
      const clock = { now: Date.now, monotonic: () => performance.now() };
      const parts = { state, meters: new Meters(), clock, log: { warn: () => {} } };
      await assertCode(BudgetKeeper.start(parts), "state.damaged");
    });
  }
});

Deno.test("save() writes only what has changed, lets go of what is gone, and outlives a disk that fails", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  for (const name of ["one", "two", "three"]) await state.createClient(name);
  await state.setBudget("one", ["requests=10/d"]);
  const meters = new Meters();
  const written: number[] = [];
  const warnings: string[] = [];
  let isBroken = true;
  let lists = 0;
  await using keeper = await BudgetKeeper.start({
    state: {
      listClients: () => {
        lists++;
        return state.listClients();
      },
      getClient: (name) => state.getClient(name),
      listRules: (client) => state.listRules(client),
      savedUse: () => state.savedUse(),
      saveUse: (used) => {
        if (isBroken) return Promise.reject(new Error("no space"));
        written.push(used.length);
        return state.saveUse(used);
      },
    },
    meters,
    clock: { now: Date.now, monotonic: () => performance.now() },
    log: { warn: (line) => warnings.push(line) },
  });
  await keeper.save(); // nothing was used
  assertEquals(lists, 1); // not once more for each client: there may be 10,000
  const [account] = accountsOfClient("one", state.getClient("one")?.budget ?? []);
  const period = periodOf({ per: "d" }, Date.now());
  meters.add(account?.key ?? 0n, 1, { period, limit: 10 });
  meters.add(12_345n, 1, { period, limit: 10 }); // of a rule that is gone
  await keeper.save();
  assertEquals([written, warnings.length], [[], 1]);
  isBroken = false;
  await keeper.save();
  await keeper.save();
  assertEquals(written, [1]);
  assertEquals(meters.used(12_345n, period), 0);
});

Deno.test("what was used before a start without the store is added when it answers, and nothing is saved before", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  const log = { warn: () => {} };
  await using state = await openState(folder.state, clock);
  await state.createClient("one");
  await state.setBudget("one", ["requests=10/h"]);
  const [account] = accountsOfClient("one", ["requests=10/h"]);
  const key = account?.key ?? 0n;
  const at = { period: periodOf({ per: "h" }, clock.nowMs), limit: 10 };
  {
    const meters = new Meters();
    await using _keeper = await BudgetKeeper.start({ state, meters, clock, log });
    meters.add(key, 7, at);
  }
  let trouble: "store.away" | "store.refused" | undefined = "store.away";
  const sometimes = {
    getClient: (name: string) => state.getClient(name),
    listClients: () => state.listClients(),
    listRules: (name: string) => state.listRules(name),
    saveUse: (used: Parameters<typeof state.saveUse>[0]) => state.saveUse(used),
    savedUse: () =>
      trouble ? Promise.reject(new ProxyError(trouble, "it does not answer")) : state.savedUse(),
  };
  const meters = new Meters();
  await using keeper = await BudgetKeeper.start({ state: sometimes, meters, clock, log });
  meters.add(key, 2, at);
  await keeper.save();
  assertEquals((await state.savedUse()).map(({ used }) => used), [7]);
  trouble = "store.refused"; // it answers, and gives nothing
  await keeper.save();
  await using _other = await BudgetKeeper.start({ state: sometimes, meters: new Meters(), clock, log });
  trouble = undefined;
  for (let i = 0; i < 2; i++) await keeper.save();
  assertEquals([meters.used(key, at.period), (await state.savedUse()).map(({ used }) => used)], [9, [9]]);
});
