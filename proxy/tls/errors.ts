/**
 * What the TLS library's error texts mean. It reports nothing but text, so this is the one place that reads it; the texts
 * were collected by provoking each failure (rustls in Deno 2.7 and 2.9).
 *
 * @module
 */
import { messageOf, ProxyError } from "../../core/errors.ts";
import type { Reason } from "../../policy/reason.ts";

type Row = readonly [pattern: RegExp, reason: Reason, words: string];

const CLOCK = "the client's clock is outside the time of the proxy's certificate";

const CLIENT_SIDE: readonly Row[] = [
  // rustls says so of a certificate that is not valid yet, too.
  [/CertificateExpired/, "tls-client-clock", CLOCK],
  [
    /UnknownCA|BadCertificate|CertificateUnknown/,
    "tls-untrusted-ca",
    "the client does not trust the proxy's CA",
  ],
  [
    /doesn't support any known protocol|NoApplicationProtocol/,
    "tls-client-alpn",
    "the client offers no application protocol that the proxy speaks",
  ],
  [
    /No(?:CipherSuites|KxGroups|SignatureSchemes)InCommon/,
    "tls-client-parameters",
    "the client offers no cipher, group or signature that the proxy takes",
  ],
  [/AccessDenied|UserCanceled/, "tls-handshake", "the client gave up the handshake"],
  [
    /InvalidContentType|corrupt message|HandshakePayloadTooLarge/,
    "tls-no-client-hello",
    "not a TLS handshake",
  ],
  [
    /SignatureAlgorithmsExtensionRequired|ProtocolVersion|SupportedVersions|Tls12NotOffered/,
    "tls-version",
    "a TLS version before 1.2",
  ],
  [
    /unexpected end of file|UnexpectedEof|reset|Broken pipe|closed|Interrupted/i,
    "client-closed",
    "the client closed the connection in the handshake",
  ],
];

const UPSTREAM_SIDE: readonly Row[] = [
  [/certificate expired|: Expired/, "tls-expired", "its certificate has expired"],
  [
    /not valid yet|: NotValidYet/,
    "tls-not-yet-valid",
    "its certificate is not valid yet (is this machine's clock right?)",
  ],
  [/not valid for name|NotValidForName/, "tls-wrong-name", "its certificate is for another name"],
  [
    /UnknownIssuer|CaUsedAsEndEntity/,
    "tls-unknown-issuer",
    "its certificate is from an issuer that is not trusted here (see --upstream-ca), or it does not send the " +
    "intermediate certificate",
  ],
  [/BadSignature/, "tls-weak-certificate", "its certificate's signature is wrong, or its key is too weak"],
  [
    /UnsupportedSignatureAlgorithm/,
    "tls-weak-certificate",
    "its certificate is signed by an algorithm that is not taken, such as SHA-1",
  ],
  [
    /CertificateRequired/,
    "tls-client-certificate",
    "it asks for a client certificate, which is not supported",
  ],
  [
    /HandshakeFailure|InsufficientSecurity/,
    "tls-upstream-parameters",
    "it shares no TLS parameters with the proxy, or asks for a client certificate",
  ],
  [
    /ProtocolVersion|InvalidContentType|ServerHello/,
    "tls-protocol",
    "it does not speak TLS 1.2 or 1.3 on this port",
  ],
  [
    /unexpected end of file|UnexpectedEof|reset|Broken pipe|closed|Interrupted/i,
    "upstream-closed",
    "it closed the connection in the TLS handshake",
  ],
];

/**
 * A failed handshake with a client: its audit reason and what happened, in words. OpenSSL has an alert of its own for an
 * unknown CA and for an expired certificate, and the name in our leaf is right: where it says BadCertificate, the leaf is not
 * valid yet by its clock. Other libraries say that of an unknown CA (Go) too.
 *
 * @param isOpenssl see `ClientHello.offersEncryptThenMac`; GnuTLS, which offers it too, sends no alert about certificates
 */
export function clientTlsFailure(error: unknown, { isOpenssl }: { readonly isOpenssl: boolean }): {
  readonly reason: Reason;
  readonly words: string;
} {
  if (isOpenssl && messageOf(error).includes("BadCertificate")) {
    return { reason: "tls-client-clock", words: CLOCK };
  }
  return find(CLIENT_SIDE, error);
}

/**
 * What an upstream says of the handshake only when we have long written: under TLS 1.3 it looks for the client's certificate
 * after its own last word (RFC 8446 §4.4.2.4). Undefined for every other error.
 */
export function lateTlsError(host: string, error: unknown): ProxyError | undefined {
  return /received fatal alert: CertificateRequired/.test(messageOf(error))
    ? upstreamTlsError(host, error)
    : undefined;
}

/** A failed handshake with an upstream as the error to answer. */
export function upstreamTlsError(host: string, error: unknown): ProxyError {
  const { reason, words } = find(UPSTREAM_SIDE, error);
  return new ProxyError("upstream.tls", `Cannot trust ${host}: ${words}`, { cause: error, reason });
}

function find(rows: readonly Row[], error: unknown): { readonly reason: Reason; readonly words: string } {
  const text = messageOf(error);
  const row = rows.find(([pattern]) => pattern.test(text));
  return row
    ? { reason: row[1], words: row[2] }
    : { reason: "tls-handshake", words: "the TLS handshake failed" };
}
