import { assertEquals } from "@std/assert";
import { formatBudget, periodOf } from "../../../../policy/budget.ts";
import { accountsOfClient, Meter } from "../../../../proxy/decide/budgets.ts";
import { Meters } from "../../../../proxy/records/meters.ts";
import { makeRule } from "../../../support/make_rule.ts";

Deno.test("accountsOfClient() has each meter once, with the lowest of its limits: what is used counts once", () => {
  const accounts = accountsOfClient("one", ["requests=10/d", "requests=5/d", "requests=5/h", "bytes-up=5/d"]);
  assertEquals(accounts.map(({ budget }) => formatBudget(budget)), [
    ...["requests=5/d", "requests=5/h", "bytes-up=5/d"],
  ]);
  assertEquals(new Set(accounts.map(({ key }) => key)).size, 3);
});

Deno.test("what was under way when one budget was used up counts against the others all the same", async (t) => {
  for (const kind of ["tokens", "bytes-down"] as const) {
    await t.step(kind, () => {
      const accounts = accountsOfClient("one", [`${kind}=100/h`, `${kind}=1000/d`]);
      const meters = new Meters();
      const context = {
        meters,
        clock: { now: () => 0, monotonic: () => 0 },
        audit: { begin: () => 1, write: () => {}, isWritable: true },
      };
      const rule = makeRule("1", { host: "up.test" });
      const counted = { client: { name: "one", version: "1" }, rule, host: "up.test" };
      const underWay = [1, 2, 3].map(() => new Meter(context, counted, accounts));
      for (const meter of underWay) {
        if (kind === "tokens") meter.tokens(300);
        else meter.down(300);
      }
      assertEquals(accounts.map(({ key, budget }) => meters.used(key, periodOf(budget, 0))), [300, 900]);
    });
  }
});
