/**
 * How many wrong programs the tests notice: a sample of mutants of `policy/`, `proxy/`, `secrets/` and `store/`, each alone
 * in a clone, against the tests that run the mutated line, the nearest first.
 *
 *     deno task mutate [--sample N] [--seed N] [--only PATH] [--minutes N] [--jobs N]
 *
 * The first run of a commit measures which test runs which line: as long as all tests. A mutant that types refuse is no
 * program and is not counted, another is drawn in its place. `--minutes` bounds the tests of one mutant (5); one that nothing
 * noticed by then has survived. What fails has to fail twice. `--jobs` mutants are tried at once, one for each core. Exit code 0 only if 95 % were noticed.
 * The tests of the committed tree are what is measured.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "@std/cli/parse-args";
import { EQUIVALENT, isStale, whyEquivalent } from "./equivalent_mutants.ts";
import { measureTests, type TestFile, testsOf } from "./mutant_tests.ts";
import { applyMutant, type Mutant, mutantsOf } from "./mutants.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const FOLDERS = ["policy", "proxy", "secrets", "store"];
const ENOUGH = 0.95;
/** A test file that takes this many times longer than on the clean tree, and this much more, hangs. */
const HANGS = { times: 3, ms: 20_000 };

type Outcome = "noticed" | "hung" | "survived" | "equivalent";
interface Row {
  readonly outcome: Outcome;
  readonly mutant: Mutant;
  /** The test file that noticed, or why it is no wonder that none did. */
  readonly by: string;
}

const flags = parseArgs(Deno.args, { string: ["sample", "seed", "only", "minutes", "jobs"] });
const { sample = 120, minutes = 5, jobs = navigator.hardwareConcurrency } = flags;
const [count, seed] = [Number(sample), Number(flags.seed ?? 1)];
const clones: string[] = [];
try {
  for (let i = 0; i < Math.max(1, Number(jobs)); i++) {
    const clone = await Deno.makeTempDir({ prefix: "slicer-mutate-" });
    clones.push(clone);
    await ends("git", ["clone", "--quiet", "--shared", ROOT, clone], { cwd: ROOT, ms: 60_000 });
  }
  const tests = await measureTests(clones, FOLDERS);
  const rows = await tryMutants(shuffled(await allMutants(flags.only?.toString() ?? ""), seed), tests);
  Deno.exit(report(rows));
} finally {
  for (const clone of clones) await Deno.remove(clone, { recursive: true });
}

/** Tries mutants until the sample is full: the first that are programs, whatever each takes. */
async function tryMutants(mutants: readonly Mutant[], tests: readonly TestFile[]): Promise<readonly Row[]> {
  const rows: (Row | undefined)[] = []; // by the mutant's place
  const found = () => rows.filter((row) => row !== undefined);
  let next = 0;
  await Promise.all(clones.map(async (clone) => {
    while (next < mutants.length && found().length < count) {
      const place = next++;
      const mutant = mutants[place];
      const row = mutant && await tryMutant(clone, mutant, tests);
      rows[place] = row;
      if (row) {
        console.log(
          `${row.outcome.padEnd(10)} ${row.mutant.file}:${row.mutant.line} ${row.mutant.about} [${row.by}]`,
        );
      }
    }
  }));
  return found().slice(0, count);
}

/** Undefined when types refuse it. */
async function tryMutant(
  clone: string,
  mutant: Mutant,
  tests: readonly TestFile[],
): Promise<Row | undefined> {
  const path = `${clone}/${mutant.file}`;
  const source = await Deno.readTextFile(path);
  await Deno.writeTextFile(path, applyMutant(source, mutant));
  try {
    const check = ["check", "--quiet", mutant.file];
    if (await ends(Deno.execPath(), check, { cwd: clone, ms: 60_000 }) !== "well") return undefined;
    const why = whyEquivalent(mutant, source);
    return why === undefined
      ? { mutant, ...await judge(clone, testsOf(tests, mutant.file, mutant.line)) }
      : { mutant, outcome: "equivalent", by: why };
  } finally {
    await Deno.writeTextFile(path, source);
  }
}

/** Runs tests until one fails or hangs, twice. */
async function judge(clone: string, tests: readonly TestFile[]): Promise<Omit<Row, "mutant">> {
  const until = performance.now() + Number(minutes) * 60_000;
  let tried = 0;
  for (const { path, ms } of tests) {
    if (performance.now() > until) break;
    tried++;
    const once = () =>
      ends(Deno.execPath(), ["test", "-A", "--no-check", "--quiet", "--fail-fast", path], {
        cwd: clone,
        ms: HANGS.times * ms + HANGS.ms,
      });
    const first = await once();
    if (first === "hung" || (first === "badly" && await once() !== "well")) {
      return { outcome: first === "hung" ? "hung" : "noticed", by: path };
    }
  }
  return { outcome: "survived", by: `${tried} of ${tests.length} test files that run the line` };
}

function report(rows: readonly Row[]): number {
  console.log(`\n${["folder", "mutants", "noticed", "hung", "survived", "equivalent"].join("\t")}`);
  for (const folder of [...FOLDERS, ""]) {
    const of = rows.filter(({ mutant }) => mutant.file.startsWith(folder));
    const number = (outcome: Outcome) => of.filter((row) => row.outcome === outcome).length;
    const numbers = (["noticed", "hung", "survived", "equivalent"] as const).map(number);
    console.log([folder || "all", of.length, ...numbers].join("\t"));
  }
  const counted = rows.filter(({ outcome }) => outcome !== "equivalent");
  const noticed = counted.filter(({ outcome }) => outcome !== "survived").length;
  const share = counted.length === 0 ? 0 : noticed / counted.length;
  console.log(`seed ${seed}: ${noticed} of ${counted.length} were noticed, ${(100 * share).toFixed(1)} %`);
  return share >= ENOUGH ? 0 : 1;
}

async function allMutants(only: string): Promise<Mutant[]> {
  const [clone = ROOT] = clones;
  const found: Mutant[] = [];
  const { stdout } = await new Deno.Command("git", { args: ["ls-files", ...FOLDERS], cwd: clone }).output();
  for (const file of new TextDecoder().decode(stdout).split("\n")) {
    if (!file.endsWith(".ts") || !file.startsWith(only)) continue;
    const source = await Deno.readTextFile(`${clone}/${file}`);
    found.push(...mutantsOf(file, source));
    for (const row of EQUIVALENT) {
      if (row.file === file && isStale(row, source)) console.log(`no longer there: ${file} ${row.about}`);
    }
  }
  return found;
}

/** All of them in an order that only the seed decides (xorshift). */
function shuffled(mutants: readonly Mutant[], seed: number): readonly Mutant[] {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  const next = (below: number) => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
  const left = [...mutants];
  return mutants.flatMap(() => left.splice(next(left.length), 1));
}

/** How a command ends. It has a process group of its own, which ends with it: a test that hangs leaves programs behind. */
async function ends(
  command: string,
  args: readonly string[],
  { cwd, ms }: { readonly cwd: string; readonly ms: number },
): Promise<"well" | "badly" | "hung"> {
  const io = { stdin: "null", stdout: "null", stderr: "null" } as const;
  const child = new Deno.Command(command, { args: [...args], cwd, detached: true, ...io }).spawn();
  let hung = false;
  const killGroup = () => {
    try {
      Deno.kill(-child.pid, "SIGKILL");
    } catch {
      // All of it has ended.
    }
  };
  const timer = setTimeout(() => {
    hung = true;
    killGroup();
  }, ms);
  const { success } = await child.status;
  clearTimeout(timer);
  killGroup();
  return hung ? "hung" : success ? "well" : "badly";
}
