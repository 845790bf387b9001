/**
 * The seal key file: 32 random bytes as one line of 64 hex digits, so that `openssl rand -hex 32` makes one too and
 * an operator can keep it anywhere that keeps text.
 *
 * Not here: what is derived from the key and sealed with it (`seal.ts`), and whether a missing key may be made
 * (`state.ts` knows whether there are sealed rows).
 *
 * @module
 */
import { dirname } from "node:path";
import { messageOf, ProxyError } from "../core/errors.ts";

/** The key's length in bytes: the strength of AES-256 and of HMAC-SHA-256. */
export const SEAL_KEY_BYTES = 32;

const TEXT = /^([0-9a-f]{64})\r?\n?$/i;

/** More than 64 hex digits, CR and LF: a longer file is read no further, and is no key. */
const READ_BYTES = 128;

/**
 * The key in the file at `path`; made first when there is none and `mayCreate`. A new file has mode 0600 from its
 * first instant, appears whole or not at all, and is on the disk before this returns. Of two processes that make it at
 * the same time one wins, and both return the winner's key.
 *
 * @throws ProxyError `seal.key-missing` when there is no file and none may be made; `seal.key-invalid` when the file
 * is not a regular one, is readable by others, or holds anything but a key; `state.write-failed` when it cannot be made
 */
export async function loadSealKey(path: string, mayCreate: boolean): Promise<Uint8Array<ArrayBuffer>> {
  const found = await readKey(path);
  if (found) return found;
  if (!mayCreate) {
    throw new ProxyError(
      "seal.key-missing",
      `Cannot unseal the state: its seal key ${path} is missing`,
      { hint: `put the key back at ${path}, or name its place with --seal-key-file` },
    );
  }
  await createKey(path);
  // Read back, for the case that another process was faster.
  return await readKey(path) ?? invalid(path, "it vanished while it was made");
}

async function readKey(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  // Before opening: a FIFO would block the open for ever. Links are followed: secret mounts are made of them.
  const before = await statOf(path);
  if (!before) return undefined;
  if (!before.isFile) invalid(path, "it is not a regular file");
  let text: string;
  try {
    using file = await Deno.open(path);
    checkFile(path, await file.stat()); // of the open file: the name may point elsewhere by now
    const buffer = new Uint8Array(READ_BYTES);
    text = new TextDecoder().decode(buffer.subarray(0, await file.read(buffer) ?? 0));
    buffer.fill(0);
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    throw new ProxyError("seal.key-invalid", `Cannot read the seal key ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const digits = TEXT.exec(text)?.[1] ?? invalid(path, "it is not one line of 64 hex digits");
  const key = new Uint8Array(SEAL_KEY_BYTES);
  for (let i = 0; i < key.length; i++) key[i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return key;
}

function checkFile(path: string, info: Deno.FileInfo): void {
  if (!info.isFile) invalid(path, "it is not a regular file");
  if (((info.mode ?? 0) & 0o077) !== 0) {
    throw new ProxyError("seal.key-invalid", `Cannot use the seal key ${path}: other users can open it`, {
      hint: `run: chmod 600 ${path}`,
    });
  }
}

/** Where the key from before is, once a rotation has put another in its place. */
export function previousKeyPath(path: string): string {
  return `${path}.previous`;
}

/**
 * A new key, which is on the disk as the next one of `path` when this returns. One that was there is given up: nothing is sealed
 * with it, or it would have been installed.
 *
 * @throws ProxyError `state.write-failed`
 */
export async function makeNextKey(path: string): Promise<Uint8Array<ArrayBuffer>> {
  await writeFailure(path, async () => {
    await Deno.remove(nextKeyPath(path)).catch(ignoreMissing);
    await createKey(nextKeyPath(path));
  });
  return await loadSealKey(nextKeyPath(path), false);
}

/**
 * The same with a key that is brought in a file, of which nothing is moved; it may be the next one of `path` already.
 *
 * @throws ProxyError `seal.key-missing`, `seal.key-invalid`, `state.write-failed`
 */
export async function bringNextKey(path: string, brought: string): Promise<Uint8Array<ArrayBuffer>> {
  const key = await loadSealKey(brought, false);
  const there = await readNextKey(path).catch(() => undefined); // what is no key is given up
  if (!there || !key.every((byte, i) => byte === there[i])) {
    await writeFailure(path, async () => {
      await Deno.remove(nextKeyPath(path)).catch(ignoreMissing);
      await createKey(nextKeyPath(path), key);
    });
  }
  there?.fill(0);
  return key;
}

/**
 * Resolves when the key at `path` will be there after a loss of power, too: others may have written it a moment ago.
 *
 * @throws ProxyError `state.write-failed`
 */
export async function syncKey(path: string): Promise<void> {
  try {
    {
      using file = await Deno.open(path);
      await file.sync();
    }
    // Secret mounts are made of links.
    for (const each of new Set([path, await Deno.realPath(path)])) await syncFolderOf(each);
  } catch (cause) {
    throw new ProxyError(
      "state.write-failed",
      `Cannot rely on the seal key ${path}, which may not be on the disk: ${messageOf(cause)}`,
      { cause },
    );
  }
}

/**
 * Has the key of `path` under another name too, for as long as somebody may need it: that of its id, so that it is known for
 * which backups.
 *
 * @throws ProxyError `state.write-failed`
 */
export async function keepKey(path: string, id: string): Promise<void> {
  await writeFailure(path, async () => {
    await Deno.link(path, keptKeyPath(path, id)).catch((error) => {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    });
    await syncFolderOf(path);
  });
}

/** Where {@linkcode keepKey} keeps it. */
export function keptKeyPath(path: string, id: string): string {
  return `${path}.${id}`;
}

/** Where a host of a fleet has the key from before, while another host may need it. */
export function formerKeyPath(path: string): string {
  return `${path}.former`;
}

/** The key there, or undefined when there is none. @throws ProxyError `seal.key-invalid` */
export function readFormerKey(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  return readKey(formerKeyPath(path));
}

/** Removes it. @throws what the disk says */
export async function removeFormerKey(path: string): Promise<void> {
  await Deno.remove(formerKeyPath(path)).catch(ignoreMissing);
  await syncFolderOf(path);
}

/** Runs `work` while no other process that uses the key of `path` does so: several hosts on one machine may share it. */
export async function withKeyLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  using folder = await Deno.open(dirname(path));
  await folder.lock(true);
  return await work();
}

/** The next key of `path`, or undefined when there is none. @throws ProxyError `seal.key-invalid` */
export function readNextKey(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  return readKey(nextKeyPath(path));
}

/**
 * Makes the next key the key of `path`, at which there is one at each moment; the one before is kept beside it.
 *
 * @throws ProxyError `state.write-failed`
 */
export async function installNextKey(path: string, keptAs = previousKeyPath(path)): Promise<void> {
  await writeFailure(path, async () => {
    const kept = `${keptAs}.tmp`;
    await Deno.remove(kept).catch(ignoreMissing);
    await Deno.link(path, kept);
    await Deno.rename(kept, keptAs);
    await Deno.rename(nextKeyPath(path), path);
    await syncFolderOf(path);
  });
}

/** Where the key is that is to follow the one of `path`. */
export function nextKeyPath(path: string): string {
  return `${path}.next`;
}

async function writeFailure(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    throw new ProxyError(
      "state.write-failed",
      `Cannot replace the seal key ${path}: ${messageOf(error)}`,
      {
        cause: error,
        hint:
          "its folder must be writable for the proxy; or bring a key: slicer-proxy seal-key rotate --key-file FILE",
      },
    );
  }
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

async function syncFolderOf(path: string): Promise<void> {
  using folder = await Deno.open(dirname(path));
  await folder.sync();
}

async function createKey(
  path: string,
  key = crypto.getRandomValues(new Uint8Array(SEAL_KEY_BYTES)),
): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  const digits = Array.from(key, (byte) => byte.toString(16).padStart(2, "0")).join("");
  try {
    try {
      using file = await Deno.open(temporary, { createNew: true, write: true, mode: 0o600 });
      const bytes = new TextEncoder().encode(`${digits}\n`);
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
      await file.sync();
      // Not rename: a link fails where a key exists already, and a key must never be replaced.
      await Deno.link(temporary, path).catch((error) => {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      });
    } finally {
      await Deno.remove(temporary).catch(() => {});
    }
    await syncFolderOf(path);
  } catch (error) {
    throw new ProxyError("state.write-failed", `Cannot make the seal key ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function statOf(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new ProxyError("seal.key-invalid", `Cannot read the seal key ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function invalid(path: string, state: string): never {
  throw new ProxyError("seal.key-invalid", `Cannot use the seal key ${path}: ${state}`, {
    hint: "put the right key there, or name its place with --seal-key-file",
  });
}
