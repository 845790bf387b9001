/**
 * The files of a queue of lines.
 *
 *     DIR/0000000001.lines …   whole lines, 0600; a number never comes again
 *     DIR/front                which queue this is, and up to where it was taken: {"id","segment","offset"}
 *
 * Not here: what is in which, and what goes when there is too much (`line_queue.ts`).
 *
 * @module
 */
import { join } from "node:path";

/** A file of lines, as the queue knows it. */
export interface Segment {
  readonly number: number;
  /** Whole lines; behind them may be what a failed write left. */
  bytes: number;
  /** Lines that are not marked as sent. */
  lines: number;
}

/** Where the first line that is not marked stands. */
export interface Front {
  readonly id: string;
  readonly segment: number;
  readonly offset: number;
}

const LINE_FEED = 0x0a;
const SEGMENT_NAME = /^(\d{10})\.lines$/;

/** A new file to append to. Fails when there is one of that number. */
export async function makeSegment(dir: string, number: number): Promise<Deno.FsFile> {
  return await Deno.open(segmentPath(dir, number), { append: true, createNew: true, mode: 0o600 });
}

/** Removes a file, if it is there. */
export async function removeSegment(dir: string, number: number): Promise<void> {
  await Deno.remove(segmentPath(dir, number)).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** The numbers of the files that are there, ascending. */
export async function segmentNumbers(dir: string): Promise<number[]> {
  const numbers: number[] = [];
  for await (const { name } of Deno.readDir(dir)) {
    const digits = SEGMENT_NAME.exec(name)?.[1];
    if (digits !== undefined) numbers.push(Number(digits));
  }
  return numbers.sort((a, b) => a - b);
}

/** Counts the whole lines from `offset` on, and cuts off what follows the last of them: what `kill -9` left. */
export async function measureSegment(dir: string, number: number, offset: number): Promise<Segment> {
  using file = await Deno.open(segmentPath(dir, number), { read: true, write: true });
  const buffer = new Uint8Array(65_536);
  let [at, bytes, lines] = [0, 0, 0];
  for (let count; (count = await file.read(buffer)) !== null; at += count) {
    const chunk = buffer.subarray(0, count);
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, end + 1)) {
      bytes = at + end + 1;
      if (bytes > offset) lines++;
    }
  }
  if (bytes < at) await file.truncate(bytes);
  return { number, bytes, lines };
}

/** The whole lines of a part of a file, without their ends; `end` is where the next begins. */
export async function linesIn(
  dir: string,
  { number, offset, length }: { readonly number: number; readonly offset: number; readonly length: number },
): Promise<readonly { readonly text: string; readonly end: number }[]> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  {
    using file = await Deno.open(segmentPath(dir, number));
    await file.seek(offset, Deno.SeekMode.Start);
    for (let count; filled < length && (count = await file.read(bytes.subarray(filled))) !== null;) {
      filled += count;
    }
  }
  const lines: { readonly text: string; readonly end: number }[] = [];
  let at = 0;
  for (let end; (end = bytes.subarray(0, filled).indexOf(LINE_FEED, at)) >= 0; at = end + 1) {
    lines.push({ text: new TextDecoder().decode(bytes.subarray(at, end)), end: offset + end + 1 });
  }
  return lines;
}

/** Undefined when there is none, or none that can be read: then everything is sent again, under another id. */
export async function readFront(dir: string): Promise<Front | undefined> {
  const text = await Deno.readTextFile(join(dir, "front")).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  });
  try {
    const { id, segment, offset } = JSON.parse(text);
    const isFront = typeof id === "string" && /^[0-9a-f-]{36}$/.test(id) &&
      [segment, offset].every((each) => Number.isSafeInteger(each) && each >= 0);
    return isFront ? { id, segment, offset } : undefined;
  } catch {
    return undefined;
  }
}

/** Puts it in the place of the one before, whole or not at all. */
export async function writeFront(dir: string, front: Front): Promise<void> {
  const path = join(dir, "front");
  await Deno.writeTextFile(`${path}.new`, `${JSON.stringify(front)}\n`, { mode: 0o600 });
  await Deno.rename(`${path}.new`, path);
}

function segmentPath(dir: string, number: number): string {
  return join(dir, `${String(number).padStart(10, "0")}.lines`);
}
