/**
 * Making text from outside safe for the place where it is shown: a log line, a shell command, a terminal.
 *
 * @module
 */

/**
 * A `key=value` value for the text audit log. What could end the value or the line, or drive a terminal, is
 * percent-encoded: control bytes, space, `"`, `=` is kept, DEL, and everything beyond ASCII (as UTF-8).
 */
export function escapeLogValue(text: string): string {
  if (/^[\x21\x23-\x7e]+$/.test(text)) return text;
  if (text === "") return "-";
  let out = "";
  for (const char of text) {
    if (/^[\x21\x23-\x7e]$/.test(char)) out += char;
    else {for (const byte of new TextEncoder().encode(char)) {
        out += "%" + byte.toString(16).toUpperCase().padStart(2, "0");
      }}
  }
  return out;
}

/** One word for a POSIX shell, quoted when it needs to be. Control characters are dropped: they cannot be typed. */
export function quoteShell(text: string): string {
  // deno-lint-ignore no-control-regex
  const clean = text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(clean) ? clean : `'${clean.replaceAll("'", `'\\''`)}'`;
}

/** Text for a terminal or an error message: control and bidirectional characters are shown as `\u{…}`. */
export function escapeTerminal(text: string): string {
  return text.replace(
    // deno-lint-ignore no-control-regex
    /[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`,
  );
}
