/**
 * The upstreams of the attacks, a process of their own. Over HTTP/1.1 every request is answered with 1 KiB, and, as with many
 * servers, no notice is taken of a body on a request that needs none: what stands there is read as the next request. Request
 * lines go to `seen.txt`. Over HTTP/2 `/large` has 1 MiB, `/open` no answer before its body has ended, and `/late` none at all.
 * Its name server says of half of all names that there are none, and nothing of the rest. Takes the folder for its files; prints
 * its ports.
 */
import { Deadlines } from "../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { startHttp2Server } from "../../proxy/http2/server.ts";
import type { Http2ServerStream } from "../../proxy/http2/types.ts";
import { ByteReader, closeQuietly } from "../../proxy/streams/byte_reader.ts";
import { SocketStream } from "../../proxy/streams/socket_stream.ts";
import { makeAuthority } from "../support/test_authority.ts";
import { reply, startNameServer } from "../support/name_server.ts";
import { RawPeer } from "../support/raw_peer.ts";

const [dir = "."] = Deno.args;
const ca = await makeAuthority("attack-upstream");
await Deno.writeTextFile(`${dir}/upstream-ca.pem`, ca.caPem);
const { certPem, keyPem } = await ca.issue(["localhost", "127.0.0.1"]);
const seen = await Deno.open(`${dir}/seen.txt`, { create: true, append: true });

const address = { hostname: "127.0.0.1", port: 0 };
const tls = Deno.listenTls({ ...address, cert: certPem, key: keyPem, alpnProtocols: ["http/1.1"] });
const clear = Deno.listen(address);
const http2 = Deno.listenTls({ ...address, cert: certPem, key: keyPem, alpnProtocols: ["h2"] });
const names = startNameServer((asked) =>
  (asked.bytes[1] ?? 0) % 2 === 0 ? undefined : reply(asked, { rcode: 3 })
);
const endless = new Worker(new URL("./endless.ts", import.meta.url), { type: "module" }); // it takes all of a thread's turns
const bulk = await new Promise<number>((resolve) => endless.onmessage = ({ data }) => resolve(data));
const ports = {
  bulk,
  names: names.port,
  tls: tls.addr.port,
  clear: (clear.addr as Deno.NetAddr).port,
  http2: http2.addr.port,
};
await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(ports)}\n`));

const ANSWER = `HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n${"x".repeat(1_024)}`;

async function serve(peer: RawPeer): Promise<void> {
  for (;;) {
    const head = await peer.readHead();
    const line = head.slice(0, Math.min(head.indexOf("\r\n"), 500));
    if (!line.includes(" /i/")) seen.writeSync(new TextEncoder().encode(`${line}\n`));
    if (/\r\nx_|\r\nx-http-method-override/i.test(head)) {
      seen.writeSync(new TextEncoder().encode(`OVERRIDE ${line}\n`));
    }
    const length = /^(POST|PUT)/.test(line) ? Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0) : 0;
    if (length > 0) await peer.readBytes(length);
    await peer.send(ANSWER);
  }
}

async function accept(listener: Deno.Listener): Promise<void> {
  for await (const conn of listener) {
    const peer = new RawPeer(conn);
    serve(peer).catch(() => {}).finally(() => peer[Symbol.dispose]());
  }
}

async function serveHttp2(conn: Deno.TlsConn): Promise<void> {
  await conn.handshake();
  const stream = new SocketStream(conn);
  const { closed } = startHttp2Server({
    stream,
    reader: new ByteReader(stream),
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
    onRequest: answerHttp2,
  });
  await closed;
}

async function answerHttp2(stream: Http2ServerStream): Promise<void> {
  const { method, path } = stream.head;
  seen.writeSync(new TextEncoder().encode(`HTTP/2 ${method} ${path?.slice(0, 500)}\n`));
  if (path === "/late") return await new Promise((resolve) => stream.onReset = () => resolve());
  while (path === "/open" && await stream.fill()) stream.consume(stream.available.length);
  stream.respond({ status: 200, fields: [] });
  const piece = new Uint8Array(1_024);
  for (let sent = 0; sent < (path === "/large" ? 1_024 : 1); sent++) await stream.write(piece);
  stream.end();
}

async function acceptHttp2(): Promise<void> {
  for await (const conn of http2) serveHttp2(conn).catch(() => closeQuietly(conn)); // resets are what attacks do
}

await Promise.all([accept(tls), accept(clear), acceptHttp2()]);
