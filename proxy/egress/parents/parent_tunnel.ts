/**
 * `CONNECT` to a parent proxy (RFC 9110 §9.3.6): asked over an open line, its answer read as strictly as any, and of bounded
 * size. Nothing of its answer goes further: not its 407, not its fields.
 *
 * Not here: reaching the parent, and time (`parent_way.ts`).
 *
 * @module
 */
import { isProxyError, ProxyError } from "../../../core/errors.ts";
import type { Limits } from "../../../core/limits.ts";
import { readResponseHead } from "../../http1/head_reader.ts";
import { formatRequestHead } from "../../http1/head_writer.ts";
import { makeField } from "../../message/fields.ts";
import type { ResponseHead } from "../../message/message.ts";
import { ByteReader, type ByteStream, writeAll } from "../../streams/byte_reader.ts";
import { parentError, refusedByParent } from "./parent_error.ts";
import type { ParentProxy } from "./parents.ts";

/** What a head of its answer may have: real ones have 100 to 2,000 bytes. */
const MAX_HEAD_BYTES = 16_384;

export interface TunnelRequest {
  readonly parent: ParentProxy;
  /** What the parent is asked to connect to, an address or a name with its port. */
  readonly authority: string;
  /** What errors call it. */
  readonly place: string;
  readonly limits: Pick<Limits, "maxHeaderCount" | "maxInterimResponses">;
}

/**
 * Has the parent open a tunnel.
 *
 * @returns the bytes that came right behind its answer
 * @throws ProxyError `upstream.*` with a reason of the parent, or what the stream throws
 */
export async function openTunnel(stream: ByteStream, request: TunnelRequest): Promise<Uint8Array> {
  const { parent, authority, place, limits } = request;
  const fields = [makeField("Host", authority)];
  if (parent.authorization !== undefined) fields.push(makeField("Proxy-Authorization", parent.authorization));
  await writeAll(
    stream,
    formatRequestHead({ method: "CONNECT", target: authority, version: "HTTP/1.1", fields }),
  );
  const reader = new ByteReader(stream);
  for (let interim = 0; interim <= limits.maxInterimResponses; interim++) {
    const { status } = await readAnswer(reader, place, limits);
    if (status >= 300) throw refusedByParent(place, status);
    if (status >= 200) return reader.takeAll(); // a 2xx has no body, whatever its fields say
  }
  throw parentError(place, "parent-malformed", { words: "its answer does not come to an end" });
}

async function readAnswer(
  reader: ByteReader,
  place: string,
  { maxHeaderCount }: TunnelRequest["limits"],
): Promise<ResponseHead> {
  try {
    return await readResponseHead(reader, { maxHeadBytes: MAX_HEAD_BYTES, maxHeaderCount });
  } catch (cause) {
    if (cause instanceof ProxyError && !isProxyError(cause, "upstream.malformed", "upstream.closed")) {
      throw cause;
    }
    const isClosed = !isProxyError(cause, "upstream.malformed");
    throw parentError(place, "parent-malformed", {
      words: isClosed ? "it closed the connection without an answer" : "it does not answer as an HTTP proxy",
      cause,
    });
  }
}
