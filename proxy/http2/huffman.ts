/**
 * The Huffman code of HPACK (RFC 7541 §5.2): decoding by table, eight bits at a time, in time linear in the input. We send
 * strings plain: what the code saves in bytes costs more than it brings on the way to a socket.
 *
 * @module
 */
import { HUFFMAN_LENGTHS } from "./hpack_tables.ts";

const EOS = 256;
const LONGEST = 30;

/** Symbols by code: by length, then by symbol. */
const SYMBOLS = [...HUFFMAN_LENGTHS.keys()].sort((a, b) => lengthOf(a) - lengthOf(b));
/** Per length: its first code, how many there are, and where its first symbol stands in {@linkcode SYMBOLS}. */
const FIRST_CODE: number[] = [];
const COUNT: number[] = [];
const FIRST_INDEX: number[] = [];
/** For the next eight bits: `symbol << 4 | length`, or 0 where the code is longer. */
const SHORT_CODES = new Uint16Array(256);

for (let length = 0, code = 0, index = 0; length <= LONGEST; length++, code *= 2) {
  FIRST_CODE[length] = code;
  FIRST_INDEX[length] = index;
  const codes = HUFFMAN_LENGTHS.filter((other) => other === length).length;
  COUNT[length] = codes;
  for (let i = 0; i < codes; i++, code++, index++) {
    if (length > 8) continue;
    const first = code << (8 - length);
    SHORT_CODES.fill((SYMBOLS[index] ?? 0) << 4 | length, first, first + (1 << (8 - length)));
  }
}

function lengthOf(symbol: number): number {
  return HUFFMAN_LENGTHS[symbol] ?? 0;
}

/** The most bytes that `length` encoded bytes can become: the shortest code has five bits. */
export function maxDecodedLength(length: number): number {
  return Math.floor(length * 8 / 5);
}

/**
 * Decodes `bytes[start, end)` into `into`, which has room for {@linkcode maxDecodedLength}.
 *
 * @returns how many bytes it became; undefined when it is not a Huffman string: an unknown code, EOS, or padding that is not
 *   the beginning of EOS or has eight bits or more (RFC 7541 §5.2)
 */
export function decodeHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
  into: Uint8Array,
): number | undefined {
  let written = 0;
  let at = start;
  /** The next `count` bits, at most 32 of them, right-aligned; what stands left of them was used. */
  let bits = 0;
  let count = 0;
  for (;;) {
    while (count <= 24 && at < end) {
      bits = bits << 8 | (bytes[at++] ?? 0);
      count += 8;
    }
    if (count < 8) {
      // The rest: a last short code, or padding of ones.
      const padded = (bits << (8 - count) | (0xff >> count)) & 0xff;
      const entry = SHORT_CODES[padded] ?? 0;
      const length = entry & 15;
      if (length === 0 || length > count) return isPadding(bits, count) ? written : undefined;
      into[written++] = entry >> 4;
      count -= length;
      continue;
    }
    const entry = SHORT_CODES[bits >>> (count - 8) & 0xff] ?? 0;
    if (entry !== 0) {
      into[written++] = entry >> 4;
      count -= entry & 15;
      continue;
    }
    // Longer than eight bits: rare. Up to 30 bits are needed, which may be more than are at hand.
    let wide = count === 32 ? bits >>> 0 : bits & ((1 << count) - 1);
    while (count < LONGEST && at < end) {
      wide = wide * 256 + (bytes[at++] ?? 0);
      count += 8;
    }
    const code = longCode(wide, count);
    if (code === undefined || code.symbol === EOS) return undefined;
    into[written++] = code.symbol;
    count -= code.length;
    bits = wide % 2 ** count;
    // More than 32 bits may be left over only of bytes that were read whole: give them back.
    while (count > 24) {
      at--;
      count -= 8;
      bits = Math.floor(bits / 256);
    }
  }
}

function isPadding(bits: number, count: number): boolean {
  const ones = (1 << count) - 1;
  return (bits & ones) === ones;
}

/** The code of more than eight bits that begins the `count` bits of `bits`. */
function longCode(bits: number, count: number): { symbol: number; length: number } | undefined {
  for (let length = 9; length <= LONGEST && length <= count; length++) {
    const offset = Math.floor(bits / 2 ** (count - length)) - (FIRST_CODE[length] ?? 0);
    if (offset < 0 || offset >= (COUNT[length] ?? 0)) continue;
    const symbol = SYMBOLS[(FIRST_INDEX[length] ?? 0) + offset];
    return symbol === undefined ? undefined : { symbol, length };
  }
  return undefined;
}
