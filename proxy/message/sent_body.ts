/**
 * What was sent of a request's body, for requests that may be sent once more with a renewed credential.
 *
 * Not here: whether they are (`inject/credential_use.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";

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
  readonly #pieces: Uint8Array[] = [];
  #size = 0;
  #isWhole = true;

  constructor(room: KeptBytes) {
    this.#room = room;
  }

  get isWhole(): boolean {
    return this.#isWhole;
  }

  add(piece: Uint8Array): void {
    if (!this.#isWhole) return;
    if (this.#size + piece.length > MAX_KEPT_BYTES || !this.#room.take(piece.length)) return this.drop();
    this.#size += piece.length;
    this.#pieces.push(piece.slice());
  }

  /** It will not be sent again. */
  drop(): void {
    this.#isWhole = false;
    this.#pieces.length = 0;
    this.#room.give(this.#size);
    this.#size = 0;
  }

  /** The whole body. */
  join(): Uint8Array {
    return Buffer.concat(this.#pieces);
  }
}
