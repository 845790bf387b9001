/**
 * A rule as the command that adds it, and what of a request may stand in such a command.
 *
 * Not here: which rule is worth a command (`explain.ts`, `suggest.ts`).
 *
 * @module
 */
import type { RuleSpec } from "./rule.ts";
import { flagOf, WORD_ROWS, wordTexts, type WordValue } from "./rule_words.ts";

/** The words of the `allow` or `deny` command for a rule of `client`; `quoteShell` makes them a line. */
export function allowArguments(client: string, spec: RuleSpec): string[] {
  return [
    "slicer-proxy",
    spec.deny ? "deny" : "allow",
    client,
    ...["--host", spec.host],
    ...spec.ports.flatMap((port) => ["--port", String(port)]),
    ...spec.methods.flatMap((method) => ["--method", method]),
    ...spec.paths.flatMap((path) => ["--path", path]),
    ...(spec.secret === undefined ? [] : ["--secret", spec.secret]),
    ...(spec.passthrough ? ["--passthrough"] : []),
    ...WORD_ROWS.flatMap(({ field, name }) => field === "deny" ? [] : flagWords(name, spec[field])),
  ];
}

function flagWords(name: string, value: WordValue | undefined): readonly string[] {
  if (value === undefined) return [];
  if (value === true) return [flagOf(name)];
  return wordTexts(value).flatMap((text) => [flagOf(name), text]);
}

/** True when a request, put into an `allow` command as it is, means itself there and nothing more. */
export function canBeTyped(
  { host, method, path }: {
    readonly host: string;
    readonly method?: string | undefined;
    readonly path?: string | undefined;
  },
): boolean {
  // `*` would be a pattern, and the command line splits its values at commas.
  if (host.includes("*") || (path !== undefined && /[*,]/.test(path))) return false;
  // A method is any token (RFC 9110 §9.1), also `--passthrough` and `$(x)`; real ones are words.
  return method === undefined || /^[A-Za-z][A-Za-z0-9_-]*$/.test(method);
}
