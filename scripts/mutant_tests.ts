/**
 * Which tests run which lines: every test file once, on the clean tree, with coverage of its own process and of the `deno`
 * processes that it starts. A file that fails there can notice nothing and is left out, with a word. What was found is kept
 * in the system's temporary folder by commit, so that another sample of the same commit begins at once.
 *
 * Not here: mutants, and who of the chosen tests noticed (`mutate.ts`).
 *
 * @module
 */
// deno-lint-ignore-file no-console

/** One test file as it is on the clean tree. */
export interface TestFile {
  readonly path: string;
  /** Of the whole process, with coverage. */
  readonly ms: number;
  /** By source file: lines that were run, and all lines with code; 1-based. */
  readonly ran: Readonly<Record<string, readonly number[]>>;
  readonly code: Readonly<Record<string, readonly number[]>>;
}

/** Of one test file on the clean tree. */
const CLEAN_LIMIT_MS = 300_000;

/**
 * The test files of a commit, each of them run once, or as they were found before.
 *
 * @param clones of the commit; in each of them one test runs at a time
 */
export async function measureTests(
  clones: readonly string[],
  folders: readonly string[],
): Promise<readonly TestFile[]> {
  const [clone = "."] = clones;
  const commit = (await output("git", ["rev-parse", "HEAD"], clone)).trim();
  const temp = Deno.env.get("TMPDIR") ?? "/tmp";
  const kept = `${temp}/slicer-mutate-${commit}.json`;
  try {
    return JSON.parse(await Deno.readTextFile(kept));
  } catch {
    // Not measured yet.
  }
  const files = (await output("git", ["ls-files", "tests"], clone)).split("\n");
  const left = files.filter((each) => each.endsWith("_test.ts"));
  const found: TestFile[] = [];
  await Promise.all(clones.map(async (dir) => {
    for (let path = left.shift(); path !== undefined; path = left.shift()) {
      const measured = await measure(dir, path, folders);
      if (measured === undefined) console.log(`left out, since it fails without any change: ${path}`);
      else if (Object.keys(measured.ran).length > 0) found.push(measured);
    }
  }));
  await Deno.writeTextFile(kept, JSON.stringify(found));
  return found;
}

/** Tests that run a line of a file, those first that are named for the file, then the quick ones. */
export function testsOf(tests: readonly TestFile[], file: string, line: number): readonly TestFile[] {
  const name = file.slice(file.lastIndexOf("/") + 1, -".ts".length);
  const own = (test: TestFile) => test.path.endsWith(`/${name}_test.ts`) ? 0 : 1;
  return tests.filter((test) => runs(test, file, line))
    .toSorted((a, b) => own(a) - own(b) || a.ms - b.ms);
}

/**
 * Lines are counted by their least run part: in `if (isRare) return;` that is the `return`. So a line counts as run when one of
 * the three before it or the one after it was. A line without code of its own is the middle of what begins before it.
 */
function runs({ ran, code }: TestFile, file: string, line: number): boolean {
  const lines = code[file] ?? [];
  const at = lines.findLastIndex((each) => each <= line);
  if (at < 0) return file in code;
  const near = lines.slice(Math.max(0, at - 3), at + 2);
  return near.some((each) => (ran[file] ?? []).includes(each));
}

async function measure(
  clone: string,
  path: string,
  folders: readonly string[],
): Promise<TestFile | undefined> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-mutate-lines-" });
  try {
    const startedAt = performance.now();
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--no-check", "--quiet", `--coverage=${dir}`, "--coverage-raw-data-only", path],
      cwd: clone,
      signal: AbortSignal.timeout(CLEAN_LIMIT_MS),
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    if (!success) return undefined;
    const ms = Math.round(performance.now() - startedAt);
    return {
      path,
      ms,
      ...linesOf(await output(Deno.execPath(), ["coverage", "--lcov", dir], clone), clone, folders),
    };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Reads lcov: `SF:` begins a file, `DA:` is a line and how often it was run. A file of several processes comes several times. */
export function linesOf(
  lcov: string,
  root: string,
  folders: readonly string[],
): Pick<TestFile, "ran" | "code"> {
  const ran = new Map<string, Set<number>>();
  const code = new Map<string, Set<number>>();
  let file = "";
  for (const row of lcov.split("\n")) {
    if (row.startsWith("SF:")) file = row.slice("SF:".length).replace(`${root}/`, "");
    const [, line, times] = /^DA:(\d+),(\d+)/.exec(row) ?? [];
    if (line === undefined || !folders.some((folder) => file.startsWith(`${folder}/`))) continue;
    addTo(code, file, Number(line));
    if (times !== "0") addTo(ran, file, Number(line));
  }
  return { ran: listed(ran), code: listed(code) };
}

function addTo(map: Map<string, Set<number>>, key: string, value: number): void {
  map.set(key, (map.get(key) ?? new Set()).add(value));
}

function listed(map: ReadonlyMap<string, ReadonlySet<number>>): Record<string, number[]> {
  return Object.fromEntries(Array.from(map, ([file, lines]) => [file, [...lines].sort((a, b) => a - b)]));
}

async function output(command: string, args: readonly string[], cwd: string): Promise<string> {
  const { stdout } = await new Deno.Command(command, { args: [...args], cwd, stderr: "null" }).output();
  return new TextDecoder().decode(stdout);
}
