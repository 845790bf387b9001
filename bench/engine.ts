/**
 * The engine of this proxy and nothing else: TLS ended over loopback, upstream connections kept, bytes passed on. It reads heads
 * as far as it needs their end and their length, decides nothing, checks nothing, logs nothing, and trusts everybody. What it
 * costs is what the runtime costs, and what the proxy costs beyond it is the proxy's own (`README.md`).
 *
 * Run by `peer_engine.ts` with: port, the leaf's certificate and key, the upstream's CA and port.
 *
 * @module
 */
const [port = "", certFile = "", keyFile = "", caFile = "", upstreamPort = ""] = Deno.args;
const caCerts = [Deno.readTextFileSync(caFile)];
const tls = Deno.listenTls({
  hostname: "127.0.0.1",
  port: 0,
  cert: Deno.readTextFileSync(certFile),
  key: Deno.readTextFileSync(keyFile),
  alpnProtocols: ["http/1.1"],
});
const encoder = new TextEncoder();
const ESTABLISHED = encoder.encode("HTTP/1.1 200 Connection Established\r\n\r\n");
const END_OF_HEAD = "\r\n\r\n";
const CLOSE = /\r\nconnection: *close(?=\r\n)/i;
const latin1 = new TextDecoder("latin1");
const idle: Deno.TlsConn[] = [];

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(at === 0 ? bytes : bytes.subarray(at));
}

async function pump(from: Deno.Conn, to: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(16_384);
  for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
    await writeAll(to, buffer.subarray(0, count));
  }
}

async function dial(): Promise<Deno.TlsConn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: Number(upstreamPort) });
  conn.setNoDelay(true);
  return await Deno.startTls(conn, { hostname: "localhost", caCerts, alpnProtocols: ["http/1.1"] });
}

/** Copies one message: its head, and as much body as its Content-Length says. False at the end of the stream. */
async function copyMessage(
  from: Deno.Conn,
  buffer: Uint8Array,
  to: () => Promise<Deno.Conn>,
): Promise<boolean> {
  let [size, left] = [0, -1];
  let out: Deno.Conn | undefined;
  while (left !== 0) {
    const count = await from.read(buffer.subarray(size));
    if (count === null) return false;
    size += count;
    if (left < 0) {
      const text = latin1.decode(buffer.subarray(0, size));
      const end = text.indexOf(END_OF_HEAD);
      if (end < 0) continue;
      const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1] ?? 0;
      left = end + END_OF_HEAD.length + Number(length);
      // Said of the hop to us: upstream connections are kept.
      const kept = text.replace(CLOSE, "");
      if (kept.length < text.length) {
        buffer.set(encoder.encode(kept));
        left -= text.length - kept.length;
        size = kept.length;
      }
    }
    out ??= await to();
    await writeAll(out, buffer.subarray(0, size));
    left -= size;
    size = 0;
  }
  return true;
}

async function serveInside(client: Deno.TlsConn): Promise<void> {
  const buffer = new Uint8Array(262_144);
  let upstream: Deno.TlsConn | undefined;
  const take = async () => upstream = idle.pop() ?? await dial();
  while (await copyMessage(client, buffer, take) && upstream) {
    await copyMessage(upstream, buffer, () => Promise.resolve(client));
    idle.push(upstream);
  }
}

async function serve(client: Deno.TcpConn): Promise<void> {
  client.setNoDelay(true);
  await client.read(new Uint8Array(4_096)); // the CONNECT
  await writeAll(client, ESTABLISHED);
  const outer = await Deno.connect({ hostname: "127.0.0.1", port: (tls.addr as Deno.NetAddr).port });
  outer.setNoDelay(true);
  await Promise.all([pump(client, outer).then(() => outer.closeWrite()), pump(outer, client)]);
}

/** A client may go at any time, whatever is under way then. */
function quietly(conn: Deno.Conn, served: Promise<void>): void {
  served.catch(() => {}).finally(() => {
    try {
      conn.close();
    } catch {
      // Closed already.
    }
  });
}

async function serveTls(): Promise<void> {
  for await (const conn of tls) quietly(conn, serveInside(conn));
}

void serveTls();
for await (const conn of Deno.listen({ hostname: "127.0.0.1", port: Number(port), tcpBacklog: 4_096 })) {
  quietly(conn, serve(conn));
}
