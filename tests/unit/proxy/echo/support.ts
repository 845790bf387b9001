/** A body that gives its pieces one after the other, and what reads one to its end. */
import type { MessageBody } from "../../../../proxy/message/message.ts";

/** Pieces of content between which framing may stand. */
export class PiecesBody implements MessageBody {
  readonly closeDelimited = false;
  readonly trailers = undefined;
  readonly #pieces: readonly Uint8Array[];
  #at = 0;
  #filled = 0;

  constructor(pieces: readonly Uint8Array[]) {
    this.#pieces = pieces;
  }

  get done(): boolean {
    return this.#at >= this.#pieces.length;
  }

  get isReleased(): boolean {
    return this.done;
  }

  takeFirst(): Uint8Array {
    return new Uint8Array(0);
  }

  take(): Uint8Array {
    if (this.#filled <= this.#at) return new Uint8Array(0);
    return this.#pieces[this.#at++] ?? new Uint8Array(0);
  }

  release(): void {}

  fill(): Promise<boolean> {
    this.#filled = Math.min(this.#filled + 1, this.#pieces.length);
    return Promise.resolve(true);
  }
}

/** Everything that a body gives, as the relay pulls it. */
export async function readBody(body: MessageBody): Promise<Uint8Array> {
  const parts: Uint8Array[] = [body.takeFirst().slice()];
  while (!body.done) {
    const piece = body.take();
    if (piece.length > 0) {
      parts.push(piece.slice());
      body.release();
    } else if (!body.done && !await body.fill()) throw new Error("cut");
  }
  return new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

/** A body cut at these places. */
export function cutAt(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  let from = 0;
  return ends.map((end) => bytes.subarray(from, from = end));
}
