/**
 * All tests, or those below the paths given, some files side by side: `deno task test [--strict] [PATH…]`. Each file (of
 * `tests/unit` each folder) is a process of its own, one for each core at a time, since many tests count what their process
 * holds. What failed beside others is run once more, alone, since a machine that is busy starves time-outs; what passes then is
 * named at the end, for a test that does so twice has a reason. With `--strict` it has failed. What a process said is shown
 * when it has ended; the last line sums up. Exit code 0 only if nothing failed, or nothing of it failed again.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "@std/cli/parse-args";

const ROOT = new URL("..", import.meta.url).pathname;
/** Of one process. Nothing takes as long; a test that hangs ends with it. */
const LIMIT_MS = 15 * 60_000;

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** `name (file)` of each that failed; a process that died names none. */
  readonly failures: readonly string[];
}

const flags = parseArgs(Deno.args, { boolean: ["strict"] });
const paths = flags._.length > 0 ? flags._.map(String) : ["tests"];
const groups = await groupsOf(paths);
const sum = { passed: 0, failed: 0, skipped: 0 };
const again: { readonly group: string; readonly before: Outcome }[] = [];
/** Of each test that failed beside others and passed alone, its name. */
const flaky: string[] = [];
await Promise.all(Array.from({ length: Math.max(1, navigator.hardwareConcurrency) }, async () => {
  for (let group = groups.shift(); group; group = groups.shift()) {
    const outcome = await runGroup(group);
    if (outcome.failed > 0) again.push({ group, before: outcome });
    else add(outcome);
  }
}));
for (const { group, before } of again) {
  const outcome = await runGroup(group);
  add(outcome);
  console.log(`${outcome.failed > 0 ? "failed twice" : "failed once, and not alone"}: deno test -A ${group}`);
  const named = before.failures.length > 0 ? before.failures : [`all of ${group}: its process ended`];
  flaky.push(...named.filter((name) => !outcome.failures.includes(name) && !hasDied(outcome)));
}
if (flaky.length > 0) {
  console.log(`\n!! ${flaky.length} failed beside others and passed alone, 1 of 2 runs each:`);
  for (const name of flaky) console.log(`!!   ${name}`);
}
const isHeld = sum.failed === 0 && !(flags.strict && flaky.length > 0);
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
Deno.exit(isHeld && sum.passed > 0 ? 0 : 1);

/** Whether it ended without saying which of its tests failed: then none of them is known to have passed. */
function hasDied({ failed, failures }: Outcome): boolean {
  return failed > failures.length;
}

function add({ passed, failed, skipped }: Outcome): void {
  sum.passed += passed;
  sum.failed += failed;
  sum.skipped += skipped;
}

/** Files and folders that are a process each, those that take long first: of end-to-end tests the large ones. */
async function groupsOf(paths: readonly string[]): Promise<string[]> {
  const { stdout } = await new Deno.Command("git", {
    args: ["ls-files", "--cached", "--others", "--exclude-standard", ...paths],
    cwd: ROOT,
  }).output();
  const files = new TextDecoder().decode(stdout).split("\n").filter((file) => /_test\.(ts|js)$/.test(file));
  if (files.length === 0) throw new RangeError(`no test is below ${paths.join(" ")}`);
  const sizes = new Map<string, number>();
  for (const file of files) {
    const [, unit] = /^(tests\/unit\/[^/]+)\//.exec(file) ?? [];
    const { size } = await Deno.stat(`${ROOT}${file}`);
    const group = unit ?? file;
    sizes.set(group, (sizes.get(group) ?? 0) + (unit === undefined ? 10 * size : size));
  }
  return [...sizes].sort(([, a], [, b]) => b - a).map(([group]) => group);
}

async function runGroup(group: string): Promise<Outcome> {
  const startedAt = performance.now();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", group],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    signal: AbortSignal.timeout(LIMIT_MS),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stdout);
  const last = text.trimEnd().split("\n").findLast((line) => /\| \d+ passed/.test(line)) ?? "";
  const count = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(last)?.[1] ?? 0);
  const failed = count("failed") || (code === 0 ? 0 : 1); // a process that died says no number
  const seconds = Math.round((performance.now() - startedAt) / 1_000);
  console.log(`\n== ${group}: ${count("passed")} passed, ${failed} failed, ${seconds} s`);
  console.log(failed > 0 ? `${text}${new TextDecoder().decode(stderr)}` : skippedLines(text));
  return { passed: count("passed"), failed, skipped: count("ignored"), failures: failuresIn(text) };
}

/** Of the list at the end of what `deno test` says: `name => ./file:line:column`, of a step with ` ... ` before it. */
function failuresIn(text: string): string[] {
  const list = text.slice(text.lastIndexOf("\n FAILURES \n"));
  return Array.from(list.matchAll(/^(\S.*) => \.\/(.+):\d+:\d+$/gm), ([, name, file]) => `${name} (${file})`);
}

/** Tests that say that they need a program which is not here. */
function skippedLines(text: string): string {
  return text.split("\n").filter((line) =>
    line.endsWith(" ignored") || /skipped: |not here|is missing/.test(line)
  )
    .join("\n");
}
