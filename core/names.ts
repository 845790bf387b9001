/**
 * Names of clients, secrets, host groups and tunnels.
 *
 * @module
 */
import { ProxyError } from "./errors.ts";
import { quoteText } from "./escape.ts";

const NAME = /^[A-Za-z0-9._][A-Za-z0-9._-]{0,63}$/;

/**
 * Returns `text` when it is a name: 1 to 64 of `A-Z a-z 0-9 . _ -`, neither `.` nor `..`, and without a
 * leading hyphen, so that a name can stand in a path, a log line (where `-` means nobody), a table and a command
 * (where `-x` is a flag) as it is.
 *
 * @param what what is being named ("client", "secret"), for the message
 * @throws ProxyError `input.invalid`
 */
export function parseName(what: string, text: string): string {
  if (!isName(text)) {
    throw new ProxyError(
      "input.invalid",
      `Cannot use ${quoteText(text, 80)} as a ${what} name: ` +
        "a name has 1 to 64 letters, digits, dots, underscores and hyphens, and no hyphen first",
    );
  }
  return text;
}

/** True for what {@linkcode parseName} takes. */
export function isName(text: string): boolean {
  return NAME.test(text) && text !== "." && text !== "..";
}
