/**
 * A stream around another, which does as that one does: for those that look at some of what passes.
 *
 * @module
 */
import type { ByteStream } from "./byte_reader.ts";

/** Passes everything on. To be extended by what does something more. */
export class WrappedStream implements ByteStream {
  readonly #inner: ByteStream;

  constructor(inner: ByteStream) {
    this.#inner = inner;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#inner.read(into);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#inner.write(bytes);
  }

  closeWrite(): Promise<void> {
    return this.#inner.closeWrite();
  }

  close(): void {
    this.#inner.close();
  }
}
