/**
 * Paths of requests and of rules: matching one pattern, and finding every way in which a server may read a path.
 *
 * RFC 3986 says how a path is normalised; servers, frameworks and the gateways in front of them each do a part of it,
 * in their own order. A path that means `/v1/models` to us and `/admin` to the server would pass a rule that was never
 * meant for it. So a path is not repaired here: all its readings are computed, and `decide.ts` wants each of them to be
 * allowed, with the same effect.
 *
 * A path here is the request target without its query, as sent: `/…`, or `*` for `OPTIONS *`.
 *
 * Not here: which rule wins (`decide.ts`), and which patterns a rule may have (`rule.ts`).
 *
 * @module
 */
import { hidesDotSegments, isOdd } from "./hidden_dots.ts";
import { coversWithStars, hasInnerStar } from "./path_stars.ts";
import { SEGMENT_PLACEHOLDER } from "./placeholder.ts";

/** One way to read a path, applied to a request's path and to a rule's pattern alike. */
interface Reading {
  /** What else than `/` separates: `%2f` (whoever decodes first: Go, Java), `\` (IIS, WHATWG URL), `%5c` (IIS). */
  readonly separators: readonly string[];
  /** `;…` belongs to no segment (Tomcat, Jetty, Spring) or is a part of it. */
  readonly stripsParameters: boolean;
  /** `//` is one separator, merged before (nginx) or after the dot segments go, or an empty segment (RFC 3986). */
  readonly mergesSlashes: typeof MERGES[number];
}

const MERGES = ["before", "after", "never"] as const;

const SEPARATORS = ["%2F", "\\", "%5C"] as const;

/** Without any of these a path has one reading: an escape, a backslash, a parameter, an empty or a dot segment. */
const UNUSUAL = /[%\\;]|\/\/|\/\.{1,2}(?:\/|$)/;

/** The longest unusual path that is read in every way; more would let a client buy our time with long paths. */
const MAX_UNUSUAL_LENGTH = 4_096;

/** A path as one kind of server reads it. */
export interface PathReading {
  /** What that server takes the path for. */
  readonly path: string;
  /** True when the pattern, read in the same way, covers the path. */
  readonly matches: (pattern: string) => boolean;
}

/** npm writes `@scope/name` as one segment, `@scope%2Fname`, where it asks for a package's document. */
const ENCODED_SCOPE = /(\/@[^/%]+)%2F/g;

/**
 * True when `pattern` covers `path`, both taken literally but for the case of escapes (RFC 3986 §6.2.2.1): `*` covers
 * everything, `<prefix>/*` what lies strictly below the prefix (`/v1/*` covers `/v1/` and `/v1/a`, not `/v1`), so does
 * `<prefix>%2F*`, a star inside is for segments (`path_stars.ts`), anything else covers only itself. Behind a segment `@scope` a pattern's slash covers `%2F` too, not the other
 * way round: to a server that decodes it or not, `/@scope%2Fname` is a package of that scope. Never throws.
 */
export function matchPath(pattern: string, path: string): boolean {
  return matcherFor(path)(pattern);
}

/** {@linkcode matchPath} for one path and many patterns. */
export function matcherFor(path: string): (pattern: string) => boolean {
  if (!path.includes("%")) return (pattern) => covers(upperEscapes(pattern), path); // as most are, and quicker
  // Patterns are shorter than that: no client buys our time with long paths.
  const upper = upperEscapes(path.slice(0, MAX_UNUSUAL_LENGTH)) + path.slice(MAX_UNUSUAL_LENGTH);
  const split = upper.length > MAX_UNUSUAL_LENGTH ? upper : splitScopes(upper);
  return (pattern) => {
    const canonical = upperEscapes(pattern);
    return covers(canonical, upper) || (split !== upper && covers(canonical, split));
  };
}

/**
 * The path with its escapes in upper case: as rules and suggestions write it. `%7B%7D` becomes `{}`, where a credential goes
 * (`placeholder.ts`): half of all clients encode it, the other half does not.
 */
export function upperEscapes(path: string): string {
  if (!path.includes("%")) return path;
  const upper = path.replace(/%[0-9a-f]{2}/gi, (escape) => escape.toUpperCase());
  return upper.replaceAll("%7B%7D", SEGMENT_PLACEHOLDER);
}

/** `/@scope%2Fname` as `/@scope/name`. Escapes are in upper case. */
export function splitScopes(path: string): string {
  return path.replace(ENCODED_SCOPE, "$1/");
}

/** The part of a pattern before its star, or undefined for an exact one. */
export function prefixOf(pattern: string): string | undefined {
  return /(?:\/|%2f)\*$/i.test(pattern) ? pattern.slice(0, -1) : undefined;
}

function covers(pattern: string, path: string): boolean {
  if (pattern === "*") return true;
  if (hasInnerStar(pattern)) return coversWithStars(pattern, path);
  const prefix = prefixOf(pattern);
  return prefix === undefined ? pattern === path : path.startsWith(prefix);
}

/** The path as it was sent. */
export function readLiterally(path: string): PathReading {
  return { path, matches: matcherFor(path) };
}

/**
 * The different readings of a path, the path as sent first. Patterns are read like the path, so that a rule for
 * `/projects/group%2Fname` means that project to every kind of server.
 */
export function readingsOf(path: string): readonly PathReading[] {
  const readings = [readLiterally(path)];
  if (!UNUSUAL.test(path)) return readings;
  const seen = new Set([path]);
  const decoded = decodePlain(path);
  for (const reading of readingsFor(decoded)) {
    const text = readDecoded(decoded, reading);
    if (seen.has(text)) continue;
    seen.add(text);
    const matches = matcherFor(text);
    readings.push({ path: text, matches: (pattern) => matches(readPattern(pattern, reading)) });
  }
  return readings;
}

/**
 * The path as a lenient server reads it: `%2e`, `%2f`, `%5c` and unreserved characters decoded, `\` as `/`, `//` merged,
 * dot segments removed (RFC 3986 §5.2.4), the remaining escapes in upper case (§6.2.2.1).
 */
export function normalisePath(path: string): string {
  if (!UNUSUAL.test(path)) return path; // as most are, and quicker
  return readDecoded(decodePlain(path), {
    separators: SEPARATORS,
    stripsParameters: false,
    mergesSlashes: "before",
  });
}

/** True when some reading of the path removes a `.` or `..` segment. */
export function hasDotSegments(path: string): boolean {
  return /(?:^|[/\\])\.{1,2}(?:[/\\;]|$)/.test(decodeOnce(path));
}

/**
 * True when a server that decodes once too often, or sloppily, reads something else than what is written: double
 * encoding (`%252e`, `%%32e`), `%u002e`, overlong UTF-8 (`%c0%ae`), NUL, and hidden dot segments (`..;`, `..%20`).
 * An unusual path of more than 4,096 characters is suspect too.
 */
export function isSuspectPath(path: string): boolean {
  if (isTooLong(path)) return true;
  const decoded = decodeOnce(path);
  if (/%[0-9a-f]{2}|%u[0-9a-f]{4}/i.test(decoded)) return true;
  // deno-lint-ignore no-control-regex
  if (/\x00|[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]/.test(decoded)) return true;
  return hidesDotSegments(decoded);
}

/** True for a path of so many characters that it is not read in every way. */
export function isTooLong(path: string): boolean {
  return path.length > MAX_UNUSUAL_LENGTH && (UNUSUAL.test(path) || isOdd(path));
}

function decodeOnce(path: string): string {
  return path.replace(/%([0-9a-f]{2})/gi, (_escape, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

/** Every combination of what is found in the path: a server that takes `\` for `/` need not decode `%2f`. */
function readingsFor(decoded: string): Reading[] {
  let separatorSets: string[][] = [[]];
  for (const separator of SEPARATORS.filter((each) => decoded.includes(each))) {
    separatorSets = separatorSets.flatMap((set) => [set, [...set, separator]]);
  }
  const parameters = [...new Set([false, /;|%3B/.test(decoded)])];
  return separatorSets.flatMap((separators) =>
    parameters.flatMap((stripsParameters) =>
      MERGES.map((mergesSlashes) => ({ separators, stripsParameters, mergesSlashes }))
    )
  );
}

function readPattern(pattern: string, reading: Reading): string {
  const prefix = prefixOf(pattern);
  return readDecoded(decodePlain(prefix ?? pattern), reading) + (prefix === undefined ? "" : "*");
}

/** What every server does: unreserved characters decoded (RFC 3986 §6.2.2.2), other escapes in upper case (§6.2.2.1). */
function decodePlain(path: string): string {
  return path.replace(/%[0-9a-f]{2}/gi, (escape) => {
    const char = String.fromCharCode(parseInt(escape.slice(1), 16));
    return /[A-Za-z0-9._~-]/.test(char) ? char : escape.toUpperCase();
  });
}

function readDecoded(decoded: string, reading: Reading): string {
  if (!decoded.startsWith("/")) return decoded;
  let text = decoded;
  for (const separator of reading.separators) text = text.replaceAll(separator, "/");
  if (reading.stripsParameters) text = text.replace(/(?:;|%3B)[^/]*/g, "");
  if (reading.mergesSlashes === "before") text = mergeSlashes(text);
  text = removeDotSegments(text);
  return reading.mergesSlashes === "after" ? mergeSlashes(text) : text;
}

function mergeSlashes(path: string): string {
  return path.replace(/\/{2,}/g, "/");
}

/** RFC 3986 §5.2.4 for a path that starts with a slash. */
function removeDotSegments(path: string): string {
  if (!/\/\.{1,2}(?:\/|$)/.test(path)) return path; // as most are, and quicker
  const kept: string[] = [];
  const segments = path.split("/").slice(1);
  for (const [i, segment] of segments.entries()) {
    const isDots = segment === "." || segment === "..";
    if (segment === "..") kept.pop();
    if (!isDots) kept.push(segment);
    else if (i === segments.length - 1) kept.push("");
  }
  return "/" + kept.join("/");
}
