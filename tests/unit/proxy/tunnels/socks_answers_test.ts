import { Buffer } from "node:buffer";
import { assertEquals } from "@std/assert";
import { Deadlines } from "../../../../core/deadlines.ts";
import { type ErrorCode, ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import type { Reason } from "../../../../policy/reason.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import type { OpenSession } from "../../../../proxy/exchange.ts";
import { Grants } from "../../../../proxy/grants.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { serveSocks } from "../../../../proxy/tunnels/socks.ts";
import { TestPolicy } from "../../../support/test_policy.ts";

const TOKEN = "right-token";
const GREETING = [5, 1, 0];
const LOGIN = [5, 1, 2, 1, 0, TOKEN.length, ...Buffer.from(TOKEN)];
const REQUEST = [5, 1, 0, 3, 7, ...Buffer.from("up.test"), 1, 187];
const SOCKS4A = [4, 1, 1, 187, 0, 0, 0, 1, 0, ...Buffer.from("up.test"), 0];

interface Play {
  readonly sent?: readonly number[];
  /** Why nothing can be dialled. */
  readonly failure?: unknown;
  readonly isWritable?: boolean;
  readonly isLost?: boolean;
  readonly isTokenEndpoint?: boolean;
  readonly hasAnonymousPlace?: boolean;
  /** Of the connections of a client. */
  readonly hasPlace?: boolean;
  /** What the stream does when it is read beyond what was sent. */
  readonly end?: Error;
}

/** Plays a client from loopback to a proxy that passes `up.test:443` through, and can dial nothing. */
async function play(
  {
    sent = [...GREETING, ...REQUEST],
    failure,
    isWritable = true,
    isLost = false,
    isTokenEndpoint = false,
    ...more
  }: Play = {},
) {
  const policy = new TestPolicy();
  policy.addClient("one", TOKEN);
  policy.allow("one", { host: "up.test", ports: [443], passthrough: true });
  policy.lost = isLost;
  policy.isTokenEndpoint = () => isTokenEndpoint;
  const pieces = [Uint8Array.from(sent)];
  const answered: number[] = [];
  const records: Record<string, unknown>[] = [];
  const identified: string[] = [];
  const bugs: unknown[] = [];
  let closes = 0;
  const stream = {
    read: (into: Uint8Array) => {
      const piece = pieces.shift();
      if (!piece) return more.end ? Promise.reject(more.end) : Promise.resolve(null);
      into.set(piece);
      return Promise.resolve(piece.length);
    },
    write: (bytes: Uint8Array) => {
      answered.push(...bytes);
      return Promise.resolve(bytes.length);
    },
    closeWrite: () => Promise.resolve(),
    close: () => void closes++,
    abort: () => {},
  };
  const reader = new ByteReader(stream);
  await reader.fill();
  const limits = DEFAULT_LIMITS;
  const admission = new Admission(limits);
  let released = 0;
  const context = {
    ...{ limits, policy, mode: "strict", socksAuth: "optional", grants: new Grants(policy) },
    deadlines: new Deadlines(),
    clock: { now: () => 0, monotonic: () => 0 },
    admission: {
      tryAnonymous: () => {
        if (more.hasAnonymousPlace === false) return undefined;
        return () => void released++;
      },
      guesses: admission.guesses,
    },
    dialler: { dial: () => Promise.reject(failure) },
    audit: { isWritable, write: (record: Record<string, unknown>) => records.push(record) },
    reportBug: (error: unknown) => bugs.push(error),
  };
  const state = {
    source: "127.0.0.1",
    identify: (name: string) => {
      identified.push(name);
      return more.hasPlace ?? true;
    },
  };
  const session = { stream, reader, tunnel: undefined, origin: { src: "127.0.0.1:1" }, state, context };
  const opened = await serveSocks(session as unknown as OpenSession);
  const [record] = records;
  return {
    answered: Buffer.from(answered).toString("hex"),
    ...{ record, records, identified, bugs, closes, opened, released },
  };
}

const failed = (code: ErrorCode, reason: Reason) => new ProxyError(code, "no", { reason });

Deno.test("serveSocks() says with the protocol's code what kept a tunnel from opening", async (t) => {
  const rows: readonly (readonly [ErrorCode, Reason, code: number])[] = [
    ["upstream.refused", "connect-refused", 5],
    ["upstream.unreachable", "connect-unreachable", 4],
    ["upstream.timeout", "connect-timeout", 4],
    ["upstream.dns", "dns", 4],
    ["upstream.unreachable", "parent-unreachable", 4],
    ["upstream.unreachable", "parent-failed", 4],
    ["upstream.timeout", "parent-timeout", 4],
    ["upstream.address-denied", "address-denied", 2],
    ["upstream.tls", "parent-tls", 1],
    ["upstream.malformed", "parent-malformed", 1],
    ["limit.reached", "quota", 1],
  ];
  for (const [code, reason, expected] of rows) {
    await t.step(reason, async () => {
      const failure = failed(code, reason);
      const { answered, record, records, released, opened } = await play({ failure });
      assertEquals(answered, `0500050${expected}0001000000000000`);
      assertEquals([records.length, record?.reason, record?.verdict], [1, reason, "deny"]);
      assertEquals([released, opened], [1, undefined]);
      assertEquals((await play({ sent: SOCKS4A, failure })).answered, "005b000000000000");
    });
  }
});

Deno.test("serveSocks() logs who asked for what, and how", async (t) => {
  const failure = failed("upstream.refused", "connect-refused");
  const rows: readonly (readonly [string, Play, Readonly<Record<string, unknown>>])[] = [
    ["nobody", { failure }, { client: undefined, auth: "none", method: "SOCKS5" }],
    ["nobody, SOCKS4", { failure, sent: SOCKS4A }, { client: undefined, auth: "none", method: "SOCKS4" }],
    ["a client", { failure, sent: [...LOGIN, ...REQUEST] }, { client: "one", method: "SOCKS5" }],
  ];
  for (const [name, more, expected] of rows) {
    await t.step(name, async () => {
      const { record, identified } = await play(more);
      const origin = { src: "127.0.0.1:1" };
      assertEquals(record, {
        ...{ verdict: "deny", host: "up.test", port: 443, reason: "connect-refused", origin },
        ...expected,
      });
      assertEquals(identified.at(-1), expected.client ?? "-");
    });
  }
  await t.step("a refusal of the policy, with the mode", async () => {
    const { record } = await play({ failure: failed("upstream.address-denied", "address-denied") });
    assertEquals(record?.mode, "strict");
  });
});

Deno.test("serveSocks() opens nothing where nobody may, or nobody could say so later", async (t) => {
  const rows: readonly (readonly [string, Play, reason: string, answered: string])[] = [
    ["the log cannot be written", { isWritable: false }, "audit-write-failed", ""],
    ["the store is lost", { isLost: true }, "store-lost", "05000501"],
    ["the proxy renews credentials there", { isTokenEndpoint: true }, "token-endpoint", "05000502"],
    ["too many come without credentials", { hasAnonymousPlace: false }, "quota", "05000501"],
    [
      "no rule for everyone",
      { sent: [...GREETING, ...REQUEST.slice(0, -1), 188] },
      "auth-missing",
      "05000502",
    ],
    [
      "too many connections of the client",
      { sent: [...LOGIN, ...REQUEST], hasPlace: false },
      "quota",
      "050201000501",
    ],
  ];
  for (const [name, more, reason, answered] of rows) {
    await t.step(name, async () => {
      const played = await play({ ...more, failure: new Error("it was dialled") });
      assertEquals(played.record?.reason, reason);
      assertEquals(played.answered.slice(0, answered.length), answered);
      assertEquals([played.bugs, played.closes], [[], 1]);
    });
  }
});

Deno.test("serveSocks() takes a stream that broke for no bug, and closes it", async (t) => {
  const { BadResource, Interrupted, BrokenPipe, ConnectionReset, UnexpectedEof, NotConnected } = Deno.errors;
  for (const Broken of [BadResource, Interrupted, BrokenPipe, ConnectionReset, UnexpectedEof, NotConnected]) {
    await t.step(Broken.name, async () => {
      const { bugs, closes, records, answered } = await play({ sent: [5, 1], end: new Broken("no") });
      assertEquals([bugs, closes, records, answered], [[], 1, [], ""]);
    });
  }
  await t.step("another error", async () => {
    const bug = new TypeError("a bug");
    const { bugs, closes } = await play({ sent: [5, 1], end: bug });
    assertEquals([bugs, closes], [[bug], 1]);
  });
});
