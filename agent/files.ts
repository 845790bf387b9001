/**
 * Files that are there whole or not at all.
 *
 * @module
 */
import { dirname } from "node:path";

/** How a file is to be. */
export interface FileMode {
  readonly mode: number;
  /** Left as they come out (root) when absent. */
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * Puts `content` in the place of `path`, durably: a reader sees the old or the new file. A link is replaced, not followed.
 * Where the path is a mount point, as `/etc/resolv.conf` is in containers, it cannot be replaced and is written in place.
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  { mode, uid, gid }: FileMode,
): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const temporary = `${path}.slicer-proxy-agent-new`;
  try {
    await writeWhole(temporary, bytes, mode);
    if (uid !== undefined && gid !== undefined) await Deno.chown(temporary, uid, gid);
    await Deno.rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    if (!(error instanceof Deno.errors.Busy)) throw error;
    await writeWhole(path, bytes, mode);
  }
}

/** True where something is at `path`, a dangling link too. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

/** The text of a file, or undefined when there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw error;
  }
}

async function writeWhole(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  // Made with the right mode: a token must not be readable for a moment either.
  using file = await Deno.open(path, { write: true, create: true, truncate: true, mode });
  for (let sent = 0; sent < bytes.length;) sent += await file.write(bytes.subarray(sent));
  await file.sync();
  await Deno.chmod(path, mode); // the umask took its share
}

async function syncFolder(path: string): Promise<void> {
  try {
    using folder = await Deno.open(path);
    await folder.sync();
  } catch {
    // Some filesystems cannot: the rename itself is atomic all the same.
  }
}
