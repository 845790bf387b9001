/**
 * The query of a URL as AWS's signatures see it: parameters with decoded names and values, beside the text that was sent.
 *
 * @module
 */

/** One parameter. */
export interface QueryPair {
  /** As sent. */
  readonly raw: string;
  readonly name: string;
  readonly value: string;
}

/** Many times what any operation sends in a URL. Values of one name cost the signer time quadratic in their number. */
const MAX_PAIRS = 300;

/** The parameters in order; empty ones count, and are left out, as servers do. A `+` is a space, as AWS reads it. */
export function readQuery(query: string): QueryPair[] | { readonly why: string } {
  const pairs: QueryPair[] = [];
  if (query === "") return pairs;
  const parts = query.split("&", MAX_PAIRS + 1);
  if (parts.length > MAX_PAIRS) return { why: `its query has more than ${MAX_PAIRS} parameters` };
  for (const raw of parts) {
    if (raw === "") continue;
    const equals = raw.indexOf("=");
    const name = decode(equals < 0 ? raw : raw.slice(0, equals));
    const value = decode(equals < 0 ? "" : raw.slice(equals + 1));
    if (name === undefined || value === undefined) {
      return { why: "its query is not percent-encoded UTF-8, so that no signature of it is certain" };
    }
    pairs.push({ raw, name, value });
  }
  return pairs;
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}
