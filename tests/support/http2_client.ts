/** A client that speaks HTTP/2 inside a tunnel, frame by frame what a library would hide. */
import { Deadlines } from "../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { startHttp2Client } from "../../proxy/http2/client.ts";
import type { Http2ClientConnection, Http2ClientStream, SendableField } from "../../proxy/http2/types.ts";
import { ByteReader } from "../../proxy/streams/byte_reader.ts";
import { SocketStream } from "../../proxy/streams/socket_stream.ts";
import { openTunnel } from "./raw_peer.ts";
import { type TestProxy, TOKEN } from "./start_proxy.ts";

/** What a stream was answered, whole. */
export interface Answer {
  readonly status: number;
  readonly fields: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Http2TestClient extends AsyncDisposable {
  /** What the proxy has picked of `h2` and `http/1.1`. */
  readonly protocol: string | null;
  readonly connection: Http2ClientConnection;
  /** Opens a stream to the tunnel's host. */
  open(path: string, more?: StreamOptions): Promise<Http2ClientStream>;
  /** A whole request and its answer. */
  ask(path: string, more?: StreamOptions): Promise<Answer>;
}

export interface StreamOptions {
  readonly method?: string;
  /** `:protocol` of an Extended CONNECT. */
  readonly protocol?: string;
  readonly fields?: readonly SendableField[];
  /** The request has no body. Default for all but an Extended CONNECT. */
  readonly end?: boolean;
}

/** Opens a tunnel to `target` (host:port), with TLS in it unless `isClear`, as the client `one` or whose token it is. */
export async function openHttp2(
  proxy: TestProxy,
  target: string,
  { isClear = false, token = TOKEN }: { readonly isClear?: boolean; readonly token?: string } = {},
): Promise<Http2TestClient> {
  const tunnel = await openTunnel(proxy.httpPort, target, token);
  let conn = tunnel.conn as Deno.TcpConn | Deno.TlsConn;
  let protocol: string | null = null;
  if (!isClear) {
    const hostname = target.slice(0, target.lastIndexOf(":"));
    const tls = await Deno.startTls(conn as Deno.TcpConn, {
      hostname,
      caCerts: [proxy.caPem],
      alpnProtocols: ["h2", "http/1.1"],
    });
    protocol = (await tls.handshake()).alpnProtocol;
    conn = tls;
  }
  const stream = new SocketStream(conn);
  const connection = startHttp2Client({
    stream,
    reader: new ByteReader(stream),
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
  });
  const open = (path: string, { method = "GET", protocol, fields = [], end }: StreamOptions = {}) =>
    connection.openStream(() => ({
      method: protocol === undefined ? method : "CONNECT",
      scheme: isClear ? "http" : "https",
      authority: target,
      path,
      protocol,
      fields,
    }), { end: end ?? protocol === undefined });
  return {
    protocol,
    connection,
    open,
    ask: async (path, more) => answerOf(await open(path, more)),
    [Symbol.asyncDispose]: async () => {
      connection.close();
      await connection.closed;
    },
  };
}

/** Reads an answer to its end. */
export async function answerOf(stream: Http2ClientStream): Promise<Answer> {
  const { status, fields } = await stream.response();
  let body = "";
  while (await stream.fill()) {
    body += new TextDecoder("latin1").decode(stream.available);
    stream.consume(stream.available.length);
  }
  return { status, fields: Object.fromEntries(fields.map(({ key, value }) => [key, value])), body };
}
