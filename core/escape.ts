/**
 * Making text from outside safe for the place where it is shown: a log line, a shell command, a terminal.
 *
 * @module
 */

/** What can move a cursor, end a line, reorder or hide text: controls, format characters, separators, lone surrogates. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * A `key=value` value for the text audit log. What could end the value or the line, or drive a terminal, is
 * percent-encoded: control bytes, space, `"`, DEL, and everything beyond ASCII (as UTF-8). Empty is `-`.
 */
export function escapeLogValue(text: string): string {
  if (text === "") return "-";
  if (IS_PLAIN.test(text)) return text;
  let out = "";
  for (const byte of new TextEncoder().encode(text)) out += LOG_BYTES[byte];
  return out;
}

const IS_PLAIN = /^[\x21\x23-\x7e]*$/;

/** What each byte of UTF-8 becomes. */
const LOG_BYTES: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte);
  return IS_PLAIN.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
});

/**
 * One word for a POSIX shell, quoted when it needs to be. Control and format characters are dropped: they cannot be
 * typed, so callers that need them must encode them first.
 */
export function quoteShell(text: string): string {
  const clean = text.replace(UNSAFE, "");
  // A leading `=` is kept from zsh, which replaces `=ls` by the path of ls.
  return /^[A-Za-z0-9_./:@%+,-][A-Za-z0-9_./:@%+=,-]*$/.test(clean)
    ? clean
    : `'${clean.replaceAll("'", `'\\''`)}'`;
}

/** Text for a terminal or an error message: what a terminal would act on or hide is shown as `\u{…}`. */
export function escapeTerminal(text: string): string {
  return text.replace(UNSAFE, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`);
}

/** What someone gave us, for a message: in double quotes, cut to `maxLength` characters, safe for a terminal. */
export function quoteText(text: string, maxLength: number): string {
  return escapeTerminal(JSON.stringify(text.slice(0, maxLength)));
}
