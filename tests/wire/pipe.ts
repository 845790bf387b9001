/**
 * Two byte streams in memory that are each other's peer. A read gives what one write gave, so a test decides where messages
 * are cut; nothing is lost or reordered, and everything that can happen has happened after one turn of the event loop.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { ClientStream } from "../../proxy/context.ts";

/** One end. */
export class PipeEnd implements ClientStream {
  readonly #in: Channel;
  readonly #out: Channel;
  /** How it was ended from this side: half-closed, closed in order, or cut. */
  ended: "no" | "half" | "closed" | "cut" = "no";

  constructor(input: Channel, output: Channel) {
    this.#in = input;
    this.#out = output;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#in.read(into);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#out.write(bytes);
  }

  closeWrite(): Promise<void> {
    if (this.ended === "no") this.ended = "half";
    this.#out.end();
    return Promise.resolve();
  }

  /** As with a `Deno.Conn`, what waits here rejects. */
  close(): void {
    if (this.ended === "closed" || this.ended === "cut") return;
    this.ended = "closed";
    this.#out.end();
    this.#in.fail(new Deno.errors.Interrupted("operation canceled"));
  }

  abort(): void {
    if (this.ended === "cut") return;
    this.ended = "cut";
    this.#out.fail(new Deno.errors.UnexpectedEof("peer closed connection without sending TLS close_notify"));
    this.#in.fail(new Deno.errors.Interrupted("operation canceled"));
  }

  /** How many bytes wait to be read by the other side. */
  get unread(): number {
    return this.#out.size;
  }
}

/** One direction. */
export class Channel {
  readonly #capacity: number;
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  #isEnded = false;
  #error: Error | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#size;
  }

  async read(into: Uint8Array): Promise<number | null> {
    for (;;) {
      const chunk = this.#chunks[0];
      if (chunk) {
        const part = chunk.subarray(0, into.length);
        into.set(part);
        this.#size -= part.length;
        if (part.length === chunk.length) this.#chunks.shift();
        else this.#chunks[0] = chunk.subarray(part.length);
        this.#wake();
        return part.length;
      }
      if (this.#error) throw this.#error;
      if (this.#isEnded) return null;
      await this.#changed.promise;
    }
  }

  async write(bytes: Uint8Array): Promise<number> {
    while (this.#size >= this.#capacity && !this.#error && !this.#isEnded) await this.#changed.promise;
    if (this.#error || this.#isEnded) throw new Deno.errors.BrokenPipe("Broken pipe (os error 32)");
    const part = bytes.slice(0, this.#capacity - this.#size);
    if (part.length > 0) this.#chunks.push(part);
    this.#size += part.length;
    this.#wake();
    return part.length;
  }

  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#wake();
  }

  #wake(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    resolve();
  }
}

/** Two ends; at most `capacity` bytes wait in each direction, beyond which writes wait. */
export function makePipe(capacity = 1_048_576): [PipeEnd, PipeEnd] {
  const there = new Channel(capacity);
  const back = new Channel(capacity);
  return [new PipeEnd(back, there), new PipeEnd(there, back)];
}

/** Lets everything happen that waits for nothing outside. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    const { promise, resolve } = Promise.withResolvers<void>();
    setImmediate(resolve);
    await promise;
  }
}
