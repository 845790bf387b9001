/**
 * What can be said of a CA from its certificate alone: also when it has ended, or its key is elsewhere.
 *
 * @module
 */
import { normalizePublicKey } from "./private_key.ts";
import { hex, readChain } from "./signer.ts";
import { loadX509 } from "./x509.ts";

/** What `ca show` says of a CA, wherever it is kept. */
export interface CaDescription {
  readonly subject: string;
  /** SHA-256 of the certificate as OpenSSL prints it: upper-case hex pairs with colons. */
  readonly fingerprint: string;
  /** Lower-case hex. */
  readonly serial: string;
  /** RFC 3339, UTC. */
  readonly notBefore: string;
  readonly notAfter: string;
  /** `EC P-256`, `RSA 4096`. */
  readonly keyType: string;
  /** SHA-256 of its public key, lower-case hex: the same after a renewal, and so for whoever trusts it the same CA. */
  readonly keyId: string;
}

/**
 * Describes a CA's certificate.
 *
 * @param certPem the CA's own certificate first; others of its chain may follow
 * @param place for the messages
 * @throws ProxyError `ca.invalid`
 */
export async function describeCertificate(certPem: string, place: string): Promise<CaDescription> {
  const [certificate] = readChain(await loadX509(), certPem, place);
  const { rawData, publicKey } = certificate;
  const known = normalizePublicKey(publicKey.rawData);
  return {
    subject: certificate.subject,
    fingerprint: (await sha256(rawData)).toUpperCase().replace(/..(?!$)/g, "$&:"),
    serial: certificate.serialNumber,
    notBefore: certificate.notBefore.toISOString(),
    notAfter: certificate.notAfter.toISOString(),
    keyType: known?.keyType ?? "unknown",
    keyId: await sha256(known?.publicKey ?? publicKey.rawData),
  };
}

async function sha256(bytes: BufferSource): Promise<string> {
  return hex(await crypto.subtle.digest("SHA-256", bytes));
}
