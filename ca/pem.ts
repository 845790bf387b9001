/**
 * PEM text (RFC 7468) to DER and back.
 *
 * Not here: what the DER means. Keys are read in `private_key.ts`, certificates in `authority.ts`.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";

/** One `-----BEGIN label-----` block. */
export interface PemBlock {
  readonly label: string;
  /** Carries RFC 1421 headers, which in practice means that OpenSSL encrypted it (`Proc-Type: 4,ENCRYPTED`). */
  readonly hasHeaders: boolean;
  /** Empty when `hasHeaders`: what is inside is of no use without the passphrase. */
  readonly der: Uint8Array<ArrayBuffer>;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,40})-----\r?\n([\s\S]*?)-----END \1-----/g;

/**
 * The blocks of a PEM text in their order. Text around blocks is ignored: `openssl x509 -text` and key exporters put
 * explanations there.
 *
 * @param what the file or thing that the text came from, for the message
 * @throws ProxyError `ca.invalid` when a block is not base64
 */
export function parsePem(text: string, what: string): readonly PemBlock[] {
  return Array.from(text.matchAll(BLOCK), ([, label = "", body = ""]) => {
    if (body.includes(":")) return { label, hasHeaders: true, der: new Uint8Array() };
    try {
      return { label, hasHeaders: false, der: Uint8Array.from(atob(body), (char) => char.charCodeAt(0)) };
    } catch (cause) {
      throw new ProxyError("ca.invalid", `Cannot read ${what}: its ${label} block is damaged`, { cause });
    }
  });
}

/** One PEM block with a final line feed, the inverse of {@linkcode parsePem}. */
export function formatPem(label: string, der: Uint8Array | ArrayBuffer): string {
  let binary = "";
  for (const byte of new Uint8Array(der)) binary += String.fromCharCode(byte);
  const lines = btoa(binary).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
