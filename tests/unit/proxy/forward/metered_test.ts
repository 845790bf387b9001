import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import type { Meter } from "../../../../proxy/decide/budgets.ts";
import type { AdmittedExchange } from "../../../../proxy/exchange.ts";
import { metered, meteredStream } from "../../../../proxy/forward/metered.ts";
import type { IncomingRequest } from "../../../../proxy/message/message.ts";
import { makeExchange, PiecedBody } from "../../../support/make_exchange.ts";
import { makePipe } from "../../../wire/pipe.ts";
import { Engine } from "../../../wire/harness.ts";

const HEAD = { version: "HTTP/1.1", status: 200, reason: "OK", fields: [] } as const;

/** An exchange under a budget of the client's, and what was done with the request inside. */
async function setUp(budget: readonly string[] | undefined, more: { path?: string; ofRule?: string[] } = {}) {
  await using engine = new Engine();
  if (budget) engine.policy.setBudget("one", budget);
  const rule = engine.policy.allow("one", {
    host: "*.test",
    ...(more.ofRule ? { budget: more.ofRule } : {}),
  });
  const { exchange } = makeExchange(engine.context, { body: new PiecedBody(["abc", "", "de"]) });
  const calls: unknown[][] = [];
  const [near, far] = makePipe();
  const note = (name: string) => (...args: unknown[]) => {
    calls.push([name, ...args]);
    return Promise.resolve();
  };
  const request = {
    ...{ head: exchange.request.head, body: exchange.request.body },
    ...{ watch: note("watch"), inform: note("inform"), begin: note("begin"), write: note("write") },
    ...{ end: note("end"), answer: note("answer"), cut: note("cut") },
    switchProtocols: (head: unknown) => {
      calls.push(["switchProtocols", head]);
      const onCut = (listener: () => void) => void calls.push(["onCut", listener]);
      return Promise.resolve({ stream: near, first: Buffer.from("early"), onCut });
    },
  } as unknown as IncomingRequest;
  const [client = { name: "one", version: "1" }] = engine.policy.clients();
  const target = {
    scheme: "https",
    host: "up.test",
    port: 443,
    originForm: "/",
    path: more.path ?? "/a",
    query: undefined,
  };
  const admitted = { ...exchange, request, client, rule, target } as unknown as AdmittedExchange;
  const made = metered(admitted);
  const ups: number[] = [];
  const downs: number[] = [];
  const { meter } = made;
  let estimates = 0;
  if (meter) {
    const { up, down, estimateTokens } = meter;
    Object.assign(
      meter,
      {
        up: (bytes: number) => (ups.push(bytes), up.call(meter, bytes)),
        down: (bytes: number) => (downs.push(bytes), down.call(meter, bytes)),
        estimateTokens: () => (estimates++, estimateTokens.call(meter)),
      } satisfies Partial<Meter>,
    );
  }
  return { admitted, made, calls, ups, downs, far, estimates: () => estimates };
}

Deno.test("metered() wraps nothing where there is no budget, and has a meter for what it wraps", async () => {
  const { admitted, made } = await setUp(undefined);
  assertStrictEquals(made, admitted);
  const under = await setUp(["bytes-up=1K/d"]);
  assert(under.made.meter);
  assertEquals(under.made.request.head, under.admitted.request.head);
  const [stream] = makePipe();
  assertStrictEquals(meteredStream(stream, undefined), stream);
});

Deno.test("metered() counts a body as it is taken, and leaves all else of it as it is", async () => {
  const { made: { request: { body } }, admitted: { request: { body: inner } }, ups } = await setUp([
    "bytes-up=1K/d",
  ]);
  assertEquals([body.done, body.isReleased, body.closeDelimited, body.trailers], [
    false,
    false,
    false,
    undefined,
  ]);
  assertEquals([body.takeFirst().length, Buffer.from(body.take()).toString()], [0, "abc"]);
  body.release();
  assertEquals([(inner as PiecedBody).releases, await body.fill()], [1, true]);
  body.take();
  assertEquals(Buffer.from(body.take()).toString(), "de");
  assertEquals([ups, body.done, body.isReleased], [[0, 3, 0, 2], true, true]);
});

Deno.test("metered() counts an answer as it leaves, and hands everything on", async () => {
  const { made: { request }, calls, downs } = await setUp(["bytes-down=1K/d"]);
  const body = new PiecedBody([]);
  const [piece, why, onGone] = [Buffer.from("abcd"), new Error("x"), () => {}];
  const whole = { status: 1, fields: [], body: piece };
  request.watch(onGone);
  await request.inform(HEAD);
  await request.begin(HEAD, Buffer.from("abc"), body);
  await request.write(piece, true);
  request.end(undefined);
  await request.answer(whole);
  request.cut(why);
  assertEquals(calls, [
    ...[["watch", onGone], ["inform", HEAD], ["begin", HEAD, Buffer.from("abc"), body], [
      "write",
      piece,
      true,
    ]],
    ...[["end", undefined], ["answer", whole], ["cut", why]],
  ]);
  assertEquals(downs, [3, 4]); // the proxy's own answer is no traffic
});

Deno.test("metered() counts both directions of what was upgraded", async () => {
  const { made: { request }, calls, ups, downs, far, estimates } = await setUp(["bytes-up=1K/d"]);
  const { stream, first, onCut } = await request.switchProtocols(HEAD);
  const listener = () => {};
  onCut?.(listener);
  assertEquals([calls, Buffer.from(first).toString()], [
    [["switchProtocols", HEAD], ["onCut", listener]],
    "early",
  ]);
  await far.write(Buffer.from("12"));
  assertEquals(await stream.read(new Uint8Array(9)), 2);
  await stream.write(Buffer.from("3456"));
  await far.closeWrite();
  assertEquals(await stream.read(new Uint8Array(9)), null);
  assertEquals([ups, downs, estimates()], [[5, 2, 0], [4], 0]);
});

Deno.test("metered() estimates the tokens of a socket where a model is asked and tokens are counted", async () => {
  const rows = [
    [["tokens=1K/d"], { path: "/v1/realtime" }, 1],
    [["tokens=1K/d"], { path: "/a" }, 0],
    [["bytes-up=1K/d"], { path: "/v1/realtime" }, 0],
    [undefined, { path: "/a", ofRule: ["tokens=1K/d"] }, 1],
  ] as const;
  for (const [budget, more, expected] of rows) {
    const { made, estimates } = await setUp(budget, more as { path: string; ofRule?: string[] });
    await made.request.switchProtocols(HEAD);
    assertEquals(estimates(), expected);
  }
});
