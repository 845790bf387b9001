/**
 * What `node:tls` of Deno 2.7 does not do by itself: to trust a CA and no other, and to end a handshake without losing its
 * descriptor. (2.9 does both.)
 *
 * @module
 */
import { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { PeerCertificate, TLSSocket } from "node:tls";
import { shutdownSocket } from "./native.ts";

/** How long a handshake may take to notice that its connection has ended. */
const SHUTDOWN_MS = 1_000;
/** OpenSSL takes no longer chain from a peer by default. */
const MAX_CHAIN = 100;

/**
 * Ends a connection in the middle of its handshake, which then fails: destroyed at once, Deno 2.7 keeps its descriptor for
 * ever (measured), whatever the peer does.
 *
 * @param tcp what the TLS was started on, where that is another socket
 */
export function cutHandshake(tls: Socket, tcp: Socket = tls): void {
  const destroy = () => {
    tls.destroy();
    tcp.destroy();
  };
  const { localAddress, localPort, remoteAddress, remotePort } = tcp;
  const isShut = localAddress && localPort && remoteAddress && remotePort && shutdownSocket(
    { hostname: localAddress, port: localPort },
    { hostname: remoteAddress, port: remotePort },
  );
  if (!isShut) return destroy();
  const end = () => {
    clearTimeout(fallback);
    destroy();
  };
  const fallback = setTimeout(end, SHUTDOWN_MS);
  tls.once("error", end);
  tls.once("close", end);
}

/** The certificates of a PEM file, each by itself. */
export function certificatesIn(pem: string): readonly string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
}

/**
 * True when one of these CAs has signed what the peer has shown; to be asked of a handshake that was `authorized`, which says
 * the rest. `node:tls` of Deno 2.7 trusts the public roots beside its `ca` (measured), and tells the peer's own certificate
 * alone: there, what an intermediate CA has signed needs that one among `caPems`.
 */
export function isSignedByOne(caPems: readonly string[], socket: TLSSocket): boolean {
  try {
    const keys = caPems.map((pem) => new X509Certificate(pem).publicKey);
    let shown: (PeerCertificate & { issuerCertificate?: PeerCertificate }) | undefined = socket
      .getPeerCertificate(true);
    for (let i = 0; shown?.raw && i < MAX_CHAIN; i++) {
      const certificate = new X509Certificate(shown.raw);
      if (keys.some((key) => certificate.verify(key))) return true;
      shown = shown.issuerCertificate;
      const issuer = shown?.raw && new X509Certificate(shown.raw);
      if (!issuer || !issuer.ca || !certificate.verify(issuer.publicKey)) return false;
    }
  } catch {
    // No certificate, or none that can be read.
  }
  return false;
}
