/**
 * What a body says it is.
 *
 * @module
 */

/** The media type, undefined unless there is one, in UTF-8. */
export function mediaTypeOf(types: readonly string[]): string | undefined {
  const [value = "", ...more] = types;
  const [type = "", ...parameters] = value.split(";", 8).map((part) => part.trim().toLowerCase());
  const isPlain = parameters.every((each) => !each.startsWith("charset") || /^charset="?utf-8"?$/.test(each));
  return more.length === 0 && isPlain && parameters.length < 7 ? type : undefined;
}
