/**
 * A file of audit lines: appended to, 0600, and rotated by size (`audit.log`, `audit.log.1` … the oldest goes).
 *
 * Not here: what a line says, and reading lines back (`reader.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";

/** 64 MiB, some 300,000 lines; with five old files at most 384 MiB of disk. */
const MAX_FILE_BYTES = 64 * 1_048_576;
const KEPT_FILES = 5;
const LINE_FEED = 0x0a;

export interface AuditFileOptions {
  readonly maxBytes?: number;
  /** Old files beside the one that is written. */
  readonly kept?: number;
  /** What to do when the file cannot be opened. */
  readonly hint?: string;
}

/** Where the next line goes: a file, whatever its name is by then, and how many bytes it holds. */
export interface FilePosition {
  readonly dev: number;
  readonly ino: number | null;
  readonly size: number;
}

/** An open audit file. */
export class AuditFile {
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #kept: number;
  #file: Deno.FsFile;
  #info: Deno.FileInfo;
  #size: number;
  /** The file ends within a line: what `kill -9` or a full disk left. */
  #isTorn: boolean;

  private constructor(
    path: string,
    opened: { readonly file: Deno.FsFile; readonly info: Deno.FileInfo; readonly isTorn: boolean },
    options: AuditFileOptions,
  ) {
    this.#path = path;
    this.#file = opened.file;
    this.#info = opened.info;
    this.#size = opened.info.size;
    this.#isTorn = opened.isTorn;
    this.#maxBytes = options.maxBytes ?? MAX_FILE_BYTES;
    this.#kept = options.kept ?? KEPT_FILES;
  }

  /**
   * Opens the file, making it when it is not there.
   *
   * @throws ProxyError `audit.write-failed`
   */
  static async open(path: string, options: AuditFileOptions = {}): Promise<AuditFile> {
    let file: Deno.FsFile | undefined;
    try {
      file = await openAppend(path);
      const info = await file.stat();
      return new AuditFile(path, { file, info, isTorn: await endsWithinLine(path, info) }, options);
    } catch (cause) {
      file?.close();
      throw new ProxyError("audit.write-failed", `Cannot open the audit log ${path}`, {
        cause,
        hint: options.hint ?? "its folder must exist and be writable",
      });
    }
  }

  /** False for what has no size, such as a pipe. */
  get isFile(): boolean {
    return this.#info.isFile;
  }

  /** The end of what has been written. */
  get position(): FilePosition {
    return { dev: this.#info.dev, ino: this.#info.ino, size: this.#size };
  }

  /** Appends whole lines. Rejects when they cannot be written: they are not lost, the caller has them still. */
  async write(lines: string): Promise<void> {
    let bytes = new TextEncoder().encode(lines);
    // What is no file, such as /dev/stdout or a pipe, does not grow, and must not be renamed.
    const isFull = this.#info.isFile && this.#size > 0 && this.#size + bytes.length > this.#maxBytes;
    if (isFull) await this.#rotate();
    if (this.#isTorn) bytes = new TextEncoder().encode(`\n${lines}`); // never glued to half a line
    const before = this.#size;
    try {
      for (let at = 0; at < bytes.length;) at += await this.#file.write(bytes.subarray(at));
    } catch (error) {
      try {
        await this.#file.truncate(before); // no half line stays, the caller writes them again
      } catch {
        this.#isTorn = true;
        this.#size = await this.#file.stat().then(({ size }) => size, () => before);
      }
      throw error;
    }
    this.#size += bytes.length;
    this.#isTorn = false;
  }

  close(): void {
    this.#file.close();
  }

  /** The new file is made first: were it to fail after the old ones have moved, each further try would drop one of them. */
  async #rotate(): Promise<void> {
    const fresh = `${this.#path}.new`;
    // Whatever a crash left there is empty. What somebody else put there, in a folder of many, is not written to.
    const left = await Deno.lstat(fresh).catch(() => undefined);
    if (left && !left.isDirectory) await Deno.remove(fresh);
    const next = await Deno.open(fresh, { append: true, createNew: true, mode: 0o600 });
    let info: Deno.FileInfo;
    try {
      info = await next.stat();
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
    this.#info = info;
    this.#size = info.size;
    this.#isTorn = false;
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

async function endsWithinLine(path: string, { isFile, size }: Deno.FileInfo): Promise<boolean> {
  if (!isFile || size === 0) return false; // what is piped to another program has no end to look at
  using file = await Deno.open(path);
  await file.seek(size - 1, Deno.SeekMode.Start);
  const last = new Uint8Array(1);
  await file.read(last);
  return last[0] !== LINE_FEED;
}
