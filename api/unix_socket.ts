/**
 * Listening on a unix socket that nobody else can open, at a path that may hold what an earlier run left.
 *
 * The socket is bound in a folder of its own (0700) beside its path, and renamed there once its mode is 0600. So nobody
 * else could open it at any moment, as under umask 077, but without a setting of the whole process and Deno's full
 * `--allow-sys`, which that asks for. It replaces a stale socket in one step, and the name that Deno unlinks when the
 * listener closes (measured) is never one that another process has taken since.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { messageOf, ProxyError } from "../core/errors.ts";

/** Bytes of a path in `sockaddr_un` without the final NUL: 104 on macOS, 108 on Linux. */
const MAX_PATH_BYTES = Deno.build.os === "darwin" ? 103 : 107;

/** A socket in its place. */
export interface OwnedSocket<Server> {
  readonly server: Server;
  /** Takes the socket off its path, unless something else stands there by now. Does not close the server. */
  remove(): void;
}

/**
 * Binds a socket with mode 0600 at `path`, through `listen`, which must bind the path it is given before it returns.
 *
 * @throws ProxyError `state.locked` when somebody answers there; `listen.failed` when something stands there that is not
 * a stale socket (it is left alone), or the folder cannot be used
 */
export async function listenOwned<Server extends AsyncDisposable>(
  path: string,
  listen: (path: string) => Server,
): Promise<OwnedSocket<Server>> {
  // The shorter name that it is bound to would do, but nobody could connect to this one.
  if (new TextEncoder().encode(path).length > MAX_PATH_BYTES) {
    throw new ProxyError("listen.failed", `Cannot listen on ${path}: the path is too long for a socket`, {
      hint: `give an --api-socket of at most ${MAX_PATH_BYTES} bytes`,
    });
  }
  const stale = await staleSocket(path);
  const room = join(dirname(path), `.${crypto.randomUUID().slice(0, 4)}`);
  const temporary = join(room, "s");
  let server: Server | undefined;
  try {
    Deno.mkdirSync(room, { mode: 0o700 });
    try {
      server = listen(temporary);
      Deno.chmodSync(temporary, 0o600);
      const now = lstat(path);
      if (now && !isSame(now, stale)) occupied(path, "something was put there meanwhile");
      const own = Deno.lstatSync(temporary);
      Deno.renameSync(temporary, path);
      return {
        server,
        remove: () => {
          if (isSame(lstat(path), own)) Deno.removeSync(path);
        },
      };
    } finally {
      Deno.removeSync(room, { recursive: true });
    }
  } catch (error) {
    await server?.[Symbol.asyncDispose]();
    if (error instanceof ProxyError) throw error;
    throw new ProxyError("listen.failed", `Cannot listen on ${path}: ${messageOf(error)}`, {
      cause: error,
      hint: "the folder must exist and be writable for this user",
    });
  }
}

/** The socket at `path` that nobody listens on any more, or undefined when nothing stands there. */
async function staleSocket(path: string): Promise<Deno.FileInfo | undefined> {
  const found = lstat(path);
  if (!found) return undefined;
  if (!found.isSocket) occupied(path, "it exists and is not a socket");
  try {
    const connection = await Deno.connect({ transport: "unix", path });
    connection.close();
  } catch (error) {
    // What `kill -9` leaves behind refuses. Whatever else it is, somebody may be there.
    if (error instanceof Deno.errors.ConnectionRefused) return found;
    if (error instanceof Deno.errors.NotFound) return undefined;
    occupied(path, messageOf(error));
  }
  throw new ProxyError("state.locked", `Cannot listen on ${path}: slicer-proxy is already running there`, {
    hint: "use the running one, stop it first, or give this one another --api-socket",
  });
}

function lstat(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new ProxyError("listen.failed", `Cannot listen on ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function isSame(a: Deno.FileInfo | undefined, b: Deno.FileInfo | undefined): boolean {
  return a !== undefined && b !== undefined && a.ino === b.ino && a.dev === b.dev;
}

function occupied(path: string, state: string): never {
  throw new ProxyError("listen.failed", `Cannot listen on ${path}: ${state}`, {
    hint: "remove what is there, or give another --api-socket",
  });
}
