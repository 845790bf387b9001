/**
 * What was sent of a request's body, for requests that may be sent once more with a renewed credential.
 *
 * Not here: whether they are (`inject/credential_use.ts`).
 *
 * @module
 */
import { GrowingBytes } from "../../core/growing_bytes.ts";

/** The largest body that is kept, so that a request whose access token is refused can be sent again with the next one. */
const MAX_KEPT_BYTES = 1_048_576;

/** What all kept bodies together may take. */
export interface KeptBytes {
  /** False, and nothing taken, when they may take no more. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

/** A copy of the body bytes that were sent, up to {@linkcode MAX_KEPT_BYTES} and while there is room: beyond that it is not whole. */
export class SentBody {
  readonly #room: KeptBytes;
  readonly #held = new GrowingBytes();
  #isWhole = true;

  constructor(room: KeptBytes) {
    this.#room = room;
  }

  get isWhole(): boolean {
    return this.#isWhole;
  }

  add(piece: Uint8Array): void {
    if (!this.#isWhole) return;
    const { size } = this.#held;
    if (size + piece.length > MAX_KEPT_BYTES || !this.#room.take(piece.length)) return this.drop();
    this.#held.add(piece);
  }

  /** It will not be sent again. */
  drop(): void {
    this.#isWhole = false;
    this.#room.give(this.#held.size);
    this.#held.clear();
  }

  /** The whole body, to be read alone. */
  join(): Uint8Array {
    return this.#held.bytes;
  }
}
