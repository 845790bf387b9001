/** A change of protocol: what the client is told, what passes then, and what ends it. */
import { assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { ProxyError } from "../../../../core/errors.ts";
import type { Course } from "../../../../proxy/course.ts";
import type { EchoGuard } from "../../../../proxy/echo/echo_guard.ts";
import type { AdmittedExchange } from "../../../../proxy/exchange.ts";
import { upgrade } from "../../../../proxy/forward/upgrade.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import type { ResponseHead, UpstreamLeg } from "../../../../proxy/message/message.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";

const LINES = [["Upgrade", "websocket"], ["Connection", "Upgrade"], ["Sec-WebSocket-Accept", "x"]] as const;
const headOf = (version: ResponseHead["version"]): ResponseHead => ({
  ...{ version, status: version === "HTTP/2" ? 200 : 101, reason: "" },
  fields: LINES.map(([name, value]) => makeField(name, value)),
});
const bytes = (text: string) => Uint8Array.from(Buffer.from(text));

interface Options {
  readonly version?: ResponseHead["version"];
  readonly protocol?: string;
  readonly guard?: EchoGuard;
  readonly failure?: ProxyError;
  readonly isGone?: boolean;
}

/** A client and an upstream that speak another protocol from now on. */
function setUp({ version = "HTTP/1.1", protocol, guard, failure, isGone = false }: Options = {}) {
  const [far, near] = makePipe();
  const [away, upstream] = makePipe();
  const heads: string[][] = [];
  const cuts: Record<string, () => void> = {};
  const touches: number[] = [];
  const held = new Set<() => void>();
  const deadlines = new FakeDeadlines();
  const raw = (name: string, stream: typeof near) => ({
    stream,
    first: bytes(`(first of ${name})`),
    onCut: (listener: () => void) => void (cuts[name] = listener),
  });
  const exchange = {
    session: {
      context: {
        limits: { ...DEFAULT_LIMITS, tunnelIdleTimeoutMs: 70_000, halfCloseTimeoutMs: 9_000 },
        deadlines,
        grants: {
          hold: (_grant: unknown, end: () => void) => (held.add(end), () => held.delete(end)),
        },
      },
    },
    request: {
      switchProtocols: ({ fields }: ResponseHead) => {
        heads.push(fields.map(({ name, value }) => `${name}: ${value}`));
        return isGone ? Promise.reject(new Error("reset")) : Promise.resolve(raw("client", near));
      },
    },
    ...(protocol === undefined ? {} : { upgrade: { protocol } }),
  } as unknown as AdmittedExchange;
  const course: Course = { failure, touch: (ms) => void touches.push(ms), fail: () => {} };
  const leg = { takeOver: () => raw("upstream", upstream) } as unknown as UpstreamLeg;
  const upgraded = upgrade(exchange, { leg, head: headOf(version), course, guard });
  return { upgraded, far, away, near, upstream, heads, cuts, touches, held, deadlines };
}

async function readText({ far }: { far: ReturnType<typeof makePipe>[0] }): Promise<string> {
  const into = new Uint8Array(1_000);
  const count = await far.read(into);
  return count === null ? "its end" : Buffer.from(into.subarray(0, count)).toString();
}

Deno.test("upgrade() tells a client of HTTP/1.1 to what it changed, and one of HTTP/2 nothing of a connection", async () => {
  const rows = [
    ["HTTP/1.1", ["Sec-WebSocket-Accept: x", "Connection: Upgrade", "Upgrade: websocket"]],
    ["HTTP/2", ["Sec-WebSocket-Accept: x"]],
  ] as const;
  for (const [version, fields] of rows) {
    const { upgraded, heads, far, away } = setUp({ version });
    await settle();
    assertEquals<unknown>(heads, [fields]);
    far.close();
    away.close();
    await upgraded;
  }
});

Deno.test("upgrade() joins both with what was read ahead, until they have ended, and counts what passed", async () => {
  const { upgraded, far, away, held, touches, deadlines } = setUp();
  assertEquals([await readText({ far }), await readText({ far: away })], [
    "(first of upstream)",
    "(first of client)",
  ]);
  assertEquals([held.size, touches, deadlines.left], [1, [Number.MAX_SAFE_INTEGER], [70_000]]);
  await far.write(bytes("ping"));
  assertEquals(await readText({ far: away }), "ping");
  await far.closeWrite();
  assertEquals(await readText({ far: away }), "its end");
  await settle();
  assertEquals([held.size, deadlines.left], [1, [9_000]]);
  await away.write(bytes("pong!"));
  assertEquals(await readText({ far }), "pong!");
  await away.closeWrite();
  assertEquals(await upgraded, {
    sent: "(first of client)ping".length,
    received: "(first of upstream)pong!".length,
    timedOut: false,
  });
  assertEquals(held.size, 0);
});

Deno.test("upgrade() gives whose other side has ended as long as any, and ends what is idle", async () => {
  const { upgraded, away, deadlines } = setUp();
  await away.closeWrite();
  await settle();
  assertEquals(deadlines.left, [9_000]);
  deadlines.advance(9_000);
  assertEquals((await upgraded).timedOut, true);
});

Deno.test("upgrade() ends both when either is cut, or when its grant ends", async (t) => {
  const ends: Readonly<Record<string, (stage: ReturnType<typeof setUp>) => void>> = {
    "the client": ({ cuts }) => cuts["client"]?.(),
    "the upstream": ({ cuts }) => cuts["upstream"]?.(),
    "the grant": ({ held }) => held.forEach((end) => end()),
  };
  for (const [name, end] of Object.entries(ends)) {
    await t.step(name, async () => {
      const stage = setUp();
      await settle();
      assertEquals([stage.near.ended, stage.upstream.ended], ["no", "no"]);
      end(stage);
      await settle();
      assertEquals([stage.near.ended, stage.upstream.ended, stage.held.size], ["closed", "closed", 0]);
      assertEquals((await stage.upgraded).timedOut, false);
    });
  }
});

Deno.test("upgrade() has what the upstream sends looked at, and its frames where they are a WebSocket's", async (t) => {
  for (const [protocol, isWebSocket] of [["websocket", true], ["other", false]] as const) {
    await t.step(protocol, async () => {
      const seen: unknown[] = [];
      const [there, guarded] = makePipe();
      const guard = {
        head: (head: ResponseHead) => ({ ...head, fields: [makeField("Masked", "1")] }),
        socket: (_stream: unknown, { first, isWebSocket }: { first: Uint8Array; isWebSocket: boolean }) => {
          seen.push([Buffer.from(first).toString(), isWebSocket]);
          return guarded;
        },
      } as unknown as EchoGuard;
      const { upgraded, heads, far } = setUp({ protocol, guard });
      await there.write(bytes("looked at"));
      assertEquals(await readText({ far }), "looked at"); // and nothing before it
      assertEquals([heads, seen], [[["Masked: 1"]], [["(first of upstream)", isWebSocket]]]);
      far.close();
      there.close();
      await upgraded;
    });
  }
});

Deno.test("upgrade(): a client that is gone is told from a request that had ended for another reason", async () => {
  const gone = await assertRejects(() => setUp({ isGone: true }).upgraded, ProxyError);
  assertEquals(gone.code, "client.closed");
  const failure = new ProxyError("policy.revoked", "revoked");
  assertEquals(await assertRejects(() => setUp({ isGone: true, failure }).upgraded), failure);
});
