/**
 * Where a message's body ends (RFC 9112 §6 and §7). Bytes are forwarded as they came; this only says how many of those at
 * hand belong to the body, and refuses framing that two parsers could read in two ways.
 *
 * @module
 */
import { type ErrorCode, ProxyError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { valuesOf } from "../message/fields.ts";
import type { RequestHead, ResponseHead } from "../message/message.ts";
import { isForbiddenTrailer } from "../message/trailer.ts";
import { latin1, parseFields } from "./head_reader.ts";

/** Bytes that are no framing; the end is behind them. */
export interface ContentSpan {
  readonly start: number;
  readonly end: number;
  /** Of the trailer section. */
  readonly isTrailer?: boolean;
}

/** A body under way. */
export interface Body {
  /**
   * How many of `bytes` may be forwarded now. Zero means that more are needed; a chunk-size or trailer line is let
   * through only whole and checked.
   *
   * @throws ProxyError `client.malformed` or `upstream.malformed`
   */
  take(bytes: Uint8Array): number;
  /** True once the last byte was taken. */
  readonly done: boolean;
  /** True when the end of the stream is the end of the body. */
  readonly closeDelimited: boolean;
  /** From now on {@linkcode content} is kept; there is framing among the bytes. */
  recordContent?(): void;
  /** Where in the bytes of the last {@linkcode take} content lies; undefined when it is all of them. */
  readonly content?: readonly ContentSpan[] | undefined;
}

type BodyLimits = Pick<Limits, "maxChunkLineBytes" | "maxTrailerBytes" | "maxHeaderCount">;

const EMPTY: Body = { take: () => 0, done: true, closeDelimited: false };
const LF = 10;
const CR = 13;

/**
 * The body of a request (RFC 9112 §6.3).
 *
 * @throws ProxyError `client.malformed`
 */
export function requestBody(head: RequestHead, limits: BodyLimits): Body {
  return bodyOf(head, limits, "client.malformed") ?? EMPTY;
}

/**
 * The body of the response to `method` (RFC 9112 §6.3).
 *
 * @throws ProxyError `upstream.malformed`
 */
export function responseBody(head: ResponseHead, method: string, limits: BodyLimits): Body {
  const body = bodyOf(head, limits, "upstream.malformed");
  if (head.status < 200 || head.status === 204) {
    // RFC 9110 §8.6, RFC 9112 §6.1: neither field belongs here. `Content-Length: 0` is common and harmless.
    // Transfer-Encoding in a 204 is sent in earnest by some servers; no client reads a body there, and it is not passed on.
    if (body && !body.done && !isBodyless(head)) {
      throw malformed("upstream.malformed", `a ${head.status} response announces a body`);
    }
    return EMPTY;
  }
  if (method === "HEAD" || head.status === 304) return EMPTY;
  return body ?? closeDelimitedBody();
}

/** True for a 204 or 304 whose Transfer-Encoding no client reads, and whose upstream may yet send what it announces. */
export function isBodyless({ status, fields }: ResponseHead): boolean {
  return (status === 204 || status === 304) && valuesOf(fields, "transfer-encoding").length > 0;
}

function bodyOf(
  { version, fields }: RequestHead | ResponseHead,
  limits: BodyLimits,
  code: ErrorCode,
): Body | undefined {
  const lengths = valuesOf(fields, "content-length");
  const codings = valuesOf(fields, "transfer-encoding");
  if (lengths.length + codings.length === 0) return undefined;
  // A tab is legal around a value (RFC 9110 §5.6.3), and servers are known that then do not see `chunked`.
  if (fields.some((field) => isFraming(field.key) && field.line?.includes("\t"))) {
    throw malformed(code, "a tab in Content-Length or Transfer-Encoding");
  }
  if (codings.length > 0) {
    // RFC 9112 §6.1: both fields is an attempt to smuggle; other codings than chunked nobody sends to a proxy.
    if (lengths.length > 0) throw malformed(code, "both Content-Length and Transfer-Encoding");
    if (codings.length > 1 || codings[0]?.toLowerCase() !== "chunked") {
      throw malformed(code, "a Transfer-Encoding other than exactly `chunked`");
    }
    if (version === "HTTP/1.0") throw malformed(code, "Transfer-Encoding in HTTP/1.0");
    return new ChunkedBody(limits, code);
  }
  const [length = ""] = lengths;
  // RFC 9110 §8.6 allows equal repetitions; forwarded as sent, the next hop might read them otherwise.
  if (lengths.length > 1 || !/^\d{1,15}$/.test(length)) {
    throw malformed(code, "a Content-Length that is not one number");
  }
  return new LengthBody(Number(length));
}

function isFraming(key: string): boolean {
  return key === "content-length" || key === "transfer-encoding";
}

class LengthBody implements Body {
  readonly closeDelimited = false;
  #left: number;

  constructor(length: number) {
    this.#left = length;
  }

  get done(): boolean {
    return this.#left === 0;
  }

  take(bytes: Uint8Array): number {
    const count = Math.min(this.#left, bytes.length);
    this.#left -= count;
    return count;
  }
}

function closeDelimitedBody(): Body {
  return { take: (bytes) => bytes.length, done: false, closeDelimited: true };
}

/** chunk-size [ chunk-ext ]: extensions are passed on, but only as visible text without bare CR (RFC 9112 §7.1.1). */
const CHUNK_LINE = /^([0-9A-Fa-f]{1,12})([\t ]*;[\t\x20-\x7e\x80-\xff]*)?$/;

/**
 * States: `size` → `data` → `data-end` → `size` … → `trailer` → `done`. Only `data` passes bytes as they come; every line is
 * passed whole or not at all.
 */
class ChunkedBody implements Body {
  readonly closeDelimited = false;
  readonly #limits: BodyLimits;
  readonly #code: ErrorCode;
  #state: "size" | "data" | "data-end" | "trailer" | "done" = "size";
  #dataLeft = 0;
  #trailerBytes = 0;
  #trailerCount = 0;
  #content: ContentSpan[] | undefined;

  constructor(limits: BodyLimits, code: ErrorCode) {
    this.#limits = limits;
    this.#code = code;
  }

  get done(): boolean {
    return this.#state === "done";
  }

  /** Trailers are among it: what is looked for in content must not stand there either. */
  get content(): readonly ContentSpan[] | undefined {
    return this.#content;
  }

  recordContent(): void {
    this.#content ??= [];
  }

  take(bytes: Uint8Array): number {
    if (this.#content) this.#content = [];
    let taken = 0;
    while (this.#state !== "done") {
      const isTrailer = this.#state === "trailer";
      const isContent = this.#state === "data" || isTrailer;
      const step = this.#step(bytes, taken);
      if (step === 0) break;
      if (isContent) this.#content?.push({ start: taken, end: taken + step, isTrailer });
      taken += step;
    }
    return taken;
  }

  #step(bytes: Uint8Array, from: number): number {
    if (this.#state === "data") {
      const count = Math.min(this.#dataLeft, bytes.length - from);
      this.#dataLeft -= count;
      if (this.#dataLeft === 0) this.#state = "data-end";
      return count;
    }
    if (this.#state === "data-end") {
      if (bytes.length > from && bytes[from] !== CR) {
        throw this.#malformed("a chunk is longer than its size says");
      }
      if (bytes.length - from < 2) return 0;
      if (bytes[from + 1] !== LF) throw this.#malformed("a chunk does not end with CRLF");
      this.#state = "size";
      return 2;
    }
    return this.#line(bytes, from);
  }

  #line(bytes: Uint8Array, from: number): number {
    const isTrailer = this.#state === "trailer";
    const limit = isTrailer
      ? this.#limits.maxTrailerBytes - this.#trailerBytes
      : this.#limits.maxChunkLineBytes;
    const lf = bytes.indexOf(LF, from);
    if ((lf < 0 ? bytes.length : lf + 1) - from > limit) {
      throw this.#malformed(`a ${isTrailer ? "trailer section" : "chunk-size line"} is too long`);
    }
    if (lf < 0) return 0;
    if (lf === from || bytes[lf - 1] !== CR) throw this.#malformed("a line ends without CR (bare LF)");
    const line = latin1(bytes.subarray(from, lf - 1));
    if (isTrailer) this.#trailer(line);
    else this.#size(line);
    return lf + 1 - from;
  }

  #size(line: string): void {
    const match = CHUNK_LINE.exec(line);
    if (!match) throw this.#malformed("a chunk size is none");
    this.#dataLeft = parseInt(match[1] ?? "", 16);
    this.#state = this.#dataLeft === 0 ? "trailer" : "data";
  }

  #trailer(line: string): void {
    if (line === "") {
      this.#state = "done";
      return;
    }
    this.#trailerBytes += line.length + 2;
    if (++this.#trailerCount > this.#limits.maxHeaderCount) throw this.#malformed("too many trailer fields");
    for (const field of parseFields([line], this.#limits, this.#code)) {
      if (isForbiddenTrailer(field.key)) {
        throw this.#malformed("a trailer field that must not be one (RFC 9110 §6.5.1)");
      }
    }
  }

  #malformed(what: string): ProxyError {
    return malformed(this.#code, what);
  }
}

function malformed(code: ErrorCode, what: string): ProxyError {
  return new ProxyError(code, `Cannot read the message: ${what}`);
}
