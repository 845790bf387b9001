import { assertEquals } from "@std/assert";
import { Approvals } from "../../../../cli/up/approvals.ts";
import { ProxyError } from "../../../../core/errors.ts";
import type { AuditRecord } from "../../../../policy/audit_record.ts";
import type { RuleInput } from "../../../../policy/rule.ts";
import { AskBook } from "../../../../proxy/decide/ask_book.ts";
import { assertCode, HandClock, openState, rule, tempFolder } from "../../store/support.ts";

async function setUp(more: Omit<RuleInput, "host">, ttlMs?: number) {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(await tempFolder());
  const clock = new HandClock();
  const state = stack.use(await openState(folder.state, clock));
  await state.createClient("one");
  await state.addRule("one", rule("first.test"));
  const asking = await state.addRule("one", rule("*.test", { ask: true, askTimeoutMs: 60_000, ...more }), {
    ttlMs,
  });
  await state.addRule("one", rule("last.test"));
  const book = new AskBook();
  const written: AuditRecord[] = [];
  const approvals = new Approvals({ book, state, clock, audit: { write: (record) => written.push(record) } });
  const hold = (path = "/v1") =>
    book.hold({
      ...{
        id: "x",
        client: "one",
        ruleId: asking.id,
        method: "POST",
        scheme: "https",
        host: "a.test",
        port: 443,
      },
      ...{ path, sinceMs: 0, untilMs: 1 },
    });
  return {
    state,
    clock,
    book,
    approvals,
    written,
    asking,
    hold,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

Deno.test("approve() adds a rule for exactly what was shown, right before the one that asked, and says so in the log", async () => {
  await using setup = await setUp({
    query: ["a=b"],
    budget: ["requests=9/h"],
    oneRequestPerConnection: true,
  });
  const { decided } = setup.hold();
  const added = await setup.approvals.approve("x", { forMs: 60_000 });
  assertEquals(await decided, "approved");
  const { id: _, ...shown } = added ?? { id: "" };
  assertEquals(shown, {
    ...{ client: "one", host: "a.test", methods: ["POST"], paths: ["/v1"], ports: [443], passthrough: false },
    ...{ query: ["a=b"], budget: ["requests=9/h"], oneRequestPerConnection: true },
    expiresAt: setup.clock.nowMs + 60_000,
  });
  assertEquals(setup.state.listRules("one").map(({ host }) => host), [
    "first.test",
    "a.test",
    "*.test",
    "last.test",
  ]);
  assertEquals(setup.written, [{
    ...{ verdict: "change", client: "one", method: "APPROVE", scheme: "https", host: "a.test", port: 443 },
    ...{ path: "/v1", durationMs: 60_000 },
  }]);
  await assertCode(setup.approvals.approve("x", "once"), "input.not-found");
});

Deno.test("what is approved for good ends with the rule that asked, where that ends", async () => {
  await using setup = await setUp({}, 90_000);
  setup.hold();
  assertEquals((await setup.approvals.approve("x", "always"))?.expiresAt, setup.clock.nowMs + 90_000);
  assertEquals(setup.written.map(({ method }) => method), ["APPROVE-ALWAYS"]);
});

Deno.test("a rule that asks for one request alone has what is approved beside it", async () => {
  await using setup = await setUp({});
  const { state, book, approvals } = setup;
  const exact = { methods: ["POST"], paths: ["/v1"], ports: [443] };
  const asking = await state.addRule("one", rule("b.test", { ...exact, ask: true }));
  book.hold({
    ...{
      id: "y",
      client: "one",
      ruleId: asking.id,
      method: "POST",
      scheme: "https",
      host: "b.test",
      port: 443,
    },
    ...{ path: "/v1", sinceMs: 0, untilMs: 1 },
  });
  const added = await approvals.approve("y", "always");
  assertEquals([added?.ask, added?.host, added?.paths], [undefined, "b.test", ["/v1"]]);
});

Deno.test("a path that no rule can mean is approved once only, and waits on", async () => {
  await using setup = await setUp({});
  for (const path of ["/a*", "/a,b", "/a/../b", `/${"x".repeat(2_100)}`, "/%252e"]) {
    const { decided } = setup.hold(path);
    await assertCode(setup.approvals.approve("x", "always"), "input.invalid");
    assertEquals(setup.book.list().length, 1, path);
    await setup.approvals.approve("x", "once");
    assertEquals(await decided, "approved");
  }
  assertEquals(setup.state.listRules("one").length, 3);
});

Deno.test("a rule that has gone can be approved by nobody, and a request that ended neither", async () => {
  await using setup = await setUp({});
  const { decided, end } = setup.hold();
  await setup.state.revokeHost("one", "*.test");
  await assertCode(setup.approvals.approve("x", "always"), "input.not-found");
  end();
  assertEquals(await decided, "ended");
  await assertCode(setup.approvals.approve("x", "once"), "input.not-found");
  assertEquals(setup.written, []);
});

Deno.test("a rule that a program asks for stands behind all others, has no secret, and is never for once", async () => {
  await using setup = await setUp({});
  const { state, book, approvals } = setup;
  const ask = () =>
    book.hold({
      ...{ id: "r", client: "one", method: "GET", scheme: "https", host: "b.test", port: 8443, path: "/v1" },
      ...{ reason: "please", sinceMs: 0, untilMs: 1 },
    });
  const { decided } = ask();
  await assertCode(approvals.approve("r", "once"), "input.invalid");
  const { id: _, ...added } = await approvals.approve("r", { forMs: 60_000 }) ?? { id: "" };
  assertEquals(await decided, "approved");
  assertEquals(added, {
    ...{ client: "one", host: "b.test", methods: ["GET"], paths: ["/v1"], ports: [8443], passthrough: false },
    expiresAt: setup.clock.nowMs + 60_000,
  });
  assertEquals(state.listRules("one").at(-1)?.host, "b.test");
  ask();
  await assertCode(approvals.approve("r", "always"), "input.conflict");
  approvals.deny("r");
  assertEquals(book.list(), []);
});

Deno.test("while a rule is added for a request, nobody can deny it", async () => {
  await using setup = await setUp({});
  const { decided } = setup.hold();
  const approving = setup.approvals.approve("x", "always");
  try {
    setup.approvals.deny("x");
    throw new Error("it was denied");
  } catch (error) {
    assertEquals(error instanceof ProxyError && error.code, "input.not-found");
  }
  assertEquals((await approving)?.host, "a.test");
  assertEquals(await decided, "approved");
  assertEquals(setup.written.map(({ method }) => method), ["APPROVE-ALWAYS"]);
});
