import { assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { setImmediate } from "node:timers";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import type { EchoGuard } from "../../../../proxy/echo/echo_guard.ts";
import type { AdmittedExchange } from "../../../../proxy/exchange.ts";
import { cleanFields, Relay } from "../../../../proxy/forward/relay.ts";
import type { TokenWatch } from "../../../../proxy/forward/token_watch.ts";
import type { CredentialUse } from "../../../../proxy/inject/credential_use.ts";
import { type HeaderField, makeField } from "../../../../proxy/message/fields.ts";
import type { MessageBody, ResponseHead, UpstreamLeg } from "../../../../proxy/message/message.ts";
import { PiecedBody } from "../../../support/make_exchange.ts";

/** A head with lines of `Name: value`. */
function head(
  status: number,
  lines: readonly string[] = [],
  version: ResponseHead["version"] = "HTTP/1.1",
): ResponseHead {
  const fields = lines.map((line) => line.split(": ")).map(([name = "", value = ""]) =>
    makeField(name, value)
  );
  return { version, status, reason: "X", fields };
}

interface Options {
  readonly heads: readonly ResponseHead[];
  readonly body?: MessageBody;
  readonly upgrade?: string;
  readonly isEarly?: boolean;
  readonly isRefused?: boolean;
  readonly tools?: readonly string[];
  readonly guard?: EchoGuard;
  readonly tokens?: TokenWatch;
  readonly failure?: ProxyError;
  readonly isGone?: boolean;
}

/** Relays an answer, and notes what the client was given and what else was done. */
function setUp({ heads, body = new PiecedBody([]), isEarly = false, ...more }: Options) {
  const limits = { ...DEFAULT_LIMITS, bodyIdleTimeoutMs: 1_000, maxInterimResponses: 2 };
  const calls: string[] = [];
  const written = (text: string) => {
    calls.push(text);
    return more.isGone ? Promise.reject(new Deno.errors.BrokenPipe("x")) : Promise.resolve();
  };
  const names = (fields: readonly HeaderField[]) => fields.map(({ key }) => key).join();
  const request = {
    body: { isReleased: !isEarly },
    inform: ({ status, fields }: ResponseHead) => written(`inform ${status} ${names(fields)}`),
    begin: ({ status, fields }: ResponseHead, first: Uint8Array) =>
      written(`begin ${status} ${names(fields)} ${Buffer.from(first)}`),
    write: (piece: Uint8Array, isLast: boolean) => written(`${Buffer.from(piece)}${isLast ? "!" : ""}`),
    end: (trailers: readonly HeaderField[] | undefined) =>
      void calls.push(`end ${trailers && names(trailers)}`),
  };
  const exchange = {
    ...{
      request,
      session: { context: { limits, admission: new Admission(limits) } },
      client: { name: "one" },
      rule: {},
    },
    ...(more.upgrade === undefined ? {} : { upgrade: { protocol: more.upgrade, fields: [] } }),
    ...(more.tools ? { tools: more.tools } : {}),
  } as unknown as AdmittedExchange;
  const course = {
    failure: more.failure,
    touch: (ms: number) => void calls.push(`touch ${ms}`),
    fail: () => {},
  };
  const credential = {
    watch: () => more.guard,
    noteAnswer: ({ status }: ResponseHead) => void calls.push(`note ${status}`),
    isRefused: (_leg: unknown, { status }: ResponseHead) => {
      calls.push(`refused? ${status}`);
      return Promise.resolve(more.isRefused ?? false);
    },
    drop: () => void calls.push("drop"),
  } as unknown as CredentialUse;
  const left = [...heads];
  const leg = {
    readHead: () => Promise.resolve(left.shift()),
    bodyOf: () => body,
  } as unknown as UpstreamLeg;
  const relay = new Relay(exchange, course, { credential, tokens: more.tokens });
  return { relay, leg, calls, run: () => relay.run(leg) };
}

async function failureOf(options: Options) {
  const { relay, run } = setUp(options);
  const { code, message } = await assertRejects(run, ProxyError);
  return [code, message, relay.status];
}

Deno.test("Relay passes an answer on piece by piece: the deadline moves with each, and the last one is the last", async () => {
  const body = new PiecedBody(["", "ab", "", "c"]);
  const { relay, calls, run } = setUp({ heads: [head(200, ["A: b", "Connection: x", "X: y"])], body });
  assertEquals([relay.status, relay.received, relay.wasEarly, relay.echoed, relay.grpcStatus], [
    0,
    0,
    false,
    0,
    undefined,
  ]);
  assertEquals(await run(), "whole");
  assertEquals(calls, [
    ...[
      "note 200",
      "drop",
      "touch 1000",
      "begin 200 a ",
      "ab",
      "touch 1000",
      "c!",
      "touch 1000",
      "end undefined",
    ],
  ]);
  assertEquals([relay.status, relay.received, body.releases, body.waits], [200, 3, 2, 2]);
});

Deno.test("Relay counts what leaves with the head, and passes trailers on with what they say of a call", async () => {
  const body = new PiecedBody(["cd"]);
  body.takeFirst = () => Buffer.from("ab");
  Object.assign(body, { trailers: [makeField("grpc-status", "7")] });
  const { relay, calls, run } = setUp({ heads: [head(200)], body });
  await run();
  assertEquals(calls.slice(3), ["begin 200  ab", "cd", "touch 1000", "end grpc-status"]);
  assertEquals([relay.received, relay.grpcStatus], [4, 7]);
  const none = setUp({ heads: [head(200, ["Grpc-Status: 5"])] });
  await none.run();
  assertEquals(none.relay.grpcStatus, 5);
});

Deno.test("Relay ends with an upstream that closes inside its body, and with a client that is gone", async () => {
  assertEquals(await failureOf({ heads: [head(200)], body: new PiecedBody(["ab"], "cut") }), [
    ...["upstream.closed", "Cannot complete the response: upstream closed inside its body", 200],
  ]);
  assertEquals((await failureOf({ heads: [head(200)], isGone: true })).slice(0, 1), ["client.closed"]);
  assertEquals((await failureOf({ heads: [head(103), head(200)], isGone: true }))[0], "client.closed");
  const failure = new ProxyError("policy.revoked", "revoked");
  assertEquals(await failureOf({ heads: [head(103), head(200)], isGone: true, failure }), [
    "policy.revoked",
    "revoked",
    0,
  ]);
  assertEquals(await failureOf({ heads: [head(200)], failure }), ["policy.revoked", "revoked", 0]);
});

Deno.test("Relay passes as many interim answers as the limit says, without what is for one hop", async () => {
  const { relay, calls, run } = setUp({ heads: [head(100, ["TE: x"]), head(103, ["Link: a"]), head(204)] });
  await run();
  assertEquals([calls.slice(0, 2), relay.status], [["inform 100 ", "inform 103 link"], 204]);
  assertEquals(await failureOf({ heads: [head(100), head(199), head(102), head(200)] }), [
    ...["upstream.malformed", "Cannot use the response: too many interim responses", 0],
  ]);
});

Deno.test("Relay takes a change of protocol only to what was asked for", async (t) => {
  const none = "Cannot use the response: it switches to a protocol not asked for";
  for (
    const [name, upgrade, lines] of [
      ["none", undefined, ["Upgrade: websocket"]],
      ["another", "websocket", ["Upgrade: x"]],
      ["two", "websocket", ["Upgrade: websocket, x"]],
      ["nothing", "websocket", []],
    ] as const
  ) {
    await t.step(name, async () => {
      const options = { heads: [head(101, lines)], ...(upgrade ? { upgrade } : {}) };
      assertEquals(await failureOf(options), ["upstream.malformed", none, 0]);
    });
  }
  const switched = head(101, ["Upgrade: WebSocket"]);
  const { relay, calls, run } = setUp({ heads: [switched], upgrade: "websocket" });
  assertEquals([await run(), relay.status, calls], [{ switched }, 101, []]);
});

Deno.test("Relay takes any 2xx of HTTP/2 for the change that was asked for, and no other status", async () => {
  for (const status of [200, 299]) {
    const switched = head(status, [], "HTTP/2");
    const { relay, run } = setUp({ heads: [switched], upgrade: "websocket" });
    assertEquals([await run(), relay.status], [{ switched }, status]);
  }
  const others = [
    setUp({ heads: [head(300, [], "HTTP/2")], upgrade: "websocket" }),
    setUp({ heads: [head(200)], upgrade: "websocket" }),
  ];
  for (const { run } of [...others, setUp({ heads: [head(200, [], "HTTP/2")] })]) {
    assertEquals(await run(), "whole");
  }
  const interim = setUp({ heads: [head(103, [], "HTTP/2"), head(204, [], "HTTP/2")], upgrade: "websocket" });
  assertEquals(typeof await interim.run(), "object");
});

Deno.test("Relay asks whether a credential was refused by what may mean that, and passes a 407 to nobody", async () => {
  for (const status of [400, 401, 402, 403]) {
    const { calls, run, relay } = setUp({ heads: [head(status)], isRefused: true });
    assertEquals([await run(), calls, relay.status], [
      "refused",
      [`note ${status}`, `refused? ${status}`],
      0,
    ]);
    const passed = setUp({ heads: [head(status)] });
    assertEquals([await passed.run(), passed.calls.includes("drop")], ["whole", true]);
  }
  for (const status of [399, 404]) {
    const { calls, run } = setUp({ heads: [head(status)], isRefused: true });
    assertEquals([await run(), calls[1]], ["whole", "drop"]);
  }
  assertEquals(await failureOf({ heads: [head(407)] }), [
    ...["upstream.malformed", "Cannot use the response: the upstream answered 407, as only a proxy may", 0],
  ]);
});

Deno.test("Relay knows an answer that came before the whole request", async () => {
  for (const isEarly of [true, false]) {
    const { relay, run } = setUp({ heads: [head(200)], isEarly });
    await run();
    assertEquals(relay.wasEarly, isEarly);
  }
});

Deno.test("Relay narrows an answer that must not name every tool", async () => {
  const text = JSON.stringify({ jsonrpc: "2.0", id: 1, result: { tools: [{ name: "a" }, { name: "b" }] } });
  const { calls, run } = setUp({
    heads: [head(200, ["Content-Length: 1"])],
    body: new PiecedBody([text]),
    tools: ["a"],
  });
  await run();
  const wanted = JSON.stringify({ jsonrpc: "2.0", id: 1, result: { tools: [{ name: "a" }] } });
  assertEquals(calls.slice(-3), ["touch 1000", `begin 200 content-length ${wanted}`, "end undefined"]);
});

Deno.test("Relay has what was injected looked for in heads, bodies and trailers, over all tries", async () => {
  const seen: string[] = [];
  const guard = {
    echoed: 2,
    head: (head: ResponseHead) => {
      seen.push(`head ${head.status}`);
      return { ...head, fields: [makeField("Masked", "1")] };
    },
    body: (_head: ResponseHead, body: MessageBody) => (seen.push("body"), body),
    fields: (fields: readonly HeaderField[]) => (seen.push(`fields ${fields.length}`), []),
  } as unknown as EchoGuard;
  const tokens = {
    body: (_head: ResponseHead, body: MessageBody) => (seen.push("tokens"), body),
  } as unknown as TokenWatch;
  const body = new PiecedBody(["ab"]);
  Object.assign(body, { trailers: [makeField("A", "b")] });
  const { relay, calls, run } = setUp({ heads: [head(103), head(200)], body, guard, tokens });
  await run();
  assertEquals(seen, ["head 103", "head 200", "tokens", "body", "fields 1"]);
  assertEquals([calls[0], calls.at(-1), relay.guard, relay.echoed], ["inform 103 masked", "end ", guard, 2]);
  const again = setUp({ heads: [head(401), head(200)], guard, isRefused: true });
  await again.run();
  await again.run();
  assertEquals(again.relay.echoed, 4);
});

Deno.test("cleanFields() takes away what only this proxy says, and a framing where there is no body", () => {
  const lines = ["X-Slicer-Proxy-Reason: x", "Transfer-Encoding: chunked", "A: b", "Keep-Alive: 1"];
  const keys = (status: number) => cleanFields(head(status, lines)).map(({ key }) => key);
  for (const status of [204, 304]) assertEquals(keys(status), ["a"]);
  for (const status of [200, 205, 305]) assertEquals(keys(status), ["transfer-encoding", "a"]);
});

Deno.test("Relay gives others a turn between the pieces of a large answer", async () => {
  const body = new PiecedBody(Array.from({ length: 40 }, () => new Uint8Array(262_144)));
  const { relay, run } = setUp({ heads: [head(200)], body });
  const ran = run();
  await new Promise<void>((resolve) => setImmediate(resolve));
  await new Promise<void>((resolve) => setImmediate(resolve));
  assertEquals(relay.received < 40 * 262_144, true);
  assertEquals([await ran, relay.received], ["whole", 40 * 262_144]);
});
