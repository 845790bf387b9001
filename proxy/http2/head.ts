/**
 * Heads and trailer sections: what must be in a header list, what must not, and in which order (RFC 9113 §8.2, §8.3). Like
 * the reader of HTTP/1.1 it never repairs.
 *
 * Not here: whether authority, `host` and tunnel agree (`message/`), single fields (`field.ts`).
 *
 * @module
 */
import { isForbiddenTrailer } from "../message/trailer.ts";
import { H2 } from "./error.ts";
import { Fault } from "./fault.ts";
import type { ReceivedField } from "./field.ts";
import type { HeaderBlockWriter } from "./hpack_encoder.ts";
import type { Http2RequestHead, Http2ResponseHead, SendableField } from "./types.ts";

/** RFC 9110 §9.1; as long as in HTTP/1.1. */
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/;
/** RFC 3986 §3.1. */
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]{0,31}$/;
/** No userinfo (RFC 9113 §8.3.1), nothing that could end the authority. */
const AUTHORITY = /^[\x21-\x22\x24-\x2e\x30-\x3e\x41-\x7e]+$/;
/** The same bytes that HTTP/1.1's reader lets through. */
const PATH = /^(\/[\x21\x22\x24-\x7e]*|\*)$/;
const STATUS = /^[1-5]\d\d$/;
/** RFC 8441 §4: a token. */
const PROTOCOL = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;
const CONTENT_LENGTH = /^\d{1,15}$/;

/** A head that was received, with the length of the body that it announces. */
export interface Announced<Head> {
  readonly head: Head;
  readonly contentLength: number | undefined;
}

/**
 * The request in a header list.
 *
 * @param hasProtocol we have announced Extended CONNECT
 * @throws Fault PROTOCOL_ERROR for the stream (RFC 9113 §8.1.1)
 */
export function readRequestHead(
  list: readonly ReceivedField[],
  hasProtocol: boolean,
): Announced<Http2RequestHead> {
  const { pseudo, fields, contentLength, hostCount } = split(list, REQUEST_PSEUDO);
  const [method, scheme, authority, path, protocol] = pseudo;
  if (method === undefined || !METHOD.test(method)) throw malformed("no method");
  if (authority !== undefined && !AUTHORITY.test(authority)) throw malformed("an :authority that is none");
  if (hostCount > 1 || (authority === undefined && hostCount === 0)) {
    throw malformed("not exactly one place that names the host");
  }
  if (protocol !== undefined && (!hasProtocol || method !== "CONNECT" || !PROTOCOL.test(protocol))) {
    throw malformed("a :protocol that was not announced or belongs to no CONNECT (RFC 8441 §4)");
  }
  if (method === "CONNECT" && protocol === undefined) {
    // RFC 9113 §8.5.
    if (scheme !== undefined || path !== undefined || authority === undefined) {
      throw malformed("a CONNECT with other than :authority (RFC 9113 §8.5)");
    }
  } else {
    if (scheme === undefined || !SCHEME.test(scheme)) throw malformed("no :scheme");
    if (path === undefined || !PATH.test(path)) throw malformed("no :path");
    if (path === "*" && method !== "OPTIONS") throw malformed("a :path that is only for OPTIONS");
  }
  return { head: { method, scheme, authority, path, protocol, fields }, contentLength };
}

/**
 * The response in a header list.
 *
 * @throws Fault PROTOCOL_ERROR for the stream
 */
export function readResponseHead(list: readonly ReceivedField[]): Announced<Http2ResponseHead> {
  const { pseudo, fields, contentLength } = split(list, RESPONSE_PSEUDO);
  const [status] = pseudo;
  // RFC 9113 §8.6: there is no 101.
  if (status === undefined || !STATUS.test(status) || status === "101") throw malformed("no :status");
  return { head: { status: Number(status), fields }, contentLength };
}

/**
 * Checks a trailer section and gives it back.
 *
 * @throws Fault PROTOCOL_ERROR for the stream
 */
export function readTrailers(list: readonly ReceivedField[]): readonly ReceivedField[] {
  const { fields } = split(list, []);
  if (fields.some(({ key }) => isForbiddenTrailer(key))) {
    throw malformed("a trailer field that must not be one (RFC 9110 §6.5.1)");
  }
  return fields;
}

/** Writes a request's header list. */
export function writeRequestHead(block: HeaderBlockWriter, head: Http2RequestHead<SendableField>): void {
  const values = [head.method, head.scheme, head.authority, head.path, head.protocol];
  for (const [i, name] of REQUEST_PSEUDO.entries()) {
    const value = values[i];
    if (value !== undefined) block.pair(name, value, name === ":path" && head.isPathSensitive === true);
  }
  for (const field of head.fields) block.field(field);
}

/** Writes a response's header list. */
export function writeResponseHead(block: HeaderBlockWriter, head: Http2ResponseHead<SendableField>): void {
  block.pair(":status", String(head.status));
  for (const field of head.fields) block.field(field);
}

const REQUEST_PSEUDO = [":method", ":scheme", ":authority", ":path", ":protocol"];
const RESPONSE_PSEUDO = [":status"];

/** A header list in parts: the values of `names`, which come first and once (RFC 9113 §8.3), and the fields. */
function split(list: readonly ReceivedField[], names: readonly string[]) {
  const pseudo: (string | undefined)[] = [];
  let count = 0;
  for (const field of list) {
    if (!field.isPseudo) break;
    const at = names.indexOf(field.key);
    if (at < 0 || pseudo[at] !== undefined) {
      throw malformed("a pseudo-header field that is unknown or repeated");
    }
    pseudo[at] = field.value; // whose bytes the patterns above judge
    count++;
  }
  const fields = list.slice(count);
  let contentLength: number | undefined;
  let hostCount = 0;
  for (const field of fields) {
    if (field.isPseudo) throw malformed("a pseudo-header field behind a regular one");
    if (field.fault !== undefined) throw malformed(field.fault);
    if (field.key === "host") hostCount++;
    else if (field.key === "content-length") {
      if (contentLength !== undefined || !CONTENT_LENGTH.test(field.value)) {
        throw malformed("a content-length that is not one number");
      }
      contentLength = Number(field.value);
    }
  }
  return { pseudo, fields, contentLength, hostCount };
}

/** A message that cannot be read in exactly one way: a stream error (RFC 9113 §8.1.1). */
function malformed(what: string): Fault {
  return new Fault("stream", H2.PROTOCOL_ERROR, what);
}
