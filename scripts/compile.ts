/**
 * Builds the release binaries: `deno task compile [--target linux-x64]… [--no-check]`.
 *
 *     dist/slicer-proxy-<os>-<arch>    one per target; without `--target` that of this machine, `--target all` for all
 *     dist/SHA256SUMS                  of the binaries of this run, for `sha256sum --check`
 *     dist/slicer-proxy                this machine's, for trying it out
 *
 * The program is bundled first: one file per command instead of some 600 modules starts in half the time and weighs 16 MB
 * less (figures in docs/INSTALL.md). It is not minified, which would save 1 % and make stack traces useless. V8's code
 * cache is off: the binary would read it from a predictable name in the shared temporary folder, and whoever planted one
 * there first would run code in a process that holds every secret.
 *
 * Not here: what the binary may do (`permissions.ts`), the steps (`compile_steps.ts`).
 *
 * @module
 */
import { parseArgs } from "node:util";
import { messageOf } from "../core/errors.ts";
import {
  bundle,
  compile,
  CompileError,
  hostTarget,
  smokeTest,
  type Target,
  TARGETS,
} from "./compile_steps.ts";

const DIST = new URL("../dist/", import.meta.url);

async function main(argv: readonly string[]): Promise<number> {
  const say = (line: string) => Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
  try {
    const { targets, isChecked } = readOptions(argv);
    const app = await bundle(new URL("build/", DIST), isChecked);
    const sums: string[] = [];
    for (const target of targets) {
      const path = new URL(`slicer-proxy-${target.name}`, DIST).pathname;
      await compile(app, target, path);
      const bytes = await Deno.readFile(path);
      sums.push(`${await sha256(bytes)}  slicer-proxy-${target.name}`);
      const size = `${(bytes.length / 1e6).toFixed(1)} MB`;
      if (target === hostTarget()) {
        say(`dist/slicer-proxy-${target.name}  ${size}  ${await smokeTest(path)}`);
        await Deno.copyFile(path, new URL("slicer-proxy", DIST));
      } else say(`dist/slicer-proxy-${target.name}  ${size}`);
    }
    await Deno.writeTextFile(new URL("SHA256SUMS", DIST), sums.join("\n") + "\n");
    return 0;
  } catch (error) {
    const hint = error instanceof CompileError && error.hint ? `hint: ${error.hint}\n` : "";
    Deno.stderr.writeSync(new TextEncoder().encode(`error: ${messageOf(error)}\n${hint}`));
    return 1;
  }
}

function readOptions(argv: readonly string[]): { targets: readonly Target[]; isChecked: boolean } {
  const { values } = parseArgs({
    args: [...argv],
    options: { target: { type: "string", multiple: true }, "no-check": { type: "boolean" } },
  });
  const names = values.target ?? [];
  const targets = names.includes("all")
    ? TARGETS
    : names.length === 0
    ? [hostTarget()]
    : names.map((name) => TARGETS.find((target) => target.name === name || target.triple === name));
  const known = targets.filter((target) => target !== undefined);
  if (known.length < targets.length) {
    throw new CompileError(
      `Cannot compile for ${names.join(", ")}: not every target is known`,
      `known are all, ${TARGETS.map(({ name }) => name).join(", ")}`,
    );
  }
  // The variable names one file, which is the runtime of one system.
  if (Deno.env.get("DENORT_BIN") && known.some((target) => target !== hostTarget())) {
    throw new CompileError(
      "Cannot compile for another system while DENORT_BIN is set: it is this system's runtime",
      "unset DENORT_BIN, or leave --target out",
    );
  }
  return { targets: known, isChecked: !values["no-check"] };
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

Deno.exit(await main(Deno.args));
