import { assertEquals } from "@std/assert";
import { formatBudget } from "../../../../policy/budget.ts";
import { accountsOfClient } from "../../../../proxy/decide/budgets.ts";

Deno.test("accountsOfClient() has each meter once, with the lowest of its limits: what is used counts once", () => {
  const accounts = accountsOfClient("one", ["requests=10/d", "requests=5/d", "requests=5/h", "bytes-up=5/d"]);
  assertEquals(accounts.map(({ budget }) => formatBudget(budget)), [
    ...["requests=5/d", "requests=5/h", "bytes-up=5/d"],
  ]);
  assertEquals(new Set(accounts.map(({ key }) => key)).size, 3);
});
