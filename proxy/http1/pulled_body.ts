/**
 * An HTTP/1 body as one that is pulled: the bytes of its framing pass with it, chunk sizes and trailers included.
 *
 * Not here: where it ends (`body.ts`).
 *
 * @module
 */
import type { MessageBody } from "../message/message.ts";
import type { ByteReader } from "../streams/byte_reader.ts";
import type { Body, ContentSpan } from "./body.ts";

const NOTHING = new Uint8Array(0);
/** A body up to this size leaves in one write with its head. */
const COALESCE_BYTES = 65_536;

/** The body at the front of what a reader has. */
export class PulledBody implements MessageBody {
  readonly #framing: Body;
  readonly #reader: ByteReader;
  #taken = 0;
  #hasEnded = false;

  constructor(framing: Body, reader: ByteReader) {
    this.#framing = framing;
    this.#reader = reader;
  }

  get done(): boolean {
    return this.#framing.done || this.#hasEnded;
  }

  get isReleased(): boolean {
    return this.done && this.#taken === 0;
  }

  get closeDelimited(): boolean {
    return this.#framing.closeDelimited;
  }

  get trailers(): undefined {
    return undefined;
  }

  get content(): readonly ContentSpan[] | undefined {
    return this.#framing.content;
  }

  recordContent(): void {
    this.#framing.recordContent?.();
  }

  takeFirst(): Uint8Array {
    const { size } = this.#reader;
    if (this.done || size === 0 || size > COALESCE_BYTES) return NOTHING;
    const piece = this.take();
    this.release();
    return piece;
  }

  take(): Uint8Array {
    const { available } = this.#reader;
    this.#taken = this.#framing.take(available);
    return this.#taken === available.length ? available : available.subarray(0, this.#taken);
  }

  release(): void {
    this.#reader.consume(this.#taken);
    this.#taken = 0;
  }

  fill(): Promise<boolean> {
    return this.closeDelimited ? this.#fillOrEnd() : this.#reader.fill();
  }

  async #fillOrEnd(): Promise<boolean> {
    if (!await this.#reader.fill()) this.#hasEnded = true;
    return true;
  }
}
