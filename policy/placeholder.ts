/**
 * Placeholders: what a VM is given where a tool wants a credential. A tool that finds one starts, the proxy puts the real
 * credential in its place. All have one mark, so that one which nothing replaced is seen before it reaches an upstream.
 *
 * Not here: which tool wants which variable (`slicer-proxy env`), and where requests are searched (`proxy/`).
 *
 * @module
 */

/**
 * What every placeholder holds, in lower or in upper case. Letters alone, so that it fits into any token's alphabet, base64url
 * among them, and 16 of them, as an AWS access key id has behind `AKIA`.
 */
export const PLACEHOLDER_MARK = "slicerproxydummy";
const UPPER_MARK = PLACEHOLDER_MARK.toUpperCase();

/** What stands in a path where a secret of the type `path` goes, as in `/bot{}/sendMessage`; `%7B%7D` is the same. */
export const SEGMENT_PLACEHOLDER = "{}";

/**
 * A placeholder of a credential's shape: `makePlaceholder("ghp_", 40)`. It is in upper case when its prefix is
 * (`makePlaceholder("AKIA", 20)`), and longer than asked for where mark and prefix need the room.
 *
 * @param length characters in all; zeros fill up what the mark leaves
 */
export function makePlaceholder(prefix: string, length = prefix.length): string {
  const isUpper = /^[A-Z]+$/.test(prefix);
  return (prefix + (isUpper ? UPPER_MARK : PLACEHOLDER_MARK)).padEnd(length, "0");
}

/** True when a text holds a placeholder, in clear or as HTTP Basic credentials. Linear in the text. */
export function hasPlaceholder(text: string): boolean {
  return hasMark(text) || hasMark(decodeBasic(text));
}

function hasMark(text: string): boolean {
  return text.includes(PLACEHOLDER_MARK) || text.includes(UPPER_MARK);
}

/** What stands in `Basic <base64>` (RFC 7617 §2), one character a byte; empty for anything else. */
function decodeBasic(text: string): string {
  if (!/^basic /i.test(text)) return "";
  try {
    return atob(text.slice("basic ".length).trim());
  } catch {
    return ""; // not base64: no server reads it either
  }
}

/** True when a rule with these paths says where a secret of the type goes: only one of the type `path` goes into them. */
export function hasPlaceFor(type: string, paths: readonly string[]): boolean {
  return type !== "path" || (paths.length > 0 && paths.every(hasSegmentPlace));
}

/** True for a path, or a pattern of paths, in which `{}` stands exactly once. */
export function hasSegmentPlace(path: string): boolean {
  return path.replace(/%7B%7D/gi, SEGMENT_PLACEHOLDER).split(SEGMENT_PLACEHOLDER, 3).length === 2;
}
