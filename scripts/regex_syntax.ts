/**
 * A regular expression's source as a tree, for `regex_cost.ts`. Reads what this project writes and refuses the rest, which
 * nobody can say a cost of by looking at it: back references, look-behind, inline flags, the flag v.
 *
 * Not here: what a set of characters holds; the engine itself is asked for that.
 *
 * @module
 */

/** A part of a regular expression. */
export type RegexNode =
  /** One character: its source, which is a regular expression of its own. */
  | { readonly kind: "set"; readonly source: string }
  | { readonly kind: "sequence" | "choice"; readonly items: readonly RegexNode[] }
  | { readonly kind: "repeat"; readonly item: RegexNode; readonly min: number; readonly max: number }
  /** `^`. */
  | { readonly kind: "start" }
  /** `$`, `\b`, `\B`: no character is taken, and the match may fail there. */
  | { readonly kind: "assertion" }
  /** `(?=…)`, `(?!…)`. */
  | { readonly kind: "look-ahead"; readonly item: RegexNode };

/** The source cannot be judged. Its message says why. */
export class UnjudgedError extends Error {
  override readonly name = "UnjudgedError";
}

/** A character's escape, with its digits: `\x41`, `\u0041`, `\u{1f600}`, `\p{Cc}`, `\cA`, or one character. */
const ESCAPE =
  /\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\}|[pP]\{[A-Za-z_=]{1,60}\}|c[A-Za-z]|[^1-9kxucpP])/y;
const COUNT = /\{(\d{1,6})(?:(,)(\d{0,6}))?\}/y;
const NAME = /\?<[A-Za-z]\w*>/y;

/**
 * The tree of a valid source.
 *
 * @throws UnjudgedError
 */
export function parseRegex(source: string): RegexNode {
  return new RegexReader(source).read();
}

class RegexReader {
  readonly #source: string;
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  read(): RegexNode {
    const node = this.#choice();
    if (this.#at < this.#source.length) throw new UnjudgedError("a parenthesis too many");
    return node;
  }

  #choice(): RegexNode {
    const items = [this.#sequence()];
    while (this.#takes("|")) items.push(this.#sequence());
    const [only] = items;
    return items.length === 1 && only ? only : { kind: "choice", items };
  }

  #sequence(): RegexNode {
    const items: RegexNode[] = [];
    while (this.#at < this.#source.length && !this.#sees("|") && !this.#sees(")")) {
      items.push(this.#quantified(this.#atom()));
    }
    return { kind: "sequence", items };
  }

  #quantified(item: RegexNode): RegexNode {
    let [min, max] = [1, 1];
    const count = this.#match(COUNT);
    if (count) {
      min = Number(count[1]);
      max = count[2] === undefined ? min : count[3] === "" ? Infinity : Number(count[3]);
    } else if (this.#takes("*")) [min, max] = [0, Infinity];
    else if (this.#takes("+")) max = Infinity;
    else if (this.#takes("?")) min = 0;
    else return item;
    this.#takes("?"); // lazy: which way is tried first does not change the worst case
    return { kind: "repeat", item, min, max };
  }

  #atom(): RegexNode {
    if (this.#takes("(")) return this.#group();
    if (this.#takes("^")) return { kind: "start" };
    if (this.#takes("$") || this.#takes("\\b") || this.#takes("\\B")) return { kind: "assertion" };
    const from = this.#at;
    if (this.#sees("[")) this.#class();
    else if (this.#sees("\\")) this.#escape();
    else this.#at += (this.#source.codePointAt(this.#at) ?? 0) > 0xffff ? 2 : 1;
    return { kind: "set", source: this.#source.slice(from, this.#at) };
  }

  #group(): RegexNode {
    let kind: "group" | "look-ahead" = "group";
    if (this.#takes("?=") || this.#takes("?!")) kind = "look-ahead";
    else if (this.#sees("?<=") || this.#sees("?<!")) throw new UnjudgedError("it looks behind");
    else if (!this.#takes("?:") && this.#sees("?") && !this.#match(NAME)) {
      throw new UnjudgedError("it has flags inside");
    }
    const item = this.#choice();
    if (!this.#takes(")")) throw new UnjudgedError("a parenthesis is open");
    return kind === "group" ? item : { kind, item };
  }

  #class(): void {
    this.#at++;
    while (!this.#takes("]")) {
      if (this.#at >= this.#source.length) throw new UnjudgedError("a class is open");
      this.#at += this.#sees("\\") ? 2 : 1;
    }
  }

  #escape(): void {
    if (!this.#match(ESCAPE)) throw new UnjudgedError("it refers back, or has an escape that is not known");
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#source);
    if (match) this.#at += match[0].length;
    return match ?? undefined;
  }

  #sees(text: string): boolean {
    return this.#source.startsWith(text, this.#at);
  }

  #takes(text: string): boolean {
    if (!this.#sees(text)) return false;
    this.#at += text.length;
    return true;
  }
}
