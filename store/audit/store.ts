/**
 * The audit records that are kept: on the disk, bounded and rotated, and handed on to followers as they come. One line of
 * the JSON form per record, whatever the log's format is, so that a later run, and a later program, can read them.
 *
 * Not here: the documented log (`file.ts` under `--log-file`), and who may ask (`api/routes_audit.ts`).
 *
 * @module
 */
import { formatStored, type RecordFilter, type StoredRecord } from "../../policy/audit_record.ts";
import { AuditFeed, type Missed } from "./feed.ts";
import { readRecords } from "./reader.ts";
import { mergeRecords } from "./merge.ts";
import { besidePath, SplitFile, type SplitPositions } from "./split_file.ts";

/** 32 MiB, some 100,000 records; with five old files at most 192 MiB of disk. */
const MAX_FILE_BYTES = 32 * 1_048_576;
const KEPT_FILES = 5;
/** Of the file of the unauthenticated; with five old ones at most 48 MiB. */
const MAX_UNAUTHENTICATED_BYTES = 8 * 1_048_576;

/** Tests pass smaller bounds. */
export interface AuditStoreOptions {
  readonly maxBytes?: number;
  readonly maxUnauthenticatedBytes?: number;
  readonly kept?: number;
  /** Records that may wait for one follower. */
  readonly maxWaiting?: number;
}

/** An open store. Closing it ends its followers. */
export class AuditStore implements Disposable {
  readonly #path: string;
  readonly #kept: number;
  readonly #file: SplitFile;
  readonly #feed: AuditFeed;
  readonly format = "json";
  /** The end of what followers have been given, which is what a reader gets: one more record is in neither. */
  #end: SplitPositions;

  private constructor(path: string, file: SplitFile, kept: number, feed: AuditFeed) {
    this.#path = path;
    this.#file = file;
    this.#kept = kept;
    this.#feed = feed;
    this.#end = file.positions;
  }

  /**
   * Opens the store whose newest file is `path`, making it when it is not there. One process may write to it.
   *
   * @throws ProxyError `audit.write-failed`
   */
  static async open(path: string, options: AuditStoreOptions = {}): Promise<AuditStore> {
    const {
      maxBytes = MAX_FILE_BYTES,
      maxUnauthenticatedBytes = MAX_UNAUTHENTICATED_BYTES,
      kept = KEPT_FILES,
    } = options;
    const file = await SplitFile.open(path, {
      main: { maxBytes, kept },
      unauthenticated: { maxBytes: maxUnauthenticatedBytes, kept },
    });
    return new AuditStore(path, file, kept, new AuditFeed(options.maxWaiting));
  }

  /** Appends records, then hands them to followers. Rejects when they cannot be written: then nobody has got them. */
  async write(
    records: readonly StoredRecord[],
    lines: readonly string[] = records.map((record) => `${formatStored(record, "json")}\n`),
  ): Promise<void> {
    await this.#file.write(records, lines);
    this.#end = this.#file.positions;
    this.#feed.publish(records);
  }

  /**
   * The stored records up to this call, oldest first; with a `limit` the newest so many. Called in one turn with
   * {@linkcode follow}, the two of them give every record once.
   */
  records(
    filter: RecordFilter,
    { limit }: { readonly limit?: number | undefined } = {},
  ): AsyncGenerator<StoredRecord> {
    const { main, unauthenticated } = this.#end;
    const files = { kept: this.#kept };
    const own = readRecords({ ...files, path: this.#path, end: main }, filter, limit);
    // Most questions are about a client, or about what was allowed: nothing of that is in the other file.
    if (!unauthenticated || (filter.client !== undefined && filter.client !== "-")) return own;
    const others = readRecords(
      { ...files, path: besidePath(this.#path), end: unauthenticated },
      filter,
      limit,
    );
    return mergeRecords(own, others, limit);
  }

  /** Records from this call on, until `signal` aborts. A reader that falls behind gets the number of those it missed. */
  follow(filter: RecordFilter, signal: AbortSignal): AsyncIterableIterator<StoredRecord | Missed> {
    return this.#feed.follow(filter, signal);
  }

  [Symbol.dispose](): void {
    this.#feed.close();
    this.#file[Symbol.dispose]();
  }
}
