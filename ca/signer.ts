/**
 * A certificate authority in memory: reads a certificate and its key, checks that they are one, and signs.
 *
 * Not here: files, dates and renewal (`authority.ts`), and what is signed (`leaf.ts`).
 *
 * @module
 */
import type * as X509 from "@peculiar/x509";
import { ProxyError } from "../core/errors.ts";
import { type AuthorityPair, certificatePath, keyPath } from "./authority_files.ts";
import { formatPem, parsePem } from "./pem.ts";
import { importSigningKey, normalizePublicKey, type SigningKey } from "./private_key.ts";
import { loadX509, randomSerial } from "./x509.ts";

/** Three years of 365 days. */
export const AUTHORITY_LIFE_MS = 3 * 365 * 86_400_000;

/** Certificates start this long ago: a VM resumed from an old snapshot runs behind until its clock is set again. */
export const BACKDATE_MS = 30 * 86_400_000;

/** What {@linkcode Authority.sign} puts its signature under. The issuer and the serial are the CA's part. */
export interface CertificateRequest {
  readonly subject: X509.JsonName;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: ArrayBuffer;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** The authority key identifier is added. */
  readonly extensions: readonly X509.Extension[];
}

/** A CA that can sign. Its private key cannot be had from it. */
export class Authority {
  readonly #x509: typeof X509;
  readonly #certificate: X509.X509Certificate;
  readonly #key: SigningKey;
  readonly #keyIdentifier: X509.Extension;
  /** `ca.crt` as it was read, blocks only: the CA's own certificate first. What a guest has to trust. */
  readonly certPem: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** True when the CA vouches for itself, so that it can be renewed here. */
  readonly isSelfIssued: boolean;

  private constructor(
    x509: typeof X509,
    chain: readonly [X509.X509Certificate, ...X509.X509Certificate[]],
    key: SigningKey,
    keyIdentifier: X509.Extension,
  ) {
    const [certificate] = chain;
    this.#x509 = x509;
    this.#certificate = certificate;
    this.#key = key;
    this.#keyIdentifier = keyIdentifier;
    this.certPem = chain.map((each) => formatPem("CERTIFICATE", each.rawData)).join("");
    this.notBeforeMs = certificate.notBefore.getTime();
    this.notAfterMs = certificate.notAfter.getTime();
    this.isSelfIssued = hex(certificate.subjectName.toArrayBuffer()) ===
      hex(certificate.issuerName.toArrayBuffer());
  }

  /**
   * The CA of a certificate and a key. Dates are not looked at.
   *
   * @param dir for the messages
   * @throws ProxyError `ca.invalid` when either cannot be read, they do not belong together, or it is no CA
   */
  static async fromPair(pair: AuthorityPair, dir: string): Promise<Authority> {
    const x509 = await loadX509();
    const chain = readChain(x509, pair.certPem, dir);
    const [certificate] = chain;
    const key = await importSigningKey(pair.keyPem, keyPath(dir));
    const certified = normalizePublicKey(certificate.publicKey.rawData);
    if (!certified || hex(certified.publicKey) !== hex(key.publicKey)) {
      throw new ProxyError("ca.invalid", `Cannot use the CA in ${dir}: ca.key does not belong to ca.crt`, {
        hint: "put the matching pair back, or make a new CA with: slicer-proxy ca init --force",
      });
    }
    const isCa = certificate.getExtension(x509.BasicConstraintsExtension)?.ca ?? false;
    const usages = certificate.getExtension(x509.KeyUsagesExtension)?.usages;
    if (!isCa || (usages !== undefined && (usages & x509.KeyUsageFlags.keyCertSign) === 0)) {
      throw new ProxyError("ca.invalid", `Cannot use the CA in ${dir}: ca.crt may not sign certificates`, {
        hint: "it needs basicConstraints CA:TRUE and, where keyUsage is given, keyCertSign",
      });
    }
    // The CA's own identifier, not one computed anew: RFC 5280 §4.2.1.1, and other tools hash other bytes.
    const own = certificate.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
    const keyIdentifier = own === undefined
      ? await x509.AuthorityKeyIdentifierExtension.create(certificate.publicKey)
      : new x509.AuthorityKeyIdentifierExtension(own);
    return new Authority(x509, chain, key, keyIdentifier);
  }

  /** A signed certificate as PEM, without the chain. */
  async sign(request: CertificateRequest): Promise<string> {
    const certificate = await this.#create({
      subject: new this.#x509.Name(request.subject),
      publicKey: request.publicKey,
      notBefore: new Date(request.notBeforeMs),
      notAfter: new Date(request.notAfterMs),
      extensions: [...request.extensions, this.#keyIdentifier],
    });
    return formatPem("CERTIFICATE", certificate.rawData);
  }

  /**
   * The chain of the CA with its own certificate made anew: same key, subject and extensions, new serial and dates.
   *
   * @param nowMs milliseconds since the epoch
   */
  async renewedCertPem(nowMs: number): Promise<string> {
    const certificate = await this.#create({
      subject: this.#certificate.subjectName,
      publicKey: this.#certificate.publicKey.rawData,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + AUTHORITY_LIFE_MS),
      // An authority key identifier may name the old serial; a self-issued certificate needs none (RFC 5280 §4.2.1.1).
      extensions: this.#certificate.extensions.filter(({ type }) => type !== "2.5.29.35"),
    });
    const others = parsePem(this.certPem, "the CA").slice(1);
    return formatPem("CERTIFICATE", certificate.rawData) +
      others.map(({ label, der }) => formatPem(label, der)).join("");
  }

  #create(
    fields: Omit<X509.X509CertificateCreateWithKeyParams, "issuer" | "serialNumber" | "signingKey">,
  ): Promise<X509.X509Certificate> {
    return this.#x509.X509CertificateGenerator.create({
      ...fields,
      issuer: this.#certificate.subjectName, // byte by byte: Go compares names so
      serialNumber: randomSerial(),
      signingKey: this.#key.cryptoKey,
      signingAlgorithm: this.#key.algorithm,
    });
  }
}

/**
 * The certificates in the text of `ca.crt`, the CA's own first.
 *
 * @param dir for the messages
 * @throws ProxyError `ca.invalid` when there is none, or one is damaged
 */
export function readChain(
  x509: typeof X509,
  certPem: string,
  dir: string,
): readonly [X509.X509Certificate, ...X509.X509Certificate[]] {
  const path = certificatePath(dir);
  const blocks = parsePem(certPem, path).filter(({ label }) => label === "CERTIFICATE");
  try {
    const [first, ...rest] = blocks.map(({ der }) => new x509.X509Certificate(der));
    if (first) return [first, ...rest];
  } catch (cause) {
    throw new ProxyError("ca.invalid", `Cannot read ${path}: its certificate is damaged`, { cause });
  }
  throw new ProxyError("ca.invalid", `Cannot read ${path}: it holds no certificate in PEM`);
}

/** Bytes as lower-case hex. */
export function hex(bytes: ArrayBuffer | Uint8Array): string {
  return new Uint8Array(bytes).toHex();
}
