/**
 * How many wrong programs the tests notice: a sample of mutants of `policy/`, `proxy/`, `secrets/` and `store/`, each in a
 * clone of its own, against the tests nearest to it first. `deno task mutate [--sample N] [--seed N] [--only PATH]`. Prints
 * what survived; exit code 0 only if 95 % were noticed. The tests of the committed tree are what is measured.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "@std/cli/parse-args";
import { applyMutant, type Mutant, mutantsOf } from "./mutants.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const FOLDERS = ["policy", "proxy", "secrets", "store"];
const ENOUGH = 0.95;
/** Of one tier of tests. A mutant that makes them hang is noticed. */
const TIER_LIMIT_MS = 600_000;

const flags = parseArgs(Deno.args, { string: ["sample", "seed", "only"] });
const seed = Number(flags.seed ?? 1);
const sample = pick(
  await allMutants(flags.only === undefined ? undefined : String(flags.only)),
  Number(flags.sample ?? 80),
  seed,
);
const clone = await Deno.makeTempDir({ prefix: "slicer-mutate-" });
try {
  await run("git", ["clone", "--quiet", "--shared", ROOT, clone], ROOT);
  Deno.exit(await tryAll(sample));
} finally {
  await Deno.remove(clone, { recursive: true });
}

async function tryAll(mutants: readonly Mutant[]): Promise<number> {
  const survivors: Mutant[] = [];
  for (const mutant of mutants) {
    const noticed = await isNoticed(mutant);
    if (!noticed) survivors.push(mutant);
    console.log(`${noticed ? "noticed " : "SURVIVED"} ${mutant.file}:${mutant.line} ${mutant.about}`);
  }
  const noticed = mutants.length - survivors.length;
  console.log(`seed ${seed}: ${noticed} of ${mutants.length} mutants were noticed`);
  return mutants.length > 0 && noticed / mutants.length >= ENOUGH ? 0 : 1;
}

/** True when the types or a test fail with it. */
async function isNoticed(mutant: Mutant): Promise<boolean> {
  const path = `${clone}/${mutant.file}`;
  const source = await Deno.readTextFile(path);
  await Deno.writeTextFile(path, applyMutant(source, mutant));
  try {
    if (!await run(Deno.execPath(), ["check", "--quiet", mutant.file])) return true;
    for (const tests of await tiersFor(mutant.file)) {
      if (!await run(Deno.execPath(), ["test", "-A", "--no-check", "--quiet", "--fail-fast", ...tests])) {
        return true;
      }
    }
    return false;
  } finally {
    await Deno.writeTextFile(path, source);
  }
}

/** Tests by how likely they are to notice: of the file, of its folder, of everything without processes, the rest. */
async function tiersFor(file: string): Promise<readonly (readonly string[])[]> {
  const own = `tests/unit/${file.replace(/\.ts$/, "_test.ts")}`;
  const [layer = ""] = file.split("/", 1);
  const exists = await Deno.stat(`${clone}/${own}`).then(() => true, () => false);
  return [
    ...(exists ? [[own]] : []),
    [`tests/unit/${layer}`, "tests/wire"],
    ["tests/unit", "tests/regress", "tests/fuzz"],
    ["tests/e2e", "tests/cli"],
  ];
}

async function allMutants(only: string | undefined): Promise<Mutant[]> {
  const found: Mutant[] = [];
  const { stdout } = await new Deno.Command("git", { args: ["ls-files", ...FOLDERS], cwd: ROOT }).output();
  for (const file of new TextDecoder().decode(stdout).split("\n")) {
    if (!file.endsWith(".ts") || (only !== undefined && !file.startsWith(only))) continue;
    found.push(...mutantsOf(file, await Deno.readTextFile(`${ROOT}${file}`)));
  }
  return found;
}

/** `count` of them, the same for the same seed (xorshift). */
function pick(mutants: Mutant[], count: number, seed: number): Mutant[] {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  const next = (below: number) => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
  const chosen: Mutant[] = [];
  while (chosen.length < count && mutants.length > 0) chosen.push(...mutants.splice(next(mutants.length), 1));
  return chosen;
}

/** True when the command succeeds in time. */
async function run(command: string, args: readonly string[], cwd = clone): Promise<boolean> {
  const signal = AbortSignal.timeout(TIER_LIMIT_MS);
  const { success } = await new Deno.Command(command, {
    args: [...args],
    cwd,
    signal,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).output();
  return success;
}
