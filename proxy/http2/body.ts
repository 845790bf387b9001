/**
 * A stream's body as one that is pulled. What is taken gives window credit back only once it is released.
 *
 * @module
 */
import type { MessageBody } from "../message/message.ts";
import type { Http2Field, Http2Stream } from "./types.ts";

const NOTHING = new Uint8Array(0);

/** See the module. */
export class Http2Body implements MessageBody {
  readonly closeDelimited = false;
  readonly #stream: Http2Stream;
  #isDone: boolean;
  #taken = 0;

  constructor(stream: Http2Stream, isBodyless: boolean) {
    this.#stream = stream;
    this.#isDone = isBodyless;
  }

  get done(): boolean {
    return this.#isDone;
  }

  get isReleased(): boolean {
    return this.#isDone && this.#taken === 0;
  }

  get trailers(): readonly Http2Field[] | undefined {
    return this.#isDone ? this.#stream.trailers : undefined;
  }

  /** Frames of one turn leave in one write anyway, and credit for a piece is not due before it was sent. */
  takeFirst(): Uint8Array {
    return NOTHING;
  }

  take(): Uint8Array {
    const piece = this.#stream.available;
    this.#taken = piece.length;
    if (this.#stream.isLast) this.#isDone = true;
    return piece;
  }

  release(): void {
    this.#stream.consume(this.#taken);
    this.#taken = 0;
  }

  async fill(): Promise<boolean> {
    if (!await this.#stream.fill()) this.#isDone = true;
    return true;
  }
}
