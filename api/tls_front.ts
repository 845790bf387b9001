/**
 * What stands before the API's TLS listener on the network. Deno's TLS connections cannot be closed while a handshake
 * hangs: the descriptor stays until the peer closes (measured). So the network meets a plain TCP listener that bounds
 * connections and their silence, and hands bytes on to the TLS listener on loopback; closing both plain ends frees all.
 *
 * Not here: TLS, HTTP and the token, which the listener behind it does for whoever gets through.
 *
 * @module
 */
import { Deadlines } from "../core/deadlines.ts";

/** What a front takes on. */
export interface FrontLimits {
  /** Open connections, in all and per source address. */
  readonly maxConnections: number;
  readonly maxPerSource: number;
  /** Without a byte in either direction. A stream that rests must send something more often. */
  readonly idleMs: number;
}

/** Administrators are few, and each command is one short connection. */
export const FRONT_LIMITS: FrontLimits = { maxConnections: 128, maxPerSource: 32, idleMs: 60_000 };

/**
 * Passes connections of `listener` on to a port on loopback. Owns the listener. Disposing closes it and every connection.
 *
 * @param backPort asked for each connection; must not reject
 */
export function startFront(
  listener: Deno.TcpListener,
  backPort: () => Promise<number>,
  limits: FrontLimits,
): AsyncDisposable {
  const open = new Set<() => void>();
  const perSource = new Map<string, number>();
  const deadlines = new Deadlines();

  const pass = async (front: Deno.TcpConn, source: string) => {
    const close = () => {
      closeQuietly(front);
      back?.then(closeQuietly, () => {});
    };
    const back = backPort().then((port) => Deno.connect({ hostname: "127.0.0.1", port }));
    const idle = deadlines.start(limits.idleMs, close);
    open.add(close);
    perSource.set(source, (perSource.get(source) ?? 0) + 1);
    const touch = () => idle.restart(limits.idleMs);
    try {
      const inner = await back;
      await Promise.all([pump(front, inner, touch), pump(inner, front, touch)]);
    } catch {
      // One end was reset or closed: so is the other.
    } finally {
      idle.stop();
      close();
      open.delete(close);
      const left = (perSource.get(source) ?? 1) - 1;
      if (left > 0) perSource.set(source, left);
      else perSource.delete(source);
    }
  };

  const accepting = (async () => {
    const passing = new Set<Promise<void>>();
    for await (const front of listener) {
      const source = front.remoteAddr.hostname;
      if (open.size >= limits.maxConnections || (perSource.get(source) ?? 0) >= limits.maxPerSource) {
        closeQuietly(front);
        continue;
      }
      const passed: Promise<void> = pass(front, source).finally(() => passing.delete(passed));
      passing.add(passed);
    }
    await Promise.all(passing);
  })();

  return {
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const close of open) close();
      await accepting;
    },
  };
}

async function pump(from: Deno.TcpConn, to: Deno.TcpConn, touch: () => void): Promise<void> {
  const buffer = new Uint8Array(16_384);
  for (;;) {
    const length = await from.read(buffer);
    touch();
    if (length === null) return await to.closeWrite();
    for (let at = 0; at < length;) at += await to.write(buffer.subarray(at, length));
  }
}

function closeQuietly(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // Closed already: the deadline, the peer and the end of the API may all have been first.
  }
}
