/**
 * Conditions about the query: `service=git-upload-pack` means that the query has this parameter with this value, and under
 * no spelling of its name another one. Servers disagree about which of two parameters counts, which names are the same, and
 * what separates them: so all that any of them could take for the parameter has to be exactly it.
 *
 * Not here: `_method` (`proxy/message/method_parameter.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { quoteText } from "../../core/escape.ts";

/** A parameter, decoded: one character a byte. */
export interface QueryPair {
  readonly name: string;
  readonly value: string;
}

const MAX_CHARS = 1_024;

/**
 * A condition in canonical form: `NAME=VALUE`, with what separates in a query, in a command or in a list as escapes.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseQueryCondition(text: string): string {
  const equals = text.indexOf("=");
  const name = text.slice(0, Math.max(equals, 0));
  if (name === "" || text.length > MAX_CHARS || foldName(decode(name)) === "" || text.startsWith("?")) {
    throw new ProxyError("input.invalid", `Cannot use ${quoteText(text, 80)} as a condition on the query`, {
      hint: "write NAME=VALUE, such as service=git-upload-pack; a comma in it as %2C",
    });
  }
  return `${canonical(name)}=${canonical(text.slice(equals + 1))}`;
}

/** True when a query (as sent, without `?`) has every parameter that the conditions name, with one of their values alone. */
export function coversQuery(conditions: readonly string[], query: string | undefined): boolean {
  const wanted = conditions.map(readCondition);
  return wanted.every(({ name }) => {
    const values = wanted.flatMap((each) => each.name === name ? [each.value] : []);
    return hasOnly(query, name, values);
  });
}

/** True when some server could take the query for one that has, of every name, one of the values: for rules that deny. */
export function touchesQuery(conditions: readonly string[], query: string | undefined): boolean {
  const wanted = conditions.map(readCondition);
  return query !== undefined && wanted.every(({ name }) => {
    const values = new Set(wanted.flatMap((each) => each.name === name ? [foldValue(each.value)] : []));
    return [/&/, /[&;]/].some((separator) =>
      namesakes(pairsOf(query, separator), name).some(({ value }) =>
        values.has(foldValue(value)) || values.has(foldValue(decode(value)))
      )
    );
  });
}

/** A value without what lenient servers drop. */
function foldValue(value: string): string {
  const [text = ""] = value.split("\0", 1);
  return text.trim().toLowerCase();
}

/** True when the query has the parameter, and whatever could be taken for it is exactly it with one of the values. */
export function hasOnly(query: string | undefined, name: string, values: readonly string[]): boolean {
  return query !== undefined && [/&/, /[&;]/].every((separator) => {
    const seen = namesakes(pairsOf(query, separator), name);
    return seen.length > 0 && seen.every((pair) => pair.name === name && values.includes(pair.value));
  });
}

/** Conditions for what a query has of the parameters that others are about. */
export function narrowQuery(conditions: readonly string[], query: string | undefined): readonly string[] {
  const names = new Set(conditions.map((condition) => readCondition(condition).name));
  const pairs = pairsOf(query ?? "").filter(({ name }) => names.has(name));
  return pairs.map(formatCondition);
}

/** A parameter as a condition; {@linkcode readCondition} is the inverse. */
export function formatCondition({ name, value }: QueryPair): string {
  return `${escape(name)}=${escape(value)}`;
}

/** True when something in the query could be taken for the parameter. */
export function hasAny(query: string | undefined, name: string): boolean {
  return query !== undefined && namesakes(pairsOf(query, /[&;]/), name).length > 0;
}

/** Names of parameters, for asking about many at once: each parameter of a query is looked at once, however many there are. */
export class ParameterNames {
  readonly #folded: ReadonlySet<string>;

  constructor(names: readonly string[]) {
    this.#folded = new Set(names.map(foldName));
  }

  /** True when a decoded name could be taken for one of them. */
  has(name: string): boolean {
    return this.#folded.has(foldName(name));
  }

  /** True when something in the query could be taken for one of them. */
  areIn(query: string | undefined): boolean {
    return query !== undefined && pairsOf(query, /[&;]/).some(({ name }) => this.has(name));
  }
}

/** The parameters of a query as sent. */
export function pairsOf(query: string, separator = /&/): readonly QueryPair[] {
  return query.split(separator).map((text) => {
    const equals = text.indexOf("=");
    return equals < 0
      ? { name: decode(text), value: "" }
      : { name: decode(text.slice(0, equals)), value: decode(text.slice(equals + 1)) };
  });
}

/** A condition's parameter, decoded. */
export function readCondition(condition: string): QueryPair {
  const [pair = { name: "", value: "" }] = pairsOf(condition);
  return pair;
}

function namesakes(pairs: readonly QueryPair[], name: string): readonly QueryPair[] {
  const folded = foldName(name);
  return pairs.filter((pair) => foldName(pair.name) === folded);
}

/**
 * A name as the most lenient servers read it: decoded twice, cut at NUL and `[` (PHP's lists), without blanks around, `.`,
 * blanks and `-` as `_`, in any case.
 */
function foldName(name: string): string {
  const [text = ""] = (name.includes("%") ? decode(name) : name).split(/[[\0]/, 1);
  return text.trim().replace(/[. -]/g, "_").toLowerCase();
}

function decode(text: string): string {
  return text.replaceAll("+", " ")
    .replace(/%([0-9a-f]{2})/gi, (_escape, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

const UTF8 = new TextEncoder();

/** Escapes are decoded where they are not needed, so that a condition has one spelling. */
function canonical(text: string): string {
  let out = "";
  for (const byte of UTF8.encode(text.replaceAll("+", "%20"))) out += String.fromCharCode(byte);
  return escape(decode(out));
}

function escape(bytes: string): string {
  return bytes.replace(
    /[^A-Za-z0-9._~!$'()*\/:@-]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}
