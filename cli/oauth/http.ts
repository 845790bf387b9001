/**
 * Calls to an identity provider: https only, no redirect followed, bodies and time bounded. What comes back is handed on
 * to the OAuth library as it is.
 *
 * Not here: what an answer means (`oauth/errors.ts`, `oauth/device.ts`).
 *
 * @module
 */
import { X509Certificate } from "node:crypto";
import { isProxyError, messageOf, ProxyError } from "../../core/errors.ts";
import { expandHome } from "../api/url.ts";
import { VERSION } from "../command/cmd_version.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { usageError } from "../command/parse.ts";

/** One call, from dialling to the last byte. */
const CALL_TIMEOUT_MS = 15_000;

/** Token answers have 1 to 8 KiB. */
const MAX_BODY_BYTES = 65_536;

/** What the OAuth library hands to a fetch. */
export interface ProviderRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: URLSearchParams | undefined;
}

/** A fetch for the OAuth library. */
export type ProviderFetch = (url: string, request: ProviderRequest) => Promise<Response>;

/** Calls to providers. Dispose it to close its connections. */
export interface ProviderHttp extends Disposable {
  /**
   * One call. A status of 4xx is an answer like any other.
   *
   * @throws ProxyError `upstream.tls`; `upstream.unreachable`, `upstream.timeout` for what may pass (no connection, 429,
   * 5xx); `upstream.malformed` for a redirect or a body that is too long; the reason of the signal
   */
  readonly fetch: ProviderFetch;
}

/** See each field. */
export interface ProviderHttpOptions {
  /** PEM certificates to trust besides the usual roots. */
  readonly caCerts: readonly string[];
  /** Ends every call. Its reason, a ProxyError, is what the call throws. */
  readonly signal: AbortSignal;
  /** Default: 15 s. */
  readonly timeoutMs?: number;
}

/** Opens a client for one login. */
export function openProviderHttp(options: ProviderHttpOptions): ProviderHttp {
  const client = Deno.createHttpClient({ caCerts: [...options.caCerts] });
  const timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS;
  return {
    async fetch(url, { method, headers: given, body = null }) {
      const { host } = new URL(url);
      const headers = new Headers(given);
      headers.set("user-agent", `slicer-proxy/${VERSION}`);
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), timeoutMs);
      try {
        const signal = AbortSignal.any([options.signal, late.signal]);
        const response = await fetch(url, { method, headers, body, redirect: "manual", signal, client });
        return await readAnswer(response, host);
      } catch (error) {
        if (isProxyError(error)) throw error;
        throw unreachable(host, error, late.signal.aborted);
      } finally {
        clearTimeout(timer);
      }
    },
    [Symbol.dispose]: () => client.close(),
  };
}

/** The answer with its body in memory. */
async function readAnswer(response: Response, host: string): Promise<Response> {
  const { status } = response;
  const isRedirect = status >= 300 && status < 400;
  if (isRedirect || status === 429 || status >= 500) {
    await response.body?.cancel();
    throw isRedirect
      ? new ProxyError("upstream.malformed", `Cannot use ${host}: it answered with a redirect (${status})`, {
        hint: "redirects are not followed with credentials: is the address the final one?",
      })
      : new ProxyError("upstream.unreachable", `Cannot use ${host}: it answered with status ${status}`, {
        hint: "try again in a while",
      });
  }
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) { // leaving the loop ends the body
      throw new ProxyError(
        "upstream.malformed",
        `Cannot use ${host}: its answer is above ${MAX_BODY_BYTES} bytes`,
      );
    }
    chunks.push(chunk);
  }
  const type = response.headers.get("content-type");
  return new Response(length === 0 ? null : new Blob(chunks), {
    status,
    headers: type === null ? {} : { "content-type": type },
  });
}

/** fetch() says why only in English. */
function unreachable(host: string, cause: unknown, isLate: boolean): ProxyError {
  const text = cause instanceof Error ? `${cause.message} ${cause.cause ? messageOf(cause.cause) : ""}` : "";
  const say = (
    code: "upstream.tls" | "upstream.unreachable" | "upstream.timeout",
    why: string,
    hint: string,
  ) => new ProxyError(code, `Cannot reach ${host}: ${why}`, { cause, hint });
  if (isLate) return say("upstream.timeout", "no answer in time", "try again in a while");
  if (/certificate/i.test(text)) {
    return /UnknownIssuer/.test(text)
      ? say("upstream.tls", "its certificate is not trusted", "name the CA that signed it with --ca-file")
      : say(
        "upstream.tls",
        "its certificate is not valid for it",
        "is the address right, and this clock too?",
      );
  }
  if (/refused/i.test(text)) {
    return say("upstream.unreachable", "connection refused", "is the address right?");
  }
  if (/dns error|lookup/i.test(text)) {
    return say("upstream.unreachable", "there is no such host", "is the address right, and is DNS working?");
  }
  return say("upstream.unreachable", "no connection", "is this machine online?");
}

/**
 * The provider's address in a flag: https, nothing but host, port and path.
 *
 * @throws ProxyError `cli.usage`
 */
export function providerUrlOf(args: CommandArgs, flag: string): URL {
  const text = args.textOf(flag);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" || url.username || url.password || url.search || url.hash) {
    throw usageError(
      `Cannot use --${flag} with this value: it is not a plain https URL`,
      "write https://HOST",
    );
  }
  return url;
}

/**
 * The certificates of `--ca-file`. SLICER_CA_FILE is not read: it names the proxy's own CA, whose holder could pose as
 * any provider.
 *
 * @throws ProxyError `input.invalid`
 */
export async function caCertsOf(args: CommandArgs, io: Io): Promise<readonly string[]> {
  const path = args.text("ca-file");
  if (path === undefined) return [];
  const fail = (state: string, cause?: unknown) =>
    new ProxyError("input.invalid", `Cannot use the CA file ${path}: ${state}`, {
      cause,
      hint: "give a PEM file with one or more CERTIFICATE blocks",
    });
  let text: string;
  try {
    text = await Deno.readTextFile(expandHome(path, io.env("HOME")));
  } catch (cause) {
    throw fail(cause instanceof Deno.errors.NotFound ? "there is no such file" : messageOf(cause), cause);
  }
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw fail("it holds no PEM certificate");
  try {
    for (const block of blocks) new X509Certificate(block); // the TLS library ignores a damaged one without a word
  } catch (cause) {
    throw fail("a certificate in it is damaged", cause);
  }
  return blocks;
}
