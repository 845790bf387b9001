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

const BEGIN = /-----BEGIN ([A-Z0-9 ]{1,40})-----\r?\n/g;

/** Blocks without an end that are passed over; for each of them the rest of the text is searched. */
const MAX_UNFINISHED = 8;

/**
 * The blocks of a PEM text in their order. Text around blocks is ignored: `openssl x509 -text` and key exporters put
 * explanations there.
 *
 * @param what the file or thing that the text came from, for the message
 * @throws ProxyError `ca.invalid` when a block is not base64
 */
export function parsePem(text: string, what: string): readonly PemBlock[] {
  const blocks: PemBlock[] = [];
  let readTo = 0;
  let unfinished = 0;
  for (const { 0: line, 1: label = "", index } of text.matchAll(BEGIN)) {
    if (index < readTo) continue;
    const start = index + line.length;
    const end = text.indexOf(`-----END ${label}-----`, start);
    if (end < 0) {
      if (++unfinished > MAX_UNFINISHED) break;
      continue;
    }
    blocks.push(parseBlock(label, text.slice(start, end), what));
    readTo = end;
  }
  return blocks;
}

function parseBlock(label: string, body: string, what: string): PemBlock {
  if (body.includes(":")) return { label, hasHeaders: true, der: new Uint8Array() };
  try {
    return { label, hasHeaders: false, der: Uint8Array.from(atob(body), (char) => char.charCodeAt(0)) };
  } catch (cause) {
    throw new ProxyError("ca.invalid", `Cannot read ${what}: its ${label} block is damaged`, { cause });
  }
}

/** One PEM block with a final line feed, the inverse of {@linkcode parsePem}. */
export function formatPem(label: string, der: Uint8Array | ArrayBuffer): string {
  let binary = "";
  for (const byte of new Uint8Array(der)) binary += String.fromCharCode(byte);
  const lines = btoa(binary).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
