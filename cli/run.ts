/**
 * argv → command → exit code: 0 done, 1 failed, 2 not understood. The only file that ends the process.
 *
 * Not here: reading flags (`command/parse.ts`) and doing anything (`cmd_*.ts`).
 *
 * @module
 */
import { isProxyError, messageOf } from "../core/errors.ts";
import { type CommandSpec, PROGRAM } from "./command/command.ts";
import { COMMANDS } from "./command/commands.ts";
import { refuseLeakyEnvironment } from "./up/environment.ts";
import { commandHelp, overview } from "./command/help.ts";
import { type Io, systemIo } from "./terminal/io.ts";
import { nearest } from "../core/nearest.ts";
import { type Output, OutputClosed } from "./terminal/output.ts";
import { asksForHelp, HELP_FLAG, parseCommandLine, usageError } from "./command/parse.ts";

/** Runs the command line and ends the process. */
export async function main(argv: readonly string[]): Promise<never> {
  Deno.exit(await run(argv, systemIo()));
}

/** Runs the command line. Never throws; a failure is shown and becomes the exit code. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(withoutProxy(withoutLicense(argv)), io);
  } catch (error) {
    return report(error, io.output);
  }
}

async function dispatch(words: readonly string[], io: Io): Promise<number> {
  const [first, ...rest] = words;
  if (first === undefined || first === "--help" || first === "-h") return show(overview(COMMANDS), io);
  if (first === "help") {
    return await dispatch(rest.length === 0 ? ["--help"] : [...withoutProxy(rest), "--help"], io);
  }
  if (first === "--version" || first === "-V") return await dispatch(["version", ...rest], io);
  if (first.startsWith("-")) {
    throw usageError("Cannot read flags before the command", `write ${PROGRAM} COMMAND [flags]`);
  }
  const found = findCommand(words);
  if (!found) return missingCommand(first, rest, io);
  const { spec, tokens } = found;
  if (asksForHelp(spec, tokens)) return show(commandHelp(spec, HELP_FLAG), io);
  const args = parseCommandLine(spec, tokens);
  refuseLeakyEnvironment(io.env);
  const command = await spec.load();
  return await command(args, io) ?? 0;
}

/** The row that the words begin with, longest name first, and the words after its name. */
function findCommand(words: readonly string[]): { spec: CommandSpec; tokens: readonly string[] } | undefined {
  for (const length of [3, 2, 1]) {
    const name = words.slice(0, length).join(" ");
    const spec = COMMANDS.find((each) => each.name === name && name.split(" ").length === length);
    if (spec) return { spec, tokens: words.slice(length) };
  }
  return undefined;
}

function missingCommand(first: string, rest: readonly string[], io: Io): number {
  const second = rest[0];
  const ofNoun = COMMANDS.filter((each) => each.name.startsWith(`${first} `));
  if (ofNoun.length > 0) {
    if (second === "--help" || second === "-h") return show(overview(ofNoun, first), io);
    const verbs = ofNoun.map((each) => each.name.slice(first.length + 1));
    const meant = second === undefined ? undefined : nearest(second, verbs);
    throw usageError(
      `Cannot run "${first}" ${second === undefined ? "alone" : "like this"}: it is followed by ${
        verbs.join(", ")
      }`,
      meant === undefined ? `${PROGRAM} ${first} --help` : `did you mean "${first} ${meant}"?`,
    );
  }
  const names = [
    ...COMMANDS.map((each) => each.name),
    ...COMMANDS.map((each) => each.name.split(" ")[0] ?? ""),
    "help",
  ];
  const meant = nearest(`${first} ${second ?? ""}`.trim(), names) ?? nearest(first, names);
  throw usageError(
    `Cannot run ${JSON.stringify(first.slice(0, 40))}: there is no such command`,
    meant === undefined ? `${PROGRAM} help lists them` : `did you mean "${meant}"?`,
  );
}

/** Slicer's own program takes its licence in front of the command: `slicer --license-file F proxy …`. Ours needs none. */
function withoutLicense(words: readonly string[]): readonly string[] {
  if (words[0] === "--license-file" && words.length > 1) return words.slice(2);
  return words[0]?.startsWith("--license-file=") ? words.slice(1) : words;
}

function withoutProxy(words: readonly string[]): readonly string[] {
  return words[0] === "proxy" ? words.slice(1) : words;
}

function show(text: string, io: Io): number {
  io.output.data(text);
  return 0;
}

function report(error: unknown, output: Output): number {
  if (error instanceof OutputClosed) return 1;
  if (isProxyError(error)) {
    output.error(error.message, error.hint);
    return isProxyError(error, "cli.usage", "input.invalid") ? 2 : 1;
  }
  const isSystem = error instanceof Error && "code" in error && typeof error.code === "string"; // ENOSPC and its like
  output.error(
    `Cannot go on: ${messageOf(error)}`,
    isSystem ? undefined : "this is a defect of the program: please report it",
  );
  return 1;
}
