/**
 * Reading the audit store's files, while they are written and rotated: one question sees the records up to the moment when
 * it was asked, each once, and holds no more of them in memory than it was asked for the newest of.
 *
 * Records are in the order of their times, as the clock never steps back. When it was set back between two runs of the
 * program, the records of the first of them are older than their times say, and a question with a time may leave them out.
 *
 * Not here: writing (`file.ts`), and records to come (`feed.ts`).
 *
 * @module
 */
import { parseRecord, type RecordFilter, type StoredRecord } from "../../policy/audit_record.ts";
import { matchesRecord } from "../../policy/record_filter.ts";
import type { FilePosition } from "./file.ts";
import { linesBackwards, linesFrom, seekLine } from "./lines.ts";

/** The files of a store, and how far they are read. */
export interface Snapshot {
  readonly path: string;
  /** Old files that there may be. */
  readonly kept: number;
  /** What is written from here on is not seen. */
  readonly end: FilePosition;
}

/** Characters of the newest records, which are held until the oldest of them is found: beyond, there are fewer of them. */
const MAX_NEWEST_CHARS = 16_777_216;

interface OpenFile {
  readonly file: Deno.FsFile;
  readonly size: number;
}

interface FoundFile extends OpenFile {
  readonly info: Deno.FileInfo;
}

/** A rotation comes after 32 MiB: the second look meets none. */
const MOST_LOOKS = 100;

/**
 * The records of a snapshot that match, oldest first; with a `limit` the newest so many, or fewer when they are very
 * long. Lines that are no records are passed over. Files are open from the first read to the last.
 */
export async function* readRecords(
  snapshot: Snapshot,
  filter: RecordFilter,
  limit?: number,
): AsyncGenerator<StoredRecord> {
  const files = await openFiles(snapshot);
  try {
    if (limit === undefined) yield* recordsForwards(files, filter);
    else yield* (await newestRecords(files, filter, limit)).reverse();
  } finally {
    for (const { file } of files) file.close();
  }
}

/**
 * The files of the snapshot, newest first. Two rotations during a look put a newer file behind an older one: one that met a
 * rotation is made again.
 */
async function openFiles({ path, kept, end }: Snapshot): Promise<readonly OpenFile[]> {
  for (let looks = 1;; looks++) {
    const found = await lookAtFiles({ path, kept, end });
    const [first] = found;
    const now = await Deno.stat(path).catch(() => undefined);
    const isSteady = !first || (now !== undefined && isSameFile(first.info, now));
    const newest = Math.max(0, found.findIndex(({ info }) => isSameFile(info, end)));
    const left = found.splice(0, isSteady || looks === MOST_LOOKS ? newest : found.length);
    for (const { file } of left) file.close();
    if (isSteady || looks === MOST_LOOKS) return found;
  }
}

/**
 * Opens the files that there are. A rotation only moves a file on to a higher number, so that looking from the newest to the
 * oldest meets every one, some of them twice.
 */
async function lookAtFiles({ path, kept, end }: Snapshot): Promise<FoundFile[]> {
  const found: FoundFile[] = [];
  try {
    for (let i = 0; i <= kept; i++) {
      const file = await openIfThere(i === 0 ? path : `${path}.${i}`);
      if (!file) continue;
      const info = await file.stat().catch((error) => {
        file.close();
        throw error;
      });
      if (found.some((other) => isSameFile(other.info, info))) file.close();
      else found.push({ file, info, size: isSameFile(info, end) ? end.size : info.size });
    }
    return found;
  } catch (error) {
    for (const { file } of found) file.close();
    throw error;
  }
}

async function* recordsForwards(
  files: readonly OpenFile[],
  filter: RecordFilter,
): AsyncGenerator<StoredRecord> {
  const needles = needlesOf(filter);
  let { index, offset } = await beginningOf(files, filter.sinceMs);
  for (; index >= 0; index--, offset = 0) {
    const each = files[index];
    if (!each) return;
    for await (const lines of linesFrom(each.file, offset, each.size)) {
      for (const line of lines) {
        const record = matchLine(line, filter, needles);
        if (record) yield record;
      }
    }
  }
}

/** The newest first. */
async function newestRecords(
  files: readonly OpenFile[],
  filter: RecordFilter,
  limit: number,
): Promise<StoredRecord[]> {
  const needles = needlesOf(filter);
  const records: StoredRecord[] = [];
  let chars = 0;
  for (const { file, size } of files) {
    for await (const lines of linesBackwards(file, size)) {
      for (const line of lines) {
        const record = matchLine(line, filter, needles);
        if (!record) continue;
        if (records.push(record) >= limit || (chars += line.length) > MAX_NEWEST_CHARS) return records;
      }
      if (filter.sinceMs !== undefined && isEarlier(lines.at(-1) ?? "", filter.sinceMs)) return records;
    }
  }
  return records;
}

/** The file, and the place in it, before which nothing is late enough. */
async function beginningOf(
  files: readonly OpenFile[],
  sinceMs: number | undefined,
): Promise<{ index: number; offset: number }> {
  if (sinceMs !== undefined) {
    for (const [index, { file, size }] of files.entries()) {
      const offset = await seekLine(file, size, (line) => isEarlier(line, sinceMs));
      if (offset !== 0) return { index, offset };
    }
  }
  return { index: files.length - 1, offset: 0 };
}

function isEarlier(line: string, sinceMs: number): boolean | undefined {
  const record = parseRecord(line);
  return record && record.timeMs < sinceMs;
}

function matchLine(line: string, filter: RecordFilter, needles: readonly string[]): StoredRecord | undefined {
  if (!needles.every((needle) => line.includes(needle))) return undefined;
  const record = parseRecord(line);
  return record && matchesRecord(record, filter) ? record : undefined;
}

/** What stands in every line that matches. Most lines do not match, and parsing is what costs. */
function needlesOf({ denied, client, host }: RecordFilter): readonly string[] {
  return [
    ...(denied ? ['"verdict":"deny"'] : []),
    ...(client === undefined ? [] : [`"client":${JSON.stringify(client)}`]),
    ...(host === undefined || host === "*"
      ? []
      : host.startsWith("*.")
      ? [`${host.slice(1)}"`]
      : [`"host":${JSON.stringify(host)}`]),
  ];
}

function isSameFile(
  a: Pick<FilePosition, "dev" | "ino">,
  b: Pick<FilePosition, "dev" | "ino">,
): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

async function openIfThere(path: string): Promise<Deno.FsFile | undefined> {
  try {
    return await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
