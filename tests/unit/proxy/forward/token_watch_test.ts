import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { accountsOfClient, Meter } from "../../../../proxy/decide/budgets.ts";
import type { AdmittedExchange } from "../../../../proxy/exchange.ts";
import { isModel, tokenWatch } from "../../../../proxy/forward/token_watch.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import type { MessageBody, ResponseHead } from "../../../../proxy/message/message.ts";
import { Meters } from "../../../../proxy/records/meters.ts";
import { FakeClock } from "../../../support/fake_clock.ts";
import { PiecedBody } from "../../../support/make_exchange.ts";
import { makeRule } from "../../../support/make_rule.ts";

interface Asked {
  readonly budget?: readonly string[];
  readonly method?: string;
  readonly path?: string;
  readonly lines?: readonly (readonly [string, string])[];
  readonly protocol?: string;
}

/** A watch over a request under a budget of tokens of its client, and what is used of that. */
function setUp({ budget, method = "POST", path = "/v1/messages", lines = [], protocol }: Asked = {}) {
  const [meters, clock] = [new Meters(), new FakeClock()];
  const audit = { begin: () => 1, write: () => {}, isWritable: true };
  const rule = makeRule("1", { host: "up.test", ...(budget ? { budget } : {}) });
  const counted = { client: { name: "one", version: "1" }, rule, host: "up.test" };
  const accounts = accountsOfClient("one", ["tokens=1M/d"]);
  const meter = new Meter({ meters, clock, audit }, counted, accounts);
  const head = { method, target: path, version: "HTTP/1.1", fields: lines.map((line) => makeField(...line)) };
  const exchange = {
    ...{ meter, rule, target: { path }, request: { head } },
    ...(protocol === undefined ? {} : { upgrade: { protocol, fields: [] } }),
  } as unknown as AdmittedExchange;
  const watch = tokenWatch(exchange);
  assert(watch);
  const [{ key } = { key: 0n }] = accounts;
  return { watch, exchange, used: () => meters.used(key, Math.floor(clock.now() / 86_400_000)) };
}

/** A head of an answer with a type, and more fields. */
function headOf(type: string, ...more: readonly (readonly [string, string])[]): ResponseHead {
  const fields = [makeField("Content-Type", type), ...more.map((field) => makeField(...field))];
  return { version: "HTTP/1.1", status: 200, reason: "OK", fields };
}

/** Pulls a body as `relay.ts` does. */
async function pull(body: MessageBody): Promise<Buffer> {
  const pieces = [Buffer.from(body.takeFirst())];
  while (!body.done) {
    const piece = body.take();
    pieces.push(Buffer.from(piece));
    body.release();
    if (piece.length === 0 && !body.done && !await body.fill()) break;
  }
  return Buffer.concat(pieces);
}

const SAID = JSON.stringify({ usage: { input_tokens: 30, output_tokens: 5 } });
const EVENTS = [
  { type: "message_start", message: { usage: { input_tokens: 30, output_tokens: 1 } } },
  { type: "content_block_delta", delta: { type: "text_delta", text: "x".repeat(400) } },
  { type: "message_delta", delta: {}, usage: { output_tokens: 10 } },
].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
const WHOLE = { status: 200, isWhole: true, sent: 40, received: 400 };

Deno.test("tokenWatch() is there where tokens are counted alone", () => {
  const { exchange } = setUp();
  const { meter: _, ...bare } = exchange;
  assertEquals(tokenWatch(bare), undefined);
  const other = { countsTokens: false } as unknown as Meter;
  assertEquals(tokenWatch({ ...exchange, meter: other }), undefined);
});

Deno.test("what an answer says is counted as it passes, byte for byte, and the end of it is final", async (t) => {
  const rows:
    readonly (readonly [string, ResponseHead, pieces: (string | Uint8Array)[], [number, number]])[] = [
      ["JSON", headOf("application/json"), [SAID.slice(0, 9), "", SAID.slice(9)], [30, 5]],
      ["JSON of a kind", headOf("application/vnd.x+json; charset=utf-8"), [SAID], [30, 5]],
      ["events", headOf("text/event-stream"), EVENTS, [30, 10]],
      ["gzip", headOf("application/json", ["Content-Encoding", "gzip"]), [gzipSync(SAID)], [30, 5]],
      ["identity", headOf("application/json", ["Content-Encoding", "identity"]), [SAID], [30, 5]],
      ["gzip of events in pieces", headOf("text/event-stream", ["Content-Encoding", "identity, gzip"]), [
        ...[gzipSync(EVENTS.join("")).subarray(0, 20), gzipSync(EVENTS.join("")).subarray(20)],
      ], [30, 10]],
    ];
  for (const [name, head, pieces, [input, output]] of rows) {
    await t.step(name, async () => {
      const { watch, used } = setUp();
      const inner = new PiecedBody(["", ...pieces]);
      const body = watch.body(head, inner);
      const sent = pieces.map((piece) => Buffer.from(piece as string));
      assertEquals(await pull(body), Buffer.concat(sent));
      assertEquals([body.done, body.isReleased, body.closeDelimited, body.trailers], [
        true,
        true,
        false,
        undefined,
      ]);
      assertEquals(inner.releases > 0, true);
      assertEquals(await watch.end(WHOLE), { input, output, isEstimated: false });
      assertEquals(used(), input + output);
    });
  }
});

Deno.test("what is said in the middle of an answer counts at once", async () => {
  const { watch, used } = setUp();
  const body = watch.body(headOf("text/event-stream"), new PiecedBody(EVENTS, "hangs"));
  body.take();
  assertEquals(used(), 31);
  body.take();
  assertEquals(used(), 31);
  body.take();
  assertEquals(used(), 40);
  // It never ended: what was written so far is estimated from its text, 400 characters of four to a token.
  assertEquals(await watch.end({ ...WHOLE, isWhole: false }), { input: 30, output: 100, isEstimated: true });
  assertEquals(used(), 130);
});

Deno.test("what is said in a compressed answer counts as soon as it is decoded", async () => {
  const { watch, used } = setUp();
  const head = headOf("application/json", ["Content-Encoding", "gzip"]);
  const body = watch.body(head, new PiecedBody([gzipSync(SAID)], "cut"));
  body.take();
  assertEquals([await body.fill(), used()], [false, 35]);
  await watch.end({ ...WHOLE, isWhole: false });
});

Deno.test("what cannot be decoded to its end is estimated by how long it is, whatever it has said before", async () => {
  const frames = [zstdCompressSync(SAID), ...new Array<Buffer>(4_096).fill(zstdCompressSync(" "))]; // one too many
  const packed = Buffer.concat(frames);
  const { watch } = setUp();
  const head = headOf("application/json", ["Content-Encoding", "zstd"]);
  await pull(watch.body(head, new PiecedBody([packed.subarray(0, 1_000), packed.subarray(1_000)])));
  assertEquals(await watch.end(WHOLE), { input: 30, output: packed.length, isEstimated: true });
});

Deno.test("what says nothing is estimated by its bytes, where a model was asked", async (t) => {
  const untold = headOf("application/octet-stream");
  const rows: readonly (readonly [
    string,
    Asked,
    ResponseHead,
    (string | Uint8Array)[],
    [number, number] | undefined,
  ])[] = [
    ["a path of a model", {}, untold, ["x".repeat(400)], [10, 100]],
    ["another path", { path: "/a" }, untold, ["x".repeat(400)], undefined],
    ["another path, with a budget of tokens", { path: "/a", budget: ["tokens=1K/h"] }, untold, [
      "x".repeat(400),
    ], [10, 100]],
    ["another path, with another budget", { path: "/a", budget: ["requests=1K/h"] }, untold, [
      "x".repeat(400),
    ], undefined],
    ["a GET", { method: "GET" }, untold, ["x".repeat(400)], undefined],
    ["a coded answer", {}, headOf("x/y", ["Grpc-Encoding", "gzip"]), ["x".repeat(400)], [10, 400]],
    ["a coding of Connect", {}, headOf("x/y", ["Connect-Content-Encoding", "gzip"]), ["x".repeat(400)], [
      10,
      400,
    ]],
    ["no coding", {}, headOf("x/y", ["Content-Encoding", "identity"]), ["x".repeat(400)], [10, 100]],
    ["a coded request", { lines: [["Content-Encoding", "gzip"]] }, untold, ["x".repeat(400)], [40, 100]],
    ["JSON without usage", {}, headOf("application/json"), [`{"a":"${"x".repeat(392)}"}`], [10, 100]],
    ["JSON that is broken", {}, headOf("application/json"), ["x".repeat(400)], [10, 100]],
    ["no JSON but its name", {}, headOf("application/notjson"), [SAID], [10, Math.ceil(SAID.length / 4)]],
    ["two codings", {}, headOf("application/json", ["Content-Encoding", "gzip, gzip"]), [
      gzipSync(gzipSync(SAID)),
    ], [
      ...[10, gzipSync(gzipSync(SAID)).length] as const,
    ]],
    ["a coding that is not known", {}, headOf("application/json", ["Content-Encoding", "x"]), [SAID], [
      10,
      SAID.length,
    ]],
    ["what is not in its coding", {}, headOf("text/event-stream", ["Content-Encoding", "gzip"]), [
      "x".repeat(400),
    ], [10, 400]],
    ["text of events", {}, headOf("text/event-stream"), [EVENTS[1] ?? ""], [10, 100]],
  ];
  for (const [name, asked, head, pieces, expected] of rows) {
    await t.step(name, async () => {
      const { watch, used } = setUp(asked);
      await pull(watch.body(head, new PiecedBody(["", ...pieces])));
      const found = await watch.end(WHOLE);
      assertEquals(found && [found.input, found.output, found.isEstimated], expected && [...expected, true]);
      assertEquals(used(), expected ? expected[0] + expected[1] : 0);
    });
  }
});

Deno.test("an answer without a body, and what was upgraded, count by what passed", async (t) => {
  const rows: readonly (readonly [string, Asked, status: number, [number, number] | undefined])[] = [
    ["no answer", {}, 0, [10, 100]],
    ["a refusal", {}, 403, undefined],
    ["an upgrade", { method: "GET", protocol: "websocket" }, 101, [10, 100]],
    ["an upgrade of HTTP/2", { method: "GET", protocol: "websocket" }, 200, [10, 100]],
    ["an upgrade of HTTP/2, the last of its class", { method: "GET", protocol: "websocket" }, 299, [10, 100]],
    ["an upgrade that was refused", { method: "GET", protocol: "websocket" }, 300, undefined],
    ["an upgrade without an answer", { method: "GET", protocol: "websocket" }, 199, undefined],
    ["no upgrade", { method: "GET" }, 200, undefined],
  ];
  for (const [name, asked, status, expected] of rows) {
    await t.step(name, async () => {
      const { watch } = setUp(asked);
      const empty = new PiecedBody([]);
      assertEquals(watch.body(headOf("application/json"), empty), empty); // nothing to read
      const found = await watch.end({ ...WHOLE, status });
      assertEquals(found && [found.input, found.output], expected);
    });
  }
  await t.step("an upgrade that was refused and cut", async () => {
    const { watch } = setUp({ method: "GET", protocol: "websocket" });
    assertEquals(await watch.end({ ...WHOLE, status: 300, isWhole: false }), undefined);
  });
  await t.step("an upgrade that was answered with a body", async () => {
    const { watch } = setUp({ method: "GET", protocol: "websocket" });
    await pull(watch.body(headOf("text/plain"), new PiecedBody(["x".repeat(400)])));
    assertEquals(await watch.end(WHOLE), undefined);
  });
});

Deno.test("only content counts: framing among the bytes and trailers do not", async () => {
  const { watch, used } = setUp();
  const inner = new PiecedBody(["190\r\n" + "x".repeat(400) + "\r\n0\r\nA: b\r\n\r\n"]);
  let asked = 0;
  const framed = Object.assign(inner, {
    recordContent: () => void asked++,
    content: [{ start: 5, end: 405 }, { start: 410, end: 414, isTrailer: true }],
  });
  const body = watch.body(headOf("application/octet-stream"), framed);
  body.recordContent?.();
  assertEquals([asked, body.content], [1, framed.content]);
  await pull(body);
  assertEquals(await watch.end(WHOLE), { input: 10, output: 100, isEstimated: true });
  assertEquals(used(), 110);
});

Deno.test("an answer whose sender has gone says so, and the connection may be used before all is decoded", async () => {
  const { watch } = setUp();
  const body = watch.body(headOf("text/plain"), new PiecedBody(["a"], "cut"));
  assertEquals(body.take().length, 1);
  assertEquals([await body.fill(), body.done], [false, false]);
  const { watch: other, used } = setUp();
  const bytes = Uint8Array.from(gzipSync(SAID));
  const packed = other.body(
    headOf("application/json", ["Content-Encoding", "gzip"]),
    new PiecedBody([bytes]),
  );
  packed.take().fill(0); // another answer is there already
  await other.end(WHOLE);
  assertEquals(used(), 35);
});

Deno.test("isModel() is true of a budget of tokens, and of the paths of models", () => {
  const rows: readonly (readonly [readonly string[] | undefined, string, boolean])[] = [
    [undefined, "/a", false],
    [undefined, "/v1/messages", true],
    [["requests=1/h", "tokens=1/h"], "/a", true],
    [["requests=1/h"], "/a", false],
    [[], "/a", false],
  ];
  for (const [budget, path, expected] of rows) assertEquals(isModel(budget, path), expected);
});
