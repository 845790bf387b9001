/**
 * The call that tests a secret: one GET with the credential where requests of clients have it, on the way that they take:
 * resolved once, every address checked, TLS verified. No redirects, a bounded answer, a bounded time.
 *
 * Not here: what is asked, and what an answer means (`secrets/probe.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { ProxyError } from "../../core/errors.ts";
import { parseHost } from "../../core/host_port.ts";
import type { Limits } from "../../core/limits.ts";
import { readQuery } from "../../secrets/aws/query.ts";
import { signHead } from "../../secrets/aws/signer.ts";
import type { Credential } from "../../secrets/credential.ts";
import {
  awsScopeOf,
  judgeAnswer,
  judgeFailure,
  judgeToken,
  type ProbeAnswer,
  probeUrl,
  type SecretTest,
  type TestedSecret,
} from "../../secrets/probe.ts";
import { responseBody } from "../http1/body.ts";
import { dechunk } from "../http1/body_text.ts";
import { readResponseHead } from "../http1/head_reader.ts";
import { formatRequestHead } from "../http1/head_writer.ts";
import { type HeaderField, injectCredential, makeField, valuesOf } from "../message/fields.ts";
import { fillSegment, setParameter } from "../message/target_credential.ts";
import { closeQuietly, writeAll } from "../streams/byte_reader.ts";
import type { Dialler } from "./dialler.ts";
import type { UpstreamConnection } from "./upstream_connection.ts";

/** A person waits for it. */
const TEST_TIMEOUT_MS = 15_000;
/** Error codes stand at the beginning. */
const MAX_BODY_BYTES = 16_384;

/** Of a GET's body. */
const EMPTY_SHA256 = createHash("sha256").digest("hex");

/** Whoever operates the proxy: counted apart from every client, whose names are never empty. */
const OURSELVES = { name: "", version: "" };

/** See each field. */
export interface ProbeParts {
  readonly dialler: Pick<Dialler, "dial">;
  readonly limits: Limits;
  readonly cleartextSecrets: "private" | "always" | "never";
  /** See `Credentials.credential`. */
  readonly credential: (
    name: string,
    request: {
      readonly client: string;
      readonly host: string;
      readonly method: string;
      readonly path: string;
    },
  ) => Credential | Promise<Credential> | undefined;
}

/**
 * Tests a secret: at `text` or at what is known for its host; a login for which nothing is known by fetching its token.
 *
 * @throws ProxyError `input.invalid` for what cannot be tested so
 */
export async function testSecret(
  parts: ProbeParts,
  record: TestedSecret,
  text: string | undefined,
): Promise<SecretTest> {
  const url = probeUrl(record, text);
  const place = { host: url ? hostOf(url) : record.host, path: url?.pathname ?? "/" };
  const signal = AbortSignal.timeout(TEST_TIMEOUT_MS);
  try {
    const found = parts.credential(record.name, { client: "", method: "GET", ...place });
    const credential = await inTime(Promise.resolve(found), signal);
    if (!credential) throw new ProxyError("input.not-found", `Cannot test secret ${record.name}: it is gone`);
    if (!url) return judgeToken(record, found instanceof Promise);
    const ask = (used: Credential | undefined) => call(parts, { url, record, credential: used, signal });
    const answer = await ask(credential);
    // Of calls that we know it is known that they need one.
    const bare = text !== undefined && answer.status < 300
      ? await ask(undefined).then(({ status }) => status, () => undefined) // refused before HTTP
      : undefined;
    return judgeAnswer(url, answer, { bare, material: credential.material });
  } catch (error) {
    return judgeFailure(error, url);
  }
}

interface Call {
  readonly url: URL;
  readonly record: TestedSecret;
  readonly credential: Credential | undefined;
  readonly signal: AbortSignal;
}

async function call(parts: ProbeParts, { url, record, credential, signal }: Call): Promise<ProbeAnswer> {
  const scheme = url.protocol === "https:" ? "https" : "http";
  const isClear = scheme === "http" && !record.cleartext;
  if (isClear && parts.cleartextSecrets === "never") {
    throw new ProxyError("input.invalid", `Cannot test secret ${record.name}: it is not sent without TLS`);
  }
  const host = hostOf(url);
  const port = Number(url.port || (scheme === "https" ? 443 : 80));
  let connection: UpstreamConnection | undefined;
  const cut = () => connection && closeQuietly(connection.stream);
  signal.addEventListener("abort", cut);
  try {
    connection = await parts.dialler.dial({
      ...{ scheme, host, port, client: OURSELVES, ruleHost: host },
      clientCertificate: credential?.clientCertificate,
      isOnlyNear: isClear && parts.cleartextSecrets === "private",
    }, signal);
    signal.throwIfAborted();
    await writeAll(connection.stream, await headOf(url, credential));
    return await readAnswer(connection, parts.limits);
  } catch (error) {
    if (signal.aborted) throw late();
    if (error instanceof ProxyError) throw error;
    throw new ProxyError("upstream.closed", `Cannot read the answer of ${host}: the connection broke`, {
      cause: error,
    });
  } finally {
    signal.removeEventListener("abort", cut);
    cut();
  }
}

async function headOf(url: URL, credential: Credential | undefined): Promise<Uint8Array> {
  const asked = [
    ["Host", url.host],
    ["User-Agent", "slicer-proxy"],
    ["Accept", "*/*"],
    ...(url.hostname === "api.anthropic.com" ? [["anthropic-version", "2023-06-01"]] as const : []),
    ["Accept-Encoding", "identity"],
    ["Connection", "close"],
  ] as const;
  const fields = asked.map(([name, value]) => makeField(name, value));
  let target = url.pathname + url.search;
  if (credential?.segment !== undefined) target = fillSegment(target, credential.segment);
  if (credential?.parameter) target = setParameter(target, credential.parameter);
  return formatRequestHead({
    method: "GET",
    target,
    version: "HTTP/1.1",
    fields: credential ? await withCredential(fields, url, credential) : fields,
  });
}

async function withCredential(
  fields: readonly HeaderField[],
  url: URL,
  credential: Credential,
): Promise<readonly HeaderField[]> {
  if (!credential.aws) return injectCredential(fields, credential);
  const query = readQuery(url.search.slice(1));
  const signable = [...fields, makeField("X-Amz-Content-Sha256", EMPTY_SHA256)];
  const { headers } = await signHead({
    method: "GET",
    path: url.pathname,
    query: Array.isArray(query) ? query : [],
    fields: signable,
    signedHeaders: new Set(),
    payload: EMPTY_SHA256,
  }, { keys: credential.aws, scope: awsScopeOf(hostOf(url)), nowMs: Date.now() });
  return injectCredential(signable, { headers });
}

async function readAnswer({ reader }: UpstreamConnection, limits: Limits): Promise<ProbeAnswer> {
  for (let interim = 0; interim <= limits.maxInterimResponses; interim++) {
    const head = await readResponseHead(reader, limits);
    if (head.status < 200) continue;
    const body = responseBody(head, "GET", limits);
    const parts: Uint8Array[] = [];
    for (let size = 0; !body.done && size < MAX_BODY_BYTES;) {
      const count = body.take(reader.available);
      if (count > 0) {
        parts.push(reader.available.slice(0, count));
        reader.consume(count);
        size += count;
      } else if (!await reader.fill()) break;
    }
    const raw = Buffer.concat(parts);
    const isChunked = valuesOf(head.fields, "transfer-encoding").length > 0;
    const text = isChunked && body.done ? dechunk(raw) : raw;
    return { status: head.status, bodyStart: new TextDecoder().decode(text) };
  }
  throw new ProxyError("upstream.malformed", "Cannot use the answer: it does not come to an end");
}

function hostOf(url: URL): string {
  return parseHost(url.hostname.replace(/^\[|\]$/g, "")) ?? "";
}

/** The promise's outcome, or a failure once the signal aborts. What is renewed goes on. */
async function inTime<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(late());
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([promise, ended]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function late(): ProxyError {
  return new ProxyError(
    "upstream.timeout",
    `Cannot test it: there was no answer within ${TEST_TIMEOUT_MS / 1_000} s`,
  );
}
