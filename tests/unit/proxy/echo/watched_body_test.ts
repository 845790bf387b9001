import { assertEquals, assertRejects } from "@std/assert";
import * as zlib from "node:zlib";
import { Deadlines } from "../../../../core/deadlines.ts";
import { Needles } from "../../../../proxy/echo/needles.ts";
import { WatchedBody } from "../../../../proxy/echo/watched_body.ts";
import { PiecesBody } from "./support.ts";

Deno.test("drop() ends the decoder of an answer that is not read to its end", async () => {
  const bytes = zlib.gzipSync(crypto.getRandomValues(new Uint8Array(40_000)));
  const gunzip = zlib.createGunzip();
  const body = new WatchedBody(
    new PiecesBody([bytes.subarray(0, 9_000), bytes.subarray(9_000)]),
    () => gunzip,
    { needles: new Needles(["sk-planted"]), deadlines: new Deadlines(), onEcho: () => true, isPart: false },
  );
  await body.fill();
  assertEquals(body.take().length, 9_000);
  assertEquals(gunzip.destroyed, false);
  body.drop();
  assertEquals(gunzip.destroyed, true);
});

Deno.test("the beginning of a credential waits for its end, whatever decodes to nothing in between", async () => {
  const deflate = zlib.createGzip();
  const pieces: Uint8Array[] = [];
  const written: Uint8Array[] = [];
  deflate.on("data", (bytes: Uint8Array) => written.push(bytes));
  for (const text of ["x sk-pla", "", "nted y"]) {
    if (text !== "") deflate.write(text);
    await new Promise<void>((resolve) => deflate.flush(zlib.constants.Z_FULL_FLUSH, () => resolve()));
    pieces.push(new Uint8Array(await new Blob(written.splice(0) as Uint8Array<ArrayBuffer>[]).arrayBuffer()));
  }
  deflate.destroy();
  const empty = Uint8Array.of(0, 0, 0, 0xff, 0xff); // a stored block without content
  const [first = empty, , last = empty] = pieces;
  const body = new WatchedBody(new PiecesBody([first, empty, last]), () => zlib.createGunzip(), {
    needles: new Needles(["sk-planted"]),
    deadlines: { start: () => ({ restart: () => {}, stop: () => {} }) },
    onEcho: () => {
      throw new Error("found");
    },
  });
  for (let i = 0; i < 2; i++) {
    await body.fill();
    assertEquals(body.take().length, 0);
  }
  await assertRejects(() => body.fill(), Error, "found");
  body.drop();
});

/** Looks for one text in a body that is compressed, or says so. */
function watchedBody(pieces: readonly Uint8Array[], { isPart = false, onEcho = () => true }: {
  readonly isPart?: boolean;
  readonly onEcho?: (count: number) => boolean;
} = {}) {
  const inner = new PiecesBody(pieces);
  let releases = 0;
  inner.release = () => void releases++;
  const body = new WatchedBody(inner, () => zlib.createGunzip(), {
    needles: new Needles(["sk-planted"]),
    deadlines: { start: () => ({ restart: () => {}, stop: () => {} }) },
    onEcho,
    isPart,
  });
  return { inner, body, releases: () => releases };
}

Deno.test("WatchedBody lets a piece leave once it was looked at, and ends with its last", async () => {
  const bytes = zlib.gzipSync("a text without a credential");
  const { inner, body, releases } = watchedBody([bytes.subarray(0, 12), bytes.subarray(12)]);
  assertEquals([body.takeFirst().length, body.take().length, body.done, body.closeDelimited, body.trailers], [
    0,
    0,
    false,
    false,
    undefined,
  ]);
  assertEquals([await body.fill(), body.done], [true, false]);
  assertEquals(body.take(), bytes.subarray(0, 12));
  assertEquals(body.take().length, 0);
  body.release();
  assertEquals(await body.fill(), true);
  assertEquals([inner.done, body.done, body.isReleased], [true, false, false]);
  assertEquals(body.take(), bytes.subarray(12));
  body.release();
  assertEquals([body.done, body.isReleased, releases()], [true, true, 2]);
});

Deno.test("WatchedBody says when its sender has gone", async () => {
  const { inner, body } = watchedBody([new Uint8Array(1)]);
  inner.fill = () => Promise.resolve(false);
  assertEquals([await body.fill(), body.done], [false, false]);
  body.drop();
});

Deno.test("WatchedBody finds a credential in what decodes, in the bytes as they are, and in a chunk's extension", async (t) => {
  const bytes = zlib.gzipSync("sk-planted");
  const plain = new TextEncoder().encode("sk-planted and no gzip");
  const rows: readonly (readonly [name: string, pieces: readonly Uint8Array[], counts: readonly number[]])[] =
    [
      ["decoded", [bytes], [1]],
      ["as it is", [plain], [1]],
      ["as it is, across", [plain.subarray(0, 3), plain.subarray(3)], [1]],
      ["twice", [zlib.gzipSync("sk-planted sk-planted")], [2]],
    ];
  for (const [name, pieces, expected] of rows) {
    await t.step(name, async () => {
      const counts: number[] = [];
      const isPlain = name.startsWith("as");
      const { body } = watchedBody(pieces, { isPart: isPlain, onEcho: (count) => counts.push(count) > 0 });
      while (!body.done) {
        await body.fill();
        body.take();
      }
      assertEquals(counts, expected);
    });
  }
  await t.step("in an extension", async () => {
    const counts: number[] = [];
    const framing = new TextEncoder().encode(`${bytes.length.toString(16)};x=sk-planted-and-more\r\n`);
    const clean = zlib.gzipSync("clean");
    const piece = new Uint8Array([...framing, ...clean]);
    const { inner, body } = watchedBody([piece], { onEcho: (count) => counts.push(count) > 0 });
    Object.assign(inner, { content: [{ start: framing.length, end: piece.length }] });
    await body.fill();
    assertEquals([counts, body.take().length], [[1], piece.length]);
    const quiet = new TextEncoder().encode(`${bytes.length.toString(16)};x=nothing-of-that-kind\r\n`);
    const other = watchedBody([new Uint8Array([...quiet, ...clean])], {
      onEcho: (count) => counts.push(count) > 0,
    });
    Object.assign(other.inner, { content: [{ start: quiet.length, end: quiet.length + clean.length }] });
    await other.body.fill();
    assertEquals(counts, [1]);
  });
  await t.step("and decodes no trailer", async () => {
    const piece = zlib.gzipSync("clean");
    const trailer = new TextEncoder().encode("X-Trailer: a");
    const { inner, body } = watchedBody([new Uint8Array([...piece, ...trailer])]);
    Object.assign(inner, {
      content: [{ start: 0, end: piece.length }, {
        start: piece.length,
        end: piece.length + trailer.length,
        isTrailer: true,
      }],
    });
    await body.fill();
    assertEquals(body.take().length, piece.length + trailer.length);
  });
});

Deno.test("WatchedBody holds what has begun within 256 KiB, in the bytes as they are too", async () => {
  for (const [length, isHeld] of [[262_144, true], [262_145, false]] as const) {
    const piece = new TextEncoder().encode("sk-pla".padStart(length, "x"));
    const { body, releases } = watchedBody([piece, new TextEncoder().encode("net")], { isPart: true });
    await body.fill();
    assertEquals([body.take().length, releases()], isHeld ? [0, 1] : [length, 0]);
    await body.fill();
    assertEquals(body.take().length, isHeld ? length + 3 : 3);
    body.drop();
  }
});

Deno.test("WatchedBody lets go what it holds when more does not come in time", async () => {
  const piece = new TextEncoder().encode("x sk-pla");
  let late = () => {};
  const inner = new PiecesBody([piece, piece]);
  const body = new WatchedBody(inner, () => zlib.createGunzip(), {
    needles: new Needles(["sk-planted"]),
    deadlines: {
      start: (_ms, pass) => {
        late = pass;
        return { restart: () => {}, stop: () => {} };
      },
    },
    onEcho: () => true,
    isPart: true,
  });
  await body.fill();
  assertEquals(body.take().length, 0);
  let releases = 0;
  inner.release = () => void releases++;
  const gate = Promise.withResolvers<boolean>();
  inner.fill = () => gate.promise;
  const filled = body.fill();
  late();
  assertEquals([await filled, body.take().length], [true, 8]);
  let takes = 0;
  const { take } = inner;
  inner.take = () => (takes++, take.call(inner));
  const again = body.fill();
  body.release(); // not while more is waited for
  assertEquals([releases, takes], [0, 0]);
  gate.resolve(false);
  assertEquals(await again, false);
  body.drop();
});

Deno.test("WatchedBody waits for a moment only while it holds something, were it a byte", async () => {
  const starts: number[] = [];
  const pieces = ["x", "sk-", "p", "x"].map((text) => new TextEncoder().encode(text));
  const body = new WatchedBody(new PiecesBody(pieces), () => zlib.createGunzip(), {
    needles: new Needles(["sk-planted"]),
    deadlines: {
      start: (ms) => {
        starts.push(ms);
        return { restart: () => {}, stop: () => {} };
      },
    },
    onEcho: () => true,
    isPart: true,
  });
  const lengths: number[] = [];
  for (let i = 0; i < 4; i++) {
    await body.fill();
    lengths.push(body.take().length);
  }
  assertEquals([lengths, starts], [[1, 3, 0, 2], [250]]);
});

Deno.test("WatchedBody passes what is here before it waits, and ends its decoder with the last of it", async () => {
  const bytes = zlib.gzipSync("a text");
  const inner = new PiecesBody([bytes]);
  await inner.fill();
  inner.fill = () => Promise.reject(new Error("waited"));
  const gunzip = zlib.createGunzip();
  const body = new WatchedBody(inner, () => gunzip, {
    needles: new Needles(["sk-planted"]),
    deadlines: { start: () => ({ restart: () => {}, stop: () => {} }) },
    onEcho: () => true,
  });
  assertEquals([await body.fill(), body.take().length, body.done, gunzip.destroyed], [
    true,
    bytes.length,
    true,
    true,
  ]);
});
