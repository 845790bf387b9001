/**
 * Why something was refused or failed: the closed set of reasons that the audit log (`reason=…`), the
 * `X-Slicer-Proxy-Reason` header, the metrics and `Decision` values share. Reasons are permanent; people filter by them.
 *
 * Not here: HTTP statuses and bodies (`proxy/error_response.ts`), and words about one request (`explain.ts`).
 *
 * @module
 */

/** Every reason with its one line of documentation, without a final stop. */
export const REASONS = {
  // Policy: what the client may do.
  "no-rule": "no allow rule of this client matches",
  "rule-denied": "a deny rule of this client matches before any other",
  "client-suspended": "the client, or every client, is suspended until somebody resumes it",
  "store-lost":
    "this host has not heard from the fleet's store for longer than --store-grace, so it cannot know the policy",
  "ask-denied": "the rule asks a person first, who said no",
  "ask-timeout": "the rule asks a person first, and nobody decided in time",
  "path-ambiguous":
    "servers read the path in more than one way, and the readings are not all allowed with the same effect",
  "path-encoding": "the path is encoded twice, or hides a dot segment, a NUL or an overlong character",
  "secret-missing": "the rule names a secret that does not exist",
  "secret-host": "the rule's host does not lie within the host that its secret is bound to",
  "secret-unavailable":
    "the secret's credential cannot be had: its refresh was refused or its value is unusable",
  "cleartext-secret":
    "the credential would leave the private network without TLS, and its secret does not allow that",
  "placeholder": "a placeholder stands in the place of a credential, and no secret of the rule replaces it",
  "aws-signature": "the request has no AWS signature that the proxy can replace",
  "aws-scope": "the request is signed for an AWS service or region that the rule does not allow",
  "token-endpoint": "the host is where the proxy itself renews credentials, so clients may not reach it",
  "host-mismatch": "the request's authority is not the host that the tunnel was opened for",
  "method-override": "a header or `_method` would change the method or path behind a rule that limits them",
  "address-denied": "the name has an address that the proxy does not dial",
  "own-address": "the address is one of the proxy's own listeners",
  "revoked": "the client, rule or secret that admitted this is gone",
  "upgrade-not-allowed": "this protocol upgrade is not allowed by the rule",
  "body-too-large": "a rule says what the body has to be about, and it is larger than the proxy reads",
  "body-encoding":
    "a rule says what the body has to be about, and it is compressed in a way that the proxy does not read",
  "body-unreadable": "a rule says what the body has to be about, and it cannot be read in exactly one way",
  "method-refused": "no proxy forwards this method (TRACE, a CONNECT within a tunnel, PRI)",

  // Limits.
  "quota": "this client or source holds as many connections or requests as it may",
  "budget": "a budget of this client or of the rule is used up for the hour or the day",
  "new-hosts": "this client has asked for as many new hosts as it may within a minute",
  "overload": "the proxy as a whole is at a limit",
  "audit-write-failed": "the audit log cannot be written, so nothing new is admitted",

  // What the client sent.
  "auth-missing": "the client did not say who it is",
  "auth-invalid": "no client has this token",
  "auth-throttled": "too many wrong tokens came from this address within the minute",
  "malformed": "the message cannot be read in exactly one way",
  "head-too-large": "the request line and headers are larger than the proxy reads",
  "tls-untrusted-ca": "the client does not trust the proxy's certificate authority",
  "tls-no-client-hello": "the tunnel did not start with a TLS ClientHello",
  "tls-handshake": "the TLS handshake with the client failed",
  "tls-version": "the client offers no TLS version that the proxy speaks",
  "tls-client-clock": "the client's clock is outside the time for which the proxy's certificate is valid",
  "tls-client-alpn": "the client offers no application protocol that the proxy speaks in TLS",
  "tls-client-parameters": "the client offers no cipher, group or signature algorithm that the proxy takes",
  "sni-missing": "the ClientHello names no host",
  "sni-mismatch": "the ClientHello names another host than the tunnel was opened for",
  "idle-timeout": "nothing was sent in either direction for too long",
  "client-closed": "the client closed the connection before the answer was complete",

  // What the upstream did.
  "dns": "the name has no address",
  "connect-refused": "the upstream refused the connection",
  "connect-unreachable": "the upstream's network cannot be reached",
  "connect-timeout": "the upstream did not accept the connection in time",
  "tls-expired": "the upstream's certificate has expired",
  "tls-not-yet-valid": "the upstream's certificate is not valid yet",
  "tls-wrong-name": "the upstream's certificate is for another name",
  "tls-unknown-issuer":
    "the upstream's certificate was issued by an authority that the proxy does not trust, or comes without its intermediate",
  "tls-incomplete-chain":
    "the upstream does not send the certificate of its issuer, which is no trusted root",
  "tls-self-signed": "the upstream's certificate is self-signed, and not trusted",
  "tls-weak-certificate":
    "the upstream's certificate has a wrong signature, a weak key or algorithm, or is not one for TLS servers",
  "tls-client-certificate": "the upstream asks for a client certificate",
  "tls-upstream-parameters":
    "the upstream shares no TLS parameters with the proxy, or asks for a client certificate",
  "protocol-mismatch": "the upstream speaks no version of HTTP that the client offers",
  "tls-protocol": "the TLS handshake with the upstream failed",
  "parent-unreachable": "the parent proxy, through which the upstream is reached, cannot be reached",
  "parent-tls": "the parent proxy's certificate is not trusted, or TLS with it failed",
  "parent-auth": "the parent proxy does not take the user and password that it gets, or wants some",
  "parent-denied": "the parent proxy refuses to connect to the upstream",
  "parent-failed": "the parent proxy could not connect to the upstream",
  "parent-timeout": "the parent proxy did not answer in time",
  "parent-malformed": "the parent proxy does not answer as one",
  "upstream-closed": "the upstream closed the connection before its answer was complete",
  "credential-echo": "the upstream's answer holds the credential that its request was sent with",
  "upstream-malformed": "the upstream's answer cannot be read safely",
  "upstream-timeout": "the upstream did not answer in time",
  "aws-key": "AWS does not take the secret's access key: it is unknown, wrong or expired",
  "aws-clock": "AWS finds the time of the signature too far from its own",
  "aws-region": "AWS finds the request signed for the wrong region or service",

  // Ourselves.
  "shutdown": "the proxy is stopping",
  "worker-lost": "the thread that served it crashed or hung, so nobody knows how it ended",
  "internal": "the proxy failed; its own log says how",
} as const satisfies Readonly<Record<string, string>>;

/** A reason, as logged and sent. */
export type Reason = keyof typeof REASONS;

/** True when `text` is a {@linkcode Reason}. */
export function isReason(text: string): text is Reason {
  return Object.hasOwn(REASONS, text);
}
