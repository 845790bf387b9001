/**
 * `version`.
 *
 * @module
 */
import config from "../../deno.json" with { type: "json" };
import { PROGRAM } from "./command.ts";
import type { CommandArgs } from "./command.ts";
import type { Io } from "../terminal/io.ts";

/** The program's version, the same text in `--json`, in `status` and in the user agent. */
export const VERSION: string = config.version;

/** Prints name and version, and what it runs on. */
// deno-lint-ignore require-await
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const commit = buildCommit();
  const platform = `${Deno.build.os}/${Deno.build.arch}`;
  if (args.has("json")) {
    return io.output.json({
      version: VERSION,
      commit: commit ?? null,
      deno: Deno.version.deno,
      platform,
    });
  }
  const details = [
    ...(commit === undefined ? [] : [`commit ${commit}`]),
    `Deno ${Deno.version.deno}`,
    platform,
  ];
  io.output.data(`${PROGRAM} ${VERSION} (${details.join(", ")})`);
}

/** The commit that a binary was built from: `scripts/compile_steps.ts` puts `build.json` one folder above the code. */
function buildCommit(): string | undefined {
  try {
    const build: unknown = JSON.parse(Deno.readTextFileSync(new URL("../build.json", import.meta.url)));
    const commit = typeof build === "object" && build !== null && "commit" in build
      ? build.commit
      : undefined;
    return typeof commit === "string" && /^[0-9a-f]{7,64}(-dirty)?$/.test(commit) ? commit : undefined;
  } catch {
    return undefined; // run from a checkout, or without the right to read
  }
}
