import { assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import type { Mode } from "../../../policy/mode.ts";
import type { RuleInput } from "../../../policy/rule.ts";
import { Admission } from "../../../proxy/accept/admission.ts";
import type { Tunnel } from "../../../proxy/exchange.ts";
import { serveRequest } from "../../../proxy/serve.ts";
import { AskBook } from "../../../proxy/decide/ask_book.ts";
import { type MadeRequest, makeExchange, PiecedBody } from "../../support/make_exchange.ts";
import { basic } from "../../support/raw_peer.ts";
import { Engine, TOKEN } from "../../wire/harness.ts";
import { settle } from "../../wire/pipe.ts";

interface Case extends MadeRequest {
  readonly rule?: Partial<RuleInput>;
  readonly mode?: Mode;
}

/** Serves a request of the client `one`: what it is answered, what is logged, and what is still held for it. */
async function serve({ rule, mode = "strict", ...made }: Case, change?: (engine: Engine) => void) {
  await using engine = new Engine({ mode });
  if (rule) engine.policy.allow("one", { host: "up.test", ...rule });
  const admission = new Admission(engine.context.limits);
  change?.(engine);
  const reported: unknown[] = [];
  const context = {
    ...engine.context,
    admission,
    logQuery: true,
    reportBug: (error: unknown) => void reported.push(error),
  };
  const { exchange, answers } = makeExchange(context, { lines: ["Host: up.test"], ...made });
  await serveRequest(exchange);
  await engine.context.audit.flush();
  const most = engine.context.limits.maxHeldBytesPerClient;
  const isFree = admission.held("one").take(most);
  if (isFree) admission.held("one").give(most);
  const [answer] = answers;
  return {
    status: answer?.status,
    body: Buffer.from(answer?.body ?? []).toString(),
    phrase: answer?.phrase,
    answers: answers.length,
    lines: engine.lines.map((line) => line.replace(/ duration=\S+/, "")),
    ...{ isFree, reported, dials: engine.dials.length },
  };
}

const IN_TUNNEL = "client=one method=GET scheme=https host=up.test port=443 path=/a";

Deno.test("serveRequest() answers in a tunnel that was refused with that refusal, and logs nothing more", async () => {
  const refusal = { status: 403, reason: "no-rule", detail: "Because" } as const;
  const tunnel: Tunnel = {
    ...{ scheme: "https", host: "other.test", port: 443, client: { name: "one", version: "1" } },
    denial: () => refusal,
  };
  const refused = await serve({ session: { tunnel } });
  assertEquals([refused.status, refused.phrase, refused.lines], [
    403,
    "slicer-proxy: no-rule (other.test)",
    [],
  ]);
  assertMatch(refused.body, /\nBecause\.\n/);
  const lifted = await serve({
    ...{ rule: {}, lines: ["Host: other.test"], session: { tunnel: { ...tunnel, denial: () => undefined } } },
  });
  assertEquals(lifted.lines, [
    ...[
      "deny client=one method=GET scheme=https host=other.test port=443 path=/a mode=strict reason=no-rule",
    ],
  ]);
});

Deno.test("serveRequest() logs what is known of a request by the time it is refused", async (t) => {
  const proxied = { head: { target: "http://up.test/a?b=c" }, session: { tunnel: undefined } };
  const rows: readonly (readonly [string, Case, line: string, change?: (engine: Engine) => void])[] = [
    [
      "its tunnel, of what cannot be read",
      { lines: ["Host: a", "Host: b"] },
      "deny client=one method=GET scheme=https host=up.test port=443 status=400 reason=malformed",
    ],
    [
      "nothing, of a path to the proxy itself",
      { session: { tunnel: undefined } },
      "deny client=- method=GET status=400 reason=malformed",
    ],
    [
      "where it goes, of nobody",
      proxied,
      "deny client=- method=GET scheme=http host=up.test port=80 path=/a?b=c status=407 reason=auth-missing",
    ],
    [
      "who asks",
      { ...proxied, lines: ["Host: up.test", `Proxy-Authorization: ${basic(TOKEN)}`] },
      "deny client=one method=GET scheme=http host=up.test port=80 path=/a?b=c mode=strict reason=no-rule",
    ],
    ["no rule", {}, `deny ${IN_TUNNEL} mode=strict reason=no-rule`],
    [
      "a suspension",
      { rule: {} },
      `deny ${IN_TUNNEL} mode=strict reason=client-suspended`,
      ({ policy }) => policy.suspend("one"),
    ],
    [
      "a store that is lost",
      { rule: {} },
      `deny ${IN_TUNNEL} status=503 reason=store-lost`,
      ({ policy }) => policy.lost = true,
    ],
    ["an upgrade with a body", {
      ...{
        rule: {},
        lines: ["Host: up.test", "Connection: upgrade", "Upgrade: websocket"],
        body: new PiecedBody(["a"]),
      },
    }, `deny ${IN_TUNNEL} status=400 reason=malformed`],
  ];
  for (const [name, made, line, change] of rows) {
    await t.step(name, async () => {
      const { lines, answers, reported, dials } = await serve(made, change);
      const expected = line.replace("/a?b=c", "/a query=b=c");
      assertEquals([lines, answers, reported, dials], [[expected], 1, [], 0]);
    });
  }
});

Deno.test("serveRequest() reports a bug, and tells the client nothing of it", async () => {
  const bug = new TypeError("secret text");
  const { status, body, lines, reported } = await serve({ rule: {} }, ({ policy }) => {
    policy.isTokenEndpoint = () => {
      throw bug;
    };
  });
  assertEquals([status, reported, body.includes("secret text")], [500, [bug], false]);
  assertEquals(lines, [`deny ${IN_TUNNEL} status=500 reason=internal`]);
});

Deno.test("serveRequest() forwards what is admitted, once more in the words of what went wrong", async () => {
  const { status, lines, dials, answers } = await serve({ rule: {} }); // every dial is refused
  assertEquals([status, dials, answers], [502, 1, 1]);
  assertEquals(lines, [`allow ${IN_TUNNEL} status=502 reason=connect-refused sent=0 received=0`]);
});

const LIST = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
const CALL = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "drop" } });
const MCP = [
  "Host: up.test",
  "Content-Type: application/json",
  "Accept: application/json, text/event-stream",
];

/** A POST to an MCP server. */
function mcp(text: string, more: Partial<Case> = {}): Case {
  const body = new PiecedBody(["", text]);
  return { head: { method: "POST" }, lines: [...MCP, `Content-Length: ${text.length}`], body, ...more };
}

Deno.test("serveRequest() reads what a rule asks about, logs that, and holds nothing of it when it is over", async (t) => {
  const where = "client=one method=POST scheme=https host=up.test port=443 path=/a";
  const forwarded = "status=502 reason=connect-refused sent=0 received=0";
  const cut = new PiecedBody(["{"], "cut");
  const rows: readonly (readonly [string, Case, line: string])[] = [
    ["what the rule allows", mcp(LIST), `allow ${where} ${forwarded} says=mcp:tools/list`],
    ["what it does not", mcp(CALL), `deny ${where} mode=strict reason=no-rule says=mcp:tools/call(drop)`],
    [
      "what cannot be read",
      mcp("{"),
      `deny ${where} mode=strict reason=body-unreadable says=mcp:!body-unreadable`,
    ],
    ["what is cut short", mcp("{", { body: cut }), `deny ${where} status=400 reason=client-closed`],
  ];
  for (const [name, made, line] of rows) {
    await t.step(name, async () => {
      const { lines, isFree } = await serve({ ...made, rule: { mcpTool: ["read"] } });
      assertEquals([lines, isFree], [[line], true]);
    });
  }
});

Deno.test("serveRequest() learns which tool a client wanted, in audit mode and from messages to MCP servers alone", async (t) => {
  const says = "says=mcp:tools/call(drop)";
  const without = (name: string) => MCP.filter((line) => !line.startsWith(name));
  const audit = { mode: "audit" } as const;
  const rows: readonly (readonly [string, Case, boolean])[] = [
    ["a call", mcp(CALL, audit), true],
    [
      "a type with parameters, among others",
      mcp(CALL, {
        ...audit,
        lines: [
          ...without("Content-Type"),
          "Content-Type: application/json; charset=utf-8",
          `Content-Length: ${CALL.length}`,
        ],
      }),
      true,
    ],
    ["in strict mode", mcp(CALL), false],
    ["a PUT", mcp(CALL, { ...audit, head: { method: "PUT" } }), false],
    [
      "no JSON",
      mcp(CALL, {
        ...audit,
        lines: [...without("Content-Type"), "Content-Type: text/plain", `Content-Length: ${CALL.length}`],
      }),
      false,
    ],
    [
      "no streams",
      mcp(CALL, {
        ...audit,
        lines: [...without("Accept"), "Accept: application/json", `Content-Length: ${CALL.length}`],
      }),
      false,
    ],
    ["no message", mcp("{", audit), false],
    ["another refusal", mcp(CALL, { ...audit, rule: { secret: "gone" } }), false],
    ["a body that is cut short", mcp(CALL, { ...audit, body: new PiecedBody(["{"], "cut") }), false],
  ];
  for (const [name, made, isLearnt] of rows) {
    await t.step(name, async () => {
      const { lines: [line = ""], isFree, answers, reported } = await serve(made);
      assertEquals([line.includes(says), line.includes("says="), isFree, answers, reported], [
        isLearnt,
        isLearnt,
        true,
        1,
        [],
      ]);
      assertMatch(line, /^deny client=one .*reason=(no-rule|secret-missing)( says=\S+)?$/);
    });
  }
});

Deno.test("serveRequest() asks a person first where the rule does, and forwards only then", async () => {
  await using engine = new Engine();
  engine.policy.allow("one", { host: "up.test", ask: true });
  const asks = new AskBook();
  const { exchange, answers } = makeExchange({ ...engine.context, asks }, { lines: ["Host: up.test"] });
  const served = serveRequest(exchange);
  await settle();
  assertEquals([engine.dials.length, answers.length, asks.list().length], [0, 0, 1]);
  asks.settle(asks.list()[0]?.id ?? "", "approved");
  await served;
  assertEquals([engine.dials.length, answers[0]?.status], [1, 502]);
});

Deno.test("serveRequest() answers and logs what a person denied", async () => {
  await using engine = new Engine();
  engine.policy.allow("one", { host: "up.test", ask: true });
  const asks = new AskBook();
  const { exchange, answers } = makeExchange({ ...engine.context, asks }, { lines: ["Host: up.test"] });
  const served = serveRequest(exchange);
  await settle();
  asks.settle(asks.list()[0]?.id ?? "", "denied");
  await served;
  await engine.context.audit.flush();
  assertEquals([engine.dials.length, answers.map(({ status }) => status)], [0, [403]]);
  assertEquals([engine.lines.length, engine.lines[0]?.endsWith(" mode=strict reason=ask-denied")], [1, true]);
});

Deno.test("serveRequest() counts what it forwards against the client's budget", async () => {
  const refused = await serve({ rule: { budget: ["requests=1/d"] } }, ({ context, policy }) => {
    policy.setBudget("one", ["requests=1/d"]);
    const used = context.meters.used;
    context.meters.used = (key, period) => Math.max(1, used.call(context.meters, key, period));
  });
  assertEquals([refused.status, refused.dials, refused.lines], [
    ...[429, 0, [`deny ${IN_TUNNEL} status=429 reason=budget`]],
  ]);
});
