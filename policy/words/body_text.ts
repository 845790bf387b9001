/**
 * Bodies as text and as JSON, where a rule has to know what they say. What two readers could take for different things is
 * not read: bytes that are no UTF-8, a member twice, members that differ in case alone where one of them counts.
 *
 * Not here: the bytes (`proxy/decide/body_reader.ts`), and what the members mean.
 *
 * @module
 */
import type { Reason } from "../reason.ts";

/** A body that could not be read: the request is denied, whatever rules stand behind. */
export interface Unreadable {
  readonly reason: Reason;
  /** One clause of ours, lower case, no full stop. */
  readonly why: string;
}

/** A request with its body, codings undone. */
export interface BodyRead {
  /** As sent, in any case. */
  readonly method: string;
  /** As sent, without the `?`. */
  readonly query: string | undefined;
  /** The values of all its Content-Type fields. */
  readonly types: readonly string[];
  /** At most `MAX_BODY_BYTES`. */
  readonly bytes: Uint8Array;
}

/** Bytes of a body, before and after its coding is undone, that are read for a rule: what API clients send is far below. */
export const MAX_BODY_BYTES = 1_048_576;

/** Deeper JSON is not read: no client sends it, and servers differ in what they take. */
const MAX_DEPTH = 64;

/** What is wrong with a body. */
export function unreadable(why: string): Unreadable {
  return { reason: "body-unreadable", why };
}

/** True for what {@linkcode unreadable} and its like made. */
export function isUnreadable(value: unknown): value is Unreadable {
  return typeof value === "object" && value !== null && "reason" in value && "why" in value;
}

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** True for an object that is no list. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** The text of a body; a byte order mark at its beginning is dropped, as servers do. */
export function textOf(bytes: Uint8Array): string | Unreadable {
  try {
    return UTF8.decode(bytes);
  } catch {
    return unreadable("its body is not UTF-8");
  }
}

/** The value of a JSON text (RFC 8259), or why it has not exactly one. */
export function parseJson(text: string): { readonly value: unknown } | Unreadable {
  let value: unknown;
  try {
    value = JSON.parse(text); // linear, and it does not recur
  } catch {
    return unreadable("its body is no JSON");
  }
  const problem = findAmbiguity(text);
  return problem === undefined ? { value } : unreadable(problem);
}

/** Why a text that is JSON has more than one reading: servers take the first or the last of two members of one name. */
function findAmbiguity(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  let name = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '"') {
      const end = endOfString(text, at);
      name = text.slice(at, end);
      at = end - 1;
    } else if (char === "{" || char === "[") {
      if (open.push(char === "{" ? new Set() : undefined) > MAX_DEPTH) return "its JSON is nested too deeply";
    } else if (char === "}" || char === "]") open.pop();
    else if (char === ":") {
      // Mostly without escapes, and then it is what stands there.
      const read = name.includes("\\") ? String(JSON.parse(name)) : name.slice(1, -1);
      const problem = problemOfName(read, open.at(-1));
      if (problem !== undefined) return problem;
    }
  }
  return undefined;
}

/** One behind the quote that ends a string, in a text that is JSON. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

function problemOfName(name: string, seen: Set<string> | undefined): string | undefined {
  if (seen?.has(name)) return "its JSON has a member twice";
  seen?.add(name);
  // Readers in C end a name at NUL.
  // deno-lint-ignore no-control-regex
  return /[\x00-\x1f]/.test(name) ? "its JSON has control characters in the name of a member" : undefined;
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
