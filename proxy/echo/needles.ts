/**
 * Texts that are looked for in a stream of bytes. Bytes are looked at as Latin-1, a character each: the runtime's own search
 * in strings is what is fast enough for every byte of every answer.
 *
 * @module
 */

/** A place where a text was found, in characters; the end is behind it. */
export interface Found {
  readonly start: number;
  readonly end: number;
}

/** So much of a text may pass before it is known to be none: with less, every other message would wait for its last letter. */
const FEWEST_HELD = 4;

/** See the module. */
export class Needles {
  readonly #texts: readonly string[];
  /** The length of the longest one. */
  readonly longest: number;

  /** @param texts Latin-1, each not empty */
  constructor(texts: readonly string[]) {
    this.#texts = texts;
    this.longest = Math.max(0, ...texts.map(({ length }) => length));
  }

  /** Every place of every text, which may overlap. */
  find(text: string): readonly Found[] {
    const found: Found[] = [];
    for (const needle of this.#texts) {
      for (let at = text.indexOf(needle); at >= 0; at = text.indexOf(needle, at + needle.length)) {
        found.push({ start: at, end: at + needle.length });
      }
    }
    return found;
  }

  /** True when any of them is in the text. */
  isIn(text: string): boolean {
    return this.#texts.some((needle) => text.includes(needle));
  }

  /** How many characters at the end of a text are the beginning of one that may go on; 0 for a few. */
  begun(text: string): number {
    let most = 0;
    for (const needle of this.#texts) {
      const opening = needle.slice(0, FEWEST_HELD);
      const from = Math.max(0, text.length - needle.length + 1);
      for (let at = text.indexOf(opening, from); at >= 0; at = text.indexOf(opening, at + 1)) {
        if (text.length - at <= most) break;
        if (needle.startsWith(text.slice(at))) most = text.length - at;
      }
    }
    return most;
  }

  /** The text with stars in the place of each one that is in it. */
  mask(text: string): string {
    let masked = text;
    for (const { start, end } of this.find(text)) {
      masked = masked.slice(0, start) + "*".repeat(end - start) + masked.slice(end);
    }
    return masked;
  }
}
