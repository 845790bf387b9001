import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { Deadlines } from "../../../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { MaskedBody } from "../../../../proxy/echo/masked_body.ts";
import { Needles } from "../../../../proxy/echo/needles.ts";
import { renderingsOf } from "../../../../proxy/echo/renderings.ts";
import { responseBody } from "../../../../proxy/http1/body.ts";
import { PulledBody } from "../../../../proxy/http1/pulled_body.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { cutAt, PiecesBody, readBody } from "./support.ts";

const SECRET = "sk-planted-0123456789";
const needles = new Needles(renderingsOf([SECRET]));
const STARS = "*".repeat(SECRET.length);

/** The text as it may arrive: at most three letters of a credential, at its beginning, may have left before it was known to be one. */
function assertMasked(out: string, text: string): void {
  let settled = out;
  for (let at = text.indexOf(SECRET); at >= 0; at = text.indexOf(SECRET, at + SECRET.length)) {
    const begun = /^[^*]*/.exec(settled.slice(at, at + SECRET.length))?.[0] ?? "";
    assert(begun.length <= 3 && SECRET.startsWith(begun), settled);
    settled = settled.slice(0, at) + "*".repeat(begun.length) + settled.slice(at + begun.length);
  }
  assertEquals(settled, text.replaceAll(SECRET, STARS));
}

function maskedBody(pieces: readonly Uint8Array[], found: number[] = []): MaskedBody {
  return new MaskedBody(new PiecesBody(pieces), {
    needles,
    deadlines: new Deadlines(),
    onEcho: (count) => {
      found.push(count);
      return true;
    },
  });
}

Deno.test("MaskedBody masks the credential wherever the pieces are cut, and changes nothing else", async () => {
  const parts = fc.array(
    fc.oneof(
      {
        weight: 3,
        arbitrary: fc.constantFrom(SECRET, SECRET.slice(0, 9), "sk-p", "sk-", "s", SECRET.slice(4)),
      },
      fc.string({ maxLength: 12 }),
    ),
    { maxLength: 8 },
  );
  await fc.assert(
    fc.asyncProperty(parts, fc.array(fc.nat(), { maxLength: 12 }), async (texts, places) => {
      const text = texts.join("");
      const pieces = cutAt(Buffer.from(text, "utf8"), places).filter(({ length }) => length > 0);
      const out = await readBody(maskedBody(pieces));
      assertMasked(Buffer.from(out).toString("latin1"), Buffer.from(text, "utf8").toString("latin1"));
    }),
    { numRuns: 400 },
  );
});

Deno.test("MaskedBody masks across chunks, whose framing stays", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(), { maxLength: 10 }),
      fc.array(fc.nat(), { maxLength: 10 }),
      async (chunkPlaces, readPlaces) => {
        const text = `before ${SECRET} between ${SECRET}${SECRET} sk-planted after`;
        const chunks = cutAt(Buffer.from(text), chunkPlaces).filter(({ length }) => length > 0);
        const raw =
          chunks.map((chunk) => `${chunk.length.toString(16)};x=1\r\n${Buffer.from(chunk)}\r\n`).join("") +
          `0\r\nX-Trailer: ${SECRET}\r\n\r\n`;
        const reads = cutAt(Buffer.from(raw), readPlaces).filter(({ length }) => length > 0);
        const reader = new ByteReader({
          read: (into) => {
            const next = reads.shift();
            if (!next) return Promise.resolve(null);
            into.set(next);
            return Promise.resolve(next.length);
          },
        });
        const head = {
          version: "HTTP/1.1" as const,
          status: 200,
          reason: "OK",
          fields: [makeField("Transfer-Encoding", "chunked")],
        };
        const framing = responseBody(head, "GET", DEFAULT_LIMITS);
        const body = new MaskedBody(new PulledBody(framing, reader), {
          needles,
          deadlines: new Deadlines(),
          onEcho: () => true,
        });
        const out = Buffer.from(await readBody(body)).toString("latin1");
        assertEquals(out.length, raw.length);
        const content = (wire: string) =>
          wire.slice(0, wire.indexOf("\r\n0\r\n") + 2).replace(/[0-9a-f]+;x=1\r\n/g, "").replaceAll(
            "\r\n",
            "",
          );
        assertMasked(content(out), text);
        assert(out.endsWith(`0\r\nX-Trailer: ${STARS}\r\n\r\n`), out);
        assertEquals(out.match(/[0-9a-f]+;x=1/g), raw.match(/[0-9a-f]+;x=1/g));
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("MaskedBody masks a credential in the framing of a chunk, and counts it", async () => {
  for (const most of [0, 1, 2]) {
    const raw = `5;x=${SECRET}${most > 1 ? `;y=${SECRET}` : ""}\r\nhello\r\n0\r\n\r\n`;
    let text: string | undefined = most === 0 ? raw.replace(SECRET, "y") : raw;
    const reader = new ByteReader({
      read: (into) => {
        if (text === undefined) return Promise.resolve(null);
        into.set(new TextEncoder().encode(text));
        const { length } = text;
        text = undefined;
        return Promise.resolve(length);
      },
    });
    const head = {
      version: "HTTP/1.1" as const,
      status: 200,
      reason: "OK",
      fields: [makeField("Transfer-Encoding", "chunked")],
    };
    let echoes = 0;
    const onEcho = (count: number) => (echoes += count) > 0;
    const framing = new PulledBody(responseBody(head, "GET", DEFAULT_LIMITS), reader);
    const body = new MaskedBody(framing, { needles, deadlines: new Deadlines(), onEcho });
    const out = Buffer.from(await readBody(body)).toString("latin1");
    assertEquals([out, echoes], [raw.replaceAll(SECRET, most === 0 ? "y" : STARS), most]);
  }
});

Deno.test("MaskedBody holds the beginning of a credential for a moment only, and still masks its end", async () => {
  let more: (() => void) | undefined;
  const encoder = new TextEncoder();
  const inner = new PiecesBody([
    encoder.encode(`x ${SECRET.slice(0, 10)}`),
    encoder.encode(`${SECRET.slice(10)} y`),
  ]);
  const fill = inner.fill.bind(inner);
  let fills = 0;
  inner.fill = async () => {
    if (++fills === 2) await new Promise<void>((resolve) => more = resolve);
    return await fill();
  };
  const body = new MaskedBody(inner, { needles, deadlines: new Deadlines(), onEcho: () => true });
  const parts: string[] = [];
  while (!body.done) {
    const piece = Buffer.from(body.take()).toString();
    if (piece !== "") {
      parts.push(piece);
      body.release();
      if (parts.length === 2) more?.();
    } else await body.fill();
  }
  assertEquals(parts, ["x ", SECRET.slice(0, 10), `${"*".repeat(SECRET.length - 10)} y`]);
});

Deno.test("MaskedBody passes pieces without a credential on as they are", async () => {
  const piece = new TextEncoder().encode("a".repeat(70_000));
  const body = maskedBody([piece]);
  await body.fill();
  assert(body.take().buffer === piece.buffer);
});

Deno.test("MaskedBody holds the beginning of a credential back in what has 256 KiB, and lets it go in more", async () => {
  const begun = SECRET.slice(0, 8);
  for (const [length, taken] of [[262_144, 262_136], [262_145, 262_145]] as const) {
    const piece = new TextEncoder().encode(begun.padStart(length, "x"));
    const body = maskedBody([piece, new TextEncoder().encode(SECRET.slice(8))]);
    await body.fill();
    assertEquals(body.take().length, taken);
    assertEquals(body.isReleased, false);
  }
});

Deno.test("MaskedBody asks about what it finds only, and leaves what it need not mask", async () => {
  const counts: number[] = [];
  const text = `a ${SECRET} b ${SECRET} sk-plant`;
  const body = new MaskedBody(
    new PiecesBody([new TextEncoder().encode("clean "), new TextEncoder().encode(text)]),
    {
      needles,
      deadlines: new Deadlines(),
      onEcho: (count) => {
        counts.push(count);
        return false;
      },
    },
  );
  assertEquals(Buffer.from(await readBody(body)).toString(), `clean ${text}`);
  assertEquals([counts, body.done, body.isReleased, body.closeDelimited, body.trailers], [
    [2],
    true,
    true,
    false,
    undefined,
  ]);
});

Deno.test("MaskedBody: a chunk's extension that need not be masked stays, and a clean one is not asked about", async () => {
  for (const extension of [SECRET, "a".repeat(SECRET.length)]) {
    const raw = `5;x=${extension}\r\nhello\r\n0\r\n\r\n`;
    let left: Uint8Array | undefined = new TextEncoder().encode(raw);
    const reader = new ByteReader({
      read: (into) => {
        const next = left;
        left = undefined;
        if (next) into.set(next);
        return Promise.resolve(next ? next.length : null);
      },
    });
    const head = {
      version: "HTTP/1.1" as const,
      status: 200,
      reason: "OK",
      fields: [makeField("Transfer-Encoding", "chunked")],
    };
    const counts: number[] = [];
    const body = new MaskedBody(new PulledBody(responseBody(head, "GET", DEFAULT_LIMITS), reader), {
      needles,
      deadlines: new Deadlines(),
      onEcho: (count) => {
        counts.push(count);
        return false;
      },
    });
    assertEquals(Buffer.from(await readBody(body)).toString(), raw);
    assertEquals(counts, extension === SECRET ? [1] : []);
  }
});

Deno.test("MaskedBody: what is held is released in the inner body, and its end is not before it has left", async () => {
  const inner = new PiecesBody([new TextEncoder().encode(SECRET.slice(0, 9)), new TextEncoder().encode("x")]);
  let releases = 0;
  inner.release = () => void releases++;
  const body = new MaskedBody(inner, { needles, deadlines: new Deadlines(), onEcho: () => true });
  await body.fill();
  assertEquals([body.take().length, releases], [0, 1]);
  await body.fill();
  assertEquals([inner.done, body.done], [false, false]);
  assertEquals(Buffer.from(body.take()).toString(), `${SECRET.slice(0, 9)}x`);
  body.release();
  assertEquals([releases, body.done, body.isReleased], [2, true, true]);
  assertEquals(await body.fill(), true); // and nothing is waited for
});

Deno.test("MaskedBody: what was found is the beginning of nothing else, and leaves at once", async () => {
  const text = "abcd-abcd";
  const starts: number[] = [];
  const body = new MaskedBody(
    new PiecesBody(["1", `${text}`, "2"].map((each) => new TextEncoder().encode(each))),
    {
      needles: new Needles([text]),
      deadlines: {
        start: (ms) => {
          starts.push(ms);
          return { restart: () => {}, stop: () => {} };
        },
      },
      onEcho: () => true,
    },
  );
  const parts: string[] = [];
  for (let i = 0; i < 3; i++) {
    await body.fill();
    parts.push(Buffer.from(body.take()).toString());
  }
  assertEquals([parts, starts], [["1", "*********", "2"], []]); // nothing is held, so nothing is waited for a moment only
});
