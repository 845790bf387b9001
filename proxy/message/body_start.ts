/**
 * The start of a response's body as text that the proxy itself reads: how much of it, for how long, and with its coding undone.
 *
 * Not here: where its bytes come from (`http1/body_text.ts`, `http2/upstream.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { brotliDecompressSync, constants, gunzipSync, inflateSync, zstdDecompressSync } from "node:zlib";
import { listOf } from "./fields.ts";
import type { ResponseHead } from "./message.ts";

/** How much of a body is looked at: what an error is called stands at the start of its JSON. */
export const START_BYTES = 4_096;
/** What that much may unfold to. */
const MAX_UNFOLDED_BYTES = 65_536;
/** How long the start of a body is waited for, in milliseconds. The answer goes on to the client after that. */
export const START_WAIT_MS = 2_000;

/** The text, one character a byte, of content that may be cut short: empty where its coding cannot be undone. */
export function textOf({ fields }: Pick<ResponseHead, "fields">, content: Uint8Array): string {
  return unfold(Buffer.from(content), listOf(fields, "content-encoding")).toString("latin1");
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
