/**
 * Lines of a file that is longer than memory should hold: from some place on, from the end backwards, and where to begin
 * for a time. All of it reads blocks, never the whole file, and only up to the `end` that it is given: what is appended
 * meanwhile is not seen.
 *
 * Not here: what a line says (`policy/audit_record.ts`).
 *
 * @module
 */

const BLOCK_BYTES = 65_536;
/** A record takes some hundred bytes, at most what a head may have. A longer line is damage, and is passed over. */
const MAX_LINE_BYTES = 1_048_576;
const LINE_FEED = 0x0a;

/**
 * The lines that begin in `[start, end)`, as many at a time as a block has. Where `start` is within a line, that line is
 * left out; half a line at the end is there as it is.
 */
export async function* linesFrom(
  file: Deno.FsFile,
  start: number,
  end: number,
): AsyncGenerator<readonly string[]> {
  let rest = new Uint8Array();
  // One byte earlier, to see whether a line begins at `start`.
  let isWithin = start > 0;
  for (let at = isWithin ? start - 1 : 0; at < end;) {
    let block = await readBlock(file, at, Math.min(BLOCK_BYTES, end - at));
    if (block.length === 0) break; // somebody cut the file
    at += block.length;
    if (isWithin) {
      const first = block.indexOf(LINE_FEED);
      if (first < 0) continue;
      block = block.subarray(first + 1);
      isWithin = false;
    }
    const last = block.lastIndexOf(LINE_FEED);
    if (last >= 0) {
      yield decode(concat(rest, block.subarray(0, last))).split("\n");
      rest = block.slice(last + 1);
    } else if (rest.length + block.length <= MAX_LINE_BYTES) rest = concat(rest, block);
    else {
      rest = new Uint8Array();
      isWithin = true;
    }
  }
  if (rest.length > 0) yield [decode(rest)];
}

/** The lines of `[0, end)`, the last one first, as many at a time as a block has. */
export async function* linesBackwards(file: Deno.FsFile, end: number): AsyncGenerator<readonly string[]> {
  let rest = new Uint8Array();
  let isWithin = false;
  for (let at = end; at > 0;) {
    const length = Math.min(BLOCK_BYTES, at);
    at -= length;
    let block = await readBlock(file, at, length);
    if (isWithin) {
      const last = block.lastIndexOf(LINE_FEED);
      if (last < 0) continue;
      block = block.subarray(0, last + 1);
      isWithin = false;
    }
    const first = at === 0 ? -1 : block.indexOf(LINE_FEED);
    if (first >= 0 || at === 0) {
      yield decode(concat(block.subarray(first + 1), rest)).split("\n").reverse();
      rest = block.slice(0, first + 1);
    } else if (rest.length + block.length <= MAX_LINE_BYTES) rest = concat(block, rest);
    else {
      rest = new Uint8Array();
      isWithin = true;
    }
  }
}

/**
 * A place in the file before which every line is earlier than what is asked for: a reader that begins there reads at most
 * a few blocks too much. The lines have to be in the order of their times.
 *
 * @param isEarlier undefined for a line that has no time
 */
export async function seekLine(
  file: Deno.FsFile,
  end: number,
  isEarlier: (line: string) => boolean | undefined,
): Promise<number> {
  let from = 0;
  let to = end;
  while (to - from > BLOCK_BYTES) {
    const middle = Math.floor((from + to) / 2);
    const answer = await firstAnswer(file, middle, to, isEarlier);
    if (answer === true) from = middle;
    else to = middle;
  }
  return from;
}

async function firstAnswer(
  file: Deno.FsFile,
  start: number,
  end: number,
  isEarlier: (line: string) => boolean | undefined,
): Promise<boolean | undefined> {
  for await (const lines of linesFrom(file, start, end)) {
    for (const line of lines) {
      const answer = isEarlier(line);
      if (answer !== undefined) return answer;
    }
  }
  return undefined;
}

/** Fewer bytes than asked for only at the end of the file. */
async function readBlock(file: Deno.FsFile, at: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  // What is in the system's cache is there at once: without a pause one block would follow the other, and everything
  // else that this thread does would wait (measured: a connection had a twentieth of its round trips).
  await new Promise((resolve) => setTimeout(resolve, 0));
  const block = new Uint8Array(length);
  await file.seek(at, Deno.SeekMode.Start);
  let filled = 0;
  while (filled < length) {
    const count = await file.read(block.subarray(filled));
    if (count === null) break;
    filled += count;
  }
  return block.subarray(0, filled);
}

function concat(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
