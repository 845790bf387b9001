/**
 * What stands before the API's TCP listener. The network meets a plain listener of ours that bounds connections and their
 * silence, and hands bytes on to a listener of the runtime on loopback; closing both plain ends frees all. The runtime's own
 * listener bounds nothing, and a TLS connection of Deno cannot be closed while a handshake hangs: the descriptor stays until
 * the peer closes (measured).
 *
 * A connection is a newcomer until a call on it has shown the token or a session: newcomers have a time for that, and a
 * share of the places, so that nobody without a token keeps an operator out.
 *
 * Not here: TLS, HTTP and the token, which the listener behind it does for whoever gets through.
 *
 * @module
 */
import { type Accepting, startAccepting } from "../core/accept_loop.ts";
import { Deadlines } from "../core/deadlines.ts";
import { messageOf } from "../core/errors.ts";
import { formatHostPort } from "../core/host_port.ts";
import { Newcomers, sourceOf } from "../core/newcomers.ts";
import type { ApiLog } from "./control.ts";

/** What a front takes on. */
export interface FrontLimits {
  /** Open connections, newcomers included. */
  readonly maxConnections: number;
  /** Newcomers, in all and per source. At either limit the oldest makes room. */
  readonly maxNewcomers: number;
  readonly maxNewcomersPerSource: number;
  /** From accept to the first call that is let in. */
  readonly newcomerMs: number;
  /** Without a byte in either direction. A stream that rests must send something more often. */
  readonly idleMs: number;
}

/** Administrators are few, and each command is one short connection. */
export const FRONT_LIMITS: FrontLimits = {
  maxConnections: 128,
  maxNewcomers: 64,
  maxNewcomersPerSource: 32,
  newcomerMs: 15_000,
  idleMs: 60_000,
};

/** A running front. Disposing closes its listener and every connection. */
export interface Front extends AsyncDisposable {
  /** The connection that comes to the listener behind it from `peer` is no newcomer any more. */
  admit(peer: Deno.Addr): void;
}

/** See {@linkcode startFront}. */
export interface FrontOptions {
  /** Where to hand on to, asked for each connection; must not reject. */
  readonly backPort: () => Promise<number>;
  readonly limits: FrontLimits;
  readonly log: ApiLog;
}

/** Passes connections of `listener` on to a port on loopback. Owns the listener. */
export function startFront(listener: Deno.TcpListener, options: FrontOptions): Front {
  return new RunningFront(listener, options);
}

class RunningFront implements Front {
  readonly #options: FrontOptions;
  readonly #accepting: Accepting;
  readonly #deadlines = new Deadlines();
  readonly #newcomers = new Newcomers();
  readonly #open = new Set<() => void>();
  readonly #passing = new Set<Promise<void>>();
  /** By the port from which we dialled the listener behind. */
  readonly #admit = new Map<number, () => void>();

  constructor(listener: Deno.TcpListener, options: FrontOptions) {
    this.#options = options;
    const { hostname: host, port } = listener.addr as Deno.NetAddr;
    this.#accepting = startAccepting(listener, {
      name: `${formatHostPort({ host, port })} (API)`,
      serve: (conn) => this.#take(conn),
      onServeError: (error) => options.log.error(`Cannot take a connection: ${messageOf(error)}`),
      warn: (line) => options.log.error(line),
    });
  }

  admit(peer: Deno.Addr): void {
    if (peer.transport === "tcp" && peer.hostname === BACK) this.#admit.get(peer.port)?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#accepting[Symbol.asyncDispose]();
    for (const close of this.#open) close();
    await Promise.all(this.#passing);
  }

  #take(conn: Deno.TcpConn): void {
    const source = sourceOf((conn.remoteAddr as Deno.NetAddr).hostname);
    if (!this.#makeRoom(source)) return closeQuietly(conn);
    const passed: Promise<void> = this.#pass(conn, source).finally(() => this.#passing.delete(passed));
    this.#passing.add(passed);
  }

  /** False when every place is an operator's. */
  #makeRoom(source: string): boolean {
    const { maxConnections, maxNewcomers, maxNewcomersPerSource } = this.#options.limits;
    if (this.#newcomers.countOf(source) >= maxNewcomersPerSource) this.#newcomers.endOldest(source);
    else if (this.#newcomers.size >= maxNewcomers) this.#newcomers.endOldest();
    return this.#open.size < maxConnections || this.#newcomers.endOldest();
  }

  async #pass(outer: Deno.TcpConn, source: string): Promise<void> {
    const { backPort, limits } = this.#options;
    const ends = new Set([outer]);
    let isClosed = false;
    const close = () => {
      isClosed = true;
      this.#open.delete(close);
      for (const end of ends) closeQuietly(end);
    };
    this.#open.add(close);
    const grown = this.#newcomers.add(source, close);
    const known = this.#deadlines.start(limits.newcomerMs, close);
    const idle = this.#deadlines.start(limits.idleMs, close);
    const touch = () => idle.restart(limits.idleMs);
    let from = 0;
    try {
      const inner = await Deno.connect({ hostname: BACK, port: await backPort() });
      ends.add(inner);
      if (isClosed) return;
      from = (inner.localAddr as Deno.NetAddr).port;
      this.#admit.set(from, () => {
        known.stop();
        grown();
      });
      await Promise.all([pump(outer, inner, touch), pump(inner, outer, touch)]);
    } catch {
      // One end was reset or closed: so is the other.
    } finally {
      known.stop();
      idle.stop();
      grown();
      this.#admit.delete(from);
      close();
    }
  }
}

/** Where the listener behind a front is. */
const BACK = "127.0.0.1";

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
