/**
 * A connection as a byte stream whose `close()` ends it in any state. The runtime keeps the descriptor of a connection that
 * is closed under a blocked write until the peer reads or closes: of TLS always, of TCP before Deno 2.9. A peer that reads
 * nothing could hold tunnels so for ever.
 *
 * Not here: what the bytes mean.
 *
 * @module
 */
import { shutdownSocket } from "../../core/native.ts";
import type { ByteStream } from "./byte_reader.ts";

/** See the module. Reads and writes are the connection's own. */
export class SocketStream implements ByteStream {
  readonly #conn: Deno.TcpConn | Deno.TlsConn;
  #writing = 0;
  /** Made once, not for each write. */
  readonly #wrote = (count: number): number => {
    this.#writing--;
    return count;
  };
  readonly #failed = (error: unknown): never => {
    this.#writing--;
    throw error;
  };

  constructor(conn: Deno.TcpConn | Deno.TlsConn) {
    this.#conn = conn;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#conn.read(into);
  }

  write(bytes: Uint8Array): Promise<number> {
    this.#writing++;
    return this.#conn.write(bytes).then(this.#wrote, this.#failed);
  }

  async closeWrite(): Promise<void> {
    this.#writing++;
    try {
      await this.#conn.closeWrite();
    } finally {
      this.#writing--;
    }
  }

  /** Finding the descriptor costs a search, which is only made under a write. Throws when it is closed already. */
  close(): void {
    if (this.#writing > 0) {
      shutdownSocket(this.#conn.localAddr as Deno.NetAddr, this.#conn.remoteAddr as Deno.NetAddr);
    }
    this.#conn.close();
  }
}
