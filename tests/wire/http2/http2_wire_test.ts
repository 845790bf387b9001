/** Replays every transcript of this folder: whole, byte by byte, and cut in two at every place. */
import { assert, assertEquals } from "@std/assert";
import { type Cut, replay } from "./replay.ts";
import { type Http2Case, type Outcome, parseTranscript } from "./transcript.ts";

const folder = new URL(".", import.meta.url);
/** `WIRE_ONLY=text` replays the cases whose name holds the text. */
const only = Deno.env.get("WIRE_ONLY") ?? "";
/** Long cases (floods) are only cut at so many places, evenly. */
const MOST_CUTS = 300;

const names = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.endsWith(".txt"));
for (const name of names.sort()) {
  Deno.test(`the HTTP/2 codec does what ${name} says`, async (t) => {
    const cases = parseTranscript(await Deno.readTextFile(new URL(name, folder)));
    assert(cases.length > 0);
    for (const wire of cases.filter((wire) => wire.name.includes(only))) {
      await t.step(`${name}:${wire.line} ${wire.name}`, async () => {
        for (const cut of cutsOf(wire)) {
          const seen = await replay(wire, cut);
          assertEquals(seen, cut === "bytes" ? wire.outcome : asTold(wire.outcome, seen), `cut ${cut}`);
        }
      });
    }
  });
}

/** What was expected, without the requests that were cut within the read that brought them: the application is not told. */
function asTold(expected: Outcome, seen: Outcome): Outcome {
  const streamOf = (event: string) => /^\* (\d+) /.exec(event)?.[1];
  const told = new Set(seen.events.map(streamOf));
  const cut = new Set(expected.events.filter((event) => event.includes(" error ")).map(streamOf));
  const events = expected.events.filter((event) => {
    const stream = streamOf(event);
    return stream === undefined || told.has(stream) || !cut.has(stream);
  });
  return { ...expected, events };
}

function* cutsOf({ steps }: Http2Case): Generator<Cut> {
  const size = steps.reduce((sum, step) => sum + (typeof step === "string" ? 0 : step.length), 0);
  yield "whole";
  if (size < 20_000) yield "bytes";
  const stride = Math.max(1, Math.ceil(size / MOST_CUTS));
  for (let at = 1; at < size; at += stride) yield at;
}
