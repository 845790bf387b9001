/**
 * What an upstream sends after a change of protocol, with texts replaced by stars. Of WebSocket (RFC 6455 §5) only payloads
 * are looked at, so that frame heads stay; of other protocols every byte.
 *
 * Not here: compressed messages: their extension is not offered to upstreams (`forward/forward.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { ByteStream } from "../streams/byte_reader.ts";
import type { MessageBody } from "../message/message.ts";
import { type Span, wholeOf } from "./content.ts";
import { type EchoParts, MaskedBody } from "./masked_body.ts";

const READ_BYTES = 65_536;

/** Where payloads lie in a stream of frames. A frame's head may be cut anywhere. */
export class FrameSpans {
  #head: number[] = [];
  #payloadLeft = 0;

  /** The payloads in the next bytes. */
  next(bytes: Uint8Array): readonly Span[] {
    const spans: Span[] = [];
    for (let at = 0; at < bytes.length;) {
      if (this.#payloadLeft > 0) {
        const end = Math.min(bytes.length, at + this.#payloadLeft);
        spans.push({ start: at, end });
        this.#payloadLeft -= end - at;
        at = end;
        continue;
      }
      this.#head.push(bytes[at++] ?? 0);
      const length = payloadLength(this.#head);
      if (length === undefined) continue;
      this.#payloadLeft = length;
      this.#head = [];
    }
    return spans;
  }
}

/** Of a whole frame head; undefined while more of it is needed. A server's payload is never masked (RFC 6455 §5.1). */
function payloadLength(head: readonly number[]): number | undefined {
  const [, second] = head;
  if (second === undefined) return undefined;
  const short = second & 0x7f;
  const more = short === 126 ? 2 : short === 127 ? 8 : 0;
  const mask = second & 0x80 ? 4 : 0;
  if (head.length < 2 + more + mask) return undefined;
  return more === 0 ? short : head.slice(2, 2 + more).reduce((sum, byte) => sum * 256 + byte, 0);
}

/** The stream with what is found in what it sends masked. */
export function maskedSocket(
  stream: ByteStream,
  { first, isWebSocket, ...parts }: EchoParts & {
    /** What was read of it already. */
    readonly first: Uint8Array;
    readonly isWebSocket: boolean;
  },
): ByteStream {
  const source = new SocketBody(stream, first, isWebSocket ? new FrameSpans() : undefined);
  const body = new MaskedBody(source, parts);
  let rest: Uint8Array = new Uint8Array(0);
  return {
    async read(into) {
      while (rest.length === 0) {
        if (body.done) return null;
        rest = Uint8Array.from(body.take());
        body.release();
        if (rest.length === 0 && !body.done) await body.fill();
      }
      const count = Math.min(into.length, rest.length);
      into.set(rest.subarray(0, count));
      rest = rest.subarray(count);
      return count;
    },
    write: (bytes) => stream.write(bytes),
    closeWrite: () => stream.closeWrite(),
    close: () => stream.close(),
  };
}

/** A stream as a body that ends with it. */
class SocketBody implements MessageBody {
  readonly closeDelimited = true;
  readonly trailers = undefined;
  readonly #stream: ByteStream;
  readonly #frames: FrameSpans | undefined;
  readonly #buffer = new Uint8Array(READ_BYTES);
  #here: Uint8Array;
  #hasEnded = false;
  content: readonly Span[] | undefined;

  constructor(stream: ByteStream, first: Uint8Array, frames: FrameSpans | undefined) {
    this.#stream = stream;
    this.#here = first;
    this.#frames = frames;
  }

  get done(): boolean {
    return this.#hasEnded && this.#here.length === 0;
  }

  get isReleased(): boolean {
    return this.done;
  }

  takeFirst(): Uint8Array {
    return new Uint8Array(0);
  }

  take(): Uint8Array {
    const piece = this.#here;
    this.#here = new Uint8Array(0);
    this.content = this.#frames ? this.#frames.next(piece) : wholeOf(piece);
    return piece;
  }

  release(): void {}

  async fill(): Promise<boolean> {
    const count = await this.#stream.read(this.#buffer);
    if (count === null) this.#hasEnded = true;
    else this.#here = Buffer.from(this.#buffer.subarray(0, count));
    return true;
  }
}
