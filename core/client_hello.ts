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
  /** The name as sent, or undefined without the extension. */
  readonly serverName: string | undefined;
  /** The version that a server which speaks 1.2 and 1.3 will use: RFC 8446 §4.2.1 has it take the newer one. */
  readonly tls: "1.2" | "1.3";
}

const HANDSHAKE_RECORD = 0x16;
const CLIENT_HELLO = 1;
const SERVER_NAME_EXTENSION = 0;
const SUPPORTED_VERSIONS_EXTENSION = 43;
const TLS_1_3 = 0x0304;
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

/**
 * The ClientHello at the start of `bytes`, or undefined when more are needed.
 *
 * @throws ProxyError `client.malformed`
 */
export function parseClientHello(bytes: Uint8Array): ClientHello | undefined {
  const message = joinRecords(bytes);
  return message && readHello(message);
}

/** The handshake message over its records, without its 4-byte header. */
function joinRecords(bytes: Uint8Array): Uint8Array | undefined {
  const parts: Uint8Array[] = [];
  let have = 0;
  let need = 4;
  for (let at = 0; have < need;) {
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
    if (part.length < length && have < need) return undefined;
    at += 5 + length;
  }
  return concat(parts, have).subarray(4, need);
}

function concat(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function readHello(message: Uint8Array): ClientHello {
  const body = new Cursor(message);
  body.skip(2 + 32); // legacy_version, random
  body.skip(body.number(1)); // legacy_session_id
  body.skip(body.number(2)); // cipher_suites
  body.skip(body.number(1)); // legacy_compression_methods
  if (body.left === 0) return { serverName: undefined, tls: "1.2" };
  const extensions = body.vector(2);
  let serverName: string | undefined;
  let tls: ClientHello["tls"] = "1.2";
  let hasName = false;
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const extension = extensions.vector(2);
    if (type === SUPPORTED_VERSIONS_EXTENSION && offersTls13(extension)) tls = "1.3";
    if (type !== SERVER_NAME_EXTENSION) continue;
    if (hasName) throw noClientHello("two server names");
    hasName = true;
    serverName = readServerName(extension);
  }
  return { serverName, tls };
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
