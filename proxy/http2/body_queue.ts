/**
 * Received body bytes that wait for their reader. However small the frames are that brought them, they lie close together:
 * a window full of one-byte frames must not cost a hundred times its bytes.
 *
 * Not here: window credit (`stream.ts`).
 *
 * @module
 */

/** The least that is allocated for a body that may go on. */
const SMALLEST_CHUNK = 1_024;

/** Bytes, in order. A view that it gave out keeps its bytes until they are consumed. */
export class BodyQueue {
  readonly #chunks: Uint8Array[] = [];
  /** In the first chunk, where the unread bytes begin. */
  #start = 0;
  /** In the last chunk, where the free room begins. */
  #end = 0;
  #size = 0;

  /** All unread bytes. */
  get size(): number {
    return this.#size;
  }

  /** The first unread bytes, as they lie together. */
  get first(): Uint8Array {
    const chunk = this.#chunks[0];
    if (!chunk) return NOTHING;
    return chunk.subarray(this.#start, this.#chunks.length === 1 ? this.#end : chunk.length);
  }

  /** A copy of the first `count` unread bytes, or of all when there are fewer. */
  peek(count: number): Uint8Array {
    const out = new Uint8Array(Math.min(count, this.#size));
    let at = 0;
    for (const [i, chunk] of this.#chunks.entries()) {
      if (at === out.length) break; // of a window full of small frames there are thousands
      const part = i === 0 ? this.first : chunk;
      out.set(part.subarray(0, out.length - at), at);
      at += Math.min(part.length, out.length - at);
    }
    return out;
  }

  /** True when {@linkcode first} is all of it. */
  get isOneChunk(): boolean {
    return this.#chunks.length <= 1;
  }

  /** Copies bytes in. @param isLast no more will come, so no room has to be kept for them */
  add(bytes: Uint8Array, isLast: boolean): void {
    let rest = bytes;
    this.#size += bytes.length;
    const last = this.#chunks.at(-1);
    if (last && this.#end < last.length) {
      const part = rest.subarray(0, last.length - this.#end);
      last.set(part, this.#end);
      this.#end += part.length;
      rest = rest.subarray(part.length);
    }
    if (rest.length === 0) return;
    const chunk = new Uint8Array(isLast ? rest.length : Math.max(rest.length, SMALLEST_CHUNK));
    chunk.set(rest);
    this.#chunks.push(chunk);
    this.#end = rest.length;
  }

  /** Drops `count` of the bytes of {@linkcode first}. */
  consume(count: number): void {
    if (count > this.first.length) throw new RangeError("Cannot consume body bytes: there are fewer");
    this.#size -= count;
    this.#start += count;
    if (this.#size === 0) {
      // A view of what was consumed may still be read by a write under way: nothing is put in its place.
      this.#chunks.length = 0;
      this.#start = this.#end = 0;
    } else if (this.#start === this.#chunks[0]?.length) {
      this.#chunks.shift();
      this.#start = 0;
    }
  }

  /** Drops everything. @returns how many bytes that was */
  clear(): number {
    const size = this.#size;
    this.#chunks.length = 0;
    this.#start = this.#end = this.#size = 0;
    return size;
  }
}

const NOTHING = new Uint8Array(0);
