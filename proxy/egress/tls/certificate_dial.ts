/**
 * TLS to an upstream that is shown a client certificate, by `node:tls`: the runtime's own call ignores one. The address is
 * one that was checked, and the host's certificate is verified for its name as everywhere else.
 *
 * @module
 */
import { ProxyError } from "../../../core/errors.ts";
import { isIpLiteral } from "../../../core/host_port.ts";
import type { Deadlines } from "../../../core/deadlines.ts";
import type { Limits } from "../../../core/limits.ts";
import { cutHandshake } from "../../../core/node_tls.ts";
import type { ClientCertificate } from "../../../secrets/credential.ts";
import { ByteReader } from "../../streams/byte_reader.ts";
import { NodeStream } from "../../streams/node_stream.ts";
import { upstreamTlsError } from "../../tls/errors.ts";
import type { Alpn, UpstreamConnection } from "../upstream_connection.ts";
import { noCommonProtocol } from "./no_common_protocol.ts";

/** Where to, and with what. */
export interface CertificateTarget {
  readonly host: string;
  readonly alpn?: readonly Alpn[];
  readonly limits: Limits;
  readonly deadlines: Deadlines;
  readonly caCertsFor: (host: string) => readonly string[];
}

/** @throws ProxyError `upstream.tls`, `upstream.timeout`, or the signal's reason */
export async function dialWithCertificate(
  { host, alpn = ["http/1.1"], limits, deadlines, caCertsFor }: CertificateTarget,
  { address, port, certificate, signal, onConnect }: {
    readonly address: string;
    readonly port: number;
    readonly certificate: ClientCertificate;
    readonly signal: AbortSignal;
    /** Is told from where it is connected, before anything is sent. */
    readonly onConnect?: (local: Pick<Deno.NetAddr, "hostname" | "port">) => void;
  },
): Promise<UpstreamConnection> {
  const dialledAt = performance.now();
  const { connect } = await import("node:tls");
  const ca = caCertsFor(host);
  const open = () =>
    connect({
      host: address,
      port,
      ...(isIpLiteral(host) ? {} : { servername: host }),
      cert: certificate.certPem,
      key: certificate.keyPem,
      ...(ca.length > 0 ? { ca: [...ca] } : {}),
      ALPNProtocols: [...alpn],
      rejectUnauthorized: true,
    });
  let socket: ReturnType<typeof open>;
  try {
    socket = open();
  } catch (error) {
    throw upstreamTlsError(host, error); // a certificate or key that the runtime does not take
  }
  const stream = new NodeStream(socket);
  socket.once("connect", () => {
    const { localAddress, localPort } = socket;
    if (localAddress !== undefined && localPort !== undefined) {
      onConnect?.({ hostname: localAddress, port: localPort });
    }
  });
  let isLate = false;
  const cut = () => cutHandshake(socket);
  const deadline = deadlines.start(limits.handshakeTimeoutMs, () => {
    isLate = true;
    cut();
  });
  signal.addEventListener("abort", cut);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("closed in the handshake")));
      if (signal.aborted) cut();
    });
    if (isLate || signal.aborted) throw new Error("cut in the handshake"); // which Deno 2.7 may take for done
    socket.setNoDelay(true);
    const protocol = socket.alpnProtocol === "h2" ? "h2" : "http/1.1";
    if (!alpn.includes(protocol)) throw noCommonProtocol(host);
    return { stream, reader: new ByteReader(stream), isReused: false, dialledAt, protocol };
  } catch (error) {
    stream.close();
    if (signal.aborted) throw signal.reason;
    if (isLate) {
      throw new ProxyError("upstream.timeout", `Cannot connect to ${host}: the TLS handshake took too long`, {
        reason: "connect-timeout",
      });
    }
    if (error instanceof ProxyError) throw error;
    if (/no_?application_?protocol/i.test(String(error))) throw noCommonProtocol(host); // RFC 7301 §3.2
    throw upstreamTlsError(host, error);
  } finally {
    deadline.stop();
    signal.removeEventListener("abort", cut);
  }
}
