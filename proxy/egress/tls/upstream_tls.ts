/**
 * TLS to an upstream over a connection that is open: its certificate is verified for the host's name, in bounded time.
 *
 * Not here: the connection (`../dialler.ts`), client certificates (`certificate_dial.ts`).
 *
 * @module
 */
import type { Deadlines } from "../../../core/deadlines.ts";
import { messageOf, ProxyError } from "../../../core/errors.ts";
import type { Limits } from "../../../core/limits.ts";
import { shutdownSocket } from "../../../core/native.ts";
import { closeQuietly } from "../../streams/byte_reader.ts";
import { upstreamTlsError } from "../../tls/errors.ts";
import { noCommonProtocol } from "./no_common_protocol.ts";
import type { Alpn } from "../upstream_connection.ts";

/** Whom to expect. */
export interface TlsPeer {
  readonly host: string;
  /** What is offered, in the order of preference. Default: HTTP/1.1 alone. */
  readonly alpn?: readonly Alpn[];
  readonly limits: Pick<Limits, "handshakeTimeoutMs">;
  readonly deadlines: Deadlines;
  readonly caCertsFor: (host: string) => readonly string[];
}

/**
 * Does the handshake. Owns `tcp` from here on: it is closed when this fails.
 *
 * @throws ProxyError `upstream.tls`, `upstream.timeout`, or the signal's reason
 */
export async function startUpstreamTls(
  tcp: Deno.TcpConn,
  { host, alpn = ["http/1.1"], limits, deadlines, caCertsFor }: TlsPeer,
  signal: AbortSignal,
): Promise<{ readonly conn: Deno.TlsConn; readonly protocol: Alpn }> {
  const local = tcp.localAddr as Deno.NetAddr;
  const remote = tcp.remoteAddr as Deno.NetAddr;
  let tls: Deno.TlsConn | undefined;
  let isLate = false;
  const cut = () => {
    shutdownSocket(local, remote); // closing alone would keep the descriptor until the peer closes
    closeQuietly(tls ?? tcp);
  };
  const deadline = deadlines.start(limits.handshakeTimeoutMs, () => {
    isLate = true;
    cut();
  });
  signal.addEventListener("abort", cut);
  try {
    tls = await Deno.startTls(tcp, {
      hostname: host,
      caCerts: [...caCertsFor(host)],
      alpnProtocols: [...alpn],
    });
    const { alpnProtocol } = await tls.handshake();
    const protocol = alpnProtocol === "h2" ? "h2" : "http/1.1";
    if (!alpn.includes(protocol)) throw noCommonProtocol(host);
    return { conn: tls, protocol };
  } catch (error) {
    closeQuietly(tls ?? tcp);
    if (signal.aborted) throw signal.reason;
    if (isLate) {
      throw new ProxyError(
        "upstream.timeout",
        `Cannot connect to ${host}: the TLS handshake took too long`,
        {
          reason: "connect-timeout",
        },
      );
    }
    if (error instanceof ProxyError) throw error;
    // RFC 7301 §3.2. What is offered is what the client speaks, so it may be the only way to say no.
    if (/no_?application_?protocol/i.test(messageOf(error))) throw noCommonProtocol(host);
    throw upstreamTlsError(host, error);
  } finally {
    deadline.stop();
    signal.removeEventListener("abort", cut);
  }
}
