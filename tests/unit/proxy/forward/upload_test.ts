import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import type { AdmittedExchange } from "../../../../proxy/exchange.ts";
import { type BodyRewriter, Upload } from "../../../../proxy/forward/upload.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import type { HeaderField } from "../../../../proxy/message/fields.ts";
import type { ResponseHead, UpstreamLeg } from "../../../../proxy/message/message.ts";
import { SentBody } from "../../../../proxy/message/sent_body.ts";
import { PiecedBody } from "../../../support/make_exchange.ts";
import { settle } from "../../../wire/pipe.ts";

interface Options {
  readonly body: PiecedBody;
  readonly lines?: readonly (readonly [string, string])[];
  readonly version?: "HTTP/1.1" | "HTTP/2";
  readonly maxHeldBytesPerClient?: number;
  /** What a write of the upstream's does; it is given the piece. */
  readonly onWrite?: (piece: Uint8Array) => Promise<void>;
}

/** The upload of a request, and what came of it: bytes and the end that the upstream got, and what the course was told. */
function setUp(
  { body, lines = [], version = "HTTP/1.1", maxHeldBytesPerClient = 1_000_000_000, onWrite }: Options,
) {
  const limits = {
    ...{ ...DEFAULT_LIMITS, maxHeldBytes: maxHeldBytesPerClient, maxHeldBytesPerClient },
    ...{ bodyIdleTimeoutMs: 1_000, responseTimeoutMs: 2_000 },
  };
  const admission = new Admission(limits);
  const informed: ResponseHead[] = [];
  const head = { method: "POST", target: "/", version, fields: lines.map((line) => makeField(...line)) };
  const inform = (head: ResponseHead) => Promise.resolve(void informed.push(head));
  const exchange = {
    ...{ request: { head, body, inform }, session: { context: { admission, limits } } },
    ...{ client: { name: "one", version: "1" }, rule: {} },
  } as unknown as AdmittedExchange;
  const told: string[] = [];
  const course = {
    failure: undefined as ProxyError | undefined,
    touch: (ms: number) => void told.push(String(ms)),
    fail: ({ code }: ProxyError) => void told.push(code),
  };
  const sent: string[] = [];
  const leg = {
    write: async (piece: Uint8Array, isLast: boolean) => {
      await onWrite?.(piece);
      sent.push(Buffer.from(piece).toString() + (isLast ? "!" : ""));
    },
    end: (trailers: readonly HeaderField[] | undefined) =>
      void sent.push(`end ${trailers?.length ?? "none"}`),
  } as unknown as UpstreamLeg;
  /** True when all of it is free, and no more than that. */
  const room = () => {
    const held = admission.held("one");
    if (!held.take(maxHeldBytesPerClient)) return false;
    const isMore = held.take(1);
    held.give(maxHeldBytesPerClient);
    return !isMore;
  };
  const upload = new Upload(exchange, course);
  const start = async () => {
    let isSent = false;
    upload.start(leg, () => isSent = true);
    await settle();
    return isSent;
  };
  return { upload, course, informed, told, sent, start, room, body };
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

Deno.test("Upload sends each piece once, the last one as the last, and moves the deadline with each wait", async () => {
  const { upload, told, sent, start, body } = setUp({ body: new PiecedBody(["ab", "", "cde", "f"]) });
  assertEquals([upload.hasBegun, upload.sent, upload.waitsForClient], [false, 0, false]);
  assertEquals(upload.first().length, 0);
  assertEquals(upload.hasBegun, false);
  assertEquals(await start(), true);
  assertEquals(sent, ["ab", "cde", "f!", "end none"]);
  assertEquals([upload.hasBegun, upload.sent, upload.waitsForClient, body.releases], [true, 6, false, 3]);
  assertEquals(told, ["1000", "1000", "1000", "2000"]);
});

Deno.test("Upload with trailers ends with them, and no piece is the last", async () => {
  const body = new PiecedBody(["ab"]);
  Object.assign(body, { trailers: [makeField("a", "b")] });
  const { sent, start } = setUp({ body });
  assertEquals([await start(), sent], [true, ["ab", "end 1"]]);
});

Deno.test("Upload sends what is there with the head, and counts and keeps it like the rest", async () => {
  const body = new PiecedBody(["cd"]);
  body.takeFirst = () => Buffer.from("ab");
  const { upload, sent, start } = setUp({ body });
  const { kept } = new Admission(DEFAULT_LIMITS);
  upload.kept = new SentBody(kept);
  assertEquals(Buffer.from(upload.first()).toString(), "ab");
  assertEquals([upload.hasBegun, upload.sent], [true, 2]);
  await start();
  assertEquals([sent, upload.sent, Buffer.from(upload.kept.join()).toString()], [
    ["cd!", "end none"],
    4,
    "abcd",
  ]);
});

Deno.test("Upload counts a single byte that leaves with the head, and nothing where nothing does", () => {
  for (const text of ["a", ""]) {
    const body = new PiecedBody([]);
    body.takeFirst = () => Buffer.from(text);
    const { upload } = setUp({ body });
    assertEquals(upload.first().length, text.length);
    assertEquals([upload.hasBegun, upload.sent], [text !== "", text.length]);
  }
});

Deno.test("Upload says who is waited for: the client for its pieces, the upstream while it takes none", async () => {
  const gate = Promise.withResolvers<void>();
  const { upload, start } = setUp({ body: new PiecedBody(["ab"], "hangs"), onWrite: () => gate.promise });
  assertEquals(await start(), false);
  assertEquals([upload.waitsForClient, upload.sent], [false, 0]);
  gate.resolve();
  await settle();
  assertEquals([upload.waitsForClient, upload.sent], [true, 2]);
});

Deno.test("Upload ends the course when the client goes or sends what it must not, and not when the upstream breaks", async (t) => {
  const malformed = new PiecedBody(["ab", "x"]);
  malformed.take = () => {
    throw new ProxyError("client.malformed", "x");
  };
  const broken = new PiecedBody(["ab"], "hangs");
  broken.fill = () => Promise.reject(new Deno.errors.ConnectionReset("x"));
  const rows: readonly (readonly [string, Options, string[]])[] = [
    ["the client goes", { body: new PiecedBody(["ab"], "cut") }, ["1000", "1000", "client.closed"]],
    ["what it must not", { body: malformed }, ["client.malformed"]],
    ["its connection breaks", { body: broken }, ["1000", "1000", "client.closed"]],
    [
      "the upstream breaks",
      { body: new PiecedBody(["ab"]), onWrite: () => Promise.reject(new Error("x")) },
      [],
    ],
  ];
  for (const [name, options, expected] of rows) {
    await t.step(name, async () => {
      const { told, start, sent } = setUp(options);
      assertEquals([await start(), told, sent.some((each) => each.startsWith("end"))], [
        false,
        expected,
        false,
      ]);
    });
  }
});

Deno.test("Upload.hold() takes the whole body before its head, and gives its hash and then its bytes", async () => {
  const { upload, told, informed, room, body } = setUp({ body: new PiecedBody(["", "ab", "cd"]) });
  assertEquals(await upload.hold(), sha256("abcd"));
  assertEquals([body.releases, informed, upload.hasBegun, upload.waitsForClient, room()], [
    3,
    [],
    false,
    false,
    false,
  ]);
  assertEquals(told, ["1000", "1000", "2000"]);
  assertEquals(Buffer.from(upload.first()).toString(), "abcd");
  assertEquals([upload.sent, upload.hasBegun], [4, true]);
  upload.drop();
  assertEquals([room(), upload.first().length], [true, 0]);
  upload.drop();
  assertEquals(room(), true); // nothing is given back twice
});

Deno.test("Upload.hold() hashes what chunks hold, and HTTP/2's bytes as they are", async () => {
  const text = "2\r\nab\r\n0\r\n\r\n";
  const lines = [["Transfer-Encoding", "chunked"]] as const;
  const framed = setUp({ body: new PiecedBody([text.slice(0, 5), text.slice(5)]), lines });
  assertEquals(await framed.upload.hold(), sha256("ab"));
  assertEquals(Buffer.from(framed.upload.first()).toString(), text);
  const plain = setUp({ body: new PiecedBody([text]), lines, version: "HTTP/2" });
  assertEquals(await plain.upload.hold(), sha256(text));
});

Deno.test("Upload.hold() tells who waits for leave to go on, where there is a body", async () => {
  const lines = [["Expect", "100-continue"]] as const;
  const { upload, informed } = setUp({ body: new PiecedBody(["a"]), lines });
  await upload.hold();
  assertEquals(informed, [{ version: "HTTP/1.1", status: 100, reason: "Continue", fields: [] }]);
  const none = setUp({ body: new PiecedBody([]), lines });
  assertEquals([await none.upload.hold(), none.informed], [sha256(""), []]);
});

Deno.test("Upload.hold() waits for the client, ends with it, and goes no further once the request has ended", async () => {
  const slow = setUp({ body: new PiecedBody(["ab"], "hangs") });
  void slow.upload.hold();
  await settle();
  assertEquals([slow.upload.waitsForClient, slow.upload.hasBegun], [true, false]);
  const gone = setUp({ body: new PiecedBody(["ab"], "cut") });
  assertEquals((await assertRejects(() => gone.upload.hold(), ProxyError)).code, "client.closed");
  gone.upload.drop();
  assertEquals(gone.room(), true);
  const over = setUp({ body: new PiecedBody(["ab"]) });
  const failure = over.course.failure = new ProxyError("upstream.timeout", "x");
  assertStrictEquals(await over.upload.hold().catch((error) => error), failure);
  assertEquals(over.body.releases, 0);
});

Deno.test("Upload.hold() takes 32 MiB and no more, and no more than its client may hold", async () => {
  const most = 33_554_432;
  const whole = setUp({ body: new PiecedBody([new Uint8Array(most)]) });
  assertEquals((await whole.upload.hold()).length, 64);
  const more = setUp({ body: new PiecedBody([new Uint8Array(most), new Uint8Array(1)]) });
  const large = await assertRejects(() => more.upload.hold(), ProxyError);
  assertEquals([large.code, large.message.includes("its body has more than 33554432 bytes")], [
    "policy.signature",
    true,
  ]);
  const many = setUp({ body: new PiecedBody(["abcde", "f"]), maxHeldBytesPerClient: 5 });
  const full = await assertRejects(() => many.upload.hold(), ProxyError);
  assertEquals([full.code, full.reason], ["limit.reached", "quota"]);
  assertEquals(full.message, "Cannot sign the request: too many bodies are held to be signed");
  many.upload.drop();
  assertEquals(many.room(), true);
});

Deno.test("Upload with a rewriter sends what it makes, nothing with the head, and keeps nothing to send again", async () => {
  const calls: string[] = [];
  const rewriter: BodyRewriter = {
    push: (piece) => {
      const text = Buffer.from(piece).toString();
      calls.push(text);
      return Promise.resolve(Buffer.from(text === "hold" ? "" : text.toUpperCase()));
    },
    end: () => void calls.push("end"),
    drop: () => void calls.push("drop"),
  };
  const body = new PiecedBody(["hold", "ab", ""]);
  body.takeFirst = () => Buffer.from("first");
  const { upload, sent, start } = setUp({ body });
  const kept = new SentBody(new Admission(DEFAULT_LIMITS).kept);
  Object.assign(upload, { rewriter, kept });
  assertEquals([upload.first().length, upload.hasBegun], [0, false]);
  assertEquals(await start(), true);
  assertEquals([sent, kept.isWhole, upload.sent], [["AB", "end none"], false, 6]);
  assertEquals(calls, ["hold", "ab", "end"]);
  upload.drop();
  assertEquals(calls.at(-1), "drop");
});

Deno.test("Upload asks a rewriter whether it is whole before the last piece leaves", async () => {
  const rewriter: BodyRewriter = {
    push: (piece) => Promise.resolve(piece),
    end: () => {
      throw new ProxyError("policy.signature", "x");
    },
    drop: () => {},
  };
  const { upload, sent, told, start } = setUp({ body: new PiecedBody(["ab"]) });
  upload.rewriter = rewriter;
  assertEquals([await start(), sent, told], [false, [], ["policy.signature"]]);
});

Deno.test("Upload has begun once it may take something, though nothing is there yet", async () => {
  const { upload, start } = setUp({ body: new PiecedBody([], "hangs") });
  assertEquals([await start(), upload.hasBegun, upload.sent, upload.waitsForClient], [false, true, 0, true]);
});

Deno.test("Upload gives others a turn between the pieces of a large body", async () => {
  const { upload, start } = setUp({
    body: new PiecedBody(Array.from({ length: 40 }, () => new Uint8Array(262_144))),
  });
  assertEquals([await start(), upload.sent < 40 * 262_144], [false, true]);
  while (upload.sent < 40 * 262_144) await settle();
});
