/**
 * The way out of a connection: frames are printed one behind the other into one buffer, and what came together in one turn
 * leaves in one write. While a write is under way the next buffer fills.
 *
 * Not here: who may put how much into it (`flow.ts`, `accept/connection.ts`).
 *
 * @module
 */
import { type ByteStream, writeAll } from "../streams/byte_reader.ts";
import { FLAG, FRAME, FRAME_HEAD_BYTES, MAX_FRAME_BYTES, writeUint32 } from "./frames.ts";

const SMALLEST_BUFFER = 1_024;
/** Larger ones are not kept for the next turn. */
const LARGEST_KEPT = 65_536;

/** What the way out tells its connection. */
export interface OutputEvents {
  /** A write has ended, so that there is room again. */
  onRoom(): void;
  /** The socket has failed. */
  onError(error: unknown): void;
}

/** See the module. */
export class Output {
  readonly #stream: Pick<ByteStream, "write">;
  readonly #events: OutputEvents;
  #buffer: Uint8Array = NOTHING;
  #length = 0;
  #spare: Uint8Array | undefined;
  /** Bytes of the write under way. */
  #inFlight = 0;
  #state: "idle" | "writing" | "failed" = "idle";
  #total = 0;
  #flushed = Promise.withResolvers<void>();

  constructor(stream: Pick<ByteStream, "write">, events: OutputEvents) {
    this.#stream = stream;
    this.#events = events;
  }

  /** Bytes that the socket has not taken yet. */
  get size(): number {
    return this.#length + this.#inFlight;
  }

  /** Bytes of all frames. */
  get total(): number {
    return this.#total;
  }

  /** One frame, whole. */
  frame(type: number, flags: number, id: number, payload: Uint8Array): void {
    if (this.#state === "failed") return;
    this.#head(type, flags, id, payload.length);
    this.#buffer.set(payload, this.#length);
    this.#length += payload.length;
  }

  /** A frame whose payload is one number: WINDOW_UPDATE, RST_STREAM. */
  number(type: number, id: number, value: number): void {
    if (this.#state === "failed") return;
    this.#head(type, 0, id, 4);
    writeUint32(this.#buffer, this.#length, value);
    this.#length += 4;
  }

  /** Bytes that are no frame: a client's preface. */
  raw(bytes: Uint8Array): void {
    if (this.#state === "failed") return;
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
    this.#start();
  }

  /** A header block, in one HEADERS frame and as many CONTINUATIONs as it needs (RFC 9113 §6.10). */
  headers(id: number, block: Uint8Array, endStream: boolean): void {
    const end = endStream ? FLAG.END_STREAM : 0;
    if (block.length <= MAX_FRAME_BYTES) {
      this.frame(FRAME.HEADERS, end | FLAG.END_HEADERS, id, block);
      return;
    }
    this.frame(FRAME.HEADERS, end, id, block.subarray(0, MAX_FRAME_BYTES));
    for (let at = MAX_FRAME_BYTES; at < block.length; at += MAX_FRAME_BYTES) {
      const part = block.subarray(at, at + MAX_FRAME_BYTES);
      const isLast = at + part.length === block.length;
      this.frame(FRAME.CONTINUATION, isLast ? FLAG.END_HEADERS : 0, id, part);
    }
  }

  /** Resolves when the socket has taken everything, or has failed. */
  async flushed(): Promise<void> {
    while (this.size > 0 && this.#state !== "failed") await this.#flushed.promise;
  }

  /** Nothing is written any more. */
  stop(): void {
    this.#state = "failed";
    this.#length = this.#inFlight = 0;
    this.#buffer = NOTHING;
    this.#spare = undefined;
    this.#flushed.resolve();
  }

  #head(type: number, flags: number, id: number, length: number): void {
    this.#room(FRAME_HEAD_BYTES + length);
    const buffer = this.#buffer;
    const at = this.#length;
    buffer[at] = length >>> 16;
    buffer[at + 1] = length >>> 8;
    buffer[at + 2] = length;
    buffer[at + 3] = type;
    buffer[at + 4] = flags;
    writeUint32(buffer, at + 5, id);
    this.#length += FRAME_HEAD_BYTES;
    this.#start();
  }

  #room(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#buffer.length) return;
    const bigger = new Uint8Array(Math.max(SMALLEST_BUFFER, this.#buffer.length * 2, needed));
    bigger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = bigger;
  }

  #start(): void {
    if (this.#state !== "idle") return;
    this.#state = "writing";
    // Behind everything that this turn still has to say.
    queueMicrotask(() => this.#run());
  }

  async #run(): Promise<void> {
    try {
      while (this.#length > 0 && this.#state === "writing") {
        const buffer = this.#buffer;
        const length = this.#length;
        this.#buffer = this.#spare ?? NOTHING;
        this.#spare = undefined;
        this.#length = 0;
        this.#inFlight = length;
        this.#total += length;
        await writeAll(this.#stream, buffer.subarray(0, length));
        this.#inFlight = 0;
        if (buffer.length <= LARGEST_KEPT && this.#isWriting) this.#spare = buffer;
        this.#events.onRoom();
      }
      if (this.#isWriting) this.#state = "idle";
    } catch (error) {
      this.stop();
      this.#events.onError(error);
    }
    const { resolve } = this.#flushed;
    this.#flushed = Promise.withResolvers<void>();
    resolve();
  }

  get #isWriting(): boolean {
    return this.#state === "writing";
  }

  /** Gives buffers back before a long wait. */
  rest(): void {
    this.#spare = undefined;
    if (this.#length === 0) this.#buffer = NOTHING;
  }
}

const NOTHING = new Uint8Array(0);
