/**
 * Reading files that hold credentials: regular files of an owner whom we trust, not links, writable by nobody else
 * (SPEC section 9.8). The file that was checked is the file that is read.
 *
 * A folder above it that others can write to is not noticed: what they could put there has another owner.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { messageOf, ProxyError } from "../core/errors.ts";
import { quoteText } from "../core/escape.ts";

/** A little above what a row of the store takes. */
const MAX_BYTES = 65_536;

/**
 * The text of a file.
 *
 * @param what names it in errors
 * @param ownerUid who may own it beside root and the user that this program runs as
 * @throws ProxyError `input.invalid`, which says what is wrong with the file and not what is in it
 */
export async function readTrustedFile(path: string, what: string, ownerUid?: number): Promise<string> {
  const refuse = (problem: string, cause?: unknown): never => {
    throw new ProxyError("input.invalid", `Cannot use the ${what} ${quoteText(path, 200)}: ${problem}`, {
      ...(cause === undefined ? {} : { cause }),
    });
  };
  try {
    const named = await Deno.lstat(path);
    if (named.isSymlink) refuse("it is a link");
    if (!named.isFile) refuse("it is no regular file");
    using file = await Deno.open(path);
    const opened = await file.stat();
    // Between the two calls the name may have been given to something else.
    if (opened.ino !== named.ino || opened.dev !== named.dev) refuse("it was replaced while it was opened");
    if (opened.mode !== null && (opened.mode & 0o022) !== 0) {
      refuse("others can write to it; run: chmod go-w FILE");
    }
    if (opened.uid !== null && ![0, Deno.uid(), ownerUid].includes(opened.uid)) {
      refuse("it belongs to another user");
    }
    const bytes = new Uint8Array(MAX_BYTES + 1);
    let length = 0;
    while (length < bytes.length) {
      const count = await file.read(bytes.subarray(length));
      if (count === null) break;
      length += count;
    }
    if (length > MAX_BYTES) refuse(`it is above ${MAX_BYTES} bytes`);
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, length)).trimEnd();
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    if (error instanceof Deno.errors.NotFound) return refuse("there is no such file", error);
    if (error instanceof Deno.errors.PermissionDenied) return refuse("permission denied", error);
    if (error instanceof TypeError) return refuse("it is no UTF-8 text");
    return refuse(messageOf(error), error);
  }
}

/** A Kubernetes volume takes two: of the key to `..data`, and of that to the folder of the moment. */
const MAX_LINKS = 8;

/**
 * Where a path leads by links that may be followed: relative ones that stay in its folder, and whose owner is trusted as a
 * file's is, since whoever places a link chooses which file is read. Kubernetes swaps such links. The file that is found is
 * not looked at.
 *
 * @throws ProxyError `input.invalid`
 */
export async function followLinks(path: string, what: string, ownerUid?: number): Promise<string> {
  const refuse = (problem: string): never => {
    throw new ProxyError("input.invalid", `Cannot use the ${what} ${quoteText(path, 200)}: ${problem}`);
  };
  let at = dirname(path);
  const rest = [basename(path)];
  for (let links = 0; rest.length > 0;) {
    const next = join(at, rest.shift() ?? "");
    let named: Deno.FileInfo;
    try {
      named = await Deno.lstat(next);
    } catch (error) {
      return refuse(error instanceof Deno.errors.NotFound ? "there is no such file" : messageOf(error));
    }
    if (!named.isSymlink) {
      at = next;
      continue;
    }
    if (++links > MAX_LINKS) refuse("it is a link to a link to a link");
    if (named.uid !== null && ![0, Deno.uid(), ownerUid].includes(named.uid)) {
      refuse("it is a link of another user");
    }
    const target = await Deno.readLink(next);
    const parts = target.split("/").filter((part) => part !== "" && part !== ".");
    // `..data` is a name, and `..` is not.
    if (target.startsWith("/") || parts.includes("..")) refuse("it is a link out of its folder");
    rest.unshift(...parts);
  }
  return at;
}

/**
 * Who owns a file now, behind links too, where that is known: the owner that an operator vouches for by adopting it.
 */
export async function ownerOf(path: string): Promise<number | undefined> {
  try {
    const { uid, isFile } = await Deno.stat(path);
    return isFile && uid !== null ? uid : undefined;
  } catch {
    return undefined; // the value may have come from another machine
  }
}
