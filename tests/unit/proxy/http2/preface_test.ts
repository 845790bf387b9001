import { assertEquals } from "@std/assert";
import { beginsWithPreface } from "../../../../proxy/http2/preface.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { makePipe } from "../../../wire/pipe.ts";

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** Whether a connection that brings these pieces, and then ends or not, begins with the preface; and what its reader has left. */
async function begins(pieces: readonly string[], ends = true): Promise<[boolean, string]> {
  const [far, near] = makePipe();
  const reader = new ByteReader(near);
  const asked = beginsWithPreface(reader);
  for (const piece of pieces) await far.write(new TextEncoder().encode(piece));
  if (ends) await far.closeWrite();
  const answer = await asked;
  return [answer, new TextDecoder().decode(reader.available)];
}

Deno.test("beginsWithPreface() tells HTTP/2 from HTTP/1 as early as it can be told, and takes nothing", async () => {
  assertEquals(await begins([PREFACE], false), [true, PREFACE]);
  assertEquals(await begins([`${PREFACE}more`], false), [true, `${PREFACE}more`]);
  const bytewise = await begins([...PREFACE], false);
  assertEquals(bytewise, [true, PREFACE]);
  assertEquals(await begins(["G"], false), [false, "G"]);
  assertEquals(await begins(["PRI * HTTP/1"], false), [false, "PRI * HTTP/1"]);
  assertEquals(await begins([`${PREFACE.slice(0, -1)}x`], false), [false, `${PREFACE.slice(0, -1)}x`]);
  assertEquals(await begins([PREFACE.slice(0, -1)]), [false, PREFACE.slice(0, -1)]);
  assertEquals(await begins([]), [false, ""]);
});
