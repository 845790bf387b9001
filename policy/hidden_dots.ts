/**
 * Dot segments that only some servers see: those that trim segments, drop what is invisible, cut a decoded path at `?` or
 * `#`, or fold Unicode (NFKC), each before they resolve `.` and `..`. `/v1/..%20/admin` is then `/admin`.
 *
 * Everything here goes character by character, so that its cost is the length of the path.
 *
 * @module
 */

/** Without any of these a decoded path is what it looks like. */
const ODD = /[^\x21-\x7e]|[#?;]/;

/** What is dropped: controls, blanks, invisible characters, and what stands for bytes that are no UTF-8. */
const DROPPED = /[\p{Cc}\p{Cf}\p{Z}\p{Default_Ignorable_Code_Point}\uFFFD]/gu;

/** What NFKC makes to dots, separators, or what ends a path; they compose with nothing, so that no other character counts. */
const FOLDED =
  /[\u2024-\u2026\ufe14\ufe16\ufe19\ufe30\ufe52\uff0e\uff0f\uff3c\ufe68\uff1f\ufe56\u2047\u2048\uff03\ufe5f\uff1b\ufe54\u037e]/g;

/** `..` before what ends a path or a segment: a query, a fragment, a parameter. */
const CUT = /(?:^|[/\\])\.\.[?#;]/;

/** True when text holds a character that servers may drop, fold or cut at. */
export function isOdd(text: string): boolean {
  return ODD.test(text);
}

/**
 * True when a path (escapes decoded, a byte as a character) has a segment that is not written as dots, but is dots to a
 * server that drops, folds or cuts; or one that vanishes, where dot segments would then go up by another segment.
 */
export function hidesDotSegments(decoded: string): boolean {
  if (!isOdd(decoded)) return false;
  const plain = countSegments(decoded);
  // What is a blank in Latin-1 alone, as U+00A0 is, is no UTF-8, and so dropped too.
  const folded = fold(decodeUtf8(decoded));
  if (CUT.test(folded)) return true;
  const seen = countSegments(folded.replace(/[?#]/g, ""));
  return seen.dots > plain.dots || (seen.dots > 0 && seen.empty > plain.empty);
}

function fold(text: string): string {
  return text.replace(FOLDED, (char) => char.normalize("NFKC")).replace(DROPPED, "");
}

const UTF8 = new TextDecoder();

function decodeUtf8(decoded: string): string {
  return decoded.replace(
    /[\x80-\xff]+/g,
    (run) => UTF8.decode(Uint8Array.from(run, (char) => char.charCodeAt(0))),
  );
}

function countSegments(path: string): { dots: number; empty: number } {
  let dots = 0;
  let empty = 0;
  for (const segment of path.split(/[/\\]/)) {
    if (segment === "") empty++;
    else if (/^\.+$/.test(segment)) dots++;
  }
  return { dots, empty };
}
