/**
 * What a client wants to read: the negotiation of our own answers (RFC 9110 §12.5.1), at a cost that it cannot raise.
 *
 * @module
 */
import { type HeaderField, valuesOf } from "./fields.ts";

/** Characters and ranges of an `Accept` that is read; browsers send 140 and 8. A longer one counts as none. */
const MAX_CHARS = 2_048;
const MAX_RANGES = 32;
const MAX_PARAMETERS = 8;

/** True when JSON is named with at least the weight of text. */
export function prefersJson(fields: readonly HeaderField[]): boolean {
  const values = valuesOf(fields, "accept");
  if (values.reduce((sum, { length }) => sum + length, 0) > MAX_CHARS) return false;
  const ranges = values.join(",").split(",", MAX_RANGES + 1);
  if (ranges.length > MAX_RANGES) return false;
  let json = 0;
  let text = 0;
  for (const range of ranges) {
    const [type = "", ...parameters] = range.toLowerCase().split(";", 1 + MAX_PARAMETERS).map((part) =>
      part.trim()
    );
    const weight = Number(parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? 1);
    if (/^application\/(?:[a-z.-]+\+)?json$/.test(type)) json = Math.max(json, weight);
    else if (type.startsWith("text/")) text = Math.max(text, weight);
  }
  return json > 0 && json >= text;
}
