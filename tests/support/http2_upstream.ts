/** An HTTPS upstream that speaks HTTP/2, HTTP/1.1 or both, and says what it was asked. */
import { Deadlines } from "../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { hasNativeCalls } from "../../core/native.ts";
import { startHttp2Server } from "../../proxy/http2/server.ts";
import type { Http2ServerConnection, Http2ServerStream } from "../../proxy/http2/types.ts";
import { ByteReader, closeQuietly } from "../../proxy/streams/byte_reader.ts";
import { SocketStream } from "../../proxy/streams/socket_stream.ts";
import { upstreamAuthority } from "./test_authority.ts";

// Opens the C library here: it stays open for the process, which the sanitizer would count against the first test.
hasNativeCalls();

export interface Http2Upstream extends AsyncDisposable {
  readonly port: number;
  /** Connections that were accepted. */
  readonly connections: number;
  /** `METHOD PATH authorization` of every request. */
  readonly requests: readonly string[];
}

/** Starts it. Without a handler it answers with the request line and its authorization. */
export async function startHttp2Upstream(
  {
    alpn = ["h2", "http/1.1"],
    handle = answer,
    port = 0,
    hasExtendedConnect = false,
    isClear = false,
    names = ["up.test"],
  }: {
    readonly alpn?: readonly string[];
    readonly handle?: (stream: Http2ServerStream, connection: Http2ServerConnection) => Promise<void>;
    /** Where another one has listened before. */
    readonly port?: number;
    readonly hasExtendedConnect?: boolean;
    /** Without TLS: HTTP/2 is all that it speaks. */
    readonly isClear?: boolean;
    /** Of its certificate. */
    readonly names?: readonly string[];
  } = {},
): Promise<Http2Upstream> {
  const { certPem: cert, keyPem: key } = await (await upstreamAuthority()).issue([...names]);
  const place = { hostname: "127.0.0.1", port };
  const listener: Deno.Listener<Deno.TcpConn | Deno.TlsConn, Deno.NetAddr> = isClear
    ? Deno.listen(place)
    : Deno.listenTls({ ...place, cert, key, alpnProtocols: [...alpn] });
  const requests: string[] = [];
  const open = new Set<() => void>();
  const serving = new Set<Promise<void>>();
  let connections = 0;
  const serve = async (conn: Deno.TcpConn | Deno.TlsConn) => {
    const alpnProtocol = "handshake" in conn ? (await conn.handshake()).alpnProtocol : "h2";
    connections++;
    const stream = new SocketStream(conn);
    const reader = new ByteReader(stream);
    if (alpnProtocol === "h2") {
      const connection = startHttp2Server({
        stream,
        reader,
        limits: DEFAULT_LIMITS,
        deadlines: new Deadlines(),
        hasExtendedConnect,
        onRequest: async (request) => {
          requests.push(lineOf(request));
          await handle(request, connection);
        },
      });
      open.add(() => connection.close());
      await connection.closed;
      return;
    }
    open.add(() => closeQuietly(conn));
    const body = new TextEncoder().encode("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nHTTP/1.1");
    while (await reader.fill()) {
      reader.consume(reader.size);
      await conn.write(body);
    }
    conn.close();
  };
  const accepting = (async () => {
    for await (const conn of listener) {
      const served = serve(conn).catch(() => closeQuietly(conn)).finally(() => serving.delete(served));
      serving.add(served);
    }
  })().catch(() => {});
  return {
    port: listener.addr.port,
    get connections() {
      return connections;
    },
    requests,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const close of open) close();
      await accepting;
      await Promise.all(serving);
    },
  };
}

function lineOf({ head: { method, path, fields } }: Http2ServerStream): string {
  const authorization = fields.find(({ key }) => key === "authorization")?.value ?? "-";
  return `${method} ${path} ${authorization}`;
}

/** What was sent, and trailers behind it. */
async function answer(stream: Http2ServerStream): Promise<void> {
  stream.respond({ status: 200, fields: [{ key: "content-type", value: "text/plain" }] });
  while (await stream.fill()) {
    const piece = stream.available;
    await stream.write(piece);
    stream.consume(piece.length);
  }
  await stream.write(new TextEncoder().encode(lineOf(stream)));
  stream.end([{ key: "x-check", value: "whole" }]);
}
