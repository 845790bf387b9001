/**
 * Keys of rows as bytes whose order is that of the keys: strings by their UTF-8 bytes, numbers by their size.
 *
 *     string   02, its UTF-8 bytes with 00 as 00 ff, 00
 *     number   21, its 64 bits (IEEE 754, big-endian) with the sign flipped, all of them where it is negative
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../../core/errors.ts";

const STRING = 0x02;
const NUMBER = 0x21;
const END = 0x00;
const ESCAPED = 0xff;
/** Above every byte that begins a part: what is below a prefix comes before the prefix and this. */
const AFTER = 0xff;

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });
const NUMBER_BYTES = 8;
const NUMBERS = new DataView(new ArrayBuffer(NUMBER_BYTES));

/** The bytes of a key of strings and numbers. Anything else is our own mistake: `TypeError`. */
export function encodeKey(key: Deno.KvKey): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(key.map(encodePart)));
}

function encodePart(part: Deno.KvKeyPart): Uint8Array {
  if (typeof part === "string") return encodeString(part);
  if (typeof part === "number" && !Number.isNaN(part)) return encodeNumber(part);
  throw new TypeError("Cannot use a key of other parts than strings and numbers");
}

/** The first key that is not below a prefix. */
export function endOfPrefix(prefix: Deno.KvKey): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(...encodeKey(prefix), AFTER);
}

/** The inverse of {@linkcode encodeKey}. @throws ProxyError `state.damaged` */
export function decodeKey(bytes: Uint8Array): Deno.KvKey {
  const key: (string | number)[] = [];
  for (let at = 0; at < bytes.length;) {
    const kind = bytes[at++];
    if (kind === NUMBER && at + 8 <= bytes.length) {
      key.push(numberAt(bytes, at));
      at += 8;
    } else if (kind === STRING) {
      const [text, end] = stringAt(bytes, at);
      key.push(text);
      at = end;
    } else throw damaged();
  }
  return key;
}

function encodeString(text: string): Uint8Array {
  if (text.includes("\0")) return encodeEscaped(text);
  const bytes = new Uint8Array(text.length * 3 + 2); // a code unit is at most three bytes
  bytes[0] = STRING;
  const { written } = ENCODER.encodeInto(text, bytes.subarray(1));
  return bytes.subarray(0, written + 2); // END is 0
}

function encodeEscaped(text: string): Uint8Array {
  const bytes = [STRING];
  for (const byte of ENCODER.encode(text)) {
    bytes.push(byte);
    if (byte === END) bytes.push(ESCAPED);
  }
  return Uint8Array.of(...bytes, END);
}

function stringAt(bytes: Uint8Array, start: number): readonly [string, number] {
  let end = bytes.indexOf(END, start);
  if (end < 0) throw damaged();
  if (bytes[end + 1] !== ESCAPED) return [DECODER.decode(bytes.subarray(start, end)), end + 1];
  const text: number[] = [];
  for (let at = start;; at = end + 2) {
    end = bytes.indexOf(END, at);
    if (end < 0) throw damaged();
    for (const byte of bytes.subarray(at, end)) text.push(byte);
    if (bytes[end + 1] !== ESCAPED) return [DECODER.decode(Uint8Array.from(text)), end + 1];
    text.push(END);
  }
}

function encodeNumber(number: number): Uint8Array {
  NUMBERS.setFloat64(0, number);
  const bytes = new Uint8Array(1 + NUMBER_BYTES);
  bytes[0] = NUMBER;
  const isNegative = (NUMBERS.getUint8(0) & 0x80) !== 0;
  for (let i = 0; i < NUMBER_BYTES; i++) {
    const byte = NUMBERS.getUint8(i);
    bytes[i + 1] = isNegative ? byte ^ 0xff : i === 0 ? byte ^ 0x80 : byte;
  }
  return bytes;
}

function numberAt(bytes: Uint8Array, at: number): number {
  const isNegative = ((bytes[at] ?? 0) & 0x80) === 0;
  for (let i = 0; i < NUMBER_BYTES; i++) {
    const byte = bytes[at + i] ?? 0;
    NUMBERS.setUint8(i, isNegative ? byte ^ 0xff : i === 0 ? byte ^ 0x80 : byte);
  }
  return NUMBERS.getFloat64(0);
}

function damaged(): ProxyError {
  return new ProxyError("state.damaged", "Cannot read a row of the store: its key is damaged", {
    hint: "restore the database from a backup",
  });
}
