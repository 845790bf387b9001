/**
 * Whether a secret is in what a VM has received, however it was rendered. This decodes everything that it can and looks for
 * the secret itself, where the proxy renders the secret and looks for that: a form which one forgets, the other finds.
 */
import { Buffer } from "node:buffer";
import * as zlib from "node:zlib";

/** Which of the secrets are in these bytes of HTTP/1.1, or of a body when there is no head. */
export function plantedIn(received: Uint8Array, secrets: readonly string[]): readonly string[] {
  const wire = Buffer.from(received).toString("latin1");
  const texts = [wire];
  const end = wire.indexOf("\r\n\r\n", finalHead(wire));
  const [head, body] = end < 0 ? ["", wire] : [wire.slice(0, end), wire.slice(end + 4)];
  const isChunked = /\r\ntransfer-encoding: *chunked/i.test(head);
  const content = isChunked ? withoutChunks(body) : body;
  texts.push(content, ...decompressed(Buffer.from(content, "latin1")));
  const readable = texts.flatMap(readings);
  return secrets.filter((secret) => {
    const bytes = Buffer.from(secret, "utf8").toString("latin1");
    return readable.some((text) => text.includes(bytes));
  });
}

/** Where the head of the final response begins. */
function finalHead(wire: string): number {
  let at = 0;
  while (/^HTTP\/1\.1 1\d\d /.test(wire.slice(at, at + 13))) {
    const end = wire.indexOf("\r\n\r\n", at);
    if (end < 0) break;
    at = end + 4;
  }
  return at;
}

function withoutChunks(body: string): string {
  let content = "";
  for (let at = 0; at < body.length;) {
    const line = body.indexOf("\r\n", at);
    const size = parseInt(body.slice(at, line < 0 ? body.length : line), 16);
    if (line < 0 || !(size > 0)) return content + body.slice(at);
    content += body.slice(line + 2, line + 2 + size);
    at = line + 4 + size;
  }
  return content;
}

/** What of it decodes, under any coding, also when its end is missing or its check is wrong. */
function decompressed(bytes: Uint8Array): readonly string[] {
  const flush = { finishFlush: zlib.constants.Z_SYNC_FLUSH };
  const ways: readonly (() => Uint8Array)[] = [
    () => zlib.gunzipSync(bytes, flush),
    () => zlib.inflateSync(bytes, flush),
    () => zlib.inflateRawSync(bytes, flush),
    () => zlib.inflateRawSync(bytes.subarray(10), flush), // of gzip, less its head: no check at its end
    () => zlib.brotliDecompressSync(bytes, { finishFlush: zlib.constants.BROTLI_OPERATION_FLUSH }),
    () => zlib.zstdDecompressSync(bytes),
    ...framesOf(bytes).map((frame) => () => zlib.zstdDecompressSync(frame)),
  ];
  return ways.flatMap((way) => {
    try {
      return [Buffer.from(way()).toString("latin1")];
    } catch {
      return [];
    }
  });
}

/** Everything from each zstd magic on. */
function framesOf(bytes: Uint8Array): readonly Uint8Array[] {
  const text = Buffer.from(bytes).toString("latin1");
  const frames: Uint8Array[] = [];
  for (let at = text.indexOf("\x28\xb5\x2f\xfd"); at >= 0; at = text.indexOf("\x28\xb5\x2f\xfd", at + 1)) {
    frames.push(bytes.subarray(at));
  }
  return frames;
}

/** The text as it is, with all escapes undone, and what of it is base64 decoded: of each of these the same once more. */
function readings(text: string): readonly string[] {
  const once = [text, unescaped(text), unescaped(text.replaceAll("+", " ")), ...fromBase64(text)];
  return [...once, ...once.slice(1).map(unescaped)];
}

function unescaped(text: string): string {
  return text
    .replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)))
    .replace(/\\u00([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)))
    .replace(/&#x([0-9a-f]{2});/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)))
    .replace(/&#0*(\d{2,3});/g, (_, code) => String.fromCharCode(Number(code)))
    .replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"').replaceAll("&apos;", "'")
    .replaceAll("&amp;", "&")
    .replace(/\\(["\\/])/g, "$1");
}

/** Each run of base64 decoded from each of its first four characters: where it began nobody knows. */
function fromBase64(text: string): readonly string[] {
  const runs = unescaped(text).match(/[A-Za-z0-9+/_-]{8,}/g) ?? [];
  return [0, 1, 2, 3].map((from) =>
    runs.map((run) => Buffer.from(run.slice(from), "base64").toString("latin1")).join("\n")
  );
}
