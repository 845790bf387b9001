/**
 * `completion`: what a shell needs to complete commands, flags and the values of flags, read from the command table.
 *
 * Not here: the scripts' own languages (`completion_scripts.ts`), what stands where (`positions.ts`).
 *
 * @module
 */
import { type CommandRun, type CommandSpec, PROGRAM } from "./command.ts";
import { bashScript, fishScript, zshScript } from "./completion_scripts.ts";
import { positions } from "./positions.ts";

/** The shells that have a script. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

/** The command that prints the script of one shell for these commands, of which it is one itself. */
export function completionOf(commands: readonly CommandSpec[]): CommandRun {
  // deno-lint-ignore require-await
  return async (args, io) => {
    const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript };
    const shell = SHELLS.find((each) => each === args.argument("SHELL")) ?? "bash";
    io.output.data(scripts[shell](PROGRAM, positions(commands)));
  };
}
