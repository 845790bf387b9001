/**
 * Names of environment variables that a secret is known by in a VM.
 *
 * @module
 */
import { ProxyError } from "./errors.ts";
import { quoteText } from "./escape.ts";

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
/** One credential has a handful of names at most. */
const MAX_NAMES = 16;

/**
 * The names, as they are, each once.
 *
 * @throws ProxyError `input.invalid` for a name that no shell takes, and for too many
 */
export function parseEnvNames(names: readonly string[]): readonly string[] {
  const each = [...new Set(names)];
  for (const name of each) {
    if (!NAME.test(name)) {
      throw new ProxyError(
        "input.invalid",
        `Cannot use ${
          quoteText(name, 60)
        } as a variable's name: it has letters, digits and underscores, no digit first`,
        { hint: "write --env ANTHROPIC_API_KEY" },
      );
    }
  }
  if (each.length > MAX_NAMES) {
    throw new ProxyError(
      "input.invalid",
      `Cannot use ${each.length} variables for a secret: ${MAX_NAMES} at most`,
    );
  }
  return each;
}
