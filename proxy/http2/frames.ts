/**
 * The frames of RFC 9113 §4 and §6: their numbers, the layout of a frame's head, and what each type must look like before
 * anybody looks at its meaning.
 *
 * Not here: what they do (`receiver.ts`), printing into the way out (`output.ts`).
 *
 * @module
 */
import { H2 } from "./error.ts";
import { Fault } from "./fault.ts";

/** Frame types. Others are ignored (RFC 9113 §4.1). */
export const FRAME = {
  DATA: 0x0,
  HEADERS: 0x1,
  PRIORITY: 0x2,
  RST_STREAM: 0x3,
  SETTINGS: 0x4,
  PUSH_PROMISE: 0x5,
  PING: 0x6,
  GOAWAY: 0x7,
  WINDOW_UPDATE: 0x8,
  CONTINUATION: 0x9,
} as const;

/** Flags; ACK and END_STREAM are the same bit of different types. */
export const FLAG = {
  ACK: 0x1,
  END_STREAM: 0x1,
  END_HEADERS: 0x4,
  PADDED: 0x8,
  PRIORITY: 0x20,
} as const;

/** Bytes of a frame's head. */
export const FRAME_HEAD_BYTES = 9;
/** SETTINGS_MAX_FRAME_SIZE: we leave the default, and send no larger ones whatever the peer allows. */
export const MAX_FRAME_BYTES = 16_384;
/** The largest window, and the largest stream id. */
export const MAX_31_BITS = 0x7fff_ffff;
/** What a client's connection begins with (RFC 9113 §3.4). */
export const PREFACE: Uint8Array = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** A frame as it lies in the buffer that it was read into. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  /** 0 for the connection. */
  readonly id: number;
  /** A view that is only valid while the frame is handled. */
  readonly payload: Uint8Array;
}

/** The 32 bits at `at`, unsigned. */
export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 24 | (bytes[at + 1] ?? 0) << 16 | (bytes[at + 2] ?? 0) << 8 |
    (bytes[at + 3] ?? 0)) >>> 0;
}

/** The 31 bits at `at`; the reserved bit is ignored (RFC 9113 §4.1, §6.9). */
export function readUint31(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at) & MAX_31_BITS;
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** The length of the payload of the frame whose head begins at `at`. */
export function payloadLength(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) << 16 | (bytes[at + 1] ?? 0) << 8 | (bytes[at + 2] ?? 0);
}

/** The frame whose head begins at `at`, once all of it is there. */
export function frameAt(bytes: Uint8Array, at: number): Frame {
  const start = at + FRAME_HEAD_BYTES;
  return {
    type: bytes[at + 3] ?? 0,
    flags: bytes[at + 4] ?? 0,
    id: readUint31(bytes, at + 5),
    payload: bytes.subarray(start, start + payloadLength(bytes, at)),
  };
}

/** Of what a frame type is part, and how long it is: exactly, or at least. */
interface Shape {
  readonly of: "stream" | "connection" | "either";
  readonly exactly?: number;
  readonly atLeast?: number;
  /** Who is cut when the length is wrong; the connection where its state may depend on the frame (RFC 9113 §4.2). */
  readonly scope: "stream" | "connection";
}

const SHAPES: readonly Shape[] = [
  { of: "stream", scope: "connection" }, // DATA
  { of: "stream", scope: "connection" }, // HEADERS
  { of: "stream", exactly: 5, scope: "stream" }, // PRIORITY
  { of: "stream", exactly: 4, scope: "connection" }, // RST_STREAM
  { of: "connection", scope: "connection" }, // SETTINGS: multiples of 6, checked below
  { of: "stream", scope: "connection" }, // PUSH_PROMISE
  { of: "connection", exactly: 8, scope: "connection" }, // PING
  { of: "connection", atLeast: 8, scope: "connection" }, // GOAWAY
  { of: "either", exactly: 4, scope: "connection" }, // WINDOW_UPDATE
  { of: "stream", scope: "connection" }, // CONTINUATION
];

/**
 * Checks a frame's length and whether it belongs to a stream or to the connection, by its type alone.
 *
 * @throws Fault FRAME_SIZE_ERROR or PROTOCOL_ERROR
 */
export function checkFrame({ type, flags, id, payload: { length } }: Frame): void {
  const shape = SHAPES[type];
  if (!shape) return;
  if ((shape.of === "stream" && id === 0) || (shape.of === "connection" && id !== 0)) {
    throw new Fault("connection", H2.PROTOCOL_ERROR, "a frame on a stream that its type must not have");
  }
  const isSettings = type === FRAME.SETTINGS;
  if (
    (shape.exactly !== undefined && length !== shape.exactly) ||
    (shape.atLeast !== undefined && length < shape.atLeast) ||
    (isSettings && (length % 6 !== 0 || ((flags & FLAG.ACK) !== 0 && length !== 0)))
  ) {
    throw new Fault(shape.scope, H2.FRAME_SIZE_ERROR, "a frame whose length its type cannot have");
  }
}

/**
 * What is in a DATA or HEADERS frame, without padding (RFC 9113 §6.1) and without the old priority fields (§6.2).
 *
 * @throws Fault PROTOCOL_ERROR when the padding is as long as the payload, FRAME_SIZE_ERROR when a field is cut off
 */
export function contentOf({ type, flags, payload }: Frame): Uint8Array {
  let start = 0;
  let end = payload.length;
  if ((flags & FLAG.PADDED) !== 0) {
    const [padding] = payload;
    if (padding === undefined) {
      throw new Fault("connection", H2.FRAME_SIZE_ERROR, "a padded frame without a pad length");
    }
    start = 1;
    end -= padding;
  }
  if (type === FRAME.HEADERS && (flags & FLAG.PRIORITY) !== 0) {
    start += 5;
    if (start > payload.length) {
      throw new Fault("connection", H2.FRAME_SIZE_ERROR, "a HEADERS frame that ends inside its priority");
    }
  }
  if (end < start) {
    throw new Fault("connection", H2.PROTOCOL_ERROR, "padding as long as its frame (RFC 9113 §6.1)");
  }
  return start === 0 ? payload : payload.subarray(start, end);
}
