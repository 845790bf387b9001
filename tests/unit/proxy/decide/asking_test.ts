import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { isCut } from "../../../../policy/audit_record.ts";
import type { RuleInput } from "../../../../policy/rule.ts";
import { admit } from "../../../../proxy/decide/admit.ts";
import { AskBook } from "../../../../proxy/decide/ask_book.ts";
import { askFirst, askId, asksFirst, waitForPerson } from "../../../../proxy/decide/asking.ts";
import { parseTarget } from "../../../../proxy/message/target.ts";
import { FakeClock } from "../../../support/fake_clock.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { type MadeRequest, makeExchange } from "../../../support/make_exchange.ts";
import { Engine, TOKEN } from "../../../wire/harness.ts";

/** A request of the client `one` under a rule that asks. */
function setUp(rule: Partial<RuleInput> = {}, made: MadeRequest = {}) {
  const engine = new Engine();
  const { policy } = engine;
  const [asks, deadlines, clock] = [new AskBook(), new FakeDeadlines(), new FakeClock()];
  const context = { ...engine.context, asks, deadlines, clock };
  const stored = policy.allow("one", { host: "up.test", ask: true, ...rule });
  const { exchange, goAway, watches } = makeExchange(context, { lines: ["Host: up.test"], ...made });
  const client = policy.clientByToken(TOKEN);
  assert(client);
  const again = () => admit(exchange, client, parseTarget(exchange.request.head, exchange.session.tunnel));
  const begin = () => {
    const admitted = again();
    assert(asksFirst(admitted));
    return askFirst(admitted, again);
  };
  /** Nothing waits, nothing runs, and all places are free. */
  const assertOver = () => {
    assertEquals([asks.list(), deadlines.left, context.grants.size], [[], [], 0]);
    const places = Array.from({ length: 16 }, () => context.admission.tryAsk("one"));
    assertEquals(places.every((place) => place !== undefined), true);
    for (const place of places) place?.();
  };
  const dispose = () => engine[Symbol.asyncDispose]();
  return {
    ...{ engine, policy, context, asks, deadlines, clock, rule: stored, exchange, client, goAway, watches },
    ...{ again, begin, assertOver, [Symbol.asyncDispose]: dispose },
  };
}

/** What a rejection says. */
async function failureOf(promise: Promise<unknown>) {
  const { code, reason, message } = await assertRejects(() => promise, ProxyError);
  return [code, reason, message];
}

Deno.test("asksFirst() is true of what a rule that asks has admitted, and of nothing else", async () => {
  for (
    const [rule, expected] of [[{}, true], [{ ask: undefined }, false], [
      { deny: true, ask: undefined },
      false,
    ]] as const
  ) {
    await using made = setUp(rule as Partial<RuleInput>);
    assertEquals(asksFirst(made.again()), expected);
  }
});

Deno.test("askFirst() shows what is asked for, and goes on when a person approves", async () => {
  await using made = setUp({}, { head: { method: "POST", target: "/a?b=c" } });
  const waits = made.begin();
  const [ask] = made.asks.list();
  assert(ask);
  assertMatch(ask.id, /^[0-9a-f]{12}$/);
  const sinceMs = made.clock.now();
  assertEquals(ask, {
    ...{ id: ask.id, client: "one", ruleId: made.rule.id, method: "POST", scheme: "https", host: "up.test" },
    ...{ port: 443, path: "/a", query: "b=c", sinceMs, untilMs: sinceMs + 300_000 },
  });
  assertEquals([made.deadlines.left, made.watches], [[300_000], [true]]);
  assertEquals(made.asks.settle(ask.id, "approved"), true);
  const admitted = await waits;
  assertEquals("refusal" in admitted ? admitted.refusal.reason : admitted.rule.id, made.rule.id);
  made.assertOver();
});

Deno.test("what is shown of a request is bounded, and has no query where there is none", async () => {
  const long = "x".repeat(5_000);
  await using made = setUp({}, { head: { method: long, target: `/${long}?${long}` } });
  const waits = made.begin();
  const [ask] = made.asks.list();
  assert(ask);
  for (const [text, most] of [[ask.method, 256], [ask.path, 2_048], [ask.query ?? "", 2_048]] as const) {
    assertEquals([isCut(text.slice(0, most)), isCut(text.slice(0, most + 1)), text.length < most + 60], [
      false,
      true,
      true,
    ]);
  }
  made.asks.settle(ask.id, "denied");
  await failureOf(waits);
  await using plain = setUp({ askTimeoutMs: 7_000 });
  const other = plain.begin();
  const [shown] = plain.asks.list();
  assertEquals([shown && "query" in shown, plain.deadlines.left], [false, [7_000]]);
  assertEquals((shown?.untilMs ?? 0) - (shown?.sinceMs ?? 0), 7_000);
  plain.goAway();
  await failureOf(other);
});

Deno.test("askFirst() ends in its own words, whatever it is, and leaves nothing behind", async (t) => {
  type Setup = ReturnType<typeof setUp>;
  const asked = "Cannot go on: a person has to be asked first, and";
  const gone = "Cannot go on: the client, rule or secret that admitted this is gone";
  const rows: readonly (readonly [string, (made: Setup) => void, unknown[]])[] = [
    ["a person denies it", ({ asks }) => void asks.settle(asks.list()[0]?.id ?? "", "denied"), [
      ...["policy.asked", "ask-denied", `${asked} a person denied it`],
    ]],
    ["nobody decides", ({ deadlines }) => deadlines.advance(300_000), [
      ...["policy.asked", "ask-timeout", `${asked} nobody approved it in time`],
    ]],
    ["the rule goes", ({ policy, rule }) => policy.revoke(rule), ["policy.revoked", "revoked", gone]],
    ["the proxy stops", ({ context }) => context.grants.close(), [
      ...["limit.reached", "shutdown", "Cannot go on: the proxy is stopping"],
    ]],
    ["the client goes", ({ goAway }) => goAway(), [
      ...["client.closed", undefined, "Cannot answer: the client closed the connection"],
    ]],
    ["the client says why", ({ goAway }) => goAway(new ProxyError("client.timeout", "because")), [
      ...["client.timeout", undefined, "because"],
    ]],
  ];
  for (const [name, end, expected] of rows) {
    await t.step(name, async () => {
      await using made = setUp();
      const waits = made.begin();
      assertEquals(made.asks.list().length, 1);
      end(made);
      assertEquals(await failureOf(waits), expected);
      if (name !== "the proxy stops") made.assertOver();
      else assertEquals([made.asks.list(), made.deadlines.left], [[], []]);
    });
  }
});

Deno.test("askFirst() decides once more after an approval: another rule that asks would have to be asked about", async () => {
  await using made = setUp();
  const asked = made.again();
  assert(asksFirst(asked));
  const other = { ...asked, rule: { ...asked.rule, id: "other" } };
  const approve = () => {
    const [ask] = made.asks.list();
    assert(ask);
    made.asks.settle(ask.id, "approved");
  };
  const first = askFirst(asked, () => other);
  approve();
  assertEquals((await failureOf(first))[0], "policy.revoked");
  const quiet = { ...other, rule: { ...other.rule, ask: undefined } } as unknown as typeof other;
  const second = askFirst(asked, () => quiet);
  approve();
  assertEquals(await second, quiet);
  const refusal = { refusal: { status: 403, reason: "no-rule", detail: "x" } } as const;
  const third = askFirst(asked, () => refusal);
  approve();
  assertEquals(await third, refusal);
});

Deno.test("waitForPerson() shows nobody what would end at once, nor more of a client than it may have", async () => {
  await using made = setUp();
  const { context, client, asks, policy } = made;
  const ask = {
    ...{ id: "1", client: "one", method: "GET", scheme: "https", host: "up.test", port: 443 } as const,
    path: "/",
    sinceMs: 0,
    untilMs: 1,
  };
  const { request } = made.exchange;
  const wait = () => waitForPerson({ context, request, grant: { client } }, ask, 1_000);
  const places = Array.from({ length: 16 }, () => context.admission.tryAsk("one"));
  assertEquals(await failureOf(wait()), [
    ...["limit.reached", "quota"],
    'Cannot ask about the request: client "one" has as many as it may that wait for a person',
  ]);
  assertEquals([asks.list(), made.deadlines.left], [[], []]);
  for (const place of places) place?.();
  policy.suspend("one");
  assertEquals((await failureOf(wait()))[0], "policy.revoked");
  made.assertOver();
});

Deno.test("askId() is twelve digits of hex, and another each time", () => {
  const ids = Array.from({ length: 100 }, askId);
  assertEquals([new Set(ids).size, ids.every((id) => /^[0-9a-f]{12}$/.test(id))], [100, true]);
});

Deno.test("AskBook holds each request until it is settled or ends, the first first, and tells of every new one", async () => {
  const book = new AskBook();
  const told: string[] = [];
  const hold = (id: string) =>
    book.hold({
      id,
      client: "one",
      method: "GET",
      scheme: "https",
      host: "a",
      port: 1,
      path: "/",
      sinceMs: 0,
      untilMs: 1,
    });
  book.onAsk = ({ id }) => told.push(id);
  const [a, b] = [hold("a"), hold("b")];
  assertEquals([told, book.list().map(({ id }) => id), book.get("b")?.id, book.get("c")], [
    ["a", "b"],
    ["a", "b"],
    "b",
    undefined,
  ]);
  assertEquals([book.settle("a", "denied"), book.settle("a", "approved"), await a.decided], [
    true,
    false,
    "denied",
  ]);
  a.end(); // it has gone already
  const again = hold("b"); // by the same name: whoever waited before does not any more
  assertEquals(await b.decided, "ended");
  b.end();
  assertEquals(book.list().length, 1);
  again.end();
  assertEquals([book.list(), await again.decided], [[], "ended"]);
});
