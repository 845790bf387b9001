/**
 * What was sent of a request's body, for requests that may be sent once more with a renewed credential.
 *
 * Not here: whether they are (`credential_use.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** The largest body that is kept, so that a request whose access token is refused can be sent again with the next one. */
const MAX_KEPT_BYTES = 1_048_576;

/** A copy of the body bytes that were sent, up to {@linkcode MAX_KEPT_BYTES}: beyond that it is not whole. */
export class SentBody {
  readonly #pieces: Uint8Array[] = [];
  #size = 0;
  isWhole = true;

  add(piece: Uint8Array): void {
    this.#size += piece.length;
    if (this.#size > MAX_KEPT_BYTES) {
      this.isWhole = false;
      this.#pieces.length = 0;
    }
    if (this.isWhole) this.#pieces.push(piece.slice());
  }

  /** The whole body. */
  join(): Uint8Array {
    return Buffer.concat(this.#pieces);
  }
}
