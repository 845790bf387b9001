/**
 * A listener with its accept loop and the connections that it serves, as one thing that can be stopped.
 *
 * @module
 */
import { startAccepting } from "../core/accept_loop.ts";
import { messageOf, ProxyError } from "../core/errors.ts";
import { formatHostPort, type HostPort } from "../core/host_port.ts";
import { closeQuietly } from "./proxy_link.ts";

/** Connections that one listener serves at a time: a runaway program must not use up the helper's descriptors. */
const MAX_CONNECTIONS = 2_000;

/** An open listener. Disposing it ends its connections too. */
export interface Served extends AsyncDisposable {
  readonly address: Deno.NetAddr;
}

/**
 * Listens, and runs `serve` for every connection. `serve` owns the connection; what it throws goes to `onError`.
 *
 * @throws ProxyError `listen.failed`
 */
export function listen(
  where: HostPort,
  serve: (conn: Deno.TcpConn) => Promise<void>,
  onError: (error: unknown) => void,
): Served {
  const listener = openListener(where);
  const open = new Map<Deno.TcpConn, Promise<void>>();
  const accepting = startAccepting(listener, {
    name: formatHostPort(where),
    serve: (conn) => {
      if (open.size >= MAX_CONNECTIONS) return closeQuietly(conn);
      conn.setNoDelay(true);
      const served = serve(conn).catch(onError).finally(() => {
        open.delete(conn);
        closeQuietly(conn);
      });
      open.set(conn, served);
    },
    onServeError: onError,
    warn: (line) => onError(new Error(line)),
  });
  return {
    address: listener.addr as Deno.NetAddr,
    [Symbol.asyncDispose]: async () => {
      await accepting[Symbol.asyncDispose]();
      for (const conn of open.keys()) closeQuietly(conn);
      await Promise.all(open.values());
    },
  };
}

/** True when the address can be listened on now. */
export function isFree(where: HostPort): boolean {
  try {
    openListener(where).close();
    return true;
  } catch {
    return false;
  }
}

function openListener(where: HostPort): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: where.host, port: where.port });
  } catch (cause) {
    const words = cause instanceof Deno.errors.AddrInUse
      ? "another program listens there"
      : cause instanceof Deno.errors.PermissionDenied
      ? "permission denied"
      : messageOf(cause);
    throw new ProxyError("listen.failed", `Cannot listen on ${formatHostPort(where)}: ${words}`, { cause });
  }
}
