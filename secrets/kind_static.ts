/**
 * The kinds whose value is the credential itself: `bearer`, `basic`, `header`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../core/errors.ts";
import type { Credential, CredentialHeader } from "./credential.ts";

/** What becomes of a request, as a {@linkcode Credential} says it. */
export type StaticInjection = Pick<
  Credential,
  "headers" | "parameter" | "segment" | "clientCertificate" | "material"
>;

/** One kind without renewal. `Parsed` is whatever `parse` makes of a value for `inject`. */
export interface StaticKind<Parsed = unknown> {
  /** @throws ProxyError `input.invalid`, without the credential */
  parse(value: string): Parsed;
  inject(parsed: Parsed): StaticInjection;
}

const BEARER: StaticKind<string> = {
  parse: parseBearer,
  inject: (token) => ({ headers: [["Authorization", `Bearer ${token}`]], material: [token] }),
};

const BASIC: StaticKind<string> = {
  parse: parseBasic,
  inject: (pair) => {
    const colon = pair.indexOf(":");
    const password = pair.slice(colon + 1);
    // Some APIs take their key for the user, with no password.
    const material = [pair, password === "" ? pair.slice(0, colon) : password];
    return { headers: [["Authorization", `Basic ${toBase64(pair)}`]], material };
  },
};

const HEADER: StaticKind<CredentialHeader> = {
  parse: parseHeader,
  // Behind a scheme (RFC 9110 §11.4) stands what is secret.
  inject: (header) => ({ headers: [header], material: [header[1].replace(/^[A-Za-z]+ +/, "")] }),
};

export const STATIC_KINDS: readonly (readonly [type: string, kind: StaticKind])[] = [
  ["bearer", BEARER as StaticKind],
  ["basic", BASIC as StaticKind],
  ["header", HEADER as StaticKind],
];

/** Servers commonly take 8 to 16 KiB of header (nginx 8 KiB a line, Node.js 16 KiB in all): more is never accepted. */
export const MAX_CREDENTIAL_CHARS = 16_384;

/**
 * Fields that frame the message, belong to one hop, or say where it goes (RFC 9110 §7.2 and §7.6.1, RFC 9112 §6). A
 * credential in one of them would smuggle requests, or never arrive.
 */
const NOT_A_CREDENTIAL = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

function parseBearer(value: string): string {
  checkHeaderText("bearer token", value);
  if (/^bearer\s/i.test(value)) {
    invalid(
      "Cannot use this bearer token: it begins with the word Bearer",
      "leave that word out, it is added",
    );
  }
  return value;
}

function parseBasic(value: string): string {
  checkText("basic credential", value);
  if (!value.includes(":")) {
    invalid("Cannot use this basic credential: it has no colon", "write user:password; either may be empty");
  }
  return value;
}

function parseHeader(value: string): CredentialHeader {
  checkHeaderText("header", value);
  const colon = value.indexOf(":");
  const name = value.slice(0, Math.max(0, colon));
  const content = value.slice(colon + 1).replace(/^ +/, "");
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/.test(name)) { // RFC 9110 §5.6.2 token
    invalid("Cannot use this header: its name is none", "write Name: value, such as x-api-key: KEY");
  }
  if (content === "") {
    invalid("Cannot use this header: its value is empty", "write Name: value, such as x-api-key: KEY");
  }
  if (NOT_A_CREDENTIAL.has(name.toLowerCase()) || /^proxy-/i.test(name)) {
    invalid(
      `Cannot use header ${name}: it belongs to the connection, not to the request`,
      "name the header that the API reads its key from",
    );
  }
  return [name, content];
}

/** Text without control characters or surrounding white space: nothing that ends a header or differs when sent. */
export function checkText(what: string, value: string): void {
  if (value === "") invalid(`Cannot use this ${what}: it is empty`, "give the credential itself");
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f-\x9f]/.test(value) || !value.isWellFormed()) {
    invalid(`Cannot use this ${what}: it has line breaks or control characters`, "give one line of text");
  }
  if (value.trim() !== value) {
    invalid(`Cannot use this ${what}: it begins or ends with white space`, "give the credential itself");
  }
  if (value.length > MAX_CREDENTIAL_CHARS) {
    invalid(
      `Cannot use this ${what}: it is longer than ${MAX_CREDENTIAL_CHARS} characters`,
      "no server takes such a header",
    );
  }
}

/** Text that is sent as it is: other characters would be encoded differently by different servers (RFC 9110 §5.5). */
export function checkHeaderText(what: string, value: string): void {
  checkText(what, value);
  if (!/^[\x20-\x7e]*$/.test(value)) {
    invalid(`Cannot use this ${what}: it has characters beyond ASCII`, "encode them as the API asks for");
  }
}

function toBase64(text: string): string {
  return Buffer.from(text, "utf8").toString("base64"); // RFC 7617 §2.1: UTF-8
}

export function invalid(message: string, hint: string): never {
  throw new ProxyError("input.invalid", message, { hint });
}
