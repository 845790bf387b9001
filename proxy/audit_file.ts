/**
 * The audit log's file: appended to, 0600, and rotated by size (`audit.log`, `audit.log.1` … the oldest goes).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { writeAll } from "./byte_reader.ts";

/** 64 MiB, some 300,000 lines; with five old files at most 384 MiB of disk. */
const MAX_FILE_BYTES = 64 * 1_048_576;
const KEPT_FILES = 5;

export interface AuditFileOptions {
  readonly maxBytes?: number;
  readonly kept?: number;
}

/** An open audit file. */
export class AuditFile {
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #kept: number;
  #file: Deno.FsFile;
  #size: number;

  private constructor(path: string, file: Deno.FsFile, size: number, options: AuditFileOptions) {
    this.#path = path;
    this.#file = file;
    this.#size = size;
    this.#maxBytes = options.maxBytes ?? MAX_FILE_BYTES;
    this.#kept = options.kept ?? KEPT_FILES;
  }

  /**
   * Opens the file, making it when it is not there.
   *
   * @throws ProxyError `audit.write-failed`
   */
  static async open(path: string, options: AuditFileOptions = {}): Promise<AuditFile> {
    try {
      const file = await openAppend(path);
      return new AuditFile(path, file, (await file.stat()).size, options);
    } catch (cause) {
      throw new ProxyError("audit.write-failed", `Cannot open the audit log ${path}`, {
        cause,
        hint: "its folder must exist and be writable; --log-file names another place",
      });
    }
  }

  /** Appends whole lines. Rejects when they cannot be written: they are not lost, the caller has them still. */
  async write(lines: string): Promise<void> {
    const bytes = new TextEncoder().encode(lines);
    if (this.#size > 0 && this.#size + bytes.length > this.#maxBytes) await this.#rotate();
    const before = this.#size;
    try {
      await writeAll(this.#file, bytes);
    } catch (error) {
      await this.#file.truncate(before).catch(() => {}); // no half line stays, the caller writes them again
      throw error;
    }
    this.#size += bytes.length;
  }

  close(): void {
    this.#file.close();
  }

  /** The new file is made first: were it to fail after the old ones have moved, each further try would drop one of them. */
  async #rotate(): Promise<void> {
    const fresh = `${this.#path}.new`;
    const next = await openAppend(fresh);
    try {
      for (let i = this.#kept - 1; i >= 0; i--) {
        await renameIfThere(i === 0 ? this.#path : `${this.#path}.${i}`, `${this.#path}.${i + 1}`);
      }
      await Deno.rename(fresh, this.#path);
    } catch (error) {
      next.close();
      throw error;
    }
    this.#file.close();
    this.#file = next;
    this.#size = 0;
  }
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await Deno.rename(from, to);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function openAppend(path: string): Promise<Deno.FsFile> {
  return await Deno.open(path, { append: true, create: true, mode: 0o600 });
}
