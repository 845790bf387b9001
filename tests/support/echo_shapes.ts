/** The ways in which an upstream may send a request back, in HTTP/1.1 bytes and over HTTP/2. */
import { Buffer } from "node:buffer";
import * as zlib from "node:zlib";
import type { Http2ServerStream } from "../../proxy/http2/types.ts";
import type { RawPeer } from "./raw_peer.ts";

type Fields = readonly (readonly [name: string, value: string])[];

/** An answer. The pieces of its body are written one by one. */
export interface EchoAnswer {
  readonly status?: number;
  readonly reason?: string;
  readonly fields?: Fields;
  readonly body?: readonly Uint8Array[];
  /** Of a 103 before it. */
  readonly early?: Fields;
  readonly trailers?: Fields;
  /** Default: `length`; `chunked` where there are trailers. */
  readonly framing?: "length" | "chunked" | "close";
  /** Behind each chunk's size. */
  readonly extension?: string;
}

const ESCAPED_BY_DOTNET = /[<>&'+`]/g;
const unit = (char: string) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0").toUpperCase()}`;

/** What programs make of a text on its way into a page, a log or a URL. */
export const RENDERED: Readonly<Record<string, (text: string) => string>> = {
  "as it is": (text) => text,
  "JavaScript's encodeURIComponent": (text) => encodeURIComponent(text),
  "Python's quote": (text) => encodeURIComponent(text).replaceAll("%2F", "/"),
  "encodeURI": (text) => encodeURI(text),
  "a form": (text) => new URLSearchParams({ t: text }).toString(),
  "lower-case percent": (text) => encodeURIComponent(text).replace(/%../g, (escape) => escape.toLowerCase()),
  "RFC 3986": (text) =>
    encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`),
  "JSON": (text) => JSON.stringify(text),
  "PHP's JSON": (text) => JSON.stringify(text).replaceAll("/", "\\/"),
  "Go's JSON": (text) => JSON.stringify(text).replace(/[<>&]/g, (char) => unit(char).toLowerCase()),
  ".NET's JSON": (text) => JSON.stringify(text).replace(ESCAPED_BY_DOTNET, unit),
  "HTML": (text) => html(text, "&#39;"),
  "Python's HTML": (text) => html(text, "&#x27;"),
  "PHP's HTML": (text) => html(text, "&#039;"),
  "base64": (text) => Buffer.from(text, "latin1").toString("base64"),
  "base64url": (text) => Buffer.from(text, "latin1").toString("base64url"),
};

function html(text: string, quote: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(
    '"',
    "&quot;",
  )
    .replaceAll("'", quote);
}

const latin1 = (text: string) => Buffer.from(text, "latin1");
const everyForm = (text: string) => Object.values(RENDERED).map((render) => render(text)).join("\n");
const asOneLine = (text: string) => text.replace(/[\r\n]+/g, " ");
const inPieces = (bytes: Uint8Array, size: number) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));

/** gzip that can be decoded up to each piece. */
async function flushed(text: string): Promise<readonly Uint8Array[]> {
  const gzip = zlib.createGzip({ flush: zlib.constants.Z_SYNC_FLUSH });
  const pieces: Uint8Array[] = [];
  gzip.on("data", (piece: Uint8Array) => pieces.push(piece));
  for (const part of inPieces(latin1(text), 16)) {
    await new Promise<void>((resolve) => gzip.write(part, () => resolve()));
  }
  await new Promise<void>((resolve) => gzip.on("end", resolve).end());
  return pieces;
}

function withWrongCheck(gzip: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(gzip);
  bytes[bytes.length - 6] = (bytes[bytes.length - 6] ?? 0) ^ 1;
  return bytes;
}

/** RFC 1952 §2.3: FNAME. */
function namedGzip(name: string): Uint8Array {
  const gzip = zlib.gzipSync(latin1("nothing"));
  return Buffer.concat([
    Uint8Array.of(0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3),
    latin1(`${name}\0`),
    gzip.subarray(10),
  ]);
}

const coded = (coding: string, ...body: readonly Uint8Array[]): EchoAnswer => ({
  fields: [["Content-Encoding", coding]],
  body,
});

/** Each makes an answer of a request's text. */
export const SHAPES: Readonly<Record<string, (echo: string) => EchoAnswer | Promise<EchoAnswer>>> = {
  "head": (echo) => ({
    fields: [
      ...Object.values(RENDERED).map((render, i) => [`X-Echo-${i}`, render(asOneLine(echo))] as const),
      ["Set-Cookie", `seen=${encodeURIComponent(echo)}; Path=/`],
    ],
  }),
  "asked-with-HEAD": (echo) => ({ fields: [["X-Echo", asOneLine(echo)]] }),
  "reason": (echo) => ({ reason: asOneLine(echo) }),
  "redirect": (echo) => ({ status: 302, fields: [["Location", `/login?next=${encodeURIComponent(echo)}`]] }),
  "early-hints": (echo) => ({ early: [["Link", `</${encodeURIComponent(echo)}>; rel=preload`]] }),
  "no-content": (echo) => ({ status: 204, fields: [["X-Echo", asOneLine(echo)]] }),
  "plain": (echo) => ({ body: [latin1(everyForm(echo))] }),
  "error-page": (echo) => ({
    status: 500,
    fields: [["Content-Type", "text/html"]],
    body: [latin1(`<pre>${html(echo, "&#39;")}</pre>`)],
  }),
  "unauthorized": (echo) => ({
    status: 401,
    fields: [["WWW-Authenticate", "Bearer"]],
    body: [latin1(everyForm(echo))],
  }),
  "bytes": (echo) => ({ body: inPieces(latin1(echo), 1) }),
  "until-close": (echo) => ({ framing: "close", body: inPieces(latin1(everyForm(echo)), 900) }),
  "chunks": (echo) => ({ framing: "chunked", body: inPieces(latin1(everyForm(echo)), 7) }),
  "events": (echo) => ({
    fields: [["Content-Type", "text/event-stream"]],
    framing: "chunked",
    body: everyForm(echo).split("\n").map((line) => latin1(`data: ${line}\n\n`)),
  }),
  "extensions": (echo) => ({
    framing: "chunked",
    extension: asOneLine(echo),
    body: [latin1("nothing"), latin1("more")],
  }),
  "trailers": (echo) => ({ trailers: [["X-Echo", asOneLine(echo)]], body: [latin1("nothing")] }),
  "gzip-trailers": (echo) => ({
    ...coded("gzip", zlib.gzipSync(latin1("nothing"))),
    trailers: [["X-Echo", asOneLine(echo)]],
  }),
  "gzip-extensions": (echo) => ({
    ...coded("gzip", zlib.gzipSync(latin1("nothing"))),
    framing: "chunked",
    extension: asOneLine(echo),
  }),
  "part": (echo) => ({
    status: 206,
    fields: [["Content-Range", `bytes 0-${echo.length - 1}/${echo.length}`]],
    body: [latin1(echo)],
  }),
  "gzip-part": (echo) => ({ ...coded("gzip", zlib.gzipSync(latin1(echo))), status: 206 }),
  "gzip": (echo) => coded("gzip", zlib.gzipSync(latin1(everyForm(echo)))),
  "gzip-chunks": (echo) => ({
    ...coded("gzip", ...inPieces(zlib.gzipSync(latin1(everyForm(echo))), 5)),
    framing: "chunked",
  }),
  "gzip-flushed": async (echo) => ({ ...coded("gzip", ...await flushed(echo)), framing: "chunked" }),
  "gzip-members": (echo) =>
    coded("gzip", Buffer.concat([zlib.gzipSync("first"), zlib.gzipSync(latin1(echo))])),
  "gzip-named": (echo) => coded("gzip", namedGzip(asOneLine(echo))),
  "gzip-wrong-check": (echo) => coded("gzip", withWrongCheck(zlib.gzipSync(latin1(echo)))),
  "gzip-and-more": (echo) => coded("gzip", Buffer.concat([zlib.gzipSync(latin1(echo)), latin1("and more")])),
  "gzip-then-plain": (echo) =>
    coded("gzip", Buffer.concat([zlib.gzipSync("first"), latin1(everyForm(echo))])),
  "not-gzip": (echo) => coded("gzip", latin1(everyForm(echo))),
  "not-br": (echo) => coded("br", latin1(everyForm(echo))),
  "unknown-coding": (echo) => coded("private", latin1(everyForm(echo))),
  "deflate": (echo) => coded("deflate", zlib.deflateSync(latin1(echo))),
  "deflate-bytes": (echo) => ({
    ...coded("deflate", ...inPieces(zlib.deflateSync(latin1(echo)), 1)),
    framing: "chunked",
  }),
  "deflate-raw": (echo) => coded("deflate", zlib.deflateRawSync(latin1(echo))),
  "br": (echo) => coded("br", zlib.brotliCompressSync(latin1(everyForm(echo)))),
  "zstd": (echo) => coded("zstd", zlib.zstdCompressSync(latin1(everyForm(echo)))),
  "zstd-frames": (echo) =>
    coded("zstd", Buffer.concat([zlib.zstdCompressSync("first"), zlib.zstdCompressSync(latin1(echo))])),
  "zstd-bytes": (echo) => ({
    ...coded(
      "zstd",
      ...inPieces(Buffer.concat([zlib.zstdCompressSync("first"), zlib.zstdCompressSync(latin1(echo))]), 1),
    ),
    framing: "chunked",
  }),
};

/** What only HTTP/1.1 has. */
export const ONLY_HTTP1: ReadonlySet<string> = new Set([
  "reason",
  "until-close",
  "extensions",
  "gzip-extensions",
]);

/** Sends it as HTTP/1.1. */
export async function sendEcho(peer: RawPeer, answer: EchoAnswer): Promise<void> {
  const { status = 200, reason = "X", fields = [], body = [], early, trailers, extension } = answer;
  const framing = trailers ? "chunked" : answer.framing ?? "length";
  const length = body.reduce((sum, { length }) => sum + length, 0);
  const how: Fields = framing === "chunked"
    ? [["Transfer-Encoding", "chunked"]]
    : framing === "length" && status !== 204
    ? [["Content-Length", String(length)]]
    : [];
  if (early) await peer.send(`HTTP/1.1 103 Early Hints\r\n${linesOf(early)}\r\n`);
  await peer.send(`HTTP/1.1 ${status} ${reason}\r\n${linesOf([...fields, ...how])}\r\n`);
  for (const piece of body) {
    const more = extension === undefined ? "" : `;x="${extension.replaceAll('"', "'")}"`;
    if (framing === "chunked") await peer.send(`${piece.length.toString(16)}${more}\r\n`);
    await peer.sendBytes(piece);
    if (framing === "chunked") await peer.send("\r\n");
  }
  if (framing === "chunked") await peer.send(`0\r\n${linesOf(trailers ?? [])}\r\n`);
}

function linesOf(fields: Fields): string {
  return fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
}

/** Sends it over HTTP/2. */
export async function sendEcho2(stream: Http2ServerStream, answer: EchoAnswer): Promise<void> {
  const { status = 200, fields = [], body = [], early, trailers } = answer;
  if (early) stream.respond({ status: 103, fields: lowered(early) });
  stream.respond({ status, fields: lowered(fields) });
  for (const piece of body) await stream.write(piece);
  stream.end(trailers ? lowered(trailers) : undefined);
}

function lowered(fields: Fields) {
  return fields.map(([name, value]) => ({ key: name.toLowerCase(), value }));
}
