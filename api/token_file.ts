/**
 * The file with the token of the API over TCP.
 *
 * Not here: clients' tokens, which are kept nowhere (`store/clients.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { messageOf, ProxyError } from "../core/errors.ts";

/** A token that an operator put there is used too, if it cannot be guessed and fits a header. */
const TOKEN = /^[\x21-\x7e]{32,512}$/;

/** The longest token and a line end. */
const MAX_FILE_BYTES = 514;

/**
 * The token in the file at `path`. When there is none, one of 256 random bits is made; the file has mode 0600 from its
 * first instant and appears whole or not at all.
 *
 * @throws ProxyError `state.unreadable` when it is no regular file, may be opened by other users, or holds no token;
 * `state.write-failed` when it cannot be made. Neither shows what is in it.
 */
export async function loadApiToken(path: string): Promise<string> {
  return await readToken(path) ?? await createToken(path);
}

async function readToken(path: string): Promise<string | undefined> {
  try {
    // Before opening: a FIFO would block the open for ever. Links are followed: secret mounts are made of them.
    if (!(await Deno.stat(path)).isFile) unusable(path, "it is not a regular file");
    using file = await Deno.open(path);
    const { isFile, mode } = await file.stat(); // of the open file: the name may point elsewhere by now
    if (!isFile) unusable(path, "it is not a regular file");
    if (((mode ?? 0) & 0o077) !== 0) unusable(path, "other users can open it", `run: chmod 600 ${path}`);
    const buffer = new Uint8Array(MAX_FILE_BYTES + 1);
    let length = 0;
    for (let n: number | null; (n = await file.read(buffer.subarray(length))) !== null && n > 0;) length += n;
    const token = new TextDecoder().decode(buffer.subarray(0, length)).replace(/\r?\n$/, "");
    return TOKEN.test(token) ? token : unusable(path, "it is not one line of 32 to 512 visible characters");
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new ProxyError("state.unreadable", `Cannot read the API token ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function createToken(path: string): Promise<string> {
  const token = `spa_${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url")}`;
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    try {
      using file = await Deno.open(temporary, { createNew: true, write: true, mode: 0o600 });
      const bytes = new TextEncoder().encode(`${token}\n`);
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
      await file.sync();
      // Not rename: a link fails where another process made a token meanwhile, and then that one counts.
      await Deno.link(temporary, path);
    } finally {
      await Deno.remove(temporary).catch(() => {});
    }
    return token;
  } catch (error) {
    const other = error instanceof Deno.errors.AlreadyExists ? await readToken(path) : undefined;
    if (other !== undefined) return other;
    throw new ProxyError("state.write-failed", `Cannot make the API token ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function unusable(path: string, state: string, hint?: string): never {
  throw new ProxyError("state.unreadable", `Cannot use the API token ${path}: ${state}`, {
    hint: hint ?? "remove it to have a new one made, or name another with --api-token-file",
  });
}
