/**
 * Names of clients, secrets, host groups and tunnels.
 *
 * @module
 */
import { ProxyError } from "./errors.ts";

const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/**
 * Returns `text` when it is a name: 1 to 64 of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..`, so that a name can
 * stand in a path, a log line, a table and a shell command as it is.
 *
 * @param what what is being named ("client", "secret"), for the message
 * @throws ProxyError `input.invalid`
 */
export function parseName(what: string, text: string): string {
  if (!NAME.test(text) || text === "." || text === "..") {
    throw new ProxyError(
      "input.invalid",
      `Cannot use ${JSON.stringify(text.slice(0, 80))} as a ${what} name: ` +
        "a name has 1 to 64 letters, digits, dots, underscores and hyphens",
    );
  }
  return text;
}
