/**
 * The upstream of the soak, a process of its own: answers, streams, stalls, dies in the middle, as the path asks. Takes the
 * folder for its certificate as argument; prints its ports.
 */
import { Deadlines } from "../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { H2 } from "../../proxy/http2/error.ts";
import { startHttp2Server } from "../../proxy/http2/server.ts";
import type { Http2ServerConnection, Http2ServerStream } from "../../proxy/http2/types.ts";
import { ByteReader } from "../../proxy/streams/byte_reader.ts";
import { SocketStream } from "../../proxy/streams/socket_stream.ts";
import { makeAuthority } from "../support/test_authority.ts";
import { RawPeer } from "../support/raw_peer.ts";

const [dir = "."] = Deno.args;
const ca = await makeAuthority("soak-upstream");
await Deno.writeTextFile(`${dir}/upstream-ca.pem`, ca.caPem);
const { certPem, keyPem } = await ca.issue(["localhost", "127.0.0.1"]);

const tls = Deno.listenTls({
  hostname: "127.0.0.1",
  port: 0,
  cert: certPem,
  key: keyPem,
  alpnProtocols: ["http/1.1"],
});
const h2 = Deno.listenTls({
  hostname: "127.0.0.1",
  port: 0,
  cert: certPem,
  key: keyPem,
  alpnProtocols: ["h2"],
});
const tcp = Deno.listen({ hostname: "127.0.0.1", port: 0 });
await Deno.stdout.write(
  new TextEncoder().encode(
    JSON.stringify({
      tls: tls.addr.port,
      h2: h2.addr.port,
      tcp: (tcp.addr as Deno.NetAddr).port,
    }) + "\n",
  ),
);

const BODY = "x".repeat(1_024);

async function serveHttp(peer: RawPeer): Promise<void> {
  for (;;) {
    const head = await peer.readHead();
    const path = head.split(" ")[1] ?? "/";
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    if (path === "/die-early") return;
    if (length > 0) await peer.readBytes(length);
    if (path === "/stall") await new Promise((resolve) => setTimeout(resolve, 600_000));
    else if (path === "/die") {
      await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n${BODY}`);
      return;
    } else if (path === "/stream") {
      await peer.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
      );
      for (let i = 0; i < 5; i++) {
        await peer.send("8\r\ndata: 1\n\r\n");
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await peer.send("0\r\n\r\n");
    } else if (path === "/upgrade") {
      await peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
      );
      await echo(peer);
      return;
    } else await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`);
  }
}

const deadlines = new Deadlines();

async function serveHttp2(): Promise<void> {
  for await (const conn of h2) {
    const stream = new SocketStream(conn);
    const connection = startHttp2Server({
      ...{ stream, reader: new ByteReader(stream), limits: DEFAULT_LIMITS, deadlines },
      onRequest: (request) => answer(request, connection),
    });
  }
}

async function answer(stream: Http2ServerStream, connection: Http2ServerConnection): Promise<void> {
  const { path } = stream.head;
  if (path === "/refuse") return stream.reset(H2.REFUSED_STREAM);
  if (path === "/goaway") connection.shutDown();
  if (path === "/close") return connection.close(H2.INTERNAL_ERROR);
  if (path === "/stall") return await new Promise((resolve) => stream.onReset = () => resolve());
  stream.respond({ status: 200, fields: [] });
  if (path === "/die") {
    await stream.write(new Uint8Array(1_024));
    return stream.reset(H2.INTERNAL_ERROR);
  }
  while (await stream.fill()) {
    const piece = stream.available;
    await stream.write(piece);
    stream.consume(piece.length);
  }
  stream.end([{ key: "x-check", value: "whole" }]);
}

async function echo(peer: RawPeer): Promise<void> {
  for (;;) await peer.send(await peer.readBytes(4));
}

async function accept(listener: Deno.Listener, serve: (peer: RawPeer) => Promise<void>): Promise<void> {
  for await (const conn of listener) {
    const peer = new RawPeer(conn);
    serve(peer).catch(() => {}).finally(() => peer[Symbol.dispose]());
  }
}

await Promise.all([accept(tls, serveHttp), accept(tcp, echo), serveHttp2()]);
