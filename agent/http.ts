/**
 * Just enough HTTP/1.1 (RFC 9112) to talk to the proxy and to look at the head that a local program sends.
 *
 * Not here: forwarding bodies. Behind a head everything is bytes.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../core/errors.ts";

const MAX_HEAD_BYTES = 65_536;
/** Answers that are read whole: denials and DNS messages. */
const MAX_BODY_BYTES = 262_144;

/** A head with its empty line, one character a byte, and the bytes that came behind it. */
export interface HttpHead {
  readonly head: string;
  readonly rest: Uint8Array;
}

export interface HttpResponse {
  readonly status: number;
  readonly body: Uint8Array;
  /** Bytes behind it; none on a connection that is used in turn. */
  readonly rest: Uint8Array;
  /** The first field of a name (lower case). */
  field(name: string): string | undefined;
}

/**
 * Reads to the end of a head.
 *
 * @param first bytes that were read already
 * @throws ProxyError `upstream.closed`, `upstream.malformed`
 */
export async function readHttpHead(
  conn: Pick<Deno.Conn, "read">,
  first = new Uint8Array(0),
): Promise<HttpHead> {
  let bytes: Uint8Array = first;
  const buffer = new Uint8Array(16_384);
  for (let searched = 0;;) {
    const end = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(
      "\r\n\r\n",
      Math.max(0, searched - 3),
      "latin1",
    );
    if (end >= 0) {
      return {
        head: Buffer.from(bytes.subarray(0, end + 4)).toString("latin1"),
        rest: bytes.slice(end + 4),
      };
    }
    searched = bytes.length;
    if (bytes.length > MAX_HEAD_BYTES) {
      throw new ProxyError("upstream.malformed", "Cannot read a message: its head is too large");
    }
    const count = await conn.read(buffer);
    if (count === null) {
      throw new ProxyError("upstream.closed", "Cannot read a message: the connection ended inside its head");
    }
    bytes = Buffer.concat([bytes, buffer.subarray(0, count)]);
  }
}

/**
 * Reads a whole response with a Content-Length; without one its body is what comes until the end.
 *
 * @param begun its head, when that was read already
 * @throws ProxyError `upstream.closed`, `upstream.malformed`
 */
export async function readHttpResponse(
  conn: Pick<Deno.Conn, "read">,
  begun?: HttpHead,
): Promise<HttpResponse> {
  const { head, rest } = begun ?? await readHttpHead(conn);
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? NaN);
  const field = (name: string) => fieldOf(head, name);
  const lengthText = field("content-length");
  const length = lengthText === undefined ? undefined : Number(lengthText);
  if (!(status >= 100) || (lengthText !== undefined && !/^\d{1,9}$/.test(lengthText))) {
    throw new ProxyError("upstream.malformed", "Cannot read the proxy's answer: it is no HTTP response");
  }
  let body: Uint8Array = rest;
  const buffer = new Uint8Array(16_384);
  while (length === undefined || body.length < length) {
    if (body.length > MAX_BODY_BYTES) {
      throw new ProxyError("upstream.malformed", "Cannot read the proxy's answer: it is too large");
    }
    const count = await conn.read(buffer);
    if (count === null) {
      if (length === undefined) break;
      throw new ProxyError(
        "upstream.closed",
        "Cannot read the proxy's answer: the connection ended inside it",
      );
    }
    body = Buffer.concat([body, buffer.subarray(0, count)]);
  }
  const end = length ?? body.length;
  return { status, field, body: body.subarray(0, end), rest: body.subarray(end) };
}

/** The value of a field of a head, when it is there exactly once. */
export function fieldOf(head: string, name: string): string | undefined {
  const values = head.split("\r\n").slice(1).filter((line) => line.toLowerCase().startsWith(`${name}:`));
  return values.length === 1 ? values[0]?.slice(name.length + 1).trim() : undefined;
}

/** A short response that ends its connection. */
export function formatPlainResponse(status: number, reason: string, text: string): Uint8Array {
  const body = Buffer.from(text.endsWith("\n") ? text : text + "\n", "utf8");
  const head =
    `HTTP/1.1 ${status} ${PHRASES[status] ?? "Refused"}\r\nContent-Type: text/plain; charset=utf-8\r\n` +
    `Content-Length: ${body.length}\r\nCache-Control: no-store\r\nX-Slicer-Proxy-Reason: ${reason}\r\n` +
    "Connection: close\r\n\r\n";
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

const PHRASES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  502: "Bad Gateway",
  504: "Gateway Timeout",
};
