/**
 * The command line, read strictly: `@std/cli/parse-args` under a layer that refuses whatever it would guess at. That
 * parser accepts unknown flags, turns `1` into a number, reads `--flag -` as empty and lets a switch swallow a following
 * `true`; so every token is checked and rewritten to the one form that it reads literally (`--flag=value`).
 *
 * Messages name flags and never show values: a value may be a secret, in the wrong place.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { ProxyError } from "../../core/errors.ts";
import { CommandArgs, type CommandSpec, type FlagSpec, PROGRAM } from "./command.ts";
import { usageLine } from "./help.ts";
import { nearest } from "../../core/nearest.ts";

/** Every command understands it; the caller looks for it before the strict reading. */
export const HELP_FLAG: FlagSpec = { name: "help", short: "h", description: "show this help" };

/** A command line that cannot be understood (exit code 2). */
export function usageError(message: string, hint?: string): ProxyError {
  return new ProxyError("cli.usage", message, hint === undefined ? {} : { hint });
}

/** True when `--help` or `-h` stands among the flags of `tokens`, not as another flag's value. */
export function asksForHelp(spec: CommandSpec, tokens: readonly string[]): boolean {
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] ?? "";
    if (token === "--") return false;
    if (token === "--help" || token === "-h") return true;
    const flag = findFlag(spec, token);
    const next = tokens[i + 1];
    if (flag?.placeholder !== undefined && next !== undefined && !isFlagToken(spec, next)) i++;
  }
  return false;
}

/**
 * The values in `tokens` for the command `spec`.
 *
 * @throws ProxyError `cli.usage` for an unknown or repeated flag, a missing, empty or unwanted value, a value that is
 * none of the flag's choices, a missing required flag, and too few or too many arguments
 */
export function parseCommandLine(spec: CommandSpec, tokens: readonly string[]): CommandArgs {
  const { flagTokens, positional } = normalise(spec, tokens);
  const flags = spec.flags ?? [];
  const parsed = parseArgs([...flagTokens, "--", ...positional], {
    string: flags.filter((flag) => flag.placeholder !== undefined).map(keyOf),
    boolean: flags.filter((flag) => flag.placeholder === undefined).map(keyOf),
    collect: flags.filter((flag) => flag.placeholder !== undefined).map(keyOf),
    "--": true,
  });
  const values = new Map<string, readonly string[]>();
  for (const flag of flags) {
    const value = parsed[keyOf(flag)];
    if (value === true) values.set(flag.name, [""]);
    if (Array.isArray(value) && value.length > 0) {
      values.set(flag.name, checkValues(spec, flag, value.map(String)));
    }
    if (flag.isRequired && !values.has(flag.name)) {
      throw usageError(`Cannot run "${spec.name}": --${flag.name} is missing`, `usage: ${usageLine(spec)}`);
    }
  }
  return new CommandArgs(spec, { positional: namePositional(spec, positional), flags: values });
}

/** What the parser below is told: it would take the value of `--no-x=VALUE` for that of `--x`. */
function keyOf({ name }: FlagSpec): string {
  return name.replace(/^no-/, "without-");
}

function normalise(
  spec: CommandSpec,
  tokens: readonly string[],
): { flagTokens: readonly string[]; positional: readonly string[] } {
  const flagTokens: string[] = [];
  const positional: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] ?? "";
    if (token === "--") {
      positional.push(...tokens.slice(i + 1));
      break;
    }
    if (token === "-" || !token.startsWith("-")) {
      positional.push(token);
      continue;
    }
    const flag = findFlag(spec, token) ?? refuseUnknown(spec, token);
    const equals = token.indexOf("=");
    if (flag.placeholder === undefined) {
      if (equals >= 0) {
        throw usageError(
          `Cannot use --${flag.name} with a value: it is a switch`,
          `write --${flag.name} or leave it out`,
        );
      }
      flagTokens.push(`--${keyOf(flag)}`);
      continue;
    }
    let value = equals >= 0 ? token.slice(equals + 1) : undefined;
    if (value === undefined) {
      value = tokens[i + 1];
      if (value === undefined || isFlagToken(spec, value)) {
        throw usageError(
          `Cannot use --${flag.name}: it needs a value`,
          `write --${flag.name} ${flag.placeholder}; a value that begins with -- is written --${flag.name}=VALUE`,
        );
      }
      i++;
    }
    flagTokens.push(`--${keyOf(flag)}=${value}`);
  }
  return { flagTokens, positional };
}

/** True for a token that can only be meant as a flag: `--…`, or a short flag of this command. */
function isFlagToken(spec: CommandSpec, token: string): boolean {
  return token.startsWith("--") || token === "-h" ||
    (/^-[A-Za-z]$/.test(token) && findFlag(spec, token) !== undefined);
}

function findFlag(spec: CommandSpec, token: string): FlagSpec | undefined {
  const name = (token.split("=", 1)[0] ?? "").replace(/^-/, "");
  return (spec.flags ?? []).find((flag) => name === `-${flag.name}` || name === flag.short);
}

function refuseUnknown(spec: CommandSpec, token: string): never {
  const typed = token.split("=", 1)[0] ?? "";
  const names = [...(spec.flags ?? []), HELP_FLAG].map((flag) => flag.name);
  const meant = nearest(typed.replace(/^-+/, ""), names);
  throw usageError(
    `Cannot use ${typed.slice(0, 60)}: "${spec.name}" has no such flag`,
    meant === undefined
      ? `${PROGRAM} ${spec.name} --help lists its flags; after -- nothing is read as a flag`
      : `did you mean --${meant}?`,
  );
}

function checkValues(spec: CommandSpec, flag: FlagSpec, given: readonly string[]): readonly string[] {
  if (given.length > 1 && !flag.isRepeatable) {
    throw usageError(
      `Cannot use --${flag.name} ${given.length} times: it takes one value`,
      `usage: ${usageLine(spec)}`,
    );
  }
  const { split } = flag;
  const values = split === undefined ? given : given.flatMap((value) => split(value));
  for (const value of values) {
    if (value === "") {
      throw usageError(
        `Cannot use --${flag.name} with an empty value: that must not come to mean "any"`,
        "is a variable unset? leave the flag out when there is no value",
      );
    }
    if (flag.choices !== undefined && !flag.choices.includes(value)) {
      const meant = nearest(value, flag.choices);
      throw usageError(
        `Cannot use --${flag.name} with this value: it takes ${flag.choices.join(", ")}`,
        meant === undefined ? undefined : `did you mean ${meant}?`,
      );
    }
  }
  return values;
}

function namePositional(spec: CommandSpec, given: readonly string[]): ReadonlyMap<string, string> {
  const wanted = spec.arguments ?? [];
  const missing = wanted[given.length];
  if (missing !== undefined && !missing.isOptional) {
    throw usageError(`Cannot run "${spec.name}": ${missing.name} is missing`, `usage: ${usageLine(spec)}`);
  }
  if (given.length > wanted.length) {
    throw usageError(
      `Cannot run "${spec.name}": it takes ${countOf(wanted.length)}, and got ${given.length}`,
      `usage: ${usageLine(spec)}`,
    );
  }
  return new Map(
    wanted.slice(0, given.length).map((argument, i) => {
      const value = given[i] ?? "";
      if (value === "") {
        throw usageError(`Cannot run "${spec.name}": ${argument.name} is empty`, "is a variable unset?");
      }
      if (argument.choices && !argument.choices.includes(value)) {
        const meant = nearest(value, argument.choices);
        throw usageError(
          `Cannot run "${spec.name}" with this ${argument.name}: it is one of ${argument.choices.join(", ")}`,
          meant === undefined ? `usage: ${usageLine(spec)}` : `did you mean ${meant}?`,
        );
      }
      return [argument.name, value];
    }),
  );
}

function countOf(count: number): string {
  return count === 0 ? "no arguments" : count === 1 ? "one argument" : `${count} arguments`;
}
