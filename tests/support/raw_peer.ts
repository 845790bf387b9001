/** A peer that speaks bytes: for sending what no well-behaved client sends, and seeing exactly what comes back. */
import { Buffer } from "node:buffer";

/** One end of a connection, with a buffer of what was received and not yet taken. */
export class RawPeer implements Disposable {
  readonly conn: Deno.Conn;
  #received = "";
  #ended = false;

  constructor(conn: Deno.Conn) {
    this.conn = conn;
  }

  /** Sends text, one byte a character. */
  async send(text: string): Promise<void> {
    await this.sendBytes(Buffer.from(text, "latin1"));
  }

  async sendBytes(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.conn.write(bytes.subarray(at));
  }

  /** Everything up to and including `mark`. Throws when the connection ends before. */
  async readUntil(mark: string): Promise<string> {
    for (;;) {
      const at = this.#received.indexOf(mark);
      if (at >= 0) return this.#take(at + mark.length);
      if (!await this.#fill()) {
        throw new Error(`ended before ${JSON.stringify(mark)}: ${JSON.stringify(this.#received)}`);
      }
    }
  }

  /** A head with its final empty line. */
  readHead(): Promise<string> {
    return this.readUntil("\r\n\r\n");
  }

  async readBytes(count: number): Promise<string> {
    while (this.#received.length < count) {
      if (!await this.#fill()) throw new Error(`ended after ${this.#received.length} of ${count} bytes`);
    }
    return this.#take(count);
  }

  /** A whole response with a Content-Length or a chunked body. */
  async readResponse(): Promise<{ head: string; status: number; body: string }> {
    const head = await this.readHead();
    const status = Number(head.split(" ")[1]);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    let body = "";
    if (length !== undefined) body = await this.readBytes(Number(length));
    else if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
      for (;;) {
        const size = parseInt(await this.readUntil("\r\n"), 16);
        body += await this.readBytes(size);
        if (size === 0) {
          while (await this.readUntil("\r\n") !== "\r\n");
          break;
        }
        await this.readUntil("\r\n");
      }
    }
    return { head, status, body };
  }

  /** Everything until the end. A TLS end without close_notify, or a reset, throws. */
  async readAll(): Promise<string> {
    while (await this.#fill());
    return this.#take(this.#received.length);
  }

  /** True when the connection ended cleanly or not, without another byte. */
  async isClosed(): Promise<boolean> {
    try {
      return await this.readAll() === "";
    } catch {
      return this.#received === "";
    }
  }

  [Symbol.dispose](): void {
    try {
      this.conn.close();
    } catch {
      // Closed by the test.
    }
  }

  #take(count: number): string {
    const text = this.#received.slice(0, count);
    this.#received = this.#received.slice(count);
    return text;
  }

  async #fill(): Promise<boolean> {
    if (this.#ended) return false;
    const buffer = new Uint8Array(65_536);
    const count = await this.conn.read(buffer);
    if (count === null) this.#ended = true;
    else this.#received += Buffer.from(buffer.subarray(0, count)).toString("latin1");
    return count !== null;
  }
}

/** Connects in clear. */
export async function dialRaw(port: number, hostname = "127.0.0.1"): Promise<RawPeer> {
  return new RawPeer(await Deno.connect({ hostname, port }));
}

/** Connects with TLS, trusting one CA. */
export async function dialTls(port: number, caPem: string, hostname = "localhost"): Promise<RawPeer> {
  return new RawPeer(await Deno.connectTls({ hostname, port, caCerts: [caPem] }));
}

/** The text of a `Basic` proxy credential. */
export function basic(token: string): string {
  return `Basic ${btoa(`proxy:${token}`)}`;
}

/** Opens a CONNECT tunnel and returns the peer after its 200. */
export async function openTunnel(port: number, target: string, token: string): Promise<RawPeer> {
  const peer = await dialRaw(port);
  try {
    await peer.send(
      `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`,
    );
    const head = await peer.readHead();
    if (!head.startsWith("HTTP/1.1 200")) throw new Error(`CONNECT was answered: ${head}`);
    return peer;
  } catch (error) {
    peer[Symbol.dispose]();
    throw error;
  }
}

/** A tunnel with TLS inside, as curl would make it. */
export async function openTlsTunnel(
  port: number,
  target: string,
  token: string,
  caPem: string,
): Promise<RawPeer> {
  const tunnel = await openTunnel(port, target, token);
  const hostname = target.slice(0, target.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  const tls = await Deno.startTls(tunnel.conn as Deno.TcpConn, { hostname, caCerts: [caPem] });
  const peer = new RawPeer(tls);
  try {
    await tls.handshake();
    return peer;
  } catch (error) {
    peer[Symbol.dispose]();
    throw error;
  }
}
