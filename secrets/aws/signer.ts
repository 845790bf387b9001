/**
 * Signs requests with Signature Version 4, by the library that AWS's own SDK uses. What is signed is the head as it goes
 * upstream: the host, every `x-amz-*` field, and what the client's SDK had signed and is still there.
 *
 * Not here: reading what the client has signed (`client_signature.ts`), bodies (`chunks.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, createHmac, type Hash, type Hmac } from "node:crypto";
import type { SignatureV4 } from "@smithy/signature-v4";
import type { AwsScope } from "../../policy/words/aws_scope.ts";
import type { AwsKeys, CredentialHeader } from "../credential.ts";
import { CONTENT_SHA256, type Field, isAuthParameter, isS3 } from "./client_signature.ts";
import type { QueryPair } from "./query.ts";

/** A request to be signed. */
export interface Signable {
  readonly method: string;
  /** As sent, without the query. */
  readonly path: string;
  readonly query: readonly QueryPair[];
  /** As they go upstream, without any signature; the host's among them. */
  readonly fields: readonly Field[];
  /** Names, in lower case, that are signed where they are there, beside those that have to be. */
  readonly signedHeaders: ReadonlySet<string>;
  /** What stands in `X-Amz-Content-Sha256`, or would if it were among the fields. */
  readonly payload: string;
}

/** With what, for what, and when. */
export interface SigningParts {
  readonly keys: AwsKeys;
  readonly scope: AwsScope;
  readonly nowMs: number;
}

/** The signature of a head. */
export interface HeadSignature {
  /** To be set. Live credential values. */
  readonly headers: readonly CredentialHeader[];
  /** In hex; the first chunk's hangs on it. */
  readonly signature: string;
  /** Signs a text with the same key, for chunks. @returns hex */
  readonly signText: (text: string) => Promise<string>;
  /** `20260102T030405Z` */
  readonly longDate: string;
}

/** Signs in headers. */
export async function signHead(request: Signable, parts: SigningParts): Promise<HeadSignature> {
  const signer = await makeSigner(request, parts);
  const signingDate = new Date(parts.nowMs);
  const { headers, ...names } = headersToSign(request);
  const signed = await signer.sign({ ...place(request, parts.scope), headers }, {
    signingDate,
    ...names,
  });
  const value = (name: string) => signed.headers[name] ?? "";
  const { sessionToken } = parts.keys;
  return {
    headers: [
      ["Authorization", value("authorization")],
      ["X-Amz-Date", value("x-amz-date")],
      ...(sessionToken === undefined ? [] : [["X-Amz-Security-Token", sessionToken] as const]),
    ],
    signature: value("authorization").slice(-64),
    signText: (text) => signer.sign(text, { signingDate }),
    longDate: value("x-amz-date"),
  };
}

/** How long a presigned URL is good, in seconds. */
export interface PresigningParts extends SigningParts {
  readonly expiresS: number;
}

/** The query of a presigned URL: the client's other parameters as they are, and then the signature. A live credential. */
export async function presignQuery(request: Signable, parts: PresigningParts): Promise<string> {
  const others = request.query.filter(({ name }) => !isAuthParameter(name.toLowerCase()));
  const signer = await makeSigner({ query: others }, parts);
  const { headers, ...names } = headersToSign(request);
  const signed = await signer.presign({
    ...place(request, parts.scope),
    headers,
  }, {
    signingDate: new Date(parts.nowMs),
    expiresIn: parts.expiresS,
    ...names,
    unhoistableHeaders: new Set(Object.keys(headers)), // what is sent as a field stays one
  });
  const own = Object.entries(signed.query ?? {}).filter(([name]) => isAuthParameter(name.toLowerCase()));
  return [
    ...others.map(({ raw }) => raw),
    ...own.map(([name, value]) => `${name}=${encode(String(value))}`),
  ].join("&");
}

/** Loaded with the first request that is signed: it takes longer than everything else at a start. */
const load = () => loading ??= loadSigner();
let loading: ReturnType<typeof loadSigner> | undefined;

/** The library copies a request's query in time quadratic in its parameters: it is given them after that. */
async function loadSigner() {
  const { SignatureV4 } = await import("@smithy/signature-v4");
  return class extends SignatureV4 {
    readonly #query: Bag;

    constructor(query: Bag, options: ConstructorParameters<typeof SignatureV4>[0]) {
      super(options);
      this.#query = query;
    }

    protected override createCanonicalRequest(
      ...[request, headers, hash]: Parameters<SignatureV4["createCanonicalRequest"]>
    ): string {
      return super.createCanonicalRequest(
        { ...request, query: { ...this.#query, ...request.query } },
        headers,
        hash,
      );
    }
  };
}

type Bag = Record<string, string | string[]>;

async function makeSigner({ query }: Pick<Signable, "query">, { keys, scope }: SigningParts) {
  const Signer = await load();
  const bag: Bag = Object.create(null); // clients choose the names
  for (const { name, value } of query) {
    const known = bag[name];
    if (Array.isArray(known)) known.push(value);
    else bag[name] = known === undefined ? value : [known, value];
  }
  return new Signer(bag, {
    service: scope.service,
    region: scope.region,
    credentials: keys,
    sha256: Sha256,
    uriEscapePath: !isS3(scope.service),
    applyChecksum: false,
  });
}

function place({ method, path }: Pick<Signable, "method" | "path">, { service }: AwsScope) {
  return { method, protocol: "https:", hostname: "", path: isS3(service) ? s3Path(path) : path, query: {} };
}

/** The fields to sign. The library reads the payload's hash from one, which is signed only where it is sent. */
function headersToSign(request: Signable) {
  const sent = headersOf(request.fields, namesToSign(request));
  return {
    headers: { ...sent, [CONTENT_SHA256]: request.payload },
    signableHeaders: new Set(Object.keys(sent)),
    unsignableHeaders: new Set(CONTENT_SHA256 in sent ? [] : [CONTENT_SHA256]),
  };
}

/** What has to be signed (S3 refuses an `x-amz-*` field that is not), and what the client's SDK wanted to be. */
function namesToSign({ fields, signedHeaders }: Signable): ReadonlySet<string> {
  const names = fields.map(({ key }) => key);
  return new Set(
    names.filter((key) =>
      key === "host" || key.startsWith("x-amz-") || key === "content-type" || signedHeaders.has(key)
    ),
  );
}

/** By name; those of one name are one list. Bytes beyond ASCII are signed as the bytes that they are. */
function headersOf(fields: readonly Field[], names: ReadonlySet<string>): Record<string, string> {
  const headers: Record<string, string> = Object.create(null);
  for (const { key, value } of fields) {
    if (!names.has(key)) continue;
    const text = Buffer.from(value, "latin1").toString("utf8");
    headers[key] = headers[key] === undefined ? text : `${headers[key]},${text}`;
  }
  return headers;
}

/** A path as S3 signs it: what it decodes to, encoded once in AWS's way, nothing normalised. */
function s3Path(path: string): string {
  return path.replace(
    /%[0-9A-Fa-f]{2}|[^A-Za-z0-9_.~/-]/g,
    (part) => encodeByte(part.length === 3 ? parseInt(part.slice(1), 16) : part.charCodeAt(0) & 0xff),
  );
}

function encodeByte(byte: number): string {
  const char = String.fromCharCode(byte);
  return /[A-Za-z0-9_.~/-]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
}

/** RFC 3986 §2.3: all but unreserved characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** SHA-256, or HMAC with it, as the library wants it. */
class Sha256 {
  readonly #hash: Hash | Hmac;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash("sha256") : createHmac("sha256", bytesOf(secret));
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }

  digest(): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array(this.#hash.digest()));
  }

  reset(): void {
    throw new TypeError("a hash is used once");
  }
}

function bytesOf(data: string | ArrayBuffer | ArrayBufferView): string | Uint8Array {
  if (typeof data === "string") return data;
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}
