/**
 * The steps of a release build, each a run of the `deno` that runs this script. Where only the denort of another version
 * is at hand, `DENORT_BIN` names it and `COMPILE_DENO` a `deno` of its version, which then does the compiling; bundling
 * stays with this one, for older ones make a bundle that does not run (2.7.11 loses the default export of tslib).
 *
 * Not here: options and what goes where (`compile.ts`).
 *
 * @module
 */
import { permissionFlags } from "./permissions.ts";
import { V8_FLAGS } from "./v8_flags.ts";

/** A system that a binary is for. */
export interface Target {
  /** As in the file's name. */
  readonly name: string;
  /** As `deno compile --target` has it. */
  readonly triple: string;
  readonly os: "linux" | "darwin";
  readonly arch: "x86_64" | "aarch64";
}

/** Every target of a release. */
export const TARGETS: readonly Target[] = [
  { name: "linux-x64", triple: "x86_64-unknown-linux-gnu", os: "linux", arch: "x86_64" },
  { name: "linux-arm64", triple: "aarch64-unknown-linux-gnu", os: "linux", arch: "aarch64" },
  { name: "macos-x64", triple: "x86_64-apple-darwin", os: "darwin", arch: "x86_64" },
  { name: "macos-arm64", triple: "aarch64-apple-darwin", os: "darwin", arch: "aarch64" },
];

/** A build that failed, said to the person who builds. */
export class CompileError extends Error {
  override name = "CompileError";
  constructor(message: string, readonly hint?: string) {
    super(message);
  }
}

const RECORDED_TIME = new Date("2000-01-01T00:00:00Z");

/** This machine's target. */
export function hostTarget(): Target {
  const found = TARGETS.find(({ os, arch }) => os === Deno.build.os && arch === Deno.build.arch);
  if (!found) {
    throw new CompileError(`Cannot compile for ${Deno.build.os} on ${Deno.build.arch}: it is no target`);
  }
  return found;
}

/**
 * Checks and bundles the program into `folder`/app, and writes the commit beside it, where `version` looks.
 *
 * @returns the entry file and what else is to be embedded
 */
export async function bundle(folder: URL, isChecked: boolean): Promise<{ entry: string; data: string }> {
  const root = new URL("../", import.meta.url).pathname;
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  const app = new URL("app/", folder).pathname;
  await Deno.mkdir(app, { recursive: true });
  if (isChecked) await deno(["check", "main.ts"], root);
  // esbuild is a package of npm; where its registry has a certificate of the house, only the system's roots know it.
  const output = ["--platform", "deno", "--code-splitting", "--outdir", app];
  await deno(["bundle", "--quiet", ...output, "main.ts"], root, { DENO_TLS_CA_STORE: "system,mozilla" });
  const data = new URL("build.json", folder).pathname;
  await Deno.writeTextFile(data, JSON.stringify({ commit: await commitOf(root) }));
  // The binary records when its files were written: the same for all, so that the same sources give the same bytes.
  const times = [data, ...[...Deno.readDirSync(app)].map(({ name }) => `${app}${name}`)];
  for (const path of times) await Deno.utime(path, RECORDED_TIME, RECORDED_TIME);
  return { entry: `${app}main.js`, data };
}

/** Compiles the bundle into the executable `path`. */
export async function compile(
  app: { entry: string; data: string },
  target: Target,
  path: string,
): Promise<void> {
  const options = [
    "--no-config",
    "--no-lock",
    "--no-check",
    "--no-code-cache",
    "--unstable-kv",
    "--unstable-net",
    V8_FLAGS,
  ];
  const what = ["--include", app.data, "--output", path, "--target", target.triple];
  await deno(
    ["compile", "--quiet", ...options, ...permissionFlags(target.os, target.arch), ...what, app.entry],
    new URL(".", `file://${app.entry}`).pathname,
    {},
    Deno.env.get("COMPILE_DENO") || Deno.execPath(),
  );
}

/**
 * Runs the binary as a user would, from an empty folder and with nothing in the environment: its version, and a CA, which
 * loads the packages that bundling is hardest on. Returns the version.
 */
export async function smokeTest(path: string): Promise<string> {
  const cwd = await Deno.makeTempDir();
  const run = async (...args: string[]) => {
    const { success, stdout, stderr } = await new Deno.Command(path, {
      args,
      cwd,
      clearEnv: true,
      stdout: "piped",
      stderr: "piped",
    }).output();
    if (success) return new TextDecoder().decode(stdout).trim();
    throw new CompileError(
      `Cannot run ${path} ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`,
      Deno.env.get("DENORT_BIN") && "DENORT_BIN and the deno that compiles have to be of the same version",
    );
  };
  try {
    await run("ca", "init");
    return await run("version");
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
}

/** The commit of the working tree, marked when there are changes on top of it. */
async function commitOf(root: string): Promise<string | undefined> {
  const git = async (...args: string[]) => {
    const { success, stdout } = await new Deno.Command("git", { args, cwd: root, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  };
  try {
    const commit = await git("rev-parse", "--short=12", "HEAD");
    return commit && await git("status", "--porcelain", "--untracked-files=no") ? `${commit}-dirty` : commit;
  } catch {
    return undefined; // no git: a source archive
  }
}

async function deno(
  args: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
  program = Deno.execPath(),
): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, {
    args: [...args],
    cwd,
    env: { ...env, NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw explain(args[0] ?? "", new TextDecoder().decode(stderr));
}

/** What `deno` said, without its own stack traces. */
function explain(verb: string, stderr: string): CompileError {
  const said = stderr.split("\n").filter((line) =>
    line !== "" && !/^\s*(Stack backtrace:|\d+: |at )/.test(line)
  );
  const isOffline = /error sending request|denort|dl\.deno\.land|Import .*failed/i.test(stderr);
  if (verb === "compile" && isOffline) {
    return new CompileError(
      `Cannot download denort ${Deno.version.deno}, the runtime that the binary embeds`,
      `allow https://dl.deno.land, or set DENORT_BIN to a denort that is already here, of Deno ${Deno.version.deno} or of the one that COMPILE_DENO names`,
    );
  }
  if (verb === "bundle" && isOffline) {
    return new CompileError(
      "Cannot download esbuild, which bundles the program",
      "allow https://registry.npmjs.org, or run this once where it is allowed: Deno keeps esbuild in its cache",
    );
  }
  return new CompileError(`Cannot ${verb} the program:\n${said.join("\n")}`);
}
