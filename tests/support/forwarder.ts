/**
 * Local ports that lead somewhere else, as a helper in a VM makes them: to the proxy's TLS port, through CONNECT, through
 * SOCKS. None of the proxy's own code.
 */

/** Opens the far side for one connection that came in. */
export type OpenFar = () => Promise<Deno.Conn>;

/** A listening forwarder. */
export interface Forwarder extends AsyncDisposable {
  readonly port: number;
}

/**
 * Joins every connection to one that `open` makes, half-close kept.
 *
 * @param isSlow sends each byte to the far side on its own
 * @param change may change what goes to the far side, in place
 */
export function startForwarder(
  open: OpenFar,
  { isSlow = false, change = () => {} }: {
    readonly isSlow?: boolean;
    readonly change?: (bytes: Uint8Array) => void;
  } = {},
): Forwarder {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const conns = new Set<Deno.Conn>();
  const work = new Set<Promise<void>>();
  const join = async (near: Deno.Conn) => {
    conns.add(near);
    let far: Deno.Conn | undefined;
    try {
      far = await open();
      conns.add(far);
      await Promise.all([copy(near, far, isSlow ? 1 : Infinity, change), copy(far, near)]);
    } catch {
      // the far side cannot be had: the near one is closed
    }
    for (const conn of [near, far]) {
      if (!conn) continue;
      conns.delete(conn);
      close(conn);
    }
  };
  const accepting = (async () => {
    try {
      for (;;) {
        const task = join(await listener.accept()).finally(() => work.delete(task));
        work.add(task);
      }
    } catch {
      // closed
    }
  })();
  return {
    port: listener.addr.port,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      await accepting;
      conns.forEach(close);
      await Promise.all(work);
    },
  };
}

/** A port in clear that leads to a TLS port: what is spoken to it is spoken inside TLS. */
export function startTlsWrap(port: number, caPem: string): Forwarder {
  return startForwarder(async () => {
    const tls = await Deno.connectTls({ hostname: "localhost", port, caCerts: [caPem] });
    try {
      await tls.handshake();
      return tls;
    } catch (error) {
      close(tls);
      throw error;
    }
  });
}

async function copy(
  from: Deno.Conn,
  to: Deno.Conn,
  most = Infinity,
  change: (bytes: Uint8Array) => void = () => {},
): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
      change(buffer.subarray(0, count));
      for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, Math.min(count, at + most)));
    }
  } catch {
    // reset: the other side gets an end
  }
  await to.closeWrite().catch(() => {});
}

function close(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // closed before
  }
}
