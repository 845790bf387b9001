/**
 * A buffered reader over a connection, and the write loop. The buffer adapts: small while idle (thousands of idle
 * tunnels), large while a body flows.
 *
 * Not here: anything that knows what the bytes mean.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** What the engine needs of a `Deno.Conn`. */
export interface ByteStream {
  read(into: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
}

const SMALLEST_BUFFER = 4_096;
const LARGEST_BUFFER = 262_144;

/** Reads ahead of its user by at most one buffer. At most one read is under way. */
export class ByteReader {
  readonly #stream: Pick<ByteStream, "read">;
  #buffer: Uint8Array;
  /** The same memory, for {@linkcode text}. */
  #asText: Buffer | undefined;
  #start = 0;
  #end = 0;
  #nextSize = SMALLEST_BUFFER;
  #pending: Promise<boolean> | undefined;
  /** Somebody waits for what is pending, and hears of its failure. */
  #isAwaited = false;
  #onOver: ((hasMore: boolean) => void) | undefined;
  #ended = false;

  /** @param first bytes that were read from the stream already */
  constructor(stream: Pick<ByteStream, "read">, first?: Uint8Array) {
    this.#stream = stream;
    this.#buffer = first ?? new Uint8Array(0);
    this.#end = this.#buffer.length;
  }

  /** The bytes that are here, as a view that the next {@linkcode fill} may invalidate. */
  get available(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  get size(): number {
    return this.#end - this.#start;
  }

  /** The byte at a place in what is here; undefined behind it. */
  at(index: number): number | undefined {
    return index < this.size ? this.#buffer[this.#start + index] : undefined;
  }

  /** What is here between two places, one character a byte. */
  text(from: number, to: number): string {
    const { buffer, byteOffset, length } = this.#buffer;
    const bytes = this.#asText ??= Buffer.from(buffer, byteOffset, length);
    return bytes.toString("latin1", this.#start + from, this.#start + to);
  }

  /** True once the stream has ended; bytes may still be here. */
  get ended(): boolean {
    return this.#ended;
  }

  /** True while a read is under way. */
  get reading(): boolean {
    return this.#pending !== undefined;
  }

  consume(count: number): void {
    this.#start += count;
  }

  /** Takes what is here, with the buffer where nobody reads into it: the reader of an open tunnel needs none any more. */
  takeAll(): Uint8Array {
    const bytes = this.#pending ? this.available.slice() : this.available;
    if (this.#pending) this.#start = this.#end;
    else this.#drop();
    return bytes;
  }

  /**
   * Waits until more bytes are here. Calls while a read is under way share it.
   *
   * @returns false at the end of the stream
   */
  fill(): Promise<boolean> {
    const pending = this.#pending ??= this.#read();
    this.#isAwaited = true;
    return pending;
  }

  /**
   * Reads ahead, for whoever has to know at once that the stream has ended: makes no promise beside those of the read.
   *
   * @param onOver called when the read is over, with false at the end of the stream and when it has failed; takes the place
   * of one that was given before
   */
  readAhead(onOver: (hasMore: boolean) => void): void {
    if (this.#ended) return queueMicrotask(() => onOver(false));
    this.#onOver = onOver;
    this.#pending ??= this.#read();
  }

  /** Whoever was given to {@linkcode readAhead} does not have to know any more. The read goes on. */
  tellNobody(): void {
    this.#onOver = undefined;
  }

  /** Gives the buffer back before a long wait. */
  rest(): void {
    this.#nextSize = SMALLEST_BUFFER;
    if (this.size === 0 && !this.#pending && this.#buffer.length > SMALLEST_BUFFER) {
      this.#drop();
    }
  }

  #drop(): void {
    this.#replace(new Uint8Array(0));
    this.#start = this.#end = 0;
  }

  #read(): Promise<boolean> {
    if (this.#ended) return Promise.resolve(false);
    this.#makeRoom();
    this.#isAwaited = false;
    const room = this.#end === 0 ? this.#buffer : this.#buffer.subarray(this.#end);
    return this.#stream.read(room).then(this.#onRead, this.#onFailed);
  }

  /** Made once, not for each read. */
  readonly #onRead = (count: number | null): boolean => {
    const room = this.#buffer.length - this.#end;
    if (count === null) this.#ended = true;
    else {
      this.#end += count;
      if (count === room) this.#nextSize = Math.min(this.#buffer.length * 4, LARGEST_BUFFER);
      else if (count * 8 < this.#buffer.length) {
        this.#nextSize = Math.max(this.#buffer.length / 4, SMALLEST_BUFFER);
      }
    }
    this.#settle(count !== null);
    return count !== null;
  };

  readonly #onFailed = (error: unknown): boolean => {
    const isAwaited = this.#isAwaited;
    this.#settle(false);
    if (isAwaited) throw error;
    return false;
  };

  #settle(hasMore: boolean): void {
    const onOver = this.#onOver;
    this.#onOver = this.#pending = undefined;
    onOver?.(hasMore);
  }

  #makeRoom(): void {
    if (this.size === 0) {
      if (this.#buffer.length !== this.#nextSize) this.#replace(new Uint8Array(this.#nextSize));
      this.#start = this.#end = 0;
    } else if (this.#buffer.length - this.#end < 1_024) {
      const size = Math.max(this.#nextSize, this.size * 2, SMALLEST_BUFFER);
      const bigger = new Uint8Array(size);
      bigger.set(this.available);
      this.#end -= this.#start;
      this.#start = 0;
      this.#replace(bigger);
    }
  }

  #replace(buffer: Uint8Array): void {
    this.#buffer = buffer;
    this.#asText = undefined; // would keep the old memory
  }
}

/**
 * Writes all of `bytes`: nearly always at once, so it makes no more promises for that than it has to.
 *
 * @param onWritten is called once nobody looks at `bytes` any more; never when writing fails
 */
export function writeAll(
  stream: Pick<ByteStream, "write">,
  bytes: Uint8Array,
  onWritten?: () => void,
): Promise<void> {
  return stream.write(bytes).then((written) => {
    if (written < bytes.length) return writeRest(stream, bytes, written).then(onWritten);
    return onWritten?.();
  });
}

/**
 * Writes what is behind the first `from` bytes. A loop: a receiver that takes a byte at a time must not make a chain of
 * promises as long as the buffer.
 */
export async function writeRest(
  stream: Pick<ByteStream, "write">,
  bytes: Uint8Array,
  from: number,
): Promise<void> {
  for (let at = from; at < bytes.length;) at += await stream.write(bytes.subarray(at));
}

/** Closes, and is silent when that has happened before. */
export function closeQuietly(closable: { close(): void } | undefined): void {
  try {
    closable?.close();
  } catch {
    // Deno throws BadResource when a connection is closed already.
  }
}

/** Half-closes, and is silent when the peer is gone already. */
export async function closeWriteQuietly(stream: Pick<ByteStream, "closeWrite">): Promise<void> {
  try {
    await stream.closeWrite();
  } catch {
    // NotConnected, BadResource: there is no one left to tell.
  }
}
