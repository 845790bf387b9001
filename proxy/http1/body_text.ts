/**
 * Bodies that the proxy itself reads, as content and not as bytes on their way: chunks joined.
 *
 * Not here: where a body ends (`body.ts`), codings (`message/body_start.ts`), and bodies that pass through (`pulled_body.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Deadlines } from "../../core/deadlines.ts";
import { isProxyError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { responseBody } from "./body.ts";
import type { ByteReader } from "../streams/byte_reader.ts";
import { START_BYTES, START_WAIT_MS, textOf } from "../message/body_start.ts";
import { listOf } from "../message/fields.ts";
import type { ResponseHead } from "../message/message.ts";

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
    return textOf(head, isChunked ? dechunk(raw) : raw);
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
