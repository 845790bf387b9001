/**
 * `ca.crt` and `ca.key` on disk: read with the checks that a private key deserves, written so that a crash at any
 * instant leaves the old pair, the new pair, or what {@linkcode finishInterruptedWrite} turns into one of them.
 *
 * Two files cannot be replaced in one step. So both are written and synced as `ca.crt.new` and `ca.key.new` first,
 * then the key is renamed, then the certificate: a `ca.crt.new` that fits `ca.key` is a write that got past its key.
 *
 * Not here: what the files hold. See `authority.ts`.
 *
 * @module
 */
import { join } from "node:path";
import { messageOf, ProxyError } from "../core/errors.ts";
import { quoteShell } from "../core/escape.ts";

/** The two files as text. */
export interface AuthorityPair {
  /** The CA's certificate first; others of its chain may follow. */
  readonly certPem: string;
  /** Secret. */
  readonly keyPem: string;
}

/** Where the CA's certificate is in its folder. */
export function certificatePath(dir: string): string {
  return join(dir, "ca.crt");
}

/** Where the CA's private key is in its folder. */
export function keyPath(dir: string): string {
  return join(dir, "ca.key");
}

const PENDING = ".new";

/** A key of RSA 16384 and a chain of a dozen certificates fit; whatever is larger is no CA. */
const MAX_FILE_BYTES = 65_536;

/**
 * The pair in `dir`, or undefined when neither file is there.
 *
 * @throws ProxyError `ca.invalid` when one of the two is missing or no regular file, or others can open the key
 */
export async function readPair(dir: string): Promise<AuthorityPair | undefined> {
  const certPem = await readCertificate(dir);
  const keyPem = await readText(keyPath(dir), checkKeyFile);
  if (certPem !== undefined && keyPem !== undefined) return { certPem, keyPem };
  if (certPem === undefined && keyPem === undefined) return undefined;
  const [here, missing] = certPem === undefined ? ["ca.key", "ca.crt"] : ["ca.crt", "ca.key"];
  throw new ProxyError("ca.invalid", `Cannot load the CA in ${dir}: ${here} is there and ${missing} is not`, {
    hint: `put the ${missing} that belongs to it back, or move ${here} away to have a new CA made`,
  });
}

/**
 * The text of `ca.crt`, or undefined when there is none.
 *
 * @throws ProxyError `ca.invalid`
 */
export function readCertificate(dir: string): Promise<string | undefined> {
  return readText(certificatePath(dir), () => {});
}

/**
 * Replaces both files; readers see a whole old or new file under each name at any time. Call within
 * {@linkcode withLock}.
 *
 * @throws ProxyError `ca.write-failed`
 */
export async function writePair(dir: string, pair: AuthorityPair): Promise<void> {
  await writing(dir, async () => {
    await writeSynced(certificatePath(dir) + PENDING, pair.certPem, 0o644);
    await writeSynced(keyPath(dir) + PENDING, pair.keyPem, 0o600);
    await syncFolder(dir);
    await Deno.rename(keyPath(dir) + PENDING, keyPath(dir));
    await Deno.rename(certificatePath(dir) + PENDING, certificatePath(dir));
    await syncFolder(dir);
  });
}

/**
 * Replaces `ca.crt` alone, for a renewal that keeps the key. Call within {@linkcode withLock}.
 *
 * @throws ProxyError `ca.write-failed`
 */
export async function writeCertificate(dir: string, certPem: string): Promise<void> {
  await writing(dir, async () => {
    await writeSynced(certificatePath(dir) + PENDING, certPem, 0o644);
    await Deno.rename(certificatePath(dir) + PENDING, certificatePath(dir));
    await syncFolder(dir);
  });
}

/**
 * Ends what a crash interrupted: a pending certificate that fits the key in place is put in its place, any other
 * pending file is removed. Call within {@linkcode withLock}; does nothing in a folder without pending files.
 *
 * @param fits whether a certificate belongs to a key; false also for text that is neither
 * @throws ProxyError `ca.write-failed`, and `ca.invalid` as {@linkcode readPair}
 */
export async function finishInterruptedWrite(
  dir: string,
  fits: (pair: AuthorityPair) => Promise<boolean>,
): Promise<void> {
  const certPem = await readText(certificatePath(dir) + PENDING, () => {});
  if (certPem === undefined) return; // it is written first and removed last
  const keyPem = await readText(keyPath(dir), checkKeyFile);
  const isPastItsKey = keyPem !== undefined && await fits({ certPem, keyPem });
  await writing(dir, async () => {
    await removeIfThere(keyPath(dir) + PENDING);
    if (isPastItsKey) await Deno.rename(certificatePath(dir) + PENDING, certificatePath(dir));
    else await Deno.remove(certificatePath(dir) + PENDING);
    await syncFolder(dir);
  });
}

/**
 * Makes the folder, with mode 0700 when it is new.
 *
 * @throws ProxyError `ca.write-failed`
 */
export async function makeFolder(dir: string): Promise<void> {
  await writing(dir, () => Deno.mkdir(dir, { recursive: true, mode: 0o700 }));
}

/**
 * Runs `work` while no other process, and no other call in this one, runs its own for the same folder. The lock is on
 * the folder itself (flock), so it leaves no file, needs no right to write, and ends with its holder. On NFS it may
 * not be had; concurrent first starts are then not protected from each other.
 *
 * @throws ProxyError `ca.invalid` when the folder cannot be opened
 */
export async function withLock<T>(dir: string, work: () => Promise<T>): Promise<T> {
  let folder: Deno.FsFile;
  try {
    folder = await Deno.open(dir);
  } catch (cause) {
    throw unreadable(dir, cause);
  }
  using held = folder;
  await held.lock(true).catch(() => {});
  return await work();
}

async function readText(
  path: string,
  check: (path: string, info: Deno.FileInfo) => void,
): Promise<string | undefined> {
  try {
    // Before opening: a FIFO would block the open for ever. Links are followed: secret mounts are made of them.
    if (!(await Deno.stat(path)).isFile) throw notRegular(path);
    using file = await Deno.open(path);
    const info = await file.stat(); // of the open file: the name may point elsewhere by now
    if (!info.isFile) throw notRegular(path);
    check(path, info);
    const buffer = new Uint8Array(MAX_FILE_BYTES + 1);
    let length = 0;
    for (let n: number | null = 0; n !== null && length < buffer.length; length += n ?? 0) {
      n = await file.read(buffer.subarray(length));
    }
    if (length > MAX_FILE_BYTES) {
      throw new ProxyError("ca.invalid", `Cannot use ${path}: it is larger than ${MAX_FILE_BYTES} bytes`);
    }
    return new TextDecoder().decode(buffer.subarray(0, length));
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw unreadable(path, error);
  }
}

function checkKeyFile(path: string, info: Deno.FileInfo): void {
  if (((info.mode ?? 0) & 0o077) === 0) return;
  throw new ProxyError("ca.invalid", `Cannot use ${path}: other users can open the CA's private key`, {
    hint: `run: chmod 600 ${quoteShell(path)}`,
  });
}

function notRegular(path: string): ProxyError {
  return new ProxyError("ca.invalid", `Cannot use ${path}: it is not a regular file`);
}

function unreadable(path: string, cause: unknown): ProxyError {
  const isDenied = cause instanceof Deno.errors.PermissionDenied;
  return new ProxyError("ca.invalid", `Cannot read ${path}: ${messageOf(cause)}`, {
    cause,
    ...(isDenied ? { hint: "run the command as the user that owns the CA, or with sudo" } : {}),
  });
}

async function writeSynced(path: string, text: string, mode: number): Promise<void> {
  await removeIfThere(path);
  using file = await Deno.open(path, { createNew: true, write: true, mode });
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  await file.sync();
}

async function removeIfThere(path: string): Promise<void> {
  await Deno.remove(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

async function syncFolder(dir: string): Promise<void> {
  using folder = await Deno.open(dir);
  await folder.sync();
}

async function writing(dir: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    throw new ProxyError("ca.write-failed", `Cannot write the CA in ${dir}: ${messageOf(cause)}`, { cause });
  }
}
