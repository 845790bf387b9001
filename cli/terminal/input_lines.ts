/**
 * Lines of text from a file, or from standard input for `-`, however many there are.
 *
 * Not here: what is read as a whole (`input_bytes.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { expandHome } from "../api/url.ts";
import { whyNot } from "./input_bytes.ts";
import type { Input, Io } from "./io.ts";

/** Longer lines are cut; no record is a tenth as long. */
const MAX_LINE_CHARS = 262_144;

/**
 * The lines, without their ends.
 *
 * @throws ProxyError `input.invalid` when the source cannot be read
 */
export async function* readLines(source: string, io: Pick<Io, "input" | "env">): AsyncGenerator<string> {
  using file = source === "-" ? undefined : await openFile(expandHome(source, io.env("HOME")));
  const input: Pick<Input, "read"> = file ?? io.input;
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(65_536);
  let rest = "";
  for (let count: number | null; (count = await readPiece(input, buffer, source)) !== null;) {
    const lines = (rest + decoder.decode(buffer.subarray(0, count), { stream: true })).split("\n");
    rest = (lines.pop() ?? "").slice(0, MAX_LINE_CHARS);
    yield* lines;
  }
  if (rest !== "") yield rest;
}

async function readPiece(input: Pick<Input, "read">, buffer: Uint8Array, source: string) {
  try {
    return await input.read(buffer);
  } catch (cause) {
    throw unreadable(source, cause);
  }
}

async function openFile(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(source: string, cause: unknown): ProxyError {
  return new ProxyError("input.invalid", `Cannot read ${source}: ${whyNot(cause)}`, { cause });
}
