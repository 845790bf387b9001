/**
 * The CA's private key: the kinds that are accepted, how each is read, and how it signs.
 *
 * Signing is done by Deno's WebCrypto. It covers every kind accepted here on all supported Deno versions (measured
 * on 2.7.11 and 2.9.6), so no other provider is loaded. Reading goes through `node:crypto`, which is built in and
 * knows PKCS#1 and SEC1, which WebCrypto does not.
 *
 * Not here: files and their modes, see `authority_files.ts`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { ProxyError } from "../core/errors.ts";
import { quoteShell } from "../core/escape.ts";
import { formatPem, parsePem } from "./pem.ts";

/** Smaller RSA keys are refused by the TLS libraries of the guests, and rightly (NIST SP 800-131A). */
export const MIN_RSA_BITS = 2_048;

/** How a kind of key signs certificates. ECDSA is paired with the hash of its curve's strength (RFC 5480 §4). */
export interface SigningAlgorithm {
  readonly name: "ECDSA" | "RSASSA-PKCS1-v1_5";
  readonly namedCurve?: string;
  readonly hash: "SHA-256" | "SHA-384" | "SHA-512";
}

/** A private key that can sign, and what is public about it. */
export interface SigningKey {
  /** `EC P-256` or `RSA 4096`. */
  readonly keyType: string;
  /** The public key as SubjectPublicKeyInfo in the form of {@linkcode normalizePublicKey}. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  /** Not extractable. */
  readonly cryptoKey: CryptoKey;
  readonly algorithm: SigningAlgorithm;
}

const CURVES: Readonly<Record<string, SigningAlgorithm>> = {
  prime256v1: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  secp384r1: { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
  secp521r1: { name: "ECDSA", namedCurve: "P-521", hash: "SHA-512" },
};
const RSA: SigningAlgorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

const FORMATS: Readonly<Record<string, "pkcs8" | "sec1" | "pkcs1">> = {
  "PRIVATE KEY": "pkcs8",
  "EC PRIVATE KEY": "sec1",
  "RSA PRIVATE KEY": "pkcs1",
};

/**
 * Reads a private key in PEM: PKCS#8 (RFC 5958), SEC1 (RFC 5915) or PKCS#1 (RFC 8017), EC P-256, P-384, P-521, or RSA.
 *
 * @param path the file that the text came from, for the messages
 * @throws ProxyError `ca.invalid` for an encrypted, damaged, weak or unknown key; never with a part of the key
 */
export async function importSigningKey(pem: string, path: string): Promise<SigningKey> {
  const keys = parsePem(pem, path).filter(({ label }) => label.endsWith("PRIVATE KEY"));
  const [block] = keys;
  if (!block || keys.length > 1) {
    throw new ProxyError("ca.invalid", `Cannot read ${path}: it holds ${keys.length} private keys, not one`);
  }
  if (block.hasHeaders || block.label === "ENCRYPTED PRIVATE KEY") {
    throw new ProxyError("ca.invalid", `Cannot read ${path}: the private key is encrypted`, {
      hint: `write it without a passphrase: openssl pkcs8 -topk8 -nocrypt -in ${
        quoteShell(path)
      } -out plain.key`,
    });
  }
  const type = FORMATS[block.label];
  if (!type) throw unknownKey(path, block.label.toLowerCase());
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: Buffer.from(block.der), format: "der", type });
  } catch (cause) {
    throw new ProxyError(
      "ca.invalid",
      `Cannot read ${path}: the private key is damaged or of an unknown kind`,
      {
        cause,
      },
    );
  }
  const keyType = describeKey(key);
  const algorithm = key.asymmetricKeyType === "rsa"
    ? RSA
    : CURVES[key.asymmetricKeyDetails?.namedCurve ?? ""];
  if (!algorithm) throw unknownKey(path, keyType);
  if (algorithm === RSA && (key.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS) {
    throw new ProxyError("ca.invalid", `Cannot use ${path}: ${keyType} is below ${MIN_RSA_BITS} bits`);
  }
  const pkcs8 = key.export({ format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(key).export({ format: "der", type: "spki" });
  return {
    keyType,
    publicKey: new Uint8Array(publicKey),
    cryptoKey: await crypto.subtle.importKey("pkcs8", new Uint8Array(pkcs8), algorithm, false, ["sign"]),
    algorithm,
  };
}

/** A new EC P-256 private key as PKCS#8 PEM. */
export async function generateSigningKeyPem(): Promise<string> {
  const { privateKey } = await crypto.subtle.generateKey(
    { name: "ECDSA", namedCurve: "P-256" },
    true,
    ["sign", "verify"],
  );
  return formatPem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", privateKey));
}

/**
 * One encoding for a public key, so that two can be compared byte by byte: certificates may carry the point of an EC
 * key compressed (RFC 5480 §2.2).
 *
 * @returns the SubjectPublicKeyInfo and the kind of the key, or undefined for a kind that is not known here
 */
export function normalizePublicKey(
  spki: ArrayBuffer,
): { readonly publicKey: Uint8Array<ArrayBuffer>; readonly keyType: string } | undefined {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    return {
      publicKey: new Uint8Array(key.export({ format: "der", type: "spki" })),
      keyType: describeKey(key),
    };
  } catch {
    return undefined;
  }
}

function describeKey(key: KeyObject): string {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === "rsa") return `RSA ${details?.modulusLength}`;
  const curve = details?.namedCurve ?? "";
  return key.asymmetricKeyType === "ec"
    ? `EC ${CURVES[curve]?.namedCurve ?? curve}`
    : `${key.asymmetricKeyType}`;
}

function unknownKey(path: string, kind: string): ProxyError {
  return new ProxyError("ca.invalid", `Cannot use ${path}: a CA key is not supported as ${kind}`, {
    hint: "use EC P-256, P-384 or P-521, or RSA of at least 2048 bits",
  });
}
