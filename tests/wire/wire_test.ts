/** Replays every transcript of this folder: whole, byte by byte, and cut in two at every place. */
import { assert } from "@std/assert";
import { cutsOf, replay } from "./replay.ts";
import { parseTranscript } from "./transcript.ts";

const folder = new URL(".", import.meta.url);
/** `WIRE_ONLY=text` replays the cases whose name holds the text. */
const only = Deno.env.get("WIRE_ONLY") ?? "";

for (
  const name of [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.endsWith(".txt"))
    .sort()
) {
  Deno.test(`the wire does what ${name} says`, async (t) => {
    const cases = parseTranscript(await Deno.readTextFile(new URL(name, folder)));
    assert(cases.length > 0);
    for (const wire of cases.filter((wire) => wire.name.includes(only))) {
      await t.step(`${name}:${wire.line} ${wire.name}`, async () => {
        for (const cut of cutsOf(wire)) {
          try {
            await replay(wire, cut);
          } catch (error) {
            throw new Error(`cut ${JSON.stringify(cut)}: ${error instanceof Error ? error.message : error}`, {
              cause: error,
            });
          }
        }
      });
    }
  });
}
