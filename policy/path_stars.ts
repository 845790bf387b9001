/**
 * Patterns with a star inside: `*` is one segment, `**` any number of them, none included. Both stand for segments that are
 * not empty, and only for whole ones.
 *
 * A pattern has at most one `**`, and then no final star: what stands before it is compared from the front, what stands
 * behind it from the back, so that no pattern costs more than the path is long.
 *
 * Not here: patterns without a star inside, and the readings of a path (`path.ts`).
 *
 * @module
 */

// One segment: /repos/acme/*/pulls. Any depth: /acme/**/info/refs. A final star is everything below, as it is without
// stars inside: /repos/*/pulls/*.

/** The most segments with a star that a pattern may have. */
const MAX_STARS = 16;

/** True when a pattern has a star before its end. */
export function hasInnerStar(pattern: string): boolean {
  const star = pattern.indexOf("*");
  return star >= 0 && star < pattern.length - 1;
}

/** Why a pattern with a star inside is none, as a clause, or undefined when it is one. */
export function problemOfStars(pattern: string): string | undefined {
  const segments = pattern.split("/");
  const inner = segments.slice(1, -1);
  const last = segments.at(-1) ?? "";
  if (last === "**") return "for everything below write /*";
  const isPrefix = last === "*" || /%2f\*$/i.test(last);
  const isWhole = (segment: string) => segment === "*" || segment === "**" || !segment.includes("*");
  if (!inner.every(isWhole) || (last.includes("*") && !isPrefix)) {
    return "a star stands for whole segments: /repos/*/pulls";
  }
  const deep = inner.filter((segment) => segment === "**").length;
  if (deep > 1) return "write ** once";
  if (deep === 1 && isPrefix) return "write either ** or a star at the end";
  if (segments.filter((segment) => segment.includes("*")).length > MAX_STARS) {
    return `write at most ${MAX_STARS} stars`;
  }
  return undefined;
}

/** Covers paths by patterns with a star inside: see the module. Escapes are in the same case in both. */
export function coversWithStars(pattern: string, path: string): boolean {
  const wanted = pattern.split("/");
  const deep = wanted.indexOf("**");
  if (deep !== -1) return coversDeep(wanted, deep, path);
  const last = wanted.at(-1) ?? "";
  const segments = path.split("/", wanted.length + 1);
  if (!last.endsWith("*")) {
    return segments.length === wanted.length && wanted.every((want, i) => covers(want, segments[i]));
  }
  return segments.length >= wanted.length &&
    (segments[wanted.length - 1] ?? "").startsWith(last.slice(0, -1)) &&
    wanted.slice(0, -1).every((want, i) => covers(want, segments[i]));
}

/** As many as stand before `**` from the front, the others from the back; what is between has to be no empty segment. */
function coversDeep(wanted: readonly string[], deep: number, path: string): boolean {
  const segments = path.split("/");
  const behind = wanted.length - deep - 1;
  const end = segments.length - behind;
  if (end < deep) return false;
  return segments.every((segment, i) =>
    i < deep
      ? covers(wanted[i], segment)
      : i < end
      ? segment !== ""
      : covers(wanted[deep + 1 + i - end], segment)
  );
}

function covers(want: string | undefined, segment: string | undefined): boolean {
  return want === "*" ? segment !== undefined && segment !== "" : want === segment;
}
