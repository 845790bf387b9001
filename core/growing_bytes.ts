/**
 * Bytes that come in pieces of any size and are held as one: what is held costs its own size, never that of many small pieces.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** A buffer that grows at its end and is emptied from its front. */
export class GrowingBytes {
  #buffer = Buffer.alloc(0);
  #size = 0;

  /** How many bytes are held. */
  get size(): number {
    return this.#size;
  }

  /** What is held. A view, and the holder's own to change, until the next call. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#size);
  }

  /** Copies a piece to the end. Linear in all that is ever added: room doubles. */
  add(piece: Uint8Array): void {
    const size = this.#size + piece.length;
    if (size > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(size, 2 * this.#buffer.length));
      larger.set(this.bytes);
      this.#buffer = larger;
    }
    this.#buffer.set(piece, this.#size);
    this.#size = size;
  }

  /** Takes so many bytes from the front: a copy of its own. What is left moves up. */
  take(count: number): Buffer {
    const taken = Buffer.from(this.#buffer.subarray(0, Math.min(count, this.#size)));
    this.#buffer.copyWithin(0, taken.length, this.#size);
    this.#size -= taken.length;
    return taken;
  }

  /** Lets go of everything. */
  clear(): void {
    this.#buffer = Buffer.alloc(0);
    this.#size = 0;
  }
}
