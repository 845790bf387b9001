/**
 * The way to the proxy: TLS that is verified, then CONNECT with the token. The token is written to such a connection and to
 * nothing else.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { messageOf, ProxyError } from "../core/errors.ts";
import { formatHost, formatHostPort, type HostPort } from "../core/host_port.ts";
import { readHttpHead, readHttpResponse } from "./http.ts";

/** How to reach the proxy, and as whom. */
export interface ProxyAccess {
  readonly proxy: HostPort;
  /** PEM certificates to verify the proxy with. */
  readonly caPem: string;
  readonly token: string;
}

/** The proxy's answer instead of a tunnel: an HTTP status, its reason word and its text for people. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
  readonly text: string;
}

/** An open tunnel, with bytes of it that were read already; or why there is none. */
export type Opened =
  | { readonly conn: Deno.TlsConn; readonly first: Uint8Array }
  | { readonly refusal: Refusal };

const CONNECT_TIMEOUT_MS = 10_000;
/** The proxy resolves and dials before it answers a CONNECT for a passthrough rule. */
const ANSWER_TIMEOUT_MS = 45_000;

/** The value of a `Proxy-Authorization` header for a token (RFC 7617). */
export function proxyAuthorization(token: string): string {
  return `Basic ${Buffer.from(`proxy:${token}`, "utf8").toString("base64")}`;
}

/**
 * A verified TLS connection to the proxy.
 *
 * @throws ProxyError `upstream.refused`, `upstream.timeout`, `upstream.unreachable`, `upstream.tls`, with a hint
 */
export async function dialProxy({ proxy, caPem }: Omit<ProxyAccess, "token">): Promise<Deno.TlsConn> {
  const where = formatHostPort(proxy);
  const late = new AbortController();
  let tcp: Deno.TcpConn | undefined;
  let tls: Deno.TlsConn | undefined;
  const timer = setTimeout(() => {
    late.abort();
    closeQuietly(tls ?? tcp);
  }, CONNECT_TIMEOUT_MS);
  try {
    tcp = await Deno.connect({ hostname: proxy.host, port: proxy.port, signal: late.signal });
    tcp.setNoDelay(true);
    tls = await Deno.startTls(tcp, { hostname: proxy.host, caCerts: [caPem], alpnProtocols: ["http/1.1"] });
    await tls.handshake();
    return tls;
  } catch (cause) {
    if (!tcp || late.signal.aborted) throw cannotConnect(where, cause, late.signal.aborted);
    closeQuietly(tls ?? tcp);
    throw new ProxyError("upstream.tls", `Cannot trust the proxy at ${where}: ${tlsWords(cause, proxy)}`, {
      cause,
      hint:
        "name the host group's CA with --ca FILE or --ca-sha256 HEX; a proxy that is reached by another " +
        "address needs up --san",
    });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Asks the proxy for a tunnel.
 *
 * @throws ProxyError as {@linkcode dialProxy}, and `upstream.malformed`, `upstream.closed`
 */
export async function openTunnel(access: ProxyAccess, target: HostPort): Promise<Opened> {
  const conn = await dialProxy(access);
  const timer = setTimeout(() => closeQuietly(conn), ANSWER_TIMEOUT_MS);
  try {
    const where = formatHostPort(target);
    await writeAll(
      conn,
      Buffer.from(
        `CONNECT ${where} HTTP/1.1\r\nHost: ${where}\r\n` +
          `Proxy-Authorization: ${proxyAuthorization(access.token)}\r\n\r\n`,
        "latin1",
      ),
    );
    const { head, rest } = await readHttpHead(conn);
    if (/^HTTP\/1\.[01] 2\d\d /.test(head)) return { conn, first: rest };
    const response = await readHttpResponse(conn, { head, rest });
    closeQuietly(conn);
    return {
      refusal: {
        status: response.status,
        reason: response.field("x-slicer-proxy-reason") ?? "refused",
        text: new TextDecoder().decode(response.body).trim(),
      },
    };
  } catch (error) {
    closeQuietly(conn);
    if (error instanceof ProxyError) throw error;
    throw new ProxyError(
      "upstream.closed",
      `Cannot use the proxy at ${formatHostPort(access.proxy)}: ${messageOf(error)}`,
      { cause: error },
    );
  } finally {
    clearTimeout(timer);
  }
}

export async function writeAll(conn: Pick<Deno.Conn, "write">, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
}

/** Closes, and is silent when that has happened before. */
export function closeQuietly(closable: { close(): void } | undefined): void {
  try {
    closable?.close();
  } catch {
    // closed already
  }
}

function cannotConnect(where: string, cause: unknown, isLate: boolean): ProxyError {
  const fail = (code: "upstream.refused" | "upstream.timeout" | "upstream.unreachable", words: string) =>
    new ProxyError(code, `Cannot reach the proxy at ${where}: ${words}`, {
      cause,
      hint:
        "is slicer-proxy up running on the host, bound to this address, and its TLS port open to this VM?",
    });
  if (isLate || cause instanceof Deno.errors.TimedOut) return fail("upstream.timeout", "no answer");
  if (cause instanceof Deno.errors.ConnectionRefused) return fail("upstream.refused", "connection refused");
  return fail("upstream.unreachable", "the network or host cannot be reached");
}

function tlsWords(error: unknown, { host }: HostPort): string {
  const message = messageOf(error);
  if (/UnknownIssuer|CaUsedAsEndEntity/.test(message)) {
    return "its certificate is not signed by a CA that this VM trusts";
  }
  if (/not valid for/i.test(message)) return `its certificate is not valid for ${formatHost(host)}`;
  if (/not valid yet|expired/i.test(message)) {
    return "its certificate is out of date: is this VM's clock right?";
  }
  if (/InvalidContentType|corrupt message/.test(message)) return "this port speaks no TLS";
  return "the TLS handshake failed";
}
