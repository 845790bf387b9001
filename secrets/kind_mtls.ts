/**
 * `mtls`: a certificate and its key, which the host is shown in the handshake of TLS. Nothing of it is in a request.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import type { ClientCertificate } from "./credential.ts";
import { invalid, type StaticKind } from "./kind_static.ts";

const HINT =
  "give the certificate, what signed it, and the private key in one PEM file: cat client.crt client.key";
const CERTIFICATE = "CERTIFICATE";

const MTLS_KIND: StaticKind<ClientCertificate> = {
  parse(value) {
    const blocks = blocksOf(value);
    const certificates = blocks.filter(({ label }) => label === CERTIFICATE);
    const keys = blocks.filter(({ label }) => label.endsWith("PRIVATE KEY"));
    const [leaf] = certificates;
    const [key, another] = keys;
    if (!leaf) return refuse("it has no certificate");
    if (!key) return refuse("it has no private key");
    if (another) refuse("it has more than one private key");
    if (isEncrypted(key.pem)) {
      refuse("its private key is encrypted", "give --passphrase-file too");
    }
    const privateKey = readKey(key.pem);
    if (!isUsable(privateKey)) {
      refuse(
        "TLS here takes no key of its kind",
        "use RSA of 2,048 to 8,192 bits, P-256, P-384 or Ed25519",
      );
    }
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(leaf.pem);
    } catch {
      return refuse("its certificate cannot be read");
    }
    if (!certificate.checkPrivateKey(privateKey)) {
      refuse("its private key is not that of its first certificate");
    }
    if (!hasVersion(leaf.pem)) {
      // Deno 2.7 ends the whole process when it is given one.
      refuse("its certificate is of X.509 version 1", "have it issued anew with extensions, as version 3");
    }
    return {
      certPem: certificates.map(({ pem }) => pem).join("\n"),
      keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    };
  },
  inject: (clientCertificate) => ({ headers: [], clientCertificate, material: [] }),
};

/** See the module. */
export const MTLS = MTLS_KIND as StaticKind;

/**
 * The same PEM with its private key decrypted.
 *
 * @throws ProxyError `input.invalid`, without anything of the key or the passphrase
 */
export function decryptKey(pem: string, passphrase: string): string {
  const key = blocksOf(pem).find(({ label }) => label.endsWith("PRIVATE KEY"));
  if (!key || !isEncrypted(key.pem)) {
    return refuse("it has no encrypted private key", "leave out --passphrase-file");
  }
  let plain: KeyObject;
  try {
    plain = createPrivateKey({ key: key.pem, passphrase });
  } catch {
    return refuse("the passphrase does not open its private key", "check the file of the passphrase");
  }
  return pem.replace(key.pem, () => plain.export({ type: "pkcs8", format: "pem" }).toString().trimEnd());
}

interface Block {
  readonly label: string;
  /** Its lines, first and last included. */
  readonly pem: string;
}

/** The blocks of PEM (RFC 7468). What stands between them is left out. */
function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  let lines: string[] | undefined;
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("-----BEGIN ")) lines = [];
    lines?.push(line);
    if (!lines || !line.startsWith("-----END ")) continue;
    const label = line.slice("-----END ".length).replace(/-----\s*$/, "");
    blocks.push({ label, pem: lines.join("\n") });
    lines = undefined;
  }
  return blocks;
}

/** RFC 5280 §4.1: a certificate that does not say its version is of version 1. */
function hasVersion(pem: string): boolean {
  const der = Buffer.from(pem.replace(/-----[^-]*-----/g, ""), "base64");
  const behindHead = (at: number) => {
    const length = der[at + 1] ?? 0;
    return at + 2 + (length > 0x80 ? length & 0x7f : 0);
  };
  return der[behindHead(behindHead(0))] === 0xa0;
}

/** PKCS#8 (RFC 5958 §3), and what OpenSSL wrote before. */
function isEncrypted(pem: string): boolean {
  return pem.includes("ENCRYPTED");
}

/** What TLS takes for sure: the runtime may end the whole process at a key of another kind. */
function isUsable({ asymmetricKeyType: type, asymmetricKeyDetails: details = {} }: KeyObject): boolean {
  const { modulusLength = 0, namedCurve = "" } = details;
  if (type === "rsa") return modulusLength >= 2_048 && modulusLength <= 8_192;
  return type === "ed25519" || (type === "ec" && CURVES.has(namedCurve));
}

/** Deno has called them by either name. */
const CURVES: ReadonlySet<string> = new Set(["prime256v1", "P-256", "p256", "secp384r1", "P-384", "p384"]);

function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    return refuse("its private key cannot be read");
  }
}

function refuse(problem: string, hint = HINT): never {
  return invalid(`Cannot use this client certificate: ${problem}`, hint);
}
