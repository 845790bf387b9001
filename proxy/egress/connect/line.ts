/**
 * An open line to a peer, and the way from any of them to a connection of the runtime: only on such a one can it speak TLS.
 * What is none is spliced to one over loopback, as `../../tls/loopback.ts` does on the other side. `node:tls` over a stream
 * would save the hop; on Deno 2.7 it breaks (`Bad resource ID`).
 *
 * Not here: opening lines (`connector.ts`, `../parents/parent_way.ts`).
 *
 * @module
 */
import type { Deadlines } from "../../../core/deadlines.ts";
import { ProxyError } from "../../../core/errors.ts";
import type { Limits } from "../../../core/limits.ts";
import { type ByteStream, closeQuietly } from "../../streams/byte_reader.ts";
import { splice } from "../../streams/splice.ts";

/** See the module. */
export interface Line {
  readonly stream: ByteStream;
  /** The connection below, where the bytes of `stream` are exactly its own. */
  readonly tcp?: Deno.TcpConn | undefined;
}

/** What a splice needs. */
export interface RelayOptions {
  readonly deadlines: Deadlines;
  readonly limits: Pick<Limits, "halfCloseTimeoutMs" | "lingerTimeoutMs" | "connectTimeoutMs">;
}

/** A connection of the runtime whose bytes are those of a line. */
export interface Relayed {
  readonly tcp: Deno.TcpConn;
  /** What was opened for it goes, a moment later. To be called when `tcp`, or what was made of it, is closed. */
  readonly end: () => void;
}

/**
 * The line as a connection of the runtime. Takes it over: it is closed when this fails.
 *
 * @throws ProxyError `limit.reached`, or the signal's reason
 */
export async function asTcp(line: Line, options: RelayOptions, signal: AbortSignal): Promise<Relayed> {
  if (line.tcp) return { tcp: line.tcp, end: () => {} };
  let door: LoopbackDoor | undefined;
  let tcp: Deno.TcpConn | undefined;
  try {
    door = new LoopbackDoor();
    tcp = await Deno.connect({ hostname: "127.0.0.1", port: door.port, signal });
    tcp.setNoDelay(true);
    return { tcp, end: await door.join(line.stream, tcp.localAddr as Deno.NetAddr, options) };
  } catch (error) {
    closeQuietly(tcp);
    door?.close();
    closeQuietly(line.stream);
    throw signal.aborted ? signal.reason : noRoom(error);
  }
}

/** Loopback always answers: what keeps us from it is a want of descriptors or ports. */
function noRoom(cause: unknown): ProxyError {
  if (cause instanceof ProxyError) return cause;
  return new ProxyError("limit.reached", "Cannot connect: there is no room to join two connections", {
    cause,
    reason: "overload",
  });
}

/** Local processes that knock before ours is at the head of the queue are turned away, up to so many. */
const MAX_STRANGERS = 64;

/**
 * A listener on loopback for one connection of our own. Any local process can dial it: only the one whose full 4-tuple is ours
 * is let in.
 */
export class LoopbackDoor {
  readonly #listener: Deno.TcpListener;

  /** @throws ProxyError `limit.reached` */
  constructor() {
    try {
      this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    } catch (cause) {
      throw noRoom(cause);
    }
  }

  get port(): number {
    return (this.#listener.addr as Deno.NetAddr).port;
  }

  /**
   * Joins the connection that was made here to a stream, and closes the door.
   *
   * @param from our own end of that connection
   * @returns ends it: what is under way may leave
   * @throws ProxyError `limit.reached`
   */
  async join(
    stream: ByteStream,
    from: Pick<Deno.NetAddr, "hostname" | "port">,
    { deadlines, limits }: RelayOptions,
  ): Promise<() => void> {
    const deadline = deadlines.start(limits.connectTimeoutMs, () => this.close());
    try {
      const far = await this.#accept(from).catch((error) => Promise.reject(noRoom(error)));
      far.setNoDelay(true);
      const joined = splice(far, stream, {
        deadlines,
        afterATimeoutMs: limits.halfCloseTimeoutMs,
        afterBTimeoutMs: limits.halfCloseTimeoutMs,
      });
      return () => joined.expectEnd(limits.lingerTimeoutMs);
    } finally {
      deadline.stop();
      this.close();
    }
  }

  close(): void {
    closeQuietly(this.#listener);
  }

  async #accept({ hostname, port }: Pick<Deno.NetAddr, "hostname" | "port">): Promise<Deno.TcpConn> {
    for (let strangers = 0; strangers < MAX_STRANGERS; strangers++) {
      const conn = await this.#listener.accept();
      const peer = conn.remoteAddr as Deno.NetAddr;
      if (peer.hostname === hostname && peer.port === port) return conn;
      closeQuietly(conn);
    }
    throw noRoom("other programs flood loopback");
  }
}
