/**
 * A field as it was received, checked once when it is decoded, however often a table refers to it (RFC 9113 §8.2).
 *
 * Not here: pseudo-header fields and what a head must have (`head.ts`).
 *
 * @module
 */
import { isAmbiguousName } from "../message/fields.ts";
import type { Http2Field } from "./types.ts";

/** RFC 9110 §5.6.2 in lower case (RFC 9113 §8.2.1), or a pseudo-header field. */
const NAME = /^:?[!#$%&'*+.^_`|~0-9a-z-]+$/;
/** RFC 9113 §8.2.1: no NUL, LF or CR, and RFC 9110 §5.5: no other control bytes either. */
const NOT_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
/** RFC 9113 §8.2.2: what belongs to a connection of HTTP/1.1; `te` may say `trailers`. */
const CONNECTION_SPECIFIC = new Set([
  "connection",
  "proxy-connection",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

/** What an entry costs beside its text (RFC 7541 §4.1). */
const ENTRY_OVERHEAD = 32;

/** See the module. */
export class ReceivedField implements Http2Field {
  readonly name: string;
  readonly key: string;
  readonly value: string;
  readonly isSensitive: boolean;

  constructor(key: string, value: string, isSensitive: boolean) {
    this.name = key;
    this.key = key;
    this.value = value;
    this.isSensitive = isSensitive;
  }

  /** Its size in a table and in a header list (RFC 7541 §4.1, RFC 9113 §6.5.2). */
  get size(): number {
    return this.key.length + this.value.length + ENTRY_OVERHEAD;
  }

  get isPseudo(): boolean {
    return this.key.charCodeAt(0) === 0x3a;
  }

  /** `null` until somebody asked. */
  #fault: string | undefined | null = null;

  /** What is wrong with it, if anything. */
  get fault(): string | undefined {
    if (this.#fault === null) this.#fault = fieldFault(this.key, this.value);
    return this.#fault;
  }
}

/** What is wrong with a field of that name and value, if anything. */
export function fieldFault(key: string, value: string): string | undefined {
  if (!NAME.test(key)) return "a field name that is no lower-case token (RFC 9113 §8.2.1)";
  if (NOT_VALUE.test(value)) return "a field value with control bytes (RFC 9113 §8.2.1)";
  const [first, last] = [value.charCodeAt(0), value.charCodeAt(value.length - 1)];
  if (isSpace(first) || isSpace(last)) return "a field value with space around it (RFC 9113 §8.2.1)";
  if (CONNECTION_SPECIFIC.has(key) || (key === "te" && value !== "trailers")) {
    return "a connection-specific field (RFC 9113 §8.2.2)";
  }
  if (isAmbiguousName(key)) return "a field that is framing to some servers, written with `_`";
  return undefined;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
