/**
 * Connections that the firewall has turned to us, from programs that know nothing of a proxy. The name that the program
 * itself sends, in its ClientHello or its Host header, says where to; the address that it dialled is never used. The
 * proxy's policy decides about that name, so nothing is gained by lying here.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { isTlsRecord, parseClientHello } from "../core/client_hello.ts";
import { isProxyError, messageOf, ProxyError } from "../core/errors.ts";
import { quoteText } from "../core/escape.ts";
import { formatHostPort, type HostPort, isIpLiteral, parseAuthority, parseHost } from "../core/host_port.ts";
import { fieldOf, formatPlainResponse, readHttpHead } from "./http.ts";
import { closeQuietly, openTunnel, type ProxyAccess, type Refusal, writeAll } from "./proxy_link.ts";
import { relay } from "./relay.ts";

/** What serving needs. */
export interface ServeOptions {
  /** Read for every connection: a changed token counts at once. */
  readonly access: () => ProxyAccess;
  readonly log: (line: string) => void;
  /** Tests pass a smaller one. */
  readonly firstBytesTimeoutMs?: number;
}

const FIRST_BYTES_TIMEOUT_MS = 15_000;
const MAX_CLIENT_HELLO_BYTES = 65_536;

/** Alerts (RFC 8446 §6) that clients show: curl says "tlsv1 alert access denied". */
const ALERT = { accessDenied: 49, internalError: 80, unrecognizedName: 112, unexpectedMessage: 10 } as const;

/** Serves a connection that was meant for port 443. */
export async function serveHttps(conn: Deno.TcpConn, options: ServeOptions): Promise<void> {
  const first = await inTime(conn, options, () => readHello(conn));
  if (!first) return closeQuietly(conn);
  const { bytes, serverName } = first;
  const host = serverName === undefined ? undefined : parseHost(serverName);
  if (host === undefined || isIpLiteral(host)) {
    options.log(
      serverName === undefined
        ? "refused a TLS connection to port 443: its ClientHello names no host"
        : `refused a TLS connection to port 443: ${quoteText(serverName, 80)} is no host name`,
    );
    return await alert(conn, bytes.length === 0 ? ALERT.unexpectedMessage : ALERT.unrecognizedName);
  }
  const target = { host, port: 443 };
  const opened = await open(target, options);
  if ("refusal" in opened) {
    return await alert(conn, opened.refusal.status === 403 ? ALERT.accessDenied : ALERT.internalError);
  }
  await relay(conn, opened.conn, { toB: bytes, toA: opened.first });
}

/** Serves a connection that was meant for port 80. */
export async function serveHttp(conn: Deno.TcpConn, options: ServeOptions): Promise<void> {
  const message = await inTime(conn, options, () => readHttpHead(conn));
  if (!message) return closeQuietly(conn);
  const { head, rest } = message;
  const name = fieldOf(head, "host");
  const place = name === undefined ? undefined : parseAuthority(name, 80);
  if (!place) {
    options.log("refused a connection to port 80: its request has not exactly one Host header");
    return await answer(conn, {
      status: 400,
      reason: "malformed",
      text: "slicer-proxy-agent: the request needs exactly one Host header",
    });
  }
  const target = { host: place.host, port: 80 };
  const opened = await open(target, options);
  if ("refusal" in opened) return await answer(conn, opened.refusal);
  const request = Buffer.concat([Buffer.from(head, "latin1"), rest]);
  await relay(conn, opened.conn, { toB: request, toA: opened.first });
}

/** Opens a tunnel; what goes wrong is logged and comes back as a refusal with words for people. */
export async function open(
  target: HostPort,
  { access, log }: ServeOptions,
): ReturnType<typeof openTunnel> {
  const fail = (refusal: Refusal) => {
    log(`refused ${formatHostPort(target)}: ${refusal.reason}`);
    return { refusal };
  };
  try {
    const opened = await openTunnel(access(), target);
    return "refusal" in opened ? fail(forProgram(opened.refusal)) : opened;
  } catch (error) {
    if (!isProxyError(error)) throw error;
    const { code, message } = error;
    const status = code === "upstream.timeout" ? 504 : 502;
    return fail({ status, reason: code, text: `slicer-proxy-agent: ${message}` });
  }
}

/** A program that knows no proxy must not be asked to log in to one. */
export function forProgram(refusal: Refusal): Refusal {
  if (refusal.status !== 407) return refusal;
  return {
    status: 403,
    reason: refusal.reason,
    text: "slicer-proxy-agent: the proxy does not know this VM's token\n\n" +
      "As root: slicer-proxy-agent proxy install PROXY_IP --token TOKEN",
  };
}

async function readHello(
  conn: Deno.TcpConn,
): Promise<{ readonly bytes: Uint8Array; readonly serverName: string | undefined }> {
  let bytes = new Uint8Array(0);
  const buffer = new Uint8Array(16_384);
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) throw new ProxyError("client.closed", "Cannot read the ClientHello: it is cut short");
    bytes = new Uint8Array(Buffer.concat([bytes, buffer.subarray(0, count)]));
    if (!isTlsRecord(bytes[0])) return { bytes: new Uint8Array(0), serverName: undefined };
    const hello = parseClientHello(bytes);
    if (hello) return { bytes, serverName: hello.serverName };
    if (bytes.length > MAX_CLIENT_HELLO_BYTES) {
      throw new ProxyError("client.malformed", "Cannot read the ClientHello: it is too large");
    }
  }
}

/** What `read` finds, or undefined when it fails or takes too long; the reason is logged. */
async function inTime<T>(
  conn: Deno.TcpConn,
  { log, firstBytesTimeoutMs = FIRST_BYTES_TIMEOUT_MS }: ServeOptions,
  read: () => Promise<T>,
): Promise<T | undefined> {
  const timer = setTimeout(() => closeQuietly(conn), firstBytesTimeoutMs);
  try {
    return await read();
  } catch (error) {
    if (error instanceof ProxyError && error.code === "client.malformed") log(messageOf(error));
    return undefined; // closed before it said anything: probes and browsers do that all the time
  } finally {
    clearTimeout(timer);
  }
}

async function alert(conn: Deno.TcpConn, description: number): Promise<void> {
  await finish(conn, new Uint8Array([0x15, 3, 3, 0, 2, 2, description]));
}

async function answer(conn: Deno.TcpConn, { status, reason, text }: Refusal): Promise<void> {
  await finish(conn, formatPlainResponse(status, reason, text));
}

/** Writes the last bytes, and reads on for a moment, so that unread ones do not reset the connection under them. */
export async function finish(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  const timer = setTimeout(() => closeQuietly(conn), 1_000);
  try {
    await writeAll(conn, bytes);
    await conn.closeWrite();
    const buffer = new Uint8Array(16_384);
    while (await conn.read(buffer) !== null);
  } catch {
    // The program is gone.
  } finally {
    clearTimeout(timer);
    closeQuietly(conn);
  }
}
