/** The far end of an HTTP/2 connection over a pipe, as frames that a test writes and reads as lines of text. */
import { Buffer } from "node:buffer";
import { DEFAULT_LIMITS, type Limits } from "../../core/limits.ts";
import { HpackDecoder } from "../../proxy/http2/hpack.ts";
import { ByteReader, writeAll } from "../../proxy/streams/byte_reader.ts";
import { formatFrame, parseFrameLine, PREFACE, splitFrames } from "../wire/http2/frame_text.ts";
import { makePipe, type PipeEnd, settle } from "../wire/pipe.ts";
import { FakeDeadlines } from "./fake_deadlines.ts";

/** Time-outs that a test can tell apart. */
export const HEAD_MS = 1_001;
export const IDLE_MS = 1_002;
export const LINGER_MS = 1_003;

export class FarEnd {
  readonly far: PipeEnd;
  readonly stream: PipeEnd;
  readonly deadlines = new FakeDeadlines();
  readonly #decoder = new HpackDecoder({ maxBytes: 1_048_576, maxFields: 1_000 });
  #bytes: Buffer = Buffer.alloc(0);

  /** @param capacity bytes that wait in each direction before writes do */
  constructor(capacity = 1_048_576) {
    [this.far, this.stream] = makePipe(capacity);
  }

  /** What a connection of the codec is started with. */
  options(limits: Partial<Limits> = {}) {
    return {
      stream: this.stream,
      reader: new ByteReader(this.stream),
      deadlines: this.deadlines,
      limits: {
        ...DEFAULT_LIMITS,
        headTimeoutMs: HEAD_MS,
        bodyIdleTimeoutMs: IDLE_MS,
        lingerTimeoutMs: LINGER_MS,
        http2ResetsPerSecond: 0,
        http2ControlFramesPerSecond: 0,
        ...limits,
      },
    };
  }

  /** Sends frames (`frame_text.ts`) in one write, and lets happen what they cause. */
  async send(...lines: readonly string[]): Promise<void> {
    await writeAll(this.far, Buffer.concat(lines.map(parseFrameLine))).catch(() => {}); // closed already
    await settle();
  }

  /** Frames that came since it was asked last; a client's preface is left out. */
  async got(): Promise<string[]> {
    await settle();
    const buffer = new Uint8Array(1_048_576);
    while (this.stream.unread > 0) {
      const count = await this.far.read(buffer) ?? 0;
      this.#bytes = Buffer.concat([this.#bytes, buffer.subarray(0, count)]);
      await settle();
    }
    const start = this.#bytes.indexOf(PREFACE) === 0 ? PREFACE.length : 0;
    const { frames, rest } = splitFrames(this.#bytes.subarray(start));
    this.#bytes = Buffer.from(rest);
    return frames.map((frame) => {
      const fields = frame.type === 1 ? this.#decoder.decode(frame.payload) ?? [] : [];
      return formatFrame(frame, fields.map(({ key, value }) => `${key}=${value}`));
    });
  }
}
