/**
 * A proxy on loopback for programs that do read `HTTPS_PROXY`: it takes no credentials and adds the token on the way to the
 * real one, over TLS. So neither the environment nor Docker's configuration holds the token.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { isProxyError } from "../core/errors.ts";
import { parseAuthority } from "../core/host_port.ts";
import { formatPlainResponse, readHttpHead } from "./http.ts";
import { closeQuietly, dialProxy, proxyAuthorization } from "./proxy_link.ts";
import { relay } from "./relay.ts";
import { finish, open, type ServeOptions } from "./transparent.ts";

const HEAD_TIMEOUT_MS = 15_000;
/** They are about this connection only (RFC 9110 §7.6.1). */
const HOP_HEADERS = /^(proxy-authorization|proxy-connection|connection|keep-alive) *:/i;

/** Serves one connection. */
export async function serveLocalProxy(conn: Deno.TcpConn, options: ServeOptions): Promise<void> {
  const timer = setTimeout(() => closeQuietly(conn), HEAD_TIMEOUT_MS);
  const message = await readHttpHead(conn).catch(() => undefined).finally(() => clearTimeout(timer));
  if (!message) return closeQuietly(conn);
  const { head, rest } = message;
  const [method = "", target = ""] = head.split("\r\n", 1)[0]?.split(" ") ?? [];
  if (method === "CONNECT") return await serveConnect(conn, { target, rest, options });
  if (/^http:\/\//i.test(target)) return await serveRequest(conn, { head, rest, options });
  await finish(
    conn,
    formatPlainResponse(
      400,
      "malformed",
      "slicer-proxy-agent: this is a proxy; send CONNECT or a request for an http URL",
    ),
  );
}

async function serveConnect(
  conn: Deno.TcpConn,
  { target, rest, options }: { target: string; rest: Uint8Array; options: ServeOptions },
): Promise<void> {
  const place = parseAuthority(target);
  if (!place) {
    return await finish(
      conn,
      formatPlainResponse(400, "malformed", "slicer-proxy-agent: CONNECT needs host:port"),
    );
  }
  const opened = await open(place, options);
  if ("refusal" in opened) {
    const { status, reason, text } = opened.refusal;
    return await finish(conn, formatPlainResponse(status, reason, text));
  }
  const established = Buffer.from("HTTP/1.1 200 Connection Established\r\n\r\n", "latin1");
  await relay(conn, opened.conn, { toB: rest, toA: Buffer.concat([established, opened.first]) });
}

/**
 * A request for an http URL. The proxy wants the token with every request, and this file reads no bodies: so each
 * connection carries one request, which both sides are told.
 */
async function serveRequest(
  conn: Deno.TcpConn,
  { head, rest, options }: { head: string; rest: Uint8Array; options: ServeOptions },
): Promise<void> {
  const access = options.access();
  const lines = head.slice(0, -4).split("\r\n").filter((line, i) => i === 0 || !HOP_HEADERS.test(line));
  const request = [
    ...lines,
    `Proxy-Authorization: ${proxyAuthorization(access.token)}`,
    "Connection: close",
    "\r\n",
  ].join("\r\n");
  let upstream: Deno.TlsConn;
  try {
    upstream = await dialProxy(access);
  } catch (error) {
    if (!isProxyError(error)) throw error;
    options.log(`refused a request: ${error.code}`);
    return await finish(conn, formatPlainResponse(502, error.code, `slicer-proxy-agent: ${error.message}`));
  }
  await relay(conn, upstream, { toB: Buffer.concat([Buffer.from(request, "latin1"), rest]) });
}
