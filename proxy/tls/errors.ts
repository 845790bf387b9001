/**
 * What the TLS library's error texts mean. It reports nothing but text, so this is the one place that reads it; the texts
 * were collected by provoking each failure (rustls in Deno 2.7 and 2.9).
 *
 * @module
 */
import { messageOf, ProxyError } from "../../core/errors.ts";
import type { Reason } from "../../policy/reason.ts";

type Row = readonly [pattern: RegExp, reason: Reason, words: string];

const CLIENT_SIDE: readonly Row[] = [
  [
    /UnknownCA|BadCertificate|CertificateUnknown/,
    "tls-untrusted-ca",
    "the client does not trust the proxy's CA",
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
  [/certificate expired/, "tls-expired", "its certificate has expired"],
  [/not valid yet/, "tls-not-yet-valid", "its certificate is not valid yet (is this machine's clock right?)"],
  [/not valid for name|NotValidForName/, "tls-wrong-name", "its certificate is for another name"],
  [
    /UnknownIssuer|CaUsedAsEndEntity/,
    "tls-unknown-issuer",
    "its certificate is from an issuer that is not trusted here (see --upstream-ca)",
  ],
  [
    /ProtocolVersion|InvalidContentType|ServerHello/,
    "tls-protocol",
    "it does not speak TLS 1.2 or 1.3 on this port",
  ],
  [/CertificateRequired/, "tls-handshake", "it asks for a client certificate"],
  [
    /unexpected end of file|UnexpectedEof|reset|Broken pipe|closed|Interrupted/i,
    "upstream-closed",
    "it closed the connection in the TLS handshake",
  ],
];

/** A failed handshake with a client: its audit reason and what happened, in words. */
export function clientTlsFailure(error: unknown): { readonly reason: Reason; readonly words: string } {
  return find(CLIENT_SIDE, error);
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
