/**
 * A body in whose content texts are replaced by stars as it passes, byte for byte, so that its length and framing stay. What
 * may be the beginning of one is held back until more is there, or for a moment.
 *
 * Not here: compressed bodies (`watched_body.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Deadlines } from "../../core/deadlines.ts";
import type { MessageBody } from "../message/message.ts";
import { contentText, extensionsAmong, movedBy, type Span, spansBehind, wholeOf } from "./content.ts";
import type { Found, Needles } from "./needles.ts";
import { Patience } from "./patience.ts";
import { Search } from "./search.ts";

const NOTHING = new Uint8Array(0);
const STAR = 42;
/** Of a text in tiny chunks their sizes are held too. What is more goes on as it is. */
const MAX_HELD_BYTES = 262_144;

/** What a body that is looked at needs. */
export interface EchoParts {
  readonly needles: Needles;
  readonly deadlines: Pick<Deadlines, "start">;
  /** Called with how many were found, before they leave; what it throws ends the body. True to have them masked. */
  readonly onEcho: (count: number) => boolean;
}

/** See the module. */
export class MaskedBody implements MessageBody {
  readonly #inner: MessageBody;
  readonly #onEcho: EchoParts["onEcho"];
  readonly #needles: Needles;
  readonly #search: Search;
  readonly #patience: Patience;
  /** A copy of what was searched and not passed on. */
  #held = NOTHING;
  #heldSpans: readonly Span[] = [];

  constructor(inner: MessageBody, { needles, deadlines, onEcho }: EchoParts) {
    this.#inner = inner;
    this.#onEcho = onEcho;
    this.#needles = needles;
    this.#search = new Search(needles);
    this.#patience = new Patience(deadlines);
    inner.recordContent?.();
  }

  get done(): boolean {
    return this.#inner.done && this.#held.length === 0;
  }

  get isReleased(): boolean {
    return this.#inner.isReleased && this.#held.length === 0;
  }

  get closeDelimited(): boolean {
    return this.#inner.closeDelimited;
  }

  get trailers() {
    return this.#inner.trailers;
  }

  takeFirst(): Uint8Array {
    return this.#pass(this.#inner.takeFirst());
  }

  take(): Uint8Array {
    if (this.#patience.takeLate()) return this.#takeHeld();
    if (this.#patience.isWaiting) return NOTHING;
    const taken = this.#inner.done ? NOTHING : this.#inner.take();
    const piece = this.#pass(taken);
    if (piece.length === 0 && taken.length > 0) this.#inner.release(); // all of it is held, in a copy
    return piece;
  }

  release(): void {
    if (!this.#patience.isWaiting) this.#inner.release();
  }

  async fill(): Promise<boolean> {
    return this.#inner.done || await this.#patience.fill(this.#inner, this.#held.length > 0);
  }

  /** What of the held bytes and a piece may leave. */
  #pass(taken: Uint8Array): Uint8Array {
    if (taken.length === 0) return this.#inner.done ? this.#takeHeld() : NOTHING;
    const shift = this.#held.length;
    const own = this.#inner.content ?? wholeOf(taken);
    const piece = this.#withoutExtensions(taken, own);
    const bytes = shift === 0 ? piece : Buffer.concat([this.#held, piece]);
    const spans = shift === 0 ? own : [...this.#heldSpans, ...movedBy(own, shift)];
    const { text, at } = contentText(bytes, spans);
    const found = this.#search.find(text);
    const isMasked = found.length > 0 && this.#onEcho(found.length);
    const out = isMasked ? masked(bytes, found, at) : bytes;
    const begun = this.#inner.done || bytes.length > MAX_HELD_BYTES
      ? 0
      : this.#search.begun(afterMask(text, found));
    return this.#keep(out, {
      spans,
      cut: begun === 0 ? out.length : at(text.length - begun),
      text: text.slice(0, text.length - begun),
    });
  }

  /** Chunk extensions masked: a line of framing never comes in two pieces. */
  #withoutExtensions(piece: Uint8Array, spans: readonly Span[]): Uint8Array {
    const gaps = this.#inner.content ? extensionsAmong(piece.length, spans) : [];
    return gaps.reduce((bytes, gap) => {
      const { text, at } = contentText(bytes, [gap]);
      const found = this.#needles.find(text);
      return found.length > 0 && this.#onEcho(found.length) ? masked(bytes, found, at) : bytes;
    }, piece);
  }

  /** Keeps what is behind `cut`, and gives what is before it. */
  #keep(
    bytes: Uint8Array,
    { spans, cut, text }: { readonly spans: readonly Span[]; readonly cut: number; readonly text: string },
  ): Uint8Array {
    this.#search.leave(text);
    const isAll = cut === bytes.length;
    this.#held = isAll ? NOTHING : Uint8Array.from(bytes.subarray(cut));
    this.#heldSpans = isAll ? [] : spansBehind(spans, cut);
    return isAll ? bytes : bytes.subarray(0, cut);
  }

  #takeHeld(): Uint8Array {
    const held = this.#held;
    if (held.length > 0) this.#search.leave(contentText(held, this.#heldSpans).text);
    this.#held = NOTHING;
    this.#heldSpans = [];
    return held;
  }
}

function masked(bytes: Uint8Array, found: readonly Found[], at: (index: number) => number): Uint8Array {
  const out = Uint8Array.from(bytes);
  for (const { start, end } of found) for (let i = start; i < end; i++) out[at(i)] = STAR;
  return out;
}

/** What was found is the beginning of nothing else. */
function afterMask(text: string, found: readonly Found[]): string {
  return text.slice(Math.max(0, ...found.map(({ end }) => end)));
}
