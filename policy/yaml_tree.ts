/**
 * YAML (and so JSON) as a tree in which every value knows its place, for files that are reviewed: one document, texts,
 * lists and maps, each key once. What would let a file mean something else than it shows is refused: anchors and aliases
 * (and with them merge keys and alias bombs), tags, directives.
 *
 * Not here: which keys a file has and what they mean (`policy_file.ts`).
 *
 * @module
 */
import { type Event, EVENT_ID, getScalarValue, parseEvents, SCALAR_STYLE, YAMLException } from "js-yaml";
import { ProxyError } from "../core/errors.ts";
import { quoteText } from "../core/escape.ts";

/** A value. `at` is where it begins, in UTF-16 code units from the start of the text. */
export type YamlNode = YamlScalar | YamlList | YamlMap;

/** A text, number, boolean or null, as it is written. */
export interface YamlScalar {
  /** A text, number, boolean or null. */
  readonly kind: "scalar";
  /** Where it begins. */
  readonly at: number;
  /** Without quotes, escapes resolved. */
  readonly text: string;
  /** Written without quotes, so that it may be a number, a boolean or null (YAML 1.2 §10.3.2). */
  readonly isPlain: boolean;
}

/** A list of values. */
export interface YamlList {
  /** A list. */
  readonly kind: "list";
  /** Where it begins. */
  readonly at: number;
  /** In order. */
  readonly items: readonly YamlNode[];
}

/** A map, in the order of the text. No key is there twice. */
export interface YamlMap {
  /** A map. */
  readonly kind: "map";
  /** Where it begins. */
  readonly at: number;
  /** In the order of the text. */
  readonly entries: readonly YamlEntry[];
}

/** A key and its value. */
export interface YamlEntry {
  /** A text, whatever it looks like. */
  readonly key: YamlScalar;
  /** Null, as an empty scalar, when there is none. */
  readonly value: YamlNode;
}

/** UTF-16 code units of a text. 10,000 rules as `export` writes them fit. */
export const MAX_YAML_CHARS = 1_048_576;

/** A policy is five deep; a reader that recurses must not be led further. */
const MAX_DEPTH = 16;

/** `null`, booleans and numbers of YAML 1.2's core schema (§10.3.2), and the words that YAML 1.1 takes for booleans. */
const NOT_TEXT =
  /^(?:|~|null|true|false|yes|no|on|off|[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:e[-+]?\d+)?|0o[0-7]+|0x[0-9a-f]+|[-+]?\.inf|\.nan)$/i;

const PLAIN_HINT = "write plain YAML: texts, lists and maps, without anchors, aliases, merge keys and tags";
const STAR_HINT = 'put a value that begins with * in quotes: "*.example.com"';

/** True when a plain scalar of this text could be read as something else than the text, here or by another YAML reader. */
export function isAmbiguousPlain(text: string): boolean {
  return NOT_TEXT.test(text);
}

/** A YAML text with its tree, and the errors about it. */
export class YamlSource {
  readonly #text: string;
  readonly #name: string;
  /** Where each line begins. Made for the first place that is asked for. */
  #lineStarts: readonly number[] | undefined;
  /** The value of the document. */
  readonly root: YamlNode;

  /**
   * Reads a text.
   *
   * @param name what the text is called in errors, such as its file name
   * @throws ProxyError `input.invalid` when it is not such a YAML text
   */
  constructor(text: string, name: string) {
    this.#text = text.replace(/^\ufeff/, "");
    this.#name = name;
    if (text.length > MAX_YAML_CHARS) {
      this.refuse(0, `it is longer than ${MAX_YAML_CHARS} characters`, "split it over several files");
    }
    this.root = new TreeBuilder(this, this.#text, this.#parse()).build();
  }

  /** `NAME:LINE:COLUMN` of a place; both count from 1. */
  place(at: number): string {
    this.#lineStarts ??= [0, ...this.#text.matchAll(/\r\n|\r|\n/g).map((end) => end.index + end[0].length)];
    let low = 0;
    for (let high = this.#lineStarts.length; high - low > 1;) {
      const middle = (low + high) >> 1;
      if ((this.#lineStarts[middle] ?? 0) <= at) low = middle;
      else high = middle;
    }
    return `${this.#name}:${low + 1}:${at - (this.#lineStarts[low] ?? 0) + 1}`;
  }

  /** Throws ProxyError `input.invalid` about a place. `problem` goes on after "Cannot read NAME:LINE:COLUMN: ". */
  refuse(at: number, problem: string, hint: string | undefined): never {
    throw new ProxyError(
      "input.invalid",
      `Cannot read ${this.place(at)}: ${problem}`,
      hint === undefined ? {} : { hint },
    );
  }

  #parse(): readonly Event[] {
    try {
      return parseEvents(this.#text, { maxDepth: MAX_DEPTH });
    } catch (error) {
      if (!(error instanceof YAMLException)) throw error;
      // What follows a colon or a quote is out of the text itself.
      const reason = (error.reason.split(/[:"]/)[0] ?? "").trim();
      const at = error.mark?.position ?? 0;
      return this.refuse(at, `it is not YAML (${reason})`, reason.includes("alias") ? STAR_HINT : PLAIN_HINT);
    }
  }
}

/** Makes the tree of a list of parser events. */
class TreeBuilder {
  readonly #source: YamlSource;
  readonly #text: string;
  readonly #events: readonly Event[];
  #next = 0;
  /** Where the last thing ended: an empty value has no place of its own. */
  #end = 0;

  constructor(source: YamlSource, text: string, events: readonly Event[]) {
    this.#source = source;
    this.#text = text;
    this.#events = events;
  }

  build(): YamlNode {
    const document = this.#take();
    if (document === undefined) this.#source.refuse(0, "it is empty", "begin with version: 1");
    if (document.type === EVENT_ID.DOCUMENT && document.directives.length > 0) {
      this.#source.refuse(0, "it has a directive", "leave out the line that begins with %");
    }
    const root = this.#node();
    this.#take(); // the end of the document
    if (this.#take() !== undefined) {
      this.#source.refuse(this.#end, "a second document begins after this", "write one document per file");
    }
    return root;
  }

  #take(): Event | undefined {
    return this.#events[this.#next++];
  }

  #node(): YamlNode {
    const event = this.#take();
    switch (event?.type) {
      case EVENT_ID.SCALAR: {
        this.#refuseProperties(event);
        const isPlain = event.style === SCALAR_STYLE.PLAIN;
        const isQuoted = event.style === SCALAR_STYLE.SINGLE_QUOTED ||
          event.style === SCALAR_STYLE.DOUBLE_QUOTED;
        const at = event.valueStart === -1 ? this.#end : event.valueStart - (isQuoted ? 1 : 0);
        this.#end = Math.max(this.#end, event.valueEnd);
        return { kind: "scalar", at, text: getScalarValue(this.#text, event), isPlain };
      }
      case EVENT_ID.SEQUENCE: {
        this.#refuseProperties(event);
        const items: YamlNode[] = [];
        while (!this.#isEnd()) items.push(this.#node());
        return { kind: "list", at: event.start, items };
      }
      case EVENT_ID.MAPPING:
        this.#refuseProperties(event);
        return { kind: "map", at: event.start, entries: this.#entries() };
      case EVENT_ID.ALIAS:
        return this.#source.refuse(event.anchorStart - 1, "a * without quotes begins an alias", STAR_HINT);
      default:
        throw new TypeError("Cannot make a tree: the events do not nest");
    }
  }

  #entries(): YamlEntry[] {
    const entries: YamlEntry[] = [];
    const seen = new Set<string>();
    while (!this.#isEnd()) {
      const key = this.#node();
      if (key.kind !== "scalar") this.#source.refuse(key.at, "a key is a list or a map", PLAIN_HINT);
      if (seen.has(key.text)) {
        this.#source.refuse(key.at, `the key ${shownKey(key.text)} is here twice`, "leave one of them out");
      }
      seen.add(key.text);
      entries.push({ key, value: this.#node() });
    }
    return entries;
  }

  /** Takes the end of a list or map when it is next. */
  #isEnd(): boolean {
    if (this.#events[this.#next]?.type !== EVENT_ID.POP) return false;
    this.#next++;
    return true;
  }

  #refuseProperties(
    { anchorStart, tagStart }: { readonly anchorStart: number; readonly tagStart: number },
  ): void {
    if (anchorStart !== -1) this.#source.refuse(anchorStart - 1, "it has an anchor", PLAIN_HINT);
    if (tagStart !== -1) this.#source.refuse(tagStart, "it has a tag", PLAIN_HINT);
  }
}

/** A key for a message, cut and safe for a terminal. */
export function shownKey(text: string): string {
  return quoteText(text, 40);
}
