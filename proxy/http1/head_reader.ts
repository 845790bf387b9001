/**
 * The one reader of HTTP/1.1 heads, for both directions (RFC 9112). It never repairs: what two parsers could read in two
 * ways is refused, before anything is forwarded.
 *
 * Not here: bodies (`body.ts`), the meaning of a request (`message/target.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type ErrorCode, ProxyError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import type { ByteReader } from "../streams/byte_reader.ts";
import { type HeaderField, isAmbiguousName } from "../message/fields.ts";
import { knownKey } from "../message/known_names.ts";
import type { RequestHead, ResponseHead } from "../message/message.ts";

type HeadLimits = Pick<Limits, "maxHeadBytes" | "maxHeaderCount">;

const LF = 10;
const CR = 13;
/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110 §5.5: visible characters, space, tab and obs-text; no control bytes. */
const NOT_FIELD_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
/** RFC 9112 §3.2 forms, less the fragment; `\` and a few others are tolerated here and judged by the path policy. */
const TARGET = /^[\x21\x22\x24-\x7e]+$/;
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/;

/**
 * Takes a request head that is here whole, as most are, without waiting for anything.
 *
 * @returns undefined when it is not, or begins with an empty line: {@linkcode readRequestHead} has to look then
 * @throws ProxyError `client.malformed`, `client.head-too-large`
 */
export function takeRequestHead(reader: ByteReader, limits: HeadLimits): RequestHead | undefined {
  if (reader.at(0) === CR) return undefined;
  const lines = new HeadScan(reader, limits, REQUEST_CODES).take();
  return lines && parseRequestHead(lines, limits);
}

/**
 * Reads a request head.
 *
 * @returns undefined when the stream ends before its first byte
 * @throws ProxyError `client.malformed`, `client.head-too-large`, `client.closed` (ended inside the head)
 */
export async function readRequestHead(
  reader: ByteReader,
  limits: HeadLimits,
): Promise<RequestHead | undefined> {
  if (reader.size === 0) await reader.fill();
  if (reader.at(0) === CR) await skipEmptyLine(reader);
  const scan = new HeadScan(reader, limits, REQUEST_CODES);
  let lines = scan.take();
  while (!lines && await reader.fill()) lines = scan.take();
  if (!lines) scan.checkEnd();
  return lines && parseRequestHead(lines, limits);
}

/**
 * Reads a response head.
 *
 * @throws ProxyError `upstream.malformed`, `upstream.closed`
 */
export function readResponseHead(reader: ByteReader, limits: HeadLimits): Promise<ResponseHead> {
  const scan = new HeadScan(reader, limits, RESPONSE_CODES);
  if (reader.size > 0) return readRestOfResponseHead(reader, limits, scan);
  return reader.fill().then(() => {
    const lines = scan.take(); // most come whole
    return lines ? parseResponseHead(lines, limits) : readRestOfResponseHead(reader, limits, scan);
  });
}

async function readRestOfResponseHead(
  reader: ByteReader,
  limits: HeadLimits,
  scan: HeadScan,
): Promise<ResponseHead> {
  let lines = scan.take();
  while (!lines && await reader.fill()) lines = scan.take();
  if (lines) return parseResponseHead(lines, limits);
  scan.checkEnd();
  throw new ProxyError(
    "upstream.closed",
    "Cannot read the response: upstream closed the connection without one",
  );
}

/** The response in the lines of a head. */
function parseResponseHead(
  [statusLine = "", ...fieldLines]: readonly string[],
  limits: HeadLimits,
): ResponseHead {
  const match = STATUS_LINE.exec(statusLine);
  if (!match) throw malformed("upstream.malformed", "the status line is none (RFC 9112 §4)");
  return {
    version: match[1] === "0" ? "HTTP/1.0" : "HTTP/1.1",
    status: Number(match[2]),
    reason: match[3] ?? "",
    fields: parseFields(fieldLines, limits, "upstream.malformed"),
  };
}

/** The request in the lines of a head. */
function parseRequestHead(
  [requestLine = "", ...fieldLines]: readonly string[],
  limits: HeadLimits,
): RequestHead {
  // RFC 9112 §3: exactly one SP between the parts; lenient whitespace has been used for smuggling.
  const parts = requestLine.split(" ");
  const [method = "", target = "", version = ""] = parts;
  if (parts.length !== 3 || !TOKEN.test(method) || method.length > 32) {
    throw malformed("client.malformed", "the request line is none (RFC 9112 §3)");
  }
  if (!TARGET.test(target)) {
    throw malformed(
      "client.malformed",
      "the request target has bytes that must be percent-encoded (RFC 3986 §2)",
    );
  }
  if (version !== "HTTP/1.1" && version !== "HTTP/1.0") {
    throw malformed("client.malformed", "the HTTP version is neither 1.1 nor 1.0");
  }
  return { method, target, version, fields: parseFields(fieldLines, limits, "client.malformed") };
}

/**
 * Header or trailer fields from their lines. Also used for trailer sections.
 *
 * @throws ProxyError `code`
 */
export function parseFields(
  lines: readonly string[],
  limits: Pick<Limits, "maxHeaderCount">,
  code: ErrorCode,
): HeaderField[] {
  if (lines.length > limits.maxHeaderCount) {
    throw malformed(code, `more than ${limits.maxHeaderCount} header fields`);
  }
  const fields: HeaderField[] = [];
  for (const line of lines) {
    // RFC 9112 §5.2: obs-fold starts with whitespace; §5.1: no whitespace before the colon. Neither passes TOKEN.
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    const known = knownKey(name);
    if (known === undefined && (colon < 1 || !TOKEN.test(name))) {
      throw malformed(
        code,
        "a header field's name is none: folded lines and spaces before the colon are refused",
      );
    }
    if (NOT_FIELD_VALUE.test(line)) throw malformed(code, "a header field holds control bytes");
    const key = known ?? name.toLowerCase();
    if (known === undefined && isAmbiguousName(key)) {
      throw malformed(code, "a header field that is framing to some servers is written with `_`");
    }
    fields.push({ name, key, value: trimOws(line.slice(colon + 1)), line });
  }
  return fields;
}

/** RFC 9112 §2.2: some clients end a body with a CRLF too many. One is let off. */
async function skipEmptyLine(reader: ByteReader): Promise<void> {
  if (reader.size === 1) await reader.fill();
  if (reader.at(1) === LF) reader.consume(2);
}

/** What is wrong with a head, by whose it is. */
interface HeadCodes {
  readonly malformed: ErrorCode;
  readonly tooLarge: ErrorCode;
  readonly closed: ErrorCode;
}

const REQUEST_CODES: HeadCodes = {
  malformed: "client.malformed",
  tooLarge: "client.head-too-large",
  closed: "client.closed",
};
const RESPONSE_CODES: HeadCodes = {
  malformed: "upstream.malformed",
  tooLarge: "upstream.malformed",
  closed: "upstream.closed",
};

/**
 * Looks for the end of the next head. RFC 9112 §2.2 lets a recipient take a bare LF as a line end; we do not, and a bare CR
 * never. Each byte is looked at once, however small the pieces are in which it comes.
 */
class HeadScan {
  readonly #reader: ByteReader;
  readonly #limits: HeadLimits;
  readonly #codes: HeadCodes;
  #scanned = 0;
  #lineStart = 0;

  constructor(reader: ByteReader, limits: HeadLimits, codes: HeadCodes) {
    this.#reader = reader;
    this.#limits = limits;
    this.#codes = codes;
  }

  /**
   * The head's lines, without line ends and without the empty last line, taken from the reader; undefined while they are not
   * all there. Most heads come whole, and are taken without waiting for anything.
   */
  take(): string[] | undefined {
    const bytes = this.#reader.available;
    const { maxHeadBytes } = this.#limits;
    for (let lf = bytes.indexOf(LF, this.#scanned); lf >= 0; lf = bytes.indexOf(LF, this.#scanned)) {
      if (lf === 0 || bytes[lf - 1] !== CR) {
        throw malformed(this.#codes.malformed, "a line ends without CR (bare LF)");
      }
      if (lf >= maxHeadBytes) throw tooLarge(this.#codes.tooLarge, this.#limits);
      this.#scanned = lf + 1;
      if (lf - this.#lineStart === 1) {
        if (this.#lineStart === 0) {
          throw malformed(this.#codes.malformed, "the head begins with an empty line");
        }
        const text = this.#reader.text(0, this.#lineStart - 2);
        this.#reader.consume(this.#scanned);
        return text.split("\r\n");
      }
      this.#lineStart = this.#scanned;
    }
    this.#scanned = bytes.length;
    if (this.#scanned >= maxHeadBytes) throw tooLarge(this.#codes.tooLarge, this.#limits);
    return undefined;
  }

  /** The stream has ended. @throws ProxyError when that was inside the head */
  checkEnd(): void {
    if (this.#reader.size === 0) return;
    throw new ProxyError(this.#codes.closed, "Cannot read the head: the connection ended inside it");
  }
}

/** Bytes as text, one character a byte. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

function trimOws(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isOws(text.charCodeAt(start))) start++;
  while (end > start && isOws(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isOws(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function malformed(code: ErrorCode, what: string): ProxyError {
  return new ProxyError(code, `Cannot read the message: ${what}`);
}

function tooLarge(code: ErrorCode, limits: HeadLimits): ProxyError {
  return new ProxyError(
    code,
    `Cannot read the message: its head is larger than ${limits.maxHeadBytes} bytes`,
  );
}
