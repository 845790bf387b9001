/**
 * Values that are secret, from a flag, a file, standard input or the keyboard.
 *
 * Not here: what a value must look like (the API decides that).
 *
 * @module
 */
import { resolve } from "node:path";
import { ProxyError } from "../../core/errors.ts";
import { expandHome } from "../api/url.ts";
import type { CommandArgs } from "../command/command.ts";
import { readFileBytes, readInputBytes } from "../terminal/input_bytes.ts";
import type { Io } from "../terminal/io.ts";
import { usageError } from "../command/parse.ts";
import { promptSecret } from "../terminal/prompt.ts";

/** A little over what the proxy stores (48 KiB), so that its own message is the one that people see. */
const MAX_FILE_BYTES = 65_536;

/** Which flags a command takes its secret from. */
export interface SecretFlags {
  /** In words: "secret value", "token". */
  readonly what: string;
  /** The value itself, on the command line. */
  readonly value: string;
  /** Files; `-` is standard input. */
  readonly files: readonly string[];
}

/** A secret, and the absolute path of the file it came from. */
export interface SecretText {
  readonly text: string;
  readonly flag?: string;
  readonly path?: string;
}

/**
 * The secret that the command line names, without trailing whitespace, or undefined when it names none.
 *
 * @throws ProxyError `cli.usage` when it is named twice, `input.invalid` for a file that cannot be read, is not UTF-8
 * text, is empty or above 64 KiB. Messages name the file and never show the value
 */
export async function readSecret(
  args: CommandArgs,
  io: Io,
  flags: SecretFlags,
): Promise<SecretText | undefined> {
  const given = [flags.value, ...flags.files].filter((flag) => args.has(flag));
  if (given.length > 1) {
    throw usageError(
      `Cannot use ${given.map((flag) => `--${flag}`).join(" and ")} together: give the ${flags.what} once`,
    );
  }
  const flag = given[0];
  if (flag === undefined) return undefined;
  const source = args.textOf(flag);
  if (source === "-") {
    return {
      flag,
      text: tidy(
        await readInputBytes(io.input, "standard input", MAX_FILE_BYTES),
        flags.what,
        "standard input",
      ),
    };
  }
  if (flag === flags.value) {
    io.output.warn(
      `the ${flags.what} on the command line is visible in the process list and in the shell's history: ` +
        `prefer --${flags.files[0]}`,
    );
    return { flag, text: tidy(new TextEncoder().encode(source), flags.what, `--${flag}`) };
  }
  const path = resolve(expandHome(source, io.env("HOME")));
  return { flag, path, text: tidy(await readFileBytes(path, MAX_FILE_BYTES), flags.what, path) };
}

/**
 * The secret that the command line names; without one, a terminal is asked.
 *
 * @throws ProxyError as {@linkcode readSecret}, and `cli.usage` when there is no terminal to ask
 */
export async function requireSecret(args: CommandArgs, io: Io, flags: SecretFlags): Promise<SecretText> {
  const given = await readSecret(args, io, flags);
  if (given) return given;
  if (!io.input.isTerminal()) {
    throw usageError(
      `Cannot run "${args.spec.name}": the ${flags.what} is missing`,
      `write --${flags.files[0]} FILE, or --${flags.files[0]} - to read standard input`,
    );
  }
  const typed = await promptSecret(flags.what, io);
  return { text: tidy(new TextEncoder().encode(typed), flags.what, "the keyboard") };
}

function tidy(bytes: Uint8Array, what: string, from: string): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes).trimEnd();
  } catch (cause) {
    throw new ProxyError("input.invalid", `Cannot use ${from} as the ${what}: it is not UTF-8 text`, {
      cause,
    });
  }
  if (text === "") throw new ProxyError("input.invalid", `Cannot use ${from} as the ${what}: it is empty`);
  return text;
}
