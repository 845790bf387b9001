/**
 * Keys of rows as bytes whose order is that of the keys: strings by their UTF-8 bytes, numbers by their size.
 *
 *     string   02, its UTF-8 bytes with 00 as 00 ff, 00
 *     number   21, its 64 bits (IEEE 754, big-endian) with the sign flipped, all of them where it is negative
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";

const STRING = 0x02;
const NUMBER = 0x21;
const END = 0x00;
const ESCAPED = 0xff;
/** Above every byte that begins a part: what is below a prefix comes before the prefix and this. */
const AFTER = 0xff;

/** The bytes of a key of strings and numbers. Anything else is our own mistake: `TypeError`. */
export function encodeKey(key: Deno.KvKey): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  for (const part of key) {
    if (typeof part === "string") pushString(bytes, part);
    else if (typeof part === "number" && !Number.isNaN(part)) pushNumber(bytes, part);
    else throw new TypeError("Cannot use a key of other parts than strings and numbers");
  }
  return Uint8Array.from(bytes);
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

function pushString(bytes: number[], text: string): void {
  bytes.push(STRING);
  for (const byte of new TextEncoder().encode(text)) {
    bytes.push(byte);
    if (byte === END) bytes.push(ESCAPED);
  }
  bytes.push(END);
}

function stringAt(bytes: Uint8Array, start: number): readonly [string, number] {
  const text: number[] = [];
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at] ?? END;
    if (byte !== END) text.push(byte);
    else if (bytes[at + 1] === ESCAPED) text.push(bytes[at++] ?? END);
    else return [new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(text)), at + 1];
  }
  throw damaged();
}

function pushNumber(bytes: number[], number: number): void {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, number);
  const isNegative = (view.getUint8(0) & 0x80) !== 0;
  bytes.push(NUMBER);
  for (let i = 0; i < 8; i++) {
    const byte = view.getUint8(i);
    bytes.push(isNegative ? byte ^ 0xff : i === 0 ? byte ^ 0x80 : byte);
  }
}

function numberAt(bytes: Uint8Array, at: number): number {
  const view = new DataView(new Uint8Array(bytes.subarray(at, at + 8)).buffer);
  const isNegative = (view.getUint8(0) & 0x80) === 0;
  for (let i = 0; i < 8; i++) {
    const byte = view.getUint8(i);
    view.setUint8(i, isNegative ? byte ^ 0xff : i === 0 ? byte ^ 0x80 : byte);
  }
  return view.getFloat64(0);
}

function damaged(): ProxyError {
  return new ProxyError("state.damaged", "Cannot read a row of the store: its key is damaged", {
    hint: "restore the database from a backup",
  });
}
