/**
 * Bodies that the proxy itself reads, as content and not as bytes on their way: chunks joined, codings undone.
 *
 * Not here: where a body ends (`body.ts`), and bodies that pass through (`pulled_body.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { brotliDecompressSync, constants, gunzipSync, inflateSync, zstdDecompressSync } from "node:zlib";
import type { Deadlines } from "../../core/deadlines.ts";
import { isProxyError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { responseBody } from "./body.ts";
import type { ByteReader } from "../streams/byte_reader.ts";
import { listOf } from "../message/fields.ts";
import type { ResponseHead } from "../message/message.ts";

/** How much of a body is looked at: what an error is called stands at the start of its JSON. */
const START_BYTES = 4_096;
/** What that much may unfold to. */
const MAX_UNFOLDED_BYTES = 65_536;
/** How long the start of a body is waited for, in milliseconds. The answer goes on to the client after that. */
const START_WAIT_MS = 2_000;

/** See each field. */
export interface BodyStartOptions {
  /** Of the request. */
  readonly method: string;
  readonly limits: Limits;
  readonly deadlines: Pick<Deadlines, "start">;
}

/**
 * The start of a response's body as text, one character a byte, and empty where it cannot be read. The bytes stay in
 * the reader: the body can still go to the client as it came.
 *
 * @throws what reading the stream throws
 */
export async function readBodyStart(
  reader: ByteReader,
  head: ResponseHead,
  { method, limits, deadlines }: BodyStartOptions,
): Promise<string> {
  const late = Promise.withResolvers<boolean>();
  const deadline = deadlines.start(START_WAIT_MS, () => late.resolve(false));
  try {
    const body = responseBody(head, method, limits);
    let size = body.take(reader.available);
    while (!body.done && size < START_BYTES) {
      if (!await Promise.race([reader.fill(), late.promise])) break;
      size += body.take(reader.available.subarray(size));
    }
    const raw = Buffer.from(reader.available.subarray(0, size)); // a copy: nothing below may wait for more
    const isChunked = listOf(head.fields, "transfer-encoding").length > 0;
    return unfold(isChunked ? dechunk(raw) : raw, listOf(head.fields, "content-encoding")).toString("latin1");
  } catch (error) {
    // Whoever forwards the body finds the same fault, and has the words for it.
    if (isProxyError(error, "upstream.malformed")) return "";
    throw error;
  } finally {
    deadline.stop();
  }
}

/** The data of a chunked body that `body.ts` has found well formed, or of its beginning (RFC 9112 §7.1). */
export function dechunk(raw: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0;;) {
    const end = raw.indexOf("\r\n", at, "latin1");
    const size = end < 0 ? 0 : parseInt(raw.toString("latin1", at, end), 16);
    if (!(size > 0)) return Buffer.concat(parts);
    parts.push(raw.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}

/** The content without its coding (RFC 9110 §8.4); it may be cut short. Empty for codings that nobody sends. */
function unfold(bytes: Buffer, codings: readonly string[]): Buffer {
  const [coding = "identity"] = codings;
  const nothing = Buffer.alloc(0);
  if (codings.length > 1) return nothing;
  const limit = { maxOutputLength: MAX_UNFOLDED_BYTES };
  try {
    switch (coding) {
      case "identity":
        return bytes;
      case "gzip":
      case "x-gzip":
        return gunzipSync(bytes, { ...limit, finishFlush: constants.Z_SYNC_FLUSH });
      case "deflate":
        return inflateSync(bytes, { ...limit, finishFlush: constants.Z_SYNC_FLUSH });
      case "br":
        return brotliDecompressSync(bytes, { ...limit, finishFlush: constants.BROTLI_OPERATION_FLUSH });
      case "zstd":
        return zstdDecompressSync(bytes, { ...limit, finishFlush: constants.ZSTD_e_flush });
      default:
        return nothing;
    }
  } catch {
    return nothing; // damaged, or it unfolds to more than any error text
  }
}
