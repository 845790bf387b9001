/**
 * Header blocks: one HEADERS frame and its CONTINUATIONs, with no frame of any kind between them (RFC 9113 §4.3), bounded in
 * number and bytes before they are decoded.
 *
 * @module
 */
import { H2 } from "./error.ts";
import { Fault } from "./fault.ts";
import type { ReceivedField } from "./field.ts";
import { contentOf, FLAG, FRAME, type Frame } from "./frames.ts";
import { HpackDecoder } from "./hpack.ts";
import type { Http2Limits } from "./types.ts";

/** A block that is whole. */
export interface HeaderBlock {
  readonly id: number;
  /** The HEADERS frame had END_STREAM. */
  readonly end: boolean;
  /** Undefined when the list is larger than the limits allow. */
  readonly list: readonly ReceivedField[] | undefined;
}

/** The header blocks of one connection, which share a decoder. */
export class HeaderBlocks {
  readonly #limits: Pick<Http2Limits, "maxHeadBytes" | "maxHttp2Continuations">;
  readonly #decoder: HpackDecoder;
  #open:
    | { readonly id: number; readonly end: boolean; readonly parts: Uint8Array[]; size: number }
    | undefined;

  constructor(limits: Http2Limits) {
    this.#limits = limits;
    this.#decoder = new HpackDecoder({ maxBytes: limits.maxHeadBytes, maxFields: limits.maxHeaderCount });
  }

  /** A block has begun and not ended. */
  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  /**
   * Checks that a frame may come now.
   *
   * @throws Fault PROTOCOL_ERROR
   */
  admit({ type, id }: Frame): void {
    if (this.#open ? type !== FRAME.CONTINUATION || id !== this.#open.id : type === FRAME.CONTINUATION) {
      throw new Fault(
        "connection",
        H2.PROTOCOL_ERROR,
        "a header block that is not in one piece (RFC 9113 §6.10)",
      );
    }
  }

  /**
   * Takes a HEADERS or CONTINUATION frame that was admitted.
   *
   * @returns the block once it is whole
   * @throws Fault
   */
  add(frame: Frame): HeaderBlock | undefined {
    const { type, flags, id } = frame;
    const isLast = (flags & FLAG.END_HEADERS) !== 0;
    const bytes = type === FRAME.HEADERS ? contentOf(frame) : frame.payload;
    const open = this.#open ??= { id, end: (flags & FLAG.END_STREAM) !== 0, parts: [], size: 0 };
    open.size += bytes.length;
    if (open.size > this.#limits.maxHeadBytes || open.parts.length > this.#limits.maxHttp2Continuations) {
      throw new Fault("connection", H2.ENHANCE_YOUR_CALM, "a header block without an end", true);
    }
    if (!isLast) {
      open.parts.push(bytes.slice());
      return undefined;
    }
    this.#open = undefined;
    const list = this.#decoder.decode(open.parts.length === 0 ? bytes : joined(open.parts, bytes, open.size));
    return { id, end: open.end, list };
  }
}

function joined(parts: readonly Uint8Array[], last: Uint8Array, size: number): Uint8Array {
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of [...parts, last]) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
