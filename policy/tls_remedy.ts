/**
 * What an operator does about an upstream whose TLS cannot be trusted, by the reason of the failure. Nothing here weakens a
 * check: there is no flag that does.
 *
 * Not here: what was found (`proxy/tls/errors.ts`, `proxy/tls/shown_chain.ts`).
 *
 * @module
 */
import type { Reason } from "./reason.ts";

/** One sentence each, for the 502 and for docs/NETWORKS.md, which a test compares. */
export const TLS_REMEDIES: Readonly<Partial<Record<Reason, string>>> = {
  "tls-expired": "The server's certificate has to be renewed, or this host's clock set.",
  "tls-not-yet-valid": "Set this host's clock, or wait for the certificate's first day.",
  "tls-wrong-name":
    "Use a name that the certificate has, in the request and in the rule, or have it reissued.",
  "tls-self-signed":
    "Start the proxy with --upstream-ca HOST=FILE, where FILE has this certificate's CA, or give the " +
    "server a certificate of a CA.",
  "tls-incomplete-chain":
    "The server has to send the intermediate certificate too; until then it can be given by --upstream-ca HOST=FILE.",
  "tls-unknown-issuer":
    "If the issuer is to be trusted, start the proxy with --upstream-ca HOST=FILE or --upstream-ca system.",
  "tls-weak-certificate":
    "The server needs a new certificate: ECDSA, or RSA of 2,048 bits or more, signed with SHA-256, for TLS servers.",
  "tls-client-certificate": "Give the rule a secret of the type mtls.",
  "tls-upstream-parameters":
    "Have the server offer TLS 1.3, or 1.2 with ECDHE and AES-GCM or ChaCha20; a client certificate is a secret of the " +
    "type mtls.",
  "tls-protocol": "Check the port, and that the server speaks TLS 1.2 or 1.3 on it.",
};
