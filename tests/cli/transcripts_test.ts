/**
 * Replays every transcript of this folder. See `transcript.ts` for their form.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Program } from "../support/program.ts";
import { type Exchange, matchesLines, parseTranscript } from "./transcript.ts";

const FOLDER = new URL(".", import.meta.url);
for (const { name } of [...Deno.readDirSync(FOLDER)].sort((a, b) => a.name < b.name ? -1 : 1)) {
  if (!name.endsWith(".txt")) continue;
  const exchanges = parseTranscript(await Deno.readTextFile(new URL(name, FOLDER)));
  Deno.test(`slicer-proxy does what ${name} says`, async (t) => {
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
  const { args, stdin, env } = exchange;
  const { code, stdout, stderr } = await new Program(dir).run(args, { stdin, env });
  if (!matchesLines(stdout, exchange.stdout)) assertEquals(stdout, linesOf(exchange.stdout));
  if (!matchesLines(stderr, exchange.stderr)) assertEquals(stderr, linesOf(exchange.stderr));
  assertEquals(code, exchange.code);
}

function linesOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}
