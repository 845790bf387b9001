/**
 * Credentials in the request target: a parameter of the query, a segment of the path. The rest of the target stays byte for
 * byte, and decisions and logs are about what the client sent: what is made here goes upstream and nowhere else.
 *
 * Not here: whether a path may have one (`inject/credential_use.ts`).
 *
 * @module
 */
/**
 * The target with a parameter, and without the client's own of that name. It comes first in the query: behind something of
 * the client's, a server that splits queries in another way could take it for a part of that, and show it.
 *
 * @param parameter not encoded
 */
export function setParameter(target: string, [name, value]: readonly [name: string, value: string]): string {
  const at = target.indexOf("?");
  const path = at < 0 ? target : target.slice(0, at);
  const query = at < 0 ? "" : target.slice(at + 1);
  let rest = "";
  // Old servers split at `;` too (HTML 4.01 appendix B.2.2). Parts and separators take turns.
  const parts = query.split(/([&;])/);
  for (let i = 0; i < parts.length; i += 2) {
    const part = parts[i] ?? "";
    if (!isNamed(part, name)) rest += (rest === "" ? "&" : parts[i - 1] ?? "&") + part;
  }
  return `${path}?${name}=${encodeURIComponent(value)}${rest === "&" ? "" : rest}`;
}

/** The target with `segment` in the place of its first `{}`. The query is not looked at. */
export function fillSegment(target: string, segment: string): string {
  const at = target.indexOf("?");
  const path = at < 0 ? target : target.slice(0, at);
  return path.replace(PLACE, () => segment) + target.slice(path.length);
}

/** `SEGMENT_PLACEHOLDER` of `policy/placeholder.ts`. */
const PLACE = /\{\}|%7B%7D/i;

/** Whether some server takes this part of a query for a parameter of that name: some ignore letter case, PHP spaces before it. */
function isNamed(part: string, name: string): boolean {
  const equals = part.indexOf("=");
  const own = equals < 0 ? part : part.slice(0, equals);
  const decoded = own.replaceAll("+", " ").replace(
    /%([0-9a-f]{2})/gi,
    (_, hex: string) => String.fromCharCode(parseInt(hex, 16)),
  );
  return decoded.trim().toLowerCase() === name.toLowerCase();
}
