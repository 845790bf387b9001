/** The way out of an HTTP/2 connection into memory: the frames that were put into it, as lines of text. */
import { Buffer } from "node:buffer";
import { Output } from "../../proxy/http2/output.ts";
import { formatFrame, splitFrames } from "../wire/http2/frame_text.ts";

export class WatchedOutput {
  readonly output: Output;
  #bytes: Buffer = Buffer.alloc(0);
  #room = Promise.withResolvers<void>();

  /** @param takes whether the socket takes what is written, or only once {@linkcode take} is called */
  constructor({ takes = true, onRoom = () => {} }: { takes?: boolean; onRoom?: () => void } = {}) {
    if (takes) this.#room.resolve();
    this.output = new Output({
      write: async (bytes) => {
        this.#bytes = Buffer.concat([this.#bytes, bytes]);
        await this.#room.promise;
        return bytes.length;
      },
    }, {
      onRoom,
      onError: (error) => {
        throw error;
      },
    });
  }

  /** The socket takes everything from now on. */
  take(): void {
    this.#room.resolve();
  }

  /** The frames since it was asked last, whose header lists are left out. */
  async frames(): Promise<string[]> {
    for (let nth = 0; nth < 50; nth++) await Promise.resolve();
    const { frames, rest } = splitFrames(this.#bytes);
    this.#bytes = Buffer.from(rest);
    return frames.map((frame) => formatFrame(frame, []));
  }
}
