/** What becomes of an answer that holds the credential: in its head, its fields, its body and behind a change of protocol. */
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import * as zlib from "node:zlib";
import { ProxyError } from "../../../../core/errors.ts";
import { Deadlines } from "../../../../core/deadlines.ts";
import { EchoGuard, ON_ECHO, type OnEcho } from "../../../../proxy/echo/echo_guard.ts";
import { MaskedBody } from "../../../../proxy/echo/masked_body.ts";
import { Needles } from "../../../../proxy/echo/needles.ts";
import { WatchedBody } from "../../../../proxy/echo/watched_body.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import type { ResponseHead } from "../../../../proxy/message/message.ts";
import { PiecesBody, readBody } from "./support.ts";

const SECRET = "sk-planted-0123456789";
const STARS = "*".repeat(SECRET.length);

const makeGuard = (onEcho: OnEcho) => new EchoGuard(new Needles([SECRET]), onEcho, new Deadlines());

function makeHead(fields: Readonly<Record<string, string>> = {}, status = 200, reason = "OK"): ResponseHead {
  return {
    version: "HTTP/1.1",
    status,
    reason,
    fields: Object.entries(fields).map(([name, value]) => makeField(name, value)),
  };
}

function assertEcho(error: ProxyError): void {
  assertEquals([error.code, error.message], [
    "upstream.echo",
    "Cannot pass the response on: it holds the credential of the request",
  ]);
}

Deno.test("there are three things to do about an echo", () => {
  assertEquals([...ON_ECHO], ["mask", "cut", "log"]);
});

Deno.test("EchoGuard.head() masks the reason and the fields, names included, and counts each", () => {
  const guard = makeGuard("mask");
  const clean = makeHead({ A: "b" });
  const passed = guard.head(clean);
  assertEquals([passed, guard.echoed], [clean, 0]);
  assertStrictEquals(passed.fields, clean.fields);
  const head = guard.head(
    makeHead({ A: "b", B: `x ${SECRET} ${SECRET}`, [SECRET]: "c" }, 302, `No ${SECRET}`),
  );
  assertEquals([head.status, head.reason], [302, `No ${STARS}`]);
  assertEquals(head.fields.map(({ line }) => line), ["A: b", `B: x ${STARS} ${STARS}`, `${STARS}: c`]);
  assertEquals(guard.echoed, 4);
  const again = makeHead({ A: "b", B: SECRET });
  assertStrictEquals(makeGuard("mask").fields(again.fields)[0], again.fields[0]);
});

Deno.test("EchoGuard.head() ends an answer under cut, and passes it as it is under log", () => {
  const heads = [makeHead({}, 200, SECRET), makeHead({ A: SECRET }), makeHead({ [SECRET]: "a" })];
  for (const head of heads) {
    const cut = makeGuard("cut");
    assertEcho(assertThrows(() => cut.head(head), ProxyError));
    assertEquals(cut.echoed, 1);
    const log = makeGuard("log");
    assertEquals([log.head(head), log.echoed], [head, 1]);
  }
});

const body = (...pieces: readonly (string | Uint8Array)[]) =>
  new PiecesBody(pieces.map((piece) => typeof piece === "string" ? Buffer.from(piece) : piece));

Deno.test("EchoGuard.body() masks what has no coding, or one that is not known, or more than one", async (t) => {
  for (const coding of [undefined, "identity", "compress", "gzip, br", "identity, identity"]) {
    await t.step(String(coding), async () => {
      const guard = makeGuard("mask");
      const masked = guard.body(
        makeHead(coding === undefined ? {} : { "Content-Encoding": coding }),
        body(`a ${SECRET} b`),
      );
      assert(masked instanceof MaskedBody);
      assertEquals(Buffer.from(await readBody(masked)).toString(), `a ${STARS} b`);
      assertEquals(guard.echoed, 1);
    });
  }
  await t.step("nothing of what is empty", () => {
    const empty = body();
    assertStrictEquals(makeGuard("mask").body(makeHead(), empty), empty);
  });
});

Deno.test("EchoGuard.body() ends a plain body under cut, and passes it under log", async () => {
  const cut = makeGuard("cut");
  assertEcho(await assertRejects(() => readBody(cut.body(makeHead(), body(SECRET))), ProxyError));
  const log = makeGuard("log");
  assertEquals(Buffer.from(await readBody(log.body(makeHead(), body(SECRET)))).toString(), SECRET);
  assertEquals([cut.echoed, log.echoed], [1, 1]);
});

Deno.test("EchoGuard.body() cuts a compressed body, whatever is asked for but log", async (t) => {
  const encoded = zlib.gzipSync(`a ${SECRET} b`);
  for (const coding of ["gzip", "identity, GZip"]) {
    for (const onEcho of ON_ECHO) {
      await t.step(`${coding} ${onEcho}`, async () => {
        const guard = makeGuard(onEcho);
        const watched = guard.body(makeHead({ "Content-Encoding": coding }), body(encoded));
        assert(watched instanceof WatchedBody);
        if (onEcho === "log") assertEquals(Buffer.from(await readBody(watched)), encoded);
        else assertEcho(await assertRejects(() => readBody(watched), ProxyError));
        assertEquals(guard.echoed, 1);
        guard.drop();
      });
    }
  }
});

Deno.test("a body that does not decode is refused, unless it is a part, or nothing would be cut from it", async (t) => {
  const spoilt = Uint8Array.from(zlib.gzipSync("a body that is longer than what is spoilt of it"));
  spoilt.fill(0xff, 10, 20);
  const rows: readonly (readonly [onEcho: OnEcho, status: number, isRefused: boolean])[] = [
    ["mask", 200, true],
    ["cut", 200, true],
    ["log", 200, false],
    ["mask", 206, false],
    ["mask", 207, true],
  ];
  for (const [onEcho, status, isRefused] of rows) {
    await t.step(`${onEcho} ${status}`, async () => {
      const guard = makeGuard(onEcho);
      const watched = guard.body(makeHead({ "Content-Encoding": "gzip" }, status), body(spoilt));
      if (!isRefused) return assertEquals(Buffer.from(await readBody(watched)), Buffer.from(spoilt));
      const error = await assertRejects(() => readBody(watched), ProxyError);
      assertEquals(error.code, "upstream.malformed");
    });
  }
});

Deno.test("EchoGuard.drop() ends what decodes, so that an answer that is not read holds no memory", async () => {
  const guard = makeGuard("mask");
  guard.drop(); // nothing is watched yet
  const encoded = zlib.gzipSync(crypto.getRandomValues(new Uint8Array(1_000)));
  const watched = guard.body(
    makeHead({ "Content-Encoding": "gzip" }),
    body(encoded.subarray(0, 500), encoded.subarray(500)),
  );
  await watched.fill();
  guard.drop();
  // What is decoded no more is not looked at, and breaks nothing.
  watched.take();
  await watched.fill();
  assertEquals(watched.take().length, encoded.length - 500);
});

Deno.test("EchoGuard.socket() masks or cuts what follows a change of protocol", async () => {
  const stream = () => ({
    read: () => Promise.resolve(null),
    write: (bytes: Uint8Array) => Promise.resolve(bytes.length),
    closeWrite: () => Promise.resolve(),
    close: () => {},
  });
  const first = Buffer.from(`a ${SECRET}`);
  const read = async (guard: EchoGuard, isWebSocket = false) => {
    const into = new Uint8Array(100);
    const count = await guard.socket(stream(), { first, isWebSocket }).read(into);
    return Buffer.from(into.subarray(0, count ?? 0)).toString();
  };
  const guard = makeGuard("mask");
  assertEquals([await read(guard), guard.echoed], [`a ${STARS}`, 1]);
  // As frames its first two bytes are a head that announces 32 bytes of payload.
  assertEquals(await read(guard, true), `a ${STARS}`);
  assertEcho(await assertRejects(() => read(makeGuard("cut")), ProxyError));
  assertEquals(await read(makeGuard("log")), `a ${SECRET}`);
});
