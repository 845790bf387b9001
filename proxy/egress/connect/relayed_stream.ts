/**
 * Streams of a way out that is longer than one connection.
 *
 * @module
 */
import type { ByteStream } from "../../streams/byte_reader.ts";
import { WrappedStream } from "../../streams/wrapped_stream.ts";

/** A stream over a relay: closing it lets go of what lies behind the relay. */
export class RelayedStream extends WrappedStream {
  readonly #end: () => void;

  constructor(inner: ByteStream, end: () => void) {
    super(inner);
    this.#end = end;
  }

  override close(): void {
    this.#end();
    super.close();
  }
}

/** A stream of which some bytes were read before. */
export class BegunStream extends WrappedStream {
  #first: Uint8Array;

  constructor(inner: ByteStream, first: Uint8Array) {
    super(inner);
    this.#first = first;
  }

  override read(into: Uint8Array): Promise<number | null> {
    if (this.#first.length === 0) return super.read(into);
    const count = Math.min(into.length, this.#first.length);
    into.set(this.#first.subarray(0, count));
    this.#first = this.#first.subarray(count);
    return Promise.resolve(count);
  }
}
