/** Frames of HTTP/2 as an attacker writes them: nothing is checked. */

export const DATA = 0x0;
export const HEADERS = 0x1;
export const RST_STREAM = 0x3;
export const SETTINGS = 0x4;
export const PING = 0x6;
export const WINDOW_UPDATE = 0x8;
export const CONTINUATION = 0x9;

export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;

/** The setting of that name. */
export const INITIAL_WINDOW_SIZE = 4;

export const PREFACE: Uint8Array<ArrayBuffer> = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** Pieces in one. */
export function bytes(...pieces: readonly ArrayLike<number>[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** One frame (RFC 9113 §4.1). */
export function frame(
  type: number,
  flags: number,
  id: number,
  payload: ArrayLike<number>,
): Uint8Array<ArrayBuffer> {
  const { length } = payload;
  const head = [length >> 16 & 255, length >> 8 & 255, length & 255, type, flags];
  return bytes(head, [id >> 24 & 127, id >> 16 & 255, id >> 8 & 255, id & 255], payload);
}

/** The payload of a SETTINGS frame with one setting. */
export function setting(id: number, value: number): readonly number[] {
  return [0, id, value >> 24 & 255, value >> 16 & 255, value >> 8 & 255, value & 255];
}

/** `count` stream ids of a client, the first of them or, later, the next. */
export function streamIds(count: number, turn = 0): readonly number[] {
  return Array.from({ length: count }, (_, nth) => 2 * (turn * count + nth) + 1);
}

/** A header block (RFC 7541 §6): every field literal, none of them remembered. */
export function headers(
  { method, path, authority }: { readonly method: string; readonly path: string; readonly authority: string },
): Uint8Array<ArrayBuffer> {
  const fields = [[":method", method], [":scheme", "https"], [":path", path], [":authority", authority]];
  const text = (each: string) => bytes([each.length], new TextEncoder().encode(each)); // below 127 bytes
  return bytes(...fields.map(([name = "", value = ""]) => bytes([0], text(name), text(value))));
}
