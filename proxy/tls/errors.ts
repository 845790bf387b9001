/**
 * What the TLS library's error texts mean. It reports nothing but text, so this is the one place that reads it; the texts
 * were collected by provoking each failure (rustls in Deno 2.7 and 2.9).
 *
 * @module
 */
import { messageOf, ProxyError } from "../../core/errors.ts";
import { quoteText } from "../../core/escape.ts";
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

/** What `Deno.startTls` says, and `node:tls` (where a client certificate is shown), which has words of its own. */
const UPSTREAM_SIDE: readonly Row[] = [
  [/certificate expired|: Expired|certificate has expired/, "tls-expired", "its certificate has expired"],
  [
    /not valid yet|: NotValidYet|not yet valid/,
    "tls-not-yet-valid",
    "its certificate is not valid yet (is this machine's clock right?)",
  ],
  [
    /not valid for name|NotValidForName|does not match certificate's altnames/,
    "tls-wrong-name",
    "its certificate is for another name",
  ],
  [
    /CaUsedAsEndEntity|self-signed certificate$/,
    "tls-self-signed",
    "its certificate is self-signed and not trusted here (see --upstream-ca)",
  ],
  [
    /UnknownIssuer|unable to verify the first|unable to get (?:local )?issuer|self-signed certificate in/,
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
    /UnsupportedCertVersion/,
    "tls-weak-certificate",
    "its certificate is of X.509 version 1, which has no place for names",
  ],
  [
    /extended key usage|InvalidPurpose/,
    "tls-weak-certificate",
    "its certificate is not one for TLS servers (extended key usage)",
  ],
  [
    /invalid peer certificate/,
    "tls-weak-certificate",
    "its certificate is malformed, or has an extension that cannot be obeyed",
  ],
  [
    /CertificateRequired/,
    "tls-client-certificate",
    "it asks for a client certificate, and the rule has no secret of the type mtls",
  ],
  [
    /HandshakeFailure|InsufficientSecurity/,
    "tls-upstream-parameters",
    "it shares no TLS parameters with the proxy, or asks for a client certificate",
  ],
  [/UnrecognisedName|unrecognized_name/, "tls-wrong-name", "it knows no host of this name (SNI)"],
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

/** Names of a certificate that are shown. One may have thousands. */
const MAX_NAMES = 6;
/** How much of the library's text is read for them. */
const MAX_TEXT = 8_192;

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
  return find(CLIENT_SIDE, error) ?? { reason: "tls-handshake", words: "the TLS handshake failed" };
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
  const { reason, words } = find(UPSTREAM_SIDE, error) ??
    { reason: "tls-protocol", words: "the TLS handshake failed" };
  const names = reason === "tls-wrong-name" ? namesIn(messageOf(error)) : "";
  return refusedCertificate(host, { reason, words: words + names }, error);
}

/** An upstream that is not trusted, as the error to answer. */
export function refusedCertificate(
  host: string,
  { reason, words }: { readonly reason: Reason; readonly words: string },
  cause: unknown,
): ProxyError {
  return new ProxyError("upstream.tls", `Cannot trust ${host}: ${words}`, { cause, reason });
}

/** The names that a certificate has, from the text of either library, which quotes all of them. */
function namesIn(text: string): string {
  const names: string[] = [];
  let count = 0;
  for (const [, dns, ip, plain] of text.slice(0, MAX_TEXT).matchAll(NAME)) {
    if (count++ < MAX_NAMES) names.push(quoteText(dns ?? ip ?? plain ?? "", 80));
  }
  if (count === 0) return text.includes("not valid for any names") ? ": it has none" : "";
  const more = count > MAX_NAMES || text.length > MAX_TEXT ? " and more" : "";
  return `: it has ${names.join(", ")}${more}`;
}

const NAME = /DnsName\("([^"]{1,253})"\)|IpAddress\(([0-9a-f.:]{2,45})\)|(?:DNS|IP Address):([^, ]{1,253})/g;

function find(
  rows: readonly Row[],
  error: unknown,
): { readonly reason: Reason; readonly words: string } | undefined {
  const text = messageOf(error);
  const row = rows.find(([pattern]) => pattern.test(text));
  return row && { reason: row[1], words: row[2] };
}
