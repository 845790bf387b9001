/**
 * A JSON text (RFC 8259) read for a rule: all of it is checked, and of its value only that is made which a rule looks at. What
 * two readers could take for different things is not read: a member twice, a control character in the name of one, members
 * that differ in case alone where one of them counts.
 *
 * `JSON.parse` makes all of it. Objects whose members no other has cost it up to 80 ms a MiB (measured): whoever may send such
 * bodies would have a thread for himself.
 *
 * @module
 */
import { type Unreadable, unreadable } from "./body_text.ts";

/** Stands for an object or a list that was only checked. */
export const UNREAD = Symbol("unread");

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** True for an object that is no list. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Deeper JSON is not read: no client sends it, and servers differ in what they take. */
const MAX_DEPTH = 64;
/** In an object or list that is made: those that rules look at have some ten members, batches some hundred messages. */
const MAX_MADE = 1_024;
/** In one object: larger ones are no request, and what tells names apart gets slower with each. */
const MAX_MEMBERS = 8_192;
/** So many names are compared one by one in less time than a set takes to be made. */
const FEW_NAMES = 8;

/** What may stand behind a backslash, beside `u`. */
const ESCAPED: ReadonlySet<number> = new Set(Array.from('"\\/bfnrt', (char) => char.charCodeAt(0)));
const WORDS: readonly (readonly [string, unknown])[] = [["true", true], ["false", false], ["null", null]];

/** What is made of a value: the last two make objects, the last one a list. */
type Made = "nothing" | "scalars" | "objects" | "all";

/**
 * Reads a text. Made are a list at the top, objects at the top or directly in that list, objects below them in members that
 * are named so, and what is no object or list and directly in one of these.
 *
 * @param inside names of members
 * @returns its value, with {@linkcode UNREAD} in it; or why it has not exactly one
 */
export function parseJson(
  text: string,
  inside: readonly string[] = [],
): { readonly value: unknown } | Unreadable {
  try {
    return { value: new JsonReader(text, inside).read() };
  } catch (error) {
    if (error instanceof NotRead) return unreadable(error.message);
    throw error;
  }
}

/**
 * True when an object has a member that lenient readers take for one of `names` and strict ones do not: Go's reads names in
 * any case, by Unicode's rules.
 */
export function hasLookalike(object: JsonObject, names: readonly string[]): boolean {
  const known = new Set(names.map(fold));
  return Object.keys(object).some((name) => !names.includes(name) && known.has(fold(name)));
}

function fold(name: string): string {
  return name.normalize("NFKC").toUpperCase().toLowerCase().replace(/[_-]/g, "");
}

/** Its message is a clause. */
class NotRead extends Error {}

function noJson(): NotRead {
  return new NotRead("its body is no JSON");
}

class JsonReader {
  readonly #text: string;
  readonly #inside: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(text: string, inside: readonly string[]) {
    this.#text = text;
    this.#inside = inside;
  }

  read(): unknown {
    const value = this.#value("all");
    this.#skipBlanks();
    if (this.#at < this.#text.length) throw noJson();
    return value;
  }

  #value(made: Made): unknown {
    const first = this.#skipBlanks();
    if (first === CODE.quote) return this.#string(made !== "nothing");
    if (first !== CODE.openObject && first !== CODE.openList) return this.#scalar(first, made !== "nothing");
    if (++this.#depth > MAX_DEPTH) throw new NotRead("its JSON is nested too deeply");
    this.#at++;
    const value = first === CODE.openObject
      ? this.#object(made === "objects" || made === "all")
      : this.#list(made === "all");
    this.#depth--;
    return value;
  }

  #object(isMade: boolean): unknown {
    const members: [string, unknown][] = [];
    if (this.#skipBlanks() === CODE.closeObject) this.#at++;
    else {
      const names = new Names();
      do {
        const name = this.#name();
        const count = names.add(name);
        if (count === undefined) throw new NotRead("its JSON has a member twice");
        if (count > MAX_MEMBERS) throw tooMany();
        const value = this.#value(!isMade ? "nothing" : this.#inside.includes(name) ? "objects" : "scalars");
        if (isMade && members.push([name, value]) > MAX_MADE) throw tooMany();
      } while (this.#goesOn(CODE.closeObject));
    }
    return isMade ? Object.fromEntries(members) : UNREAD;
  }

  #name(): string {
    if (this.#skipBlanks() !== CODE.quote) throw noJson();
    const start = this.#at;
    const name = String(this.#string(true));
    // Readers in C end a name at NUL. Without an escape there is none.
    // deno-lint-ignore no-control-regex
    if (name.length + 2 < this.#at - start && /[\x00-\x1f]/.test(name)) {
      throw new NotRead("its JSON has control characters in the name of a member");
    }
    if (this.#skipBlanks() !== CODE.colon) throw noJson();
    this.#at++;
    return name;
  }

  #list(isMade: boolean): unknown {
    const items: unknown[] = [];
    if (this.#skipBlanks() === CODE.closeList) this.#at++;
    else {
      do {
        const item = this.#value(isMade ? "objects" : "nothing");
        if (isMade && items.push(item) > MAX_MADE) throw tooMany();
      } while (this.#goesOn(CODE.closeList));
    }
    return isMade ? items : UNREAD;
  }

  /** @returns false at the end of the object or list */
  #goesOn(close: number): boolean {
    const char = this.#skipBlanks();
    if (char !== close && char !== CODE.comma) throw noJson();
    this.#at++;
    return char !== close;
  }

  #string(isMade: boolean): unknown {
    const text = this.#text;
    const start = this.#at;
    let at = start + 1;
    let hasEscapes = false;
    for (let char = text.charCodeAt(at); char !== CODE.quote; char = text.charCodeAt(at)) {
      if (char === CODE.backslash) {
        hasEscapes = true;
        at = endOfEscape(text, at);
      } else if (char >= 0x20) at++;
      else throw noJson(); // or the text is over
    }
    this.#at = at + 1;
    if (!isMade) return UNREAD;
    return hasEscapes ? JSON.parse(text.slice(start, at + 1)) : text.slice(start + 1, at);
  }

  /** A number or a word. */
  #scalar(first: number, isMade: boolean): unknown {
    const start = this.#at;
    if (first === CODE.minus || isDigit(first)) {
      this.#at = endOfNumber(this.#text, start);
      return isMade ? Number(this.#text.slice(start, this.#at)) : UNREAD;
    }
    for (const [word, value] of WORDS) {
      if (!this.#text.startsWith(word, start)) continue;
      this.#at += word.length;
      return value;
    }
    throw noJson();
  }

  /** @returns the code of the next character that is no blank; NaN at the end */
  #skipBlanks(): number {
    let at = this.#at;
    let char = this.#text.charCodeAt(at);
    while (char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09) {
      char = this.#text.charCodeAt(++at);
    }
    this.#at = at;
    return char;
  }
}

/** The names of one object. */
class Names {
  readonly #few: string[] = [];
  #many: Set<string> | undefined;

  #count = 0;

  /** @returns how many there are now; undefined for one that was there already */
  add(name: string): number | undefined {
    const count = ++this.#count;
    if (this.#many) return this.#many.add(name).size === count ? count : undefined;
    if (this.#few.includes(name)) return undefined;
    if (this.#few.push(name) > FEW_NAMES) this.#many = new Set(this.#few);
    return count;
  }
}

const CODE = {
  ...{ quote: 0x22, comma: 0x2c, minus: 0x2d, colon: 0x3a, backslash: 0x5c, u: 0x75 },
  ...{ openList: 0x5b, closeList: 0x5d, openObject: 0x7b, closeObject: 0x7d },
} as const;

function isDigit(char: number): boolean {
  return char >= 0x30 && char <= 0x39;
}

function isHexDigit(char: number): boolean {
  return isDigit(char) || (char >= 0x41 && char <= 0x46) || (char >= 0x61 && char <= 0x66);
}

/** One behind an escape that begins at `at`. @throws NotRead */
function endOfEscape(text: string, at: number): number {
  const kind = text.charCodeAt(at + 1);
  if (ESCAPED.has(kind)) return at + 2;
  if (kind !== CODE.u) throw noJson();
  for (let digit = at + 2; digit < at + 6; digit++) {
    if (!isHexDigit(text.charCodeAt(digit))) throw noJson();
  }
  return at + 6;
}

/** One behind a number that begins at `at`. @throws NotRead */
function endOfNumber(text: string, at: number): number {
  let end = text.charCodeAt(at) === CODE.minus ? at + 1 : at;
  end = text.charAt(end) === "0" ? end + 1 : endOfDigits(text, end);
  if (text.charAt(end) === ".") end = endOfDigits(text, end + 1);
  const mark = text.charAt(end);
  if (mark !== "e" && mark !== "E") return end;
  const sign = text.charAt(end + 1);
  return endOfDigits(text, sign === "+" || sign === "-" ? end + 2 : end + 1);
}

/** One behind the digits at `at`, of which there is one. @throws NotRead */
function endOfDigits(text: string, at: number): number {
  let end = at;
  while (isDigit(text.charCodeAt(end))) end++;
  if (end === at) throw noJson();
  return end;
}

function tooMany(): NotRead {
  return new NotRead("its JSON has too many members or messages");
}
