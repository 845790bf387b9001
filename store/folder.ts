/**
 * The state folder and its files on the disk: modes, the lock of the one daemon that uses it, and whether the
 * database file is still the one that was opened.
 *
 *     state.kv       the database, 0600 before SQLite sees it, so that its -wal and -shm files get the same mode
 *     state.kv.new   stands while the database is being made; without it an empty database file is damage
 *     lock           locked (flock) for as long as the daemon runs; never removed, so that nobody locks a ghost
 *
 * Not here: what is in the database (`kv.ts`).
 *
 * @module
 */
import { join } from "node:path";
import { messageOf, ProxyError } from "../core/errors.ts";

/** A state folder that this process alone uses, until it is disposed. */
export class StateFolder implements Disposable {
  /** The database file. */
  readonly dbPath: string;
  /** True until {@linkcode markComplete}: there is no complete database yet. */
  isNew = false;
  readonly #lock: Deno.FsFile;
  #opened: Deno.FileInfo | undefined;

  private constructor(dir: string, lock: Deno.FsFile) {
    this.dbPath = join(dir, "state.kv");
    this.#lock = lock;
  }

  /**
   * Makes the folder (0700) when there is none, locks it, and makes the database file (0600) when there is none.
   *
   * @throws ProxyError `input.invalid` for an empty name, `state.locked`, `state.unreadable` when the folder is none
   * or others may write to it, `state.damaged` when the database file is empty, `state.write-failed`
   */
  static async open(dir: string): Promise<StateFolder> {
    if (dir === "") throw new ProxyError("input.invalid", "Cannot use an empty name as the state folder");
    await makeFolder(dir);
    const folder = new StateFolder(dir, await lockFolder(dir));
    try {
      await folder.#prepareFile();
      return folder;
    } catch (error) {
      folder[Symbol.dispose]();
      if (error instanceof ProxyError) throw error;
      throw new ProxyError("state.write-failed", `Cannot prepare ${folder.dbPath}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  async #prepareFile(): Promise<void> {
    const marker = `${this.dbPath}.new`;
    const found = await lstat(this.dbPath);
    if (!found) {
      await makeFile(marker);
      await makeFile(this.dbPath);
    }
    this.isNew = await lstat(marker) !== undefined;
    const info = await Deno.lstat(this.dbPath);
    if (!info.isFile) {
      throw new ProxyError("state.unreadable", `Cannot use ${this.dbPath}: it is not a regular file`);
    }
    if (!this.isNew && info.size === 0) {
      throw new ProxyError("state.damaged", `Cannot use ${this.dbPath}: it is empty`, {
        hint: `restore it from a backup, or remove it to start without clients, rules and secrets`,
      });
    }
    // A copied or restored file may have come with a wider mode.
    if (((info.mode ?? 0) & 0o077) !== 0) await Deno.chmod(this.dbPath, 0o600);
    this.#opened = info;
  }

  /** Call once the database holds all that a new one has. */
  async markComplete(): Promise<void> {
    if (this.isNew) await Deno.remove(`${this.dbPath}.new`);
    this.isNew = false;
  }

  /**
   * Throws when the database file was removed or replaced since it was opened: SQLite would go on writing, without
   * any error, into a file that nobody will ever open again (measured on Deno KV).
   *
   * @throws ProxyError `state.write-failed`
   */
  async checkFile(): Promise<void> {
    const now = await lstat(this.dbPath);
    if (now && now.ino === this.#opened?.ino && now.dev === this.#opened?.dev) return;
    throw new ProxyError(
      "state.write-failed",
      `Cannot write the state: ${this.dbPath} was ${now ? "replaced" : "removed"} while the proxy ran`,
      { hint: "put the file back, or restart the proxy to go on with what is there" },
    );
  }

  /** Bytes of the database and of SQLite's log beside it. */
  async sizeBytes(): Promise<number> {
    const files = await Promise.all([lstat(this.dbPath), lstat(`${this.dbPath}-wal`)]);
    return files.reduce((sum, file) => sum + (file?.size ?? 0), 0);
  }

  /** Unlocks the folder. Close the database first. */
  [Symbol.dispose](): void {
    this.#lock.close();
  }
}

/**
 * Locks a state folder that has no database of its own, made when there is none.
 *
 * @throws ProxyError as {@linkcode StateFolder.open}
 */
export async function lockStateFolder(dir: string): Promise<Disposable> {
  if (dir === "") throw new ProxyError("input.invalid", "Cannot use an empty name as the state folder");
  await makeFolder(dir);
  const stack = new DisposableStack();
  stack.use(await lockFolder(dir));
  return stack;
}

async function makeFolder(dir: string): Promise<void> {
  try {
    await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new ProxyError("state.write-failed", `Cannot make the state folder ${dir}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const { mode } = await Deno.stat(dir);
  // Who can write to the folder can swap the database and the lock. Not repaired: it may be /tmp.
  if (((mode ?? 0) & 0o022) !== 0) {
    throw new ProxyError(
      "state.unreadable",
      `Cannot use the state folder ${dir}: other users can write to it`,
      {
        hint: `run: chmod 700 ${dir}`,
      },
    );
  }
}

async function lockFolder(dir: string): Promise<Deno.FsFile> {
  const path = join(dir, "lock");
  let file: Deno.FsFile | undefined;
  let isLocked: boolean;
  try {
    file = await Deno.open(path, { create: true, write: true, mode: 0o600 });
    isLocked = await file.tryLock(true);
  } catch (error) {
    file?.close();
    throw new ProxyError("state.unreadable", `Cannot lock the state folder ${dir}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  if (isLocked) return file;
  file.close();
  throw new ProxyError(
    "state.locked",
    `Cannot open the state folder ${dir}: slicer-proxy is already running with it`,
    { hint: "use the running one, stop it first, or give this one another --state-dir" },
  );
}

async function makeFile(path: string): Promise<void> {
  const file = await Deno.open(path, { create: true, write: true, mode: 0o600 });
  file.close();
}

async function lstat(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
