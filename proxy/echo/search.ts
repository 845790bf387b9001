/**
 * A search through a text that leaves in pieces: what began in a piece that has left is found as well.
 *
 * @module
 */
import type { Found, Needles } from "./needles.ts";

/** See the module. */
export class Search {
  readonly #needles: Needles;
  readonly #overlap: number;
  /** The end of what has left: as much as the longest text. */
  #left = "";

  constructor(needles: Needles) {
    this.#needles = needles;
    this.#overlap = Math.max(1, needles.longest);
  }

  /** What is found in a text, and the ends in it of what began before. */
  find(text: string): readonly Found[] {
    const shift = this.#left.length;
    const across = this.#needles.find(this.#left + text.slice(0, this.#overlap))
      .filter(({ start, end }) => start < shift && end > shift)
      .map(({ end }) => ({ start: 0, end: end - shift }));
    return [...across, ...this.#needles.find(text)];
  }

  /** How many characters at the end of a text may belong to one that is not yet there as a whole. */
  begun(text: string): number {
    return Math.min(text.length, this.#needles.begun(this.#left + text.slice(-this.#overlap)));
  }

  /** How many characters at the end of what has left may belong to one that is not yet there as a whole. */
  get pending(): number {
    return this.#needles.begun(this.#left);
  }

  /** This much of a text leaves. */
  leave(text: string): void {
    this.#left = (this.#left + text.slice(-this.#overlap)).slice(-this.#overlap);
  }
}
