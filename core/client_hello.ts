/**
 * The server name in a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3), read from the bytes before anything answers them. A
 * ClientHello may span records, and with post-quantum key shares the name may stand kilobytes in.
 *
 * Not here: reading from a connection.
 *
 * @module
 */
import { ProxyError } from "./errors.ts";

/** What matters of a ClientHello. */
export interface ClientHello {
  /** The protocols that it offers (RFC 7301), in the client's order; empty without the extension. */
  readonly alpn: readonly string[];
  /** The name as sent, or undefined without the extension. */
  readonly serverName: string | undefined;
  /** The version that a server which speaks 1.2 and 1.3 will use: RFC 8446 §4.2.1 has it take the newer one. */
  readonly tls: "1.2" | "1.3";
  /**
   * Offers RFC 7366, as OpenSSL and GnuTLS do and Go, rustls, NSS and BoringSSL do not. The former tell an unknown CA from
   * other faults of a certificate in their alerts.
   */
  readonly offersEncryptThenMac: boolean;
  /** Bytes of its records: what comes behind is another message. */
  readonly byteLength: number;
}

const HANDSHAKE_RECORD = 0x16;
const CLIENT_HELLO = 1;
const SERVER_NAME_EXTENSION = 0;
const ALPN_EXTENSION = 16;
const SUPPORTED_VERSIONS_EXTENSION = 43;
const TLS_1_3 = 0x0304;
const ENCRYPT_THEN_MAC_EXTENSION = 22;
/** The others, a dozen as a rule, are passed over. */
const READ_EXTENSIONS: ReadonlySet<number> = new Set([
  SERVER_NAME_EXTENSION,
  ALPN_EXTENSION,
  ENCRYPT_THEN_MAC_EXTENSION,
  SUPPORTED_VERSIONS_EXTENSION,
]);
const MAX_RECORD_BYTES = 16_384 + 256;
/**
 * Real clients use one record, a few to get past filters. Every read starts from the beginning, so without a bound records of
 * one byte, sent one by one, cost 47 s of the only thread (measured).
 */
const MAX_RECORDS = 64;

/** True when the byte may begin a TLS connection. */
export function isTlsRecord(firstByte: number | undefined): boolean {
  return firstByte === HANDSHAKE_RECORD;
}

/** Enough bytes to say what {@linkcode tlsStart} says. */
const START_BYTES = 11;

/**
 * Whether some TLS server would take the start of a connection for TLS, by its first 11 bytes: records of any type, since
 * servers skip a warning alert before the ClientHello, and Go reads versions up to 0x0fff; and the ClientHello in the format
 * of SSL 2.0 (RFC 5246 appendix E.2), which OpenSSL still answers with TLS 1.2. A MySQL login may begin with such a byte too, so
 * lengths are looked at.
 *
 * @returns undefined when more bytes are needed
 */
export function tlsStart(bytes: Uint8Array): "record" | "ssl2" | "other" | undefined {
  const [first, major = 0, third = 0, fourth = 0, fifth = 0, payload = 0] = bytes;
  if (first === undefined) return undefined;
  if (first >= 0x14 && first <= 0x17) {
    if (bytes.length >= 2 && major > 0x0f) return "other";
    if (bytes.length < 6) return undefined;
    const length = (fourth << 8) | fifth;
    const isRecord = first === 0x14
      ? length === 1
      : first === 0x15
      ? length === 2
      : first === HANDSHAKE_RECORD
      ? major === 3 || length === 0 || payload === CLIENT_HELLO
      : major === 3 && length <= MAX_RECORD_BYTES;
    return isRecord ? "record" : "other";
  }
  if (first < 0x80 || first > 0xbf) return "other"; // a length of up to 16 KiB, with the highest bit set
  if (bytes.length >= 3 && third !== CLIENT_HELLO) return "other"; // the type of the message
  if (bytes.length >= 4 && fourth !== 3 && fourth !== 0) return "other"; // its version
  if (bytes.length < START_BYTES) return undefined;
  const number = (at: number) => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  return 9 + number(5) + number(7) + number(9) === (number(0) & 0x7fff) ? "ssl2" : "other";
}

/**
 * The ClientHello at the start of `bytes`, or undefined when more are needed. Another message within its last record is
 * refused: nothing may follow a ClientHello before its answer, and a second one could hide there.
 *
 * @throws ProxyError `client.malformed`
 */
export function parseClientHello(bytes: Uint8Array): ClientHello | undefined {
  const found = joinRecords(bytes);
  return found && { ...readHello(found.message), byteLength: found.byteLength };
}

/** The handshake message over its records, without its 4-byte header. */
function joinRecords(bytes: Uint8Array): { message: Uint8Array; byteLength: number } | undefined {
  const parts: Uint8Array[] = [];
  let have = 0;
  let need = 4;
  let at = 0;
  while (have < need) {
    if (parts.length === MAX_RECORDS) throw noClientHello("it is in too many pieces");
    if (bytes.length - at < 5) return undefined;
    const length = ((bytes[at + 3] ?? 0) << 8) | (bytes[at + 4] ?? 0);
    if (!isTlsRecord(bytes[at]) || bytes[at + 1] !== 3 || length === 0 || length > MAX_RECORD_BYTES) {
      throw noClientHello("not a handshake record");
    }
    const part = bytes.subarray(at + 5, at + 5 + length);
    parts.push(part);
    have += part.length;
    if (have >= 4 && need === 4) {
      const header = concat(parts.map((part) => part.subarray(0, 4)), 16);
      if (header[0] !== CLIENT_HELLO) throw noClientHello("another handshake message");
      need = 4 + (((header[1] ?? 0) << 16) | ((header[2] ?? 0) << 8) | (header[3] ?? 0));
    }
    if (have >= 4 && (have > need || (have === need && part.length < length))) {
      throw noClientHello("another message follows in its record");
    }
    if (part.length < length && have < need) return undefined;
    at += 5 + length;
  }
  return { message: concat(parts, have).subarray(4, need), byteLength: at };
}

function concat(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = parts;
  if (only && parts.length === 1) return only; // as nearly every ClientHello is
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function readHello(message: Uint8Array): Omit<ClientHello, "byteLength"> {
  const body = new Cursor(message);
  body.skip(2 + 32); // legacy_version, random
  body.skip(body.number(1)); // legacy_session_id
  body.skip(body.number(2)); // cipher_suites
  body.skip(body.number(1)); // legacy_compression_methods
  if (body.left === 0) return { serverName: undefined, tls: "1.2", offersEncryptThenMac: false, alpn: [] };
  const extensions = body.vector(2);
  let serverName: string | undefined;
  let tls: ClientHello["tls"] = "1.2";
  let hasName = false;
  let alpn: readonly string[] = [];
  let offersEncryptThenMac = false;
  while (extensions.left > 0) {
    const type = extensions.number(2);
    if (!READ_EXTENSIONS.has(type)) {
      extensions.skip(extensions.number(2));
      continue;
    }
    const extension = extensions.vector(2);
    if (type === SUPPORTED_VERSIONS_EXTENSION && offersTls13(extension)) tls = "1.3";
    if (type === ENCRYPT_THEN_MAC_EXTENSION) offersEncryptThenMac = true;
    if (type === ALPN_EXTENSION) alpn = readAlpn(extension);
    if (type !== SERVER_NAME_EXTENSION) continue;
    if (hasName) throw noClientHello("two server names");
    hasName = true;
    serverName = readServerName(extension);
  }
  return { serverName, tls, offersEncryptThenMac, alpn };
}

/** RFC 7301 §3.1. */
function readAlpn(extension: Cursor): readonly string[] {
  const list = extension.vector(2);
  const names: string[] = [];
  while (list.left > 0) {
    const name = list.vector(1);
    let text = "";
    while (name.left > 0) text += String.fromCharCode(name.number(1));
    names.push(text);
  }
  return names;
}

/** Whoever answers the handshake judges a list that is malformed. */
function offersTls13(extension: Cursor): boolean {
  if (extension.left > 0) extension.skip(1);
  while (extension.left >= 2) if (extension.number(2) === TLS_1_3) return true;
  return false;
}

/** RFC 6066 §3: a list that holds at most one name of each type; the only type is host_name (0). */
function readServerName(extension: Cursor): string {
  const list = extension.vector(2);
  const type = list.number(1);
  const name = list.vector(2);
  if (type !== 0 || list.left > 0 || extension.left > 0 || name.left === 0) {
    throw noClientHello("an odd server name");
  }
  let text = "";
  while (name.left > 0) text += String.fromCharCode(name.number(1));
  return text;
}

class Cursor {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  skip(count: number): void {
    if (count > this.left) throw noClientHello("it is cut short");
    this.#at += count;
  }

  number(size: number): number {
    let value = 0;
    const start = this.#at;
    this.skip(size);
    for (let i = start; i < this.#at; i++) value = value * 256 + (this.#bytes[i] ?? 0);
    return value;
  }

  vector(lengthSize: number): Cursor {
    const length = this.number(lengthSize);
    const start = this.#at;
    this.skip(length);
    return new Cursor(this.#bytes.subarray(start, this.#at));
  }
}

function noClientHello(what: string): ProxyError {
  return new ProxyError("client.malformed", `Cannot read the ClientHello: ${what}`, {
    reason: "tls-no-client-hello",
  });
}
