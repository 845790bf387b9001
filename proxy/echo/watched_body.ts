/**
 * A compressed body that passes as it is while it is decoded beside: a piece leaves once what it decodes to was looked at.
 * Nothing can be masked in it, so it ends before the piece that completes a text, and a piece with the beginning of one waits.
 * The bytes themselves are looked at too: not everything that says that it is compressed is.
 *
 * Not here: bodies without a coding (`masked_body.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../../core/errors.ts";
import type { MessageBody } from "../message/message.ts";
import { contentText, extensionsAmong, wholeOf } from "./content.ts";
import { Decoder, type MakeDecoder } from "./decoder.ts";
import type { EchoParts } from "./masked_body.ts";
import type { Needles } from "./needles.ts";
import { Patience } from "./patience.ts";
import { Search } from "./search.ts";

const NOTHING: Uint8Array = new Uint8Array(0);
/** So much waits for the rest of what has begun in it. */
const MAX_HELD_BYTES = 262_144;

/** See the module. */
export class WatchedBody implements MessageBody {
  readonly #inner: MessageBody;
  readonly #needles: Needles;
  readonly #isPart: boolean;
  /** In what it decodes to, and in the bytes as they are. */
  readonly #search: Search;
  readonly #plain: Search;
  readonly #onEcho: EchoParts["onEcho"];
  readonly #decoder: Decoder;
  readonly #patience: Patience;
  /** Copies of what was looked at and waits. */
  #held: Uint8Array = NOTHING;
  /** What may leave. */
  #ready: Uint8Array = NOTHING;
  #isAllSeen: boolean;

  constructor(
    inner: MessageBody,
    makeDecoder: MakeDecoder,
    { needles, deadlines, onEcho, isPart = false }: EchoParts & {
      /** It need not decode: it may begin anywhere in what does. */
      readonly isPart?: boolean;
    },
  ) {
    this.#inner = inner;
    this.#needles = needles;
    this.#isPart = isPart;
    this.#search = new Search(needles);
    this.#plain = new Search(needles);
    this.#onEcho = onEcho;
    this.#patience = new Patience(deadlines);
    this.#decoder = new Decoder(makeDecoder, (text) => this.#look(text));
    this.#isAllSeen = inner.done;
    inner.recordContent?.();
  }

  get done(): boolean {
    return this.#isAllSeen && this.#ready.length === 0;
  }

  get isReleased(): boolean {
    return this.#inner.isReleased && this.done;
  }

  get closeDelimited(): boolean {
    return this.#inner.closeDelimited;
  }

  get trailers() {
    return this.#inner.trailers;
  }

  /** Nothing was looked at yet. */
  takeFirst(): Uint8Array {
    return NOTHING;
  }

  take(): Uint8Array {
    const piece = this.#ready;
    this.#ready = NOTHING;
    return piece;
  }

  release(): void {
    if (!this.#patience.isWaiting) this.#inner.release();
  }

  /** @throws ProxyError `upstream.malformed` for what does not decode, and whatever `onEcho` throws */
  async fill(): Promise<boolean> {
    let piece = this.#patience.isWaiting || this.#inner.done ? NOTHING : this.#inner.take();
    if (piece.length === 0 && !this.#inner.done) {
      if (!await this.#patience.fill(this.#inner, this.#held.length > 0)) return false;
      if (this.#patience.takeLate()) {
        this.#ready = this.#takeHeld();
        return true;
      }
      piece = this.#inner.done ? NOTHING : this.#inner.take();
    }
    await this.#lookAt(piece);
    this.#isAllSeen = this.#inner.done;
    if (this.#isAllSeen) this.#decoder.close();
    const isWaiting = !this.#isAllSeen && (this.#search.pending > 0 || this.#plain.pending > 0) &&
      this.#held.length + piece.length <= MAX_HELD_BYTES;
    const all = this.#held.length === 0 ? piece : Buffer.concat([this.#held, piece]);
    this.#held = isWaiting ? Uint8Array.from(all) : NOTHING;
    this.#ready = isWaiting ? NOTHING : all;
    if (isWaiting) this.#inner.release();
    return true;
  }

  /** The answer is not read to its end: what decodes it holds memory of its own. */
  drop(): void {
    this.#decoder.close();
  }

  #takeHeld(): Uint8Array {
    const held = this.#held;
    this.#held = NOTHING;
    return held;
  }

  async #lookAt(piece: Uint8Array): Promise<void> {
    const spans = this.#inner.content ?? wholeOf(piece);
    for (const gap of extensionsAmong(piece.length, spans)) {
      const found = this.#needles.find(contentText(piece, [gap]).text);
      if (found.length > 0) this.#onEcho(found.length);
    }
    const { text } = contentText(piece, spans);
    const found = this.#plain.find(text);
    if (found.length > 0) this.#onEcho(found.length);
    this.#plain.leave(text);
    for (const { start, end, isTrailer } of spans) {
      if (!isTrailer) await this.#decoder.write(piece.subarray(start, end));
    }
    if (this.#decoder.isBroken && !this.#isPart) {
      throw new ProxyError(
        "upstream.malformed",
        "Cannot pass the response on: it is not in the coding that it says",
      );
    }
  }

  #look(text: string): void {
    const found = this.#search.find(text);
    if (found.length > 0) this.#onEcho(found.length);
    this.#search.leave(text);
  }
}
