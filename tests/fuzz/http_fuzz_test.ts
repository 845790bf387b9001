/**
 * Properties of the HTTP readers and of forwarding, over hostile bytes. `FUZZ_RUNS` and `FUZZ_SEED` override the number of
 * runs and the seed; both are printed with a failure.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { parseClientHello } from "../../core/client_hello.ts";
import { type ErrorCode, isProxyError } from "../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { ByteReader } from "../../proxy/streams/byte_reader.ts";
import { type Body, requestBody } from "../../proxy/http1/body.ts";
import { readRequestHead, readResponseHead, takeRequestHead } from "../../proxy/http1/head_reader.ts";
import { formatRequestHead, formatResponseHead } from "../../proxy/http1/head_writer.ts";
import { Engine } from "../wire/harness.ts";
import { type PipeEnd, settle } from "../wire/pipe.ts";

const NUM_RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 2_000);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? 20_260_901);
const LIMITS = {
  ...DEFAULT_LIMITS,
  maxHeadBytes: 400,
  maxHeaderCount: 6,
  maxChunkLineBytes: 24,
  maxTrailerBytes: 60,
};

/** A test that holds for every value; its name carries the seed. */
function property<T>(name: string, values: fc.Arbitrary<T>, holds: (value: T) => void | Promise<void>): void {
  Deno.test(`${name} [seed ${SEED}]`, async () => {
    await fc.assert(fc.asyncProperty(values, async (value) => await holds(value)), {
      numRuns: NUM_RUNS,
      seed: SEED,
    });
  });
}

/** Text of one character a byte, from pieces that matter to a parser and from noise. */
function piecesOf(pieces: readonly string[], maxLength: number): fc.Arbitrary<string> {
  const noise = fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
  return fc.array(fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...pieces) }, noise), { maxLength })
    .map((parts) => parts.join(""));
}

/** The text with a few edits: bytes changed, dropped, doubled, or pieces put in. */
function mutate(texts: fc.Arbitrary<string>, pieces: readonly string[]): fc.Arbitrary<string> {
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    drop: fc.nat({ max: 3 }),
    put: fc.oneof(
      fc.constantFrom("", ...pieces),
      fc.nat({ max: 255 }).map((code) => String.fromCharCode(code)),
    ),
  });
  return fc.tuple(texts, fc.array(edit, { maxLength: 3 })).map(([text, edits]) => {
    let out = text;
    for (const { at, drop, put } of edits) {
      const start = Math.floor(at * (out.length + 1));
      out = out.slice(0, start) + put + out.slice(start + drop);
    }
    return out;
  });
}

const FRAMING = [
  "\r\n",
  "\r\n",
  "\n",
  "\r",
  " ",
  "\t",
  ":",
  ",",
  ";",
  "\0",
  "\x0b",
  "0",
  "5",
  "chunked",
  "Content-Length: 5\r\n",
  "Content-Length: 0\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: ",
  "Host: up.test\r\n",
  "Host: evil.test\r\n",
  "Connection: ",
  "Connection: close\r\n",
  "Upgrade: websocket\r\n",
  "GET / HTTP/1.1\r\n",
];
const HEADS = piecesOf([
  ...FRAMING,
  "GET",
  "POST",
  "/",
  "/a?b",
  "HTTP/1.1",
  "HTTP/1.0",
  "HTTP/1.1 200 OK\r\n",
  "X: y\r\n",
  "\r\n\r\n",
], 14);

/** A stream that gives the bytes in pieces of these sizes, over and over, and counts what was taken. */
function streamOf(bytes: Uint8Array, sizes: readonly number[]) {
  const state = { taken: 0, reads: 0 };
  return {
    state,
    read: (into: Uint8Array) => {
      const size = Math.max(1, sizes[state.reads++ % sizes.length] ?? bytes.length);
      const piece = bytes.subarray(state.taken, state.taken + Math.min(size, into.length));
      into.set(piece);
      state.taken += piece.length;
      return Promise.resolve(piece.length === 0 ? null : piece.length);
    },
  };
}

const splits = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });

interface Reading {
  readonly code: ErrorCode | "end" | "head";
  readonly printed: string;
  readonly rest: string;
}

/** What a head reader makes of the bytes. Anything but its own errors is thrown. */
async function readWith(
  read: (reader: ByteReader) => Promise<Uint8Array | undefined>,
  text: string,
  sizes: readonly number[],
): Promise<Reading> {
  const stream = streamOf(Buffer.from(text, "latin1"), sizes);
  const reader = new ByteReader(stream);
  try {
    const printed = await read(reader);
    while (await reader.fill());
    const rest = Buffer.from(reader.available).toString("latin1");
    return { code: printed ? "head" : "end", printed: Buffer.from(printed ?? []).toString("latin1"), rest };
  } catch (error) {
    // It stops reading at the limit: at most what one buffer held beyond it.
    assert(stream.state.taken <= LIMITS.maxHeadBytes + 4_096, `${stream.state.taken} bytes were read`);
    if (isProxyError(error)) return { code: error.code, printed: "", rest: "" };
    throw error;
  }
}

async function requestPrinter(reader: ByteReader): Promise<Uint8Array | undefined> {
  await reader.fill();
  const head = takeRequestHead(reader, LIMITS) ?? await readRequestHead(reader, LIMITS);
  return head && formatRequestHead(head);
}

async function responsePrinter(reader: ByteReader): Promise<Uint8Array> {
  return formatResponseHead(await readResponseHead(reader, LIMITS));
}

const REQUEST_CODES: readonly string[] = [
  "head",
  "end",
  "client.malformed",
  "client.head-too-large",
  "client.closed",
];
const RESPONSE_CODES: readonly string[] = ["head", "upstream.malformed", "upstream.closed"];

property(
  "readRequestHead() raises only its codes, prints back what it read, and does not care how it comes",
  fc.tuple(
    fc.oneof(HEADS, mutate(fc.constant("GET /a HTTP/1.1\r\nHost: up.test\r\nX: y\r\n\r\n"), FRAMING)),
    splits,
  ),
  async ([text, sizes]) => {
    const whole = await readWith(requestPrinter, text, [text.length]);
    assert(REQUEST_CODES.includes(whole.code), whole.code);
    // One empty line before a request is skipped (RFC 9112 section 2.2).
    if (whole.code === "head") assertEquals(whole.printed + whole.rest, text.replace(/^\r\n/, ""));
    assertEquals(await readWith(requestPrinter, text, sizes), whole);
  },
);

property(
  "readResponseHead() raises only its codes, prints back what it read, and does not care how it comes",
  fc.tuple(
    fc.oneof(HEADS, mutate(fc.constant("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), FRAMING)),
    splits,
  ),
  async ([text, sizes]) => {
    const whole = await readWith(responsePrinter, text, [text.length]);
    assert(RESPONSE_CODES.includes(whole.code), whole.code);
    // A status line without a reason gets the space that RFC 9112 section 4 asks for.
    const spaced = text.replace(/^(HTTP\/1\.[01] \d{3})\r\n/, "$1 \r\n");
    if (whole.code === "head") assertEquals(whole.printed + whole.rest, spaced);
    assertEquals(await readWith(responsePrinter, text, sizes), whole);
  },
);

const CHUNK_PIECES = [
  "\r\n",
  "\n",
  "\r",
  "0\r\n",
  "0\r\n\r\n",
  "5\r\nhello\r\n",
  "5;a=b\r\nhello\r\n",
  "A: b\r\n",
  "Content-Length: 1\r\n",
  "a\r\n0123456789\r\n",
  "fffffffffffff\r\n",
  " ",
  ";",
];
const CHUNKS = fc.oneof(
  piecesOf(CHUNK_PIECES, 8),
  mutate(fc.constant("5\r\nhello\r\nb;x=y\r\n0123456789a\r\n0\r\nX: y\r\n\r\nnext"), CHUNK_PIECES),
);

function chunkedBody(): Body {
  const field = {
    name: "Transfer-Encoding",
    key: "transfer-encoding",
    value: "chunked",
    line: "Transfer-Encoding: chunked",
  };
  return requestBody({ method: "POST", target: "/", version: "HTTP/1.1", fields: [field] }, LIMITS);
}

/** Feeds a body as a reader would: what it does not take is there again, with more. */
function feed(bytes: Uint8Array, sizes: readonly number[]): { verdict: string; total: number } {
  const body = chunkedBody();
  let total = 0;
  let arrived = 0;
  for (let i = 0; arrived < bytes.length && !body.done; i++) {
    arrived = Math.min(bytes.length, arrived + Math.max(1, sizes[i % sizes.length] ?? bytes.length));
    const given = bytes.subarray(total, arrived);
    let taken: number;
    try {
      taken = body.take(given);
    } catch (error) {
      assert(isProxyError(error, "client.malformed"));
      return { verdict: "malformed", total: 0 };
    }
    assert(taken >= 0 && taken <= given.length);
    total += taken;
  }
  return { verdict: body.done ? "done" : "unfinished", total };
}

property(
  "take() of chunks comes to the same end in every split, and never takes more than it is given",
  fc.tuple(CHUNKS, splits),
  ([text, sizes]) => {
    const bytes = Buffer.from(text, "latin1");
    const whole = feed(bytes, [bytes.length]);
    assertEquals(feed(bytes, sizes), whole);
    assertEquals(feed(bytes, [1]), whole);
    if (whole.verdict !== "done") return;
    // A reader that is not ours, for what was accepted.
    const accepted = text.slice(0, whole.total);
    assert(/^(([0-9a-f]+)([\t ]*;[^\r\n]*)?\r\n)/i.test(accepted));
    assert(accepted.endsWith("\r\n\r\n") || accepted.endsWith("0\r\n\r\n"));
  },
);

const HELLO = Buffer.from(
  "16030100730100006f0303" + "07".repeat(32) + "20" + "08".repeat(32) + "0002130101000024" +
    "0000000c000a00000775702e74657374" + "002b0003020304" + "0010000500030268" + "32",
  "hex",
).toString("latin1");

property(
  "parseClientHello() raises only client.malformed, and finds a name only in what it was given",
  fc.oneof(
    mutate(fc.constant(HELLO), ["\x16\x03\x01", "\0\0", "\x01", "\xff\xff", "\0"]),
    fc.uint8Array({ maxLength: 80 }).map((bytes) => "\x16\x03" + Buffer.from(bytes).toString("latin1")),
  ),
  (text) => {
    try {
      const hello = parseClientHello(Buffer.from(text, "latin1"));
      if (hello?.serverName !== undefined) {
        assert(hello.serverName !== "");
        assert(text.includes(hello.serverName) || text.split("\x16\x03").length > 2, hello.serverName);
      }
    } catch (error) {
      if (!isProxyError(error, "client.malformed")) throw error;
    }
  },
);

const REQUESTS = [
  "GET /v1/a?b HTTP/1.1\r\nHost: up.test\r\nAuthorization: Bearer FAKE\r\nX-A:  b \r\n\r\n",
  "POST /v1/a HTTP/1.1\r\nHost: up.test\r\nContent-Length: 5\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\nhello",
  "PUT /v1/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: up.test\r\nProxy-X: 1\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
];

/** Reads what comes, and never answers. */
function collect(stream: PipeEnd): { text: string } {
  const got = { text: "" };
  const buffer = new Uint8Array(65_536);
  const next = async () => {
    for (let count; (count = await stream.read(buffer)) !== null;) {
      got.text += Buffer.from(buffer.subarray(0, count)).toString("latin1");
    }
  };
  next().catch(() => {}); // cut
  return got;
}

/** The head that an upstream must see, by string operations of our own. */
function expectedHead(head: string, credential: string): string {
  const lines = head.slice(0, -4).split("\r\n");
  const nominated = lines.filter((line) => /^connection:/i.test(line))
    .flatMap((line) => line.slice(11).split(",").map((name) => name.trim().toLowerCase()));
  const dropped = (line: string) => {
    const name = line.slice(0, line.indexOf(":")).toLowerCase();
    return ["connection", "keep-alive", "te", "upgrade", "http2-settings"].includes(name) ||
      name.startsWith("proxy-") || nominated.includes(name);
  };
  const kept = [lines[0] ?? "", ...lines.slice(1).filter((line) => !dropped(line))];
  const at = kept.findIndex((line) => /^authorization:/i.test(line));
  const rest = kept.filter((line) => !/^authorization:/i.test(line));
  rest.splice(at < 0 ? rest.length : at, 0, credential);
  return rest.join("\r\n") + "\r\n\r\n";
}

property(
  "a mutated request goes upstream as it was sent, or not at all",
  fc.tuple(mutate(fc.constantFrom(...REQUESTS), FRAMING), fc.boolean()),
  async ([sent, isCut]) => {
    const text = sent.replace(/^\r\n/, ""); // one empty line before it is skipped (RFC 9112 section 2.2)
    const upstreams: { stream: PipeEnd; seen: { text: string } }[] = [];
    await using engine = new Engine({
      limits: { lingerTimeoutMs: 0 },
      onDial: (stream) => upstreams.push({ stream, seen: collect(stream) }),
    });
    engine.policy.setCredential({
      secret: "key",
      host: "up.test",
      headers: [["Authorization", "Bearer REAL"]],
    });
    engine.policy.allow("one", { host: "up.test", paths: ["/v1/*"], secret: "key" });
    const client = engine.connect({ scheme: "https", host: "up.test", port: 443 });
    const got = collect(client);
    const middle = isCut ? sent.length >> 1 : sent.length;
    for (const piece of [sent.slice(0, middle), sent.slice(middle)]) {
      if (piece !== "") await client.write(Buffer.from(piece, "latin1")).catch(() => {});
      await settle();
    }
    client.close();
    await settle();
    const seen = upstreams.map(({ seen }) => seen.text).join("");
    for (const { stream } of upstreams) stream.close();
    assert(upstreams.length <= 1, "more than one upstream connection for a request that was not answered");
    if (seen === "") return;
    const headEnd = text.indexOf("\r\n\r\n") + 4;
    const upgrade = /\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n$/.exec(seen);
    const head = expectedHead(text.slice(0, headEnd), "Authorization: Bearer REAL");
    // A body on what needs none is the last on its connection, and says so.
    const lone = /\r\nConnection: close\r\n\r\n/.exec(seen);
    assert(!lone || !/^(POST|PUT|PATCH) /.test(text), "a usual request is said to be the last");
    const added = upgrade ?? lone;
    const withUpgrade = added ? head.slice(0, -2) + added[0].slice(2) : head;
    assertEquals(seen.slice(0, withUpgrade.length), withUpgrade);
    const body = seen.slice(withUpgrade.length);
    assert(text.slice(headEnd).startsWith(body), "bytes that the client did not send");
    assert(/^\S+ \/v1\//.test(seen), "a path beyond the rule");
    // Refused after the head has left: only a body that turned out wrong, which the upstream must not get whole.
    if (/^HTTP\/1\.1 4/.test(got.text)) {
      assert(
        /\r\ntransfer-encoding:/i.test(head) && !body.endsWith("0\r\n\r\n"),
        "refused, but completed upstream",
      );
    }
  },
);

property(
  "a mutated response reaches the client as it was sent, or as a 502, or cut short",
  mutate(
    fc.constantFrom(
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: 5\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
      "HTTP/1.1 204 No Content\r\nProxy-X: 1\r\n\r\n",
      "HTTP/1.0 404 No\r\n\r\nuntil the end",
    ),
    FRAMING,
  ),
  async (text) => {
    await using engine = new Engine({
      limits: { lingerTimeoutMs: 0 },
      onDial: (stream) => {
        collect(stream);
        stream.write(Buffer.from(text, "latin1")).then(() => stream.close(), () => {});
      },
    });
    engine.policy.allow("one", { host: "up.test" });
    const client = engine.connect({ scheme: "https", host: "up.test", port: 443 });
    const got = collect(client);
    await client.write(Buffer.from("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n"));
    await settle();
    client.close();
    await settle();
    if (/^HTTP\/1\.1 502 [^]*\r\nX-Slicer-Proxy-Reason: upstream-(closed|malformed)\r\n/.test(got.text)) {
      return;
    }
    if (got.text === "") return; // not even a whole head was sent
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1] ?? "";
    assertEquals(got.text.slice(0, 12), `HTTP/1.1 ${status}`);
    if (status.startsWith("1")) return;
    const body = got.text.slice(got.text.indexOf("\r\n\r\n") + 4);
    const sent = text.slice(text.indexOf("\r\n\r\n") + 4);
    assert(sent.startsWith(body), "bytes that the upstream did not send");
    assert(!/\r\n(proxy-|keep-alive:)/i.test(got.text.slice(0, got.text.indexOf("\r\n\r\n"))));
  },
);
