/**
 * A connection of `node:tls` or `node:net` as a byte stream. Only where the runtime's own calls lack something: a client
 * certificate, which `Deno.startTls` ignores, and a source address, which `Deno.connect` does not take.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { ByteStream } from "./byte_reader.ts";

/** See the module. Takes the socket over, with its errors. */
export class NodeStream implements ByteStream {
  readonly #socket: Socket;
  #rest: Uint8Array = new Uint8Array(0);
  #failure: unknown;
  #hasEnded = false;
  #wake = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    const wake = () => this.#wake();
    socket.on("readable", wake);
    socket.on("end", () => {
      this.#hasEnded = true;
      wake();
    });
    socket.on("error", (error) => {
      this.#failure ??= error;
      wake();
    });
    socket.on("close", () => {
      if (!this.#hasEnded) this.#failure ??= new Deno.errors.UnexpectedEof("the connection was closed");
      wake();
    });
  }

  async read(into: Uint8Array): Promise<number | null> {
    for (;;) {
      if (this.#rest.length === 0) {
        const chunk: unknown = this.#socket.read();
        if (chunk instanceof Uint8Array) this.#rest = chunk;
      }
      if (this.#rest.length > 0) {
        const count = Math.min(into.length, this.#rest.length);
        into.set(this.#rest.subarray(0, count));
        this.#rest = this.#rest.subarray(count);
        return count;
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#hasEnded) return null;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  async write(bytes: Uint8Array): Promise<number> {
    if (this.#failure !== undefined) throw this.#failure;
    // The caller uses its buffer again, and TLS may not have taken all of it yet.
    const copy = Buffer.from(bytes);
    await new Promise<void>((resolve, reject) => {
      const onClose = () => reject(this.#failure ?? new Deno.errors.BrokenPipe("the connection was closed"));
      this.#socket.once("close", onClose);
      this.#socket.write(copy, (error) => {
        this.#socket.off("close", onClose);
        if (error) reject(error);
        else resolve();
      });
    });
    return bytes.length;
  }

  closeWrite(): Promise<void> {
    this.#socket.end();
    return Promise.resolve();
  }

  close(): void {
    this.#socket.destroy();
  }
}
