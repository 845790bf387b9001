/**
 * WebSocket frames as a client writes and reads them (RFC 6455 §5). Pure: from bytes and to bytes.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";

/** Operation codes (§11.8). */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** One frame. */
export interface Frame {
  readonly opcode: number;
  readonly isFinal: boolean;
  readonly payload: Uint8Array;
}

/** Longest payload of a control frame (§5.5). */
const MAX_CONTROL_BYTES = 125;

/**
 * The first frame in `bytes`, and how many bytes it takes; undefined while it is not whole.
 *
 * @throws ProxyError `upstream.malformed` for a frame that a server may not send, or that is longer than `maxBytes`
 */
export function readFrame(
  bytes: Uint8Array,
  maxBytes: number,
): { readonly frame: Frame; readonly length: number } | undefined {
  const [first, second] = bytes;
  if (first === undefined || second === undefined) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const opcode = first & 0x0f;
  const isControl = opcode >= OPCODE.close;
  const isKnown = opcode <= OPCODE.binary || (isControl && opcode <= OPCODE.pong);
  const short = second & 0x7f;
  // No extension was offered, a server masks nothing (§5.1), and control frames are short and whole (§5.5).
  if ((first & 0x70) !== 0 || (second & 0x80) !== 0 || !isKnown) malformed("a frame that it may not send");
  if (isControl && (short > MAX_CONTROL_BYTES || (first & 0x80) === 0)) {
    malformed("a control frame in pieces");
  }
  const start = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < start) return undefined;
  const length = short === 126 ? view.getUint16(2) : short === 127 ? Number(view.getBigUint64(2)) : short;
  if (length > maxBytes) malformed(`a message of more than ${maxBytes} bytes`);
  if (bytes.length < start + length) return undefined;
  return {
    frame: { opcode, isFinal: (first & 0x80) !== 0, payload: bytes.slice(start, start + length) },
    length: start + length,
  };
}

/** A whole message as a client sends it: masked (§5.3). */
export function formatFrame(opcode: number, payload: Uint8Array): Uint8Array {
  const extra = payload.length < 126 ? 0 : payload.length < 0x1_0000 ? 2 : 8;
  const bytes = new Uint8Array(2 + extra + 4 + payload.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x80 | opcode;
  bytes[1] = 0x80 | (extra === 0 ? payload.length : extra === 2 ? 126 : 127);
  if (extra === 2) view.setUint16(2, payload.length);
  if (extra === 8) view.setBigUint64(2, BigInt(payload.length));
  const mask = crypto.getRandomValues(new Uint8Array(4));
  bytes.set(mask, 2 + extra);
  const start = 6 + extra;
  for (let i = 0; i < payload.length; i++) bytes[start + i] = (payload[i] ?? 0) ^ (mask[i & 3] ?? 0);
  return bytes;
}

function malformed(what: string): never {
  throw new ProxyError("upstream.malformed", `Cannot read on from slicerd: it sent ${what}`);
}
