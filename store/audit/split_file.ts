/**
 * An audit log in two files. Denials of those who did not say who they are have one of their own: anyone who reaches a port
 * can cause any number of them, and what is turned over then is that file, and nobody's history.
 *
 * What has no size, such as /dev/stdout or a pipe, is not turned over, and gets all.
 *
 * @module
 */
import { isUnauthenticatedDenial, type StoredRecord } from "../../policy/audit_record.ts";
import { AuditFile, type AuditFileOptions, type FilePosition } from "./file.ts";

/** Both files: that of a log, and the one beside it. */
export interface SplitPositions {
  readonly main: FilePosition;
  readonly unauthenticated: FilePosition | undefined;
}

/** Open files. */
export class SplitFile implements Disposable {
  readonly #main: AuditFile;
  readonly #unauthenticated: AuditFile | undefined;
  /** The last record of a write of which only the first file has its part. */
  #half: StoredRecord | undefined;

  private constructor(main: AuditFile, unauthenticated: AuditFile | undefined) {
    this.#main = main;
    this.#unauthenticated = unauthenticated;
  }

  /**
   * Opens both, making them when they are not there.
   *
   * @throws ProxyError `audit.write-failed`
   */
  static async open(
    path: string,
    options: { readonly main?: AuditFileOptions; readonly unauthenticated?: AuditFileOptions } = {},
  ): Promise<SplitFile> {
    const main = await AuditFile.open(path, options.main);
    try {
      if (!main.isFile) return new SplitFile(main, undefined);
      return new SplitFile(main, await AuditFile.open(besidePath(path), options.unauthenticated));
    } catch (error) {
      main.close();
      throw error;
    }
  }

  /** The end of what has been written. */
  get positions(): SplitPositions {
    return { main: this.#main.position, unauthenticated: this.#unauthenticated?.position };
  }

  /**
   * Appends the lines of records, each with its end. Rejects when they cannot be written. The same call, perhaps with more
   * behind, writes nothing twice then.
   */
  async write(records: readonly StoredRecord[], lines: readonly string[]): Promise<void> {
    if (!this.#unauthenticated) return await this.#main.write(lines.join(""));
    const done = this.#half ? records.lastIndexOf(this.#half) + 1 : 0;
    let main = "";
    let unauthenticated = "";
    for (const [i, record] of records.entries()) {
      if (isUnauthenticatedDenial(record)) unauthenticated += lines[i];
      else if (i >= done) main += lines[i];
    }
    if (main !== "") await this.#main.write(main);
    this.#half = records.at(-1);
    if (unauthenticated !== "") await this.#unauthenticated.write(unauthenticated);
    this.#half = undefined;
  }

  [Symbol.dispose](): void {
    this.#main.close();
    this.#unauthenticated?.close();
  }
}

/** Where the denials of the unauthenticated are: `audit.jsonl` has `audit-unauthenticated.jsonl` beside it. */
export function besidePath(path: string): string {
  const slash = path.lastIndexOf("/");
  const dot = path.lastIndexOf(".");
  const end = dot > slash + 1 ? dot : path.length;
  return `${path.slice(0, end)}-unauthenticated${path.slice(end)}`;
}
