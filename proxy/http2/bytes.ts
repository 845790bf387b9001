/**
 * A stream after an Extended CONNECT (RFC 8441) as a connection of bytes, in both roles. What is read gives window credit
 * back only with the next read, when it has been delivered.
 *
 * @module
 */
import type { RawEnd } from "../message/message.ts";
import type { ByteStream } from "../streams/byte_reader.ts";
import { H2 } from "./error.ts";
import type { Http2Stream } from "./types.ts";

/** The stream's bytes from now on. Its user has seen its head, and nothing of its body. */
export function rawEndOf(stream: Http2Stream): RawEnd {
  return {
    stream: new StreamBytes(stream),
    first: new Uint8Array(0),
    onCut: (listener) => {
      if (stream.error) listener();
      else stream.onReset = listener;
    },
  };
}

class StreamBytes implements ByteStream {
  readonly #stream: Http2Stream;
  #taken = 0;

  constructor(stream: Http2Stream) {
    this.#stream = stream;
  }

  async read(into: Uint8Array): Promise<number | null> {
    const stream = this.#stream;
    stream.consume(this.#taken);
    this.#taken = 0;
    if (!await stream.fill()) return null;
    const count = Math.min(stream.available.length, into.length);
    into.set(stream.available.subarray(0, count));
    this.#taken = count;
    return count;
  }

  async write(bytes: Uint8Array): Promise<number> {
    await this.#stream.write(bytes);
    return bytes.length;
  }

  /** RFC 8441 §5: what is a FIN to a connection is END_STREAM to a stream. */
  closeWrite(): Promise<void> {
    this.#stream.end();
    return Promise.resolve();
  }

  /** And what is a reset is one with CANCEL; nothing when both sides have ended. */
  close(): void {
    this.#stream.reset(H2.CANCEL);
  }
}
