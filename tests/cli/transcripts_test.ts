/**
 * Replays every transcript of this folder. See `transcript.ts` for their form.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { type Exchange, matchesLines, parseTranscript } from "./transcript.ts";

const FOLDER = new URL(".", import.meta.url);
const MAIN = new URL("../../main.ts", FOLDER).pathname;

/** What a command that talks to the API needs; nothing may ask for more. */
const PERMISSIONS = [
  "--allow-read",
  "--allow-write",
  "--allow-net",
  "--allow-env=HOME,SLICER_URL,SLICER_TOKEN,SLICER_TOKEN_FILE,SLICER_CA_FILE",
];

for (const { name } of [...Deno.readDirSync(FOLDER)].sort((a, b) => a.name < b.name ? -1 : 1)) {
  if (!name.endsWith(".txt")) continue;
  const exchanges = parseTranscript(await Deno.readTextFile(new URL(name, FOLDER)));
  Deno.test(`main.ts does what ${name} says`, async (t) => {
    const dir = await Deno.makeTempDir();
    try {
      for (const exchange of exchanges) {
        await t.step(`${name}:${exchange.line} ${exchange.command}`, () => replay(exchange, dir));
      }
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

async function replay(exchange: Exchange, dir: string): Promise<void> {
  for (const [name, text] of Object.entries(exchange.files)) await Deno.writeTextFile(`${dir}/${name}`, text);
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", ...PERMISSIONS, MAIN, ...exchange.args],
    cwd: dir,
    clearEnv: true,
    env: {
      HOME: dir,
      NO_COLOR: "1",
      DENO_NO_UPDATE_CHECK: "1",
      DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`,
      ...exchange.env,
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = process.stdin.getWriter();
  // The command may end without reading: then the pipe breaks, which is no failure.
  await writer.write(new TextEncoder().encode(exchange.stdin)).catch(() => {});
  await writer.close().catch(() => {});
  const output = await process.output();
  const stdout = new TextDecoder().decode(output.stdout);
  const stderr = new TextDecoder().decode(output.stderr);
  if (!matchesLines(stdout, exchange.stdout)) assertEquals(stdout, linesOf(exchange.stdout));
  if (!matchesLines(stderr, exchange.stderr)) assertEquals(stderr, linesOf(exchange.stderr));
  assertEquals(output.code, exchange.code);
}

function linesOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}
