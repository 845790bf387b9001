import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import type { AuditRecord } from "../../../../policy/audit_record.ts";
import { formatBudget, periodOf } from "../../../../policy/budget.ts";
import type { ProxyContext } from "../../../../proxy/context.ts";
import { accountsOfClient, accountsOfRule, Meter, openMeter } from "../../../../proxy/decide/budgets.ts";
import { Meters } from "../../../../proxy/records/meters.ts";
import { FakeClock } from "../../../support/fake_clock.ts";
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

/** A meter of client `one` for its own budgets and those of a rule for up.test, on a clock at 20:15 of a day. */
function startMeter(own: readonly string[], ofRule?: readonly string[]) {
  const meters = new Meters();
  const clock = new FakeClock(Date.UTC(2026, 10, 1, 20, 15));
  const lines: AuditRecord[] = [];
  const audit = { begin: () => 1, write: (record: AuditRecord) => void lines.push(record), isWritable: true };
  const rule = makeRule("1", { host: "*.test", ...(ofRule ? { budget: ofRule } : {}) });
  const counted = { client: { name: "one", version: "1" }, rule, host: "up.test" };
  const accounts = [...accountsOfClient("one", own), ...accountsOfRule(rule)];
  const open = () => new Meter({ meters, clock, audit }, counted, accounts);
  const used = () => accounts.map(({ key, budget }) => meters.used(key, periodOf(budget, clock.now())));
  return { open, used, lines, clock, meters, counted, audit };
}

function refusalOf(open: () => Meter) {
  const { code, reason, message, retryAfterSeconds } = assertThrows(() => open().begin(), ProxyError);
  assertEquals([code, reason], ["limit.reached", "budget"]);
  return { message, retryAfterSeconds };
}

Deno.test("a request counts once against each budget of requests, and is refused when one is used up", () => {
  const { open, used } = startMeter(["requests=2/h", "bytes-up=9/h"], ["requests=9/d"]);
  open().begin();
  open().begin();
  assertEquals(used(), [2, 0, 2]);
  assertEquals(refusalOf(open), {
    message:
      'Cannot serve client "one": its budget, requests=2/h, is used up; it is free again at 2026-11-01T21:00:00Z',
    retryAfterSeconds: 2_700,
  });
  assertEquals(used(), [2, 0, 2]); // what was refused was none
});

Deno.test("a request that another thread's has just overtaken is refused, and counts against nothing behind that", () => {
  const { clock, audit, counted } = startMeter([]);
  const accounts = accountsOfClient("one", ["requests=5/h", "requests=9/d"]);
  const added: bigint[] = [];
  const meters = {
    used: () => 0,
    add: (key: bigint) => {
      added.push(key);
      return { before: 5, isAdded: false };
    },
  } as unknown as Meters;
  const { message } = refusalOf(() => new Meter({ meters, clock, audit }, counted, accounts));
  assertEquals([message.includes("requests=5/h"), added], [true, accounts.slice(0, 1).map(({ key }) => key)]);
});

Deno.test("of several budgets that are used up the one says so that is free again last, with whose it is", () => {
  const { open, clock } = startMeter(["requests=1/h"], ["requests=1/d", "requests=1/h"]);
  open().begin();
  assertEquals(refusalOf(open), {
    message:
      'Cannot serve client "one": the budget of its rule for *.test, requests=1/d, is used up; it is free again at 2026-11-02T00:00:00Z',
    retryAfterSeconds: 13_500,
  });
  clock.advance(13_500_000 - 1);
  assertEquals(refusalOf(open).retryAfterSeconds, 1);
  clock.advance(1);
  open().begin();
});

Deno.test("any kind of budget that is used up refuses what is new", async (t) => {
  for (const kind of ["bytes-up", "bytes-down", "tokens"] as const) {
    await t.step(kind, () => {
      const { open } = startMeter([`${kind}=10/h`]);
      const meter = open();
      meter.begin();
      const pass = (amount: number) =>
        kind === "tokens"
          ? meter.tokens(amount)
          : kind === "bytes-up"
          ? meter.up(amount)
          : meter.down(amount);
      pass(9);
      open().begin();
      pass(10);
      assertEquals(refusalOf(open).message.includes(`${kind}=10/h, is used up`), true);
    });
  }
});

Deno.test("bytes are counted in their own direction, and the piece that finds the budget used up ends what is open", () => {
  const { open, used } = startMeter(["bytes-up=10/h", "bytes-down=20/h", "requests=5/h", "tokens=5/h"]);
  const meter = open();
  meter.begin();
  meter.up(9); // nobody watches yet
  const over: ProxyError[] = [];
  meter.watch((failure) => over.push(failure));
  meter.up(0);
  meter.down(-1);
  meter.up(4); // the last one may go over it
  meter.down(20);
  assertEquals([used(), over], [[13, 20, 1, 0], []]);
  meter.up(1);
  meter.down(1);
  assertEquals(over.map(({ code, reason }) => [code, reason]), [["limit.reached", "budget"], [
    "limit.reached",
    "budget",
  ]]);
  assertEquals(over.map(({ message }) => /bytes-(up|down)/.exec(message)?.[1]), ["up", "down"]);
  meter.up(0); // a piece of nothing ends nothing
  assertEquals(over.length, 2);
  assertEquals(used(), [13, 20, 1, 0]);
});

Deno.test("tokens are counted up to a total, never twice, and one that is used up ends nothing but says so", () => {
  const { open, used } = startMeter(["tokens=10/h"]);
  const [meter, other] = [open(), open()];
  assertEquals(meter.tokens(4), undefined);
  assertEquals([meter.tokens(4), meter.tokens(3), used()], [undefined, undefined, [4]]);
  assertEquals([meter.tokens(15), used()], [undefined, [15]]);
  assertEquals([other.tokens(1)?.reason, used()], ["budget", [15]]);
  assertEquals([meter.countsTokens, startMeter(["bytes-up=1/h"]).open().countsTokens], [true, false]);
});

Deno.test("bytes of a socket count as tokens from the moment on when nobody will say them", () => {
  const { open, used } = startMeter(["tokens=10/h", "bytes-up=1K/h"]);
  const meter = open();
  const over: ProxyError[] = [];
  meter.watch((failure) => over.push(failure));
  meter.up(40);
  assertEquals(used(), [0, 40]);
  meter.estimateTokens();
  meter.up(1);
  assertEquals(used(), [1, 41]);
  meter.estimateTokens(); // nothing is forgotten
  meter.down(4);
  assertEquals(used(), [2, 41]);
  meter.down(32); // 37 bytes of four to a token
  assertEquals([used(), over.length], [[10, 41], 0]);
  meter.down(4);
  assertEquals([over.length, over[0]?.message.includes("tokens=10/h")], [1, true]);
  const exact = startMeter(["tokens=10/h"]);
  const exactly = exact.open();
  exactly.estimateTokens();
  exactly.up(4);
  assertEquals(exact.used(), [1]);
  exactly.up(1);
  assertEquals(exact.used(), [2]);
  const none = startMeter(["bytes-up=10/h"]);
  none.open().estimateTokens();
  assertEquals(none.used(), [0]);
});

Deno.test("there is one line at 80 % of each budget, of the client's own about where it asked", () => {
  const { open, lines, clock } = startMeter(["bytes-up=10/h"], ["bytes-up=100/d"]);
  const meter = open();
  meter.up(7);
  assertEquals(lines, []);
  meter.up(1);
  const line = { verdict: "change", client: "one", method: "BUDGET" } as const;
  const own = { ...line, host: "up.test", budget: "bytes-up=10/h" };
  assertEquals(lines, [own]);
  meter.up(2);
  assertEquals(lines.length, 1);
  clock.advance(3_600_000); // the next hour has one of its own
  meter.up(69);
  assertEquals(lines, [own, own]);
  meter.up(1);
  assertEquals(lines.slice(2), [{ ...line, host: "*.test", budget: "bytes-up=100/d" }]);
});

Deno.test("openMeter() counts where there is a budget of the client or of the rule, and else nothing", () => {
  const { meters, clock, audit, counted } = startMeter([]);
  const open = (own: readonly string[] | undefined, budget?: readonly string[]) => {
    const context = { meters, clock, audit, policy: { budgetOf: () => own } } as unknown as ProxyContext;
    const rule = makeRule("1", { host: "up.test", ...(budget ? { budget } : {}) });
    return openMeter(context, { ...counted, rule });
  };
  assertEquals(open(undefined), undefined);
  open(undefined, ["requests=1/h"]);
  assertThrows(() => open(undefined, ["requests=1/h"]), ProxyError, "the budget of its rule for up.test");
  open(["requests=1/h"]);
  assertThrows(() => open(["requests=1/h"]), ProxyError, "its budget, requests=1/h");
});

Deno.test("accounts have a meter for each owner, kind and period, whatever the limit", () => {
  const rule = (id: string, host: string) => makeRule(id, { host, budget: ["requests=1/h"] });
  const keyOf = (accounts: readonly { readonly key: bigint }[]) => accounts[0]?.key;
  const keys = [
    ...[keyOf(accountsOfClient("one", ["requests=1/h"])), keyOf(accountsOfClient("two", ["requests=1/h"]))],
    ...[keyOf(accountsOfClient("one", ["requests=1/d"])), keyOf(accountsOfClient("one", ["tokens=1/h"]))],
    ...[keyOf(accountsOfRule(rule("1", "a.test"))), keyOf(accountsOfRule(rule("1", "b.test")))],
  ];
  assertEquals(new Set(keys).size, 6);
  assertEquals(keys.every((key) => key !== undefined && key > 1n), true);
  assertEquals(keyOf(accountsOfClient("one", ["requests=7/h"])), keys[0]);
  assertEquals(keyOf(accountsOfRule(rule("2", "a.test"))), keys[4]); // revoked and added again
  assertEquals(accountsOfRule(makeRule("1", { host: "a.test" })), []);
  const list = ["requests=1/h"];
  assertStrictEquals(accountsOfClient("one", list), accountsOfClient("one", list)); // read once
  assertEquals(keyOf(accountsOfClient("two", list)), keys[1]); // the same list, of somebody else
  assertEquals(accountsOfClient("one", list)[0]?.ruleHost, undefined);
  assertEquals(accountsOfRule(rule("1", "a.test"))[0]?.ruleHost, "a.test");
});
