/**
 * Small readers of text that cost linear time, where a regular expression would try again from every place.
 *
 * @module
 */

/** What stands before the first `mark`; all of it when there is none. */
export function cutAt(text: string, mark: string): string {
  const at = text.indexOf(mark);
  return at < 0 ? text : text.slice(0, at);
}

/** The text without the marks at its end. `mark` is one character. */
export function trimEndOf(text: string, mark: string): string {
  let end = text.length;
  while (end > 0 && text[end - 1] === mark) end--;
  return text.slice(0, end);
}
