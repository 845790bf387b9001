/**
 * The fields of a map in a reviewed file, read by type: what is unknown, missing or of another type is refused with its
 * place, and never becomes a default.
 *
 * Not here: the tree (`yaml_tree.ts`), and which fields a file has (`policy_file.ts`).
 *
 * @module
 */
import { isProxyError } from "../core/errors.ts";
import { isAmbiguousPlain, shownKey, type YamlMap, type YamlNode, type YamlSource } from "./yaml_tree.ts";

/** Which keys a map may have. */
export interface KnownKeys {
  /** What the map is, for errors: "a rule". */
  readonly what: string;
  /** Keys that must be there. */
  readonly required: readonly string[];
  /** Keys that may be there. */
  readonly optional: readonly string[];
}

/** One map. Every method throws ProxyError `input.invalid` with a place. */
export class YamlFields {
  /** Where the map begins. */
  readonly at: number;
  readonly #source: YamlSource;
  readonly #values = new Map<string, YamlNode>();

  /** Refuses a node that is no map, unknown keys and missing ones. */
  constructor(source: YamlSource, node: YamlNode, { what, required, optional }: KnownKeys) {
    this.at = node.at;
    this.#source = source;
    const known = [...required, ...optional];
    const hint = `${what} has ${known.join(", ")}, and nothing else`;
    for (const { key, value } of mapOf(source, node, what, hint).entries) {
      if (!known.includes(key.text)) source.refuse(key.at, `unknown key ${shownKey(key.text)}`, hint);
      this.#values.set(key.text, value);
    }
    const missing = required.find((key) => !this.#values.has(key));
    if (missing !== undefined) source.refuse(node.at, `${what} has no ${missing}`, hint);
  }

  /** The value of a key, in any type. */
  node(key: string): YamlNode | undefined {
    return this.#values.get(key);
  }

  /** Refuses a key's value, or the map when it has none. */
  refuse(key: string, problem: string, hint: string): never {
    return this.#source.refuse(this.node(key)?.at ?? this.at, problem, hint);
  }

  /** A text, through a reader whose refusals get its place; undefined when the key is not there. */
  text<Value>(key: string, read: (text: string) => Value): Value | undefined {
    const node = this.node(key);
    return node && readText(this.#source, node, key, read);
  }

  /** A list of texts that `check` takes, at least one; none when the key is not there. */
  texts(key: string, check: (text: string) => unknown): readonly string[] {
    return this.#someItems(key).map((item) => {
      return readText(this.#source, item, key, (text) => {
        check(text);
        return text;
      });
    });
  }

  /** A list of whole numbers that `check` takes, at least one; none when the key is not there. */
  integers(key: string, check: (number: number) => unknown): readonly number[] {
    return this.#someItems(key).map((item) => {
      if (item.kind !== "scalar" || !item.isPlain || !/^\d{1,9}$/.test(item.text)) {
        this.#source.refuse(item.at, `${key}: this is no whole number`, `write ${key}: [443]`);
      }
      const number = Number(item.text);
      located(this.#source, item.at, () => check(number));
      return number;
    });
  }

  /** `true` or `false`; false when the key is not there. */
  boolean(key: string): boolean {
    const node = this.node(key);
    if (!node) return false;
    if (node.kind === "scalar" && node.isPlain && /^(true|false)$/.test(node.text)) {
      return node.text === "true";
    }
    return this.#source.refuse(node.at, `${key}: this is neither true nor false`, `write ${key}: true`);
  }

  /** The items of a list; none when the key is not there. */
  items(key: string): readonly YamlNode[] {
    const node = this.node(key);
    if (!node) return [];
    if (node.kind === "list") return node.items;
    return this.#source.refuse(node.at, `${key}: this is no list`, `write ${key}: […]`);
  }

  /** To a rule no items mean any, and `methods: []`, as a template may write it, looks like none. */
  #someItems(key: string): readonly YamlNode[] {
    const items = this.items(key);
    if (items.length > 0 || !this.node(key)) return items;
    return this.refuse(
      key,
      `${key}: this list is empty`,
      `leave ${key} out if the rule is not to limit them`,
    );
  }

  /** The entries of a map whose keys `readName` takes; none when the key is not there. */
  *named(key: string, readName: (text: string) => string): Iterable<readonly [string, YamlNode]> {
    const node = this.node(key);
    if (!node) return;
    const hint = "write a map of names, or {} for none";
    for (const entry of mapOf(this.#source, node, key, hint).entries) {
      yield [readText(this.#source, entry.key, key, readName), entry.value];
    }
  }
}

function mapOf(source: YamlSource, node: YamlNode, what: string, hint: string): YamlMap {
  return node.kind === "map" ? node : source.refuse(node.at, `${what}: this is no map`, hint);
}

/**
 * The text of a scalar, through a reader whose refusals get its place. Plain text that some YAML reader takes for a number, a
 * boolean or null is refused: `no` could mean false.
 *
 * @throws ProxyError `input.invalid`
 */
export function readText<Value>(
  source: YamlSource,
  node: YamlNode,
  what: string,
  read: (text: string) => Value,
): Value {
  if (node.kind !== "scalar") source.refuse(node.at, `${what}: this is no text`, "write one text");
  if (node.text === "") {
    source.refuse(node.at, `${what}: this is empty`, `leave ${what} out when it has no value`);
  }
  if (node.isPlain && isAmbiguousPlain(node.text)) {
    source.refuse(node.at, `${what}: this is no text`, "put it in quotes if it is meant as text");
  }
  return located(source, node.at, () => read(node.text));
}

/**
 * Runs a reader that knows nothing of files, and adds to its refusal where in the file that is.
 *
 * @throws ProxyError `input.invalid`
 */
export function located<Value>(source: YamlSource, at: number, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (!isProxyError(error, "input.invalid")) throw error;
    return source.refuse(at, error.message.replace(/^C(?=annot )/, "c"), error.hint);
  }
}
