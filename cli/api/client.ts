/**
 * Calls of the REST API (`/proxy/v1`) over its unix socket or TCP. Every failure is one clear line and a hint.
 *
 * The token is sent over TCP only, over plain http only to this machine, and never along a redirect.
 *
 * @module
 */
import { resolve } from "node:path";
import { parseIp } from "../../core/cidr.ts";
import { isProxyError, messageOf, ProxyError } from "../../core/errors.ts";
import { escapeTerminal } from "../../core/escape.ts";
import { type ApiTarget, DEFAULT_SOCKET, expandHome, parseApiUrl } from "./url.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { usageError } from "../command/parse.ts";

/** Adopting a credential makes the daemon ask its provider, which may take a while. */
const CALL_TIMEOUT_MS = 60_000;

/** What an error answer may say, in characters: it is shown as one line. */
const MAX_ERROR_CHARS = 600;

const START_HINT = "is the proxy running? start it with slicer-proxy up, or say where it is with --url";

/** A JSON object of the API. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The API of one daemon. */
export class ApiClient {
  #target: ApiTarget;
  #fallback: Fallback | undefined;
  #token: string | undefined;
  readonly #caCert: string | undefined;
  readonly #timeoutMs: number;
  readonly #say: (line: string) => void;

  constructor(
    target: ApiTarget,
    options: {
      token?: string;
      caCert?: string;
      timeoutMs?: number;
      fallback?: Fallback | undefined;
      /** Tells people what is not an answer. */
      say?: (line: string) => void;
    } = {},
  ) {
    this.#target = target;
    this.#fallback = options.fallback;
    this.#token = options.token;
    this.#caCert = options.caCert;
    this.#timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS;
    this.#say = options.say ?? (() => {});
  }

  /** Scheme, host and port when it is called over TCP. */
  get origin(): string | undefined {
    return this.#target.kind === "http" ? this.#target.base.origin : undefined;
  }

  /** A list of objects. */
  async list(path: string): Promise<readonly JsonObject[]> {
    const value = await this.call("GET", path);
    if (!Array.isArray(value) || !value.every(isJsonObject)) throw this.#notTheApi();
    return value;
  }

  /** An object. */
  async object(method: string, path: string, body?: JsonObject): Promise<JsonObject> {
    const value = await this.call(method, path, body);
    if (!isJsonObject(value)) throw this.#notTheApi();
    return value;
  }

  /**
   * The answer to one call, undefined when it is empty.
   *
   * @param path what follows `/proxy/v1/`, escaped
   * @throws ProxyError `api.unreachable`, or `api.refused` with the server's own words
   */
  async call(method: string, path: string, body?: JsonObject): Promise<unknown> {
    const text = await this.#exchange(method, path, "application/json", body);
    return text === "" ? undefined : this.#parse(text);
  }

  /** A document in another type than JSON. @throws ProxyError as {@linkcode call} */
  text(path: string, mediaType: string): Promise<string> {
    return this.#exchange("GET", path, mediaType);
  }

  async #exchange(method: string, path: string, accept: string, body?: JsonObject): Promise<string> {
    try {
      return await this.#exchangeOnce(method, path, accept, body);
    } catch (error) {
      if (!await this.#fallBack(error)) throw error;
      return await this.#exchangeOnce(method, path, accept, body);
    }
  }

  /** True when the call is to be made once more, elsewhere: nobody, or another program, has got this one. */
  async #fallBack(error: unknown): Promise<boolean> {
    const fallback = this.#fallback;
    this.#fallback = undefined; // what answers once is what is meant
    if (!fallback || !(isProxyError(error) && ABSENT.has(error)) || !await isLive(fallback.path)) {
      return false;
    }
    fallback.say(this.#target.label);
    this.#target = { kind: "unix", path: fallback.path, label: DEFAULT_SOCKET };
    this.#token = undefined; // slicerd's, and a socket needs none
    return true;
  }

  async #exchangeOnce(method: string, path: string, accept: string, body?: JsonObject): Promise<string> {
    using http = openHttpClient(this.#target, this.#caCert);
    const timeout = new AbortController();
    const timer = this.#startTimeout(timeout);
    try {
      const response = await this.#fetch(path, {
        method,
        headers: {
          accept,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: timeout.signal,
        client: http,
      });
      const text = await response.text();
      if (!response.ok) throw this.#refused(response, text);
      const hosts = response.headers.get("x-slicer-proxy-hosts");
      if (hosts !== null) this.#say(`hosts: ${escapeTerminal(hosts)}`);
      return text;
    } catch (error) {
      throw isProxyError(error) ? error : await this.#unreachable(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * The lines of an answer of NDJSON, as they come, some at a time. It may go on for as long as it likes, but not be silent
   * for longer than another call may take: empty lines, which are left out, show that the server is there.
   *
   * @throws ProxyError `api.unreachable` also when the answer breaks off, `api.refused`; what `signal` aborts with
   */
  async *lines(path: string, signal: AbortSignal): AsyncGenerator<readonly string[]> {
    try {
      yield* this.#linesOnce(path, signal);
    } catch (error) {
      if (!await this.#fallBack(error)) throw error;
      yield* this.#linesOnce(path, signal);
    }
  }

  async *#linesOnce(path: string, signal: AbortSignal): AsyncGenerator<readonly string[]> {
    using http = openHttpClient(this.#target, this.#caCert);
    const timeout = new AbortController();
    let timer = this.#startTimeout(timeout);
    let isBegun = false;
    try {
      const response = await this.#fetch(path, {
        headers: { accept: "application/x-ndjson" },
        signal: AbortSignal.any([signal, timeout.signal]),
        client: http,
      });
      if (!response.ok) throw this.#refused(response, await response.text());
      if (!response.body) throw this.#notTheApi();
      isBegun = true;
      let rest = "";
      for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
        clearTimeout(timer); // whoever shows the lines may take their time
        const lines = (rest + piece).split("\n");
        rest = lines.pop() ?? "";
        yield lines.filter((line) => line !== "");
        timer = this.#startTimeout(timeout);
      }
    } catch (error) {
      if (signal.aborted || isProxyError(error)) throw error;
      throw isBegun && !isTimeout(error) ? this.#brokenOff(error) : await this.#unreachable(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #startTimeout(timeout: AbortController): ReturnType<typeof setTimeout> {
    return setTimeout(
      () => timeout.abort(new DOMException("no answer in time", "TimeoutError")),
      this.#timeoutMs,
    );
  }

  async #fetch(path: string, options: RequestInit & { readonly client: Deno.HttpClient }): Promise<Response> {
    const base = this.#target.kind === "unix" ? new URL("http://localhost/") : this.#target.base;
    return await fetch(new URL(`proxy/v1/${path}`, base), {
      ...options,
      headers: {
        ...options.headers,
        ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
      },
      redirect: "manual",
    });
  }

  #brokenOff(cause: unknown): ProxyError {
    return new ProxyError(
      "api.unreachable",
      `Cannot read on from the proxy's API at ${this.#target.label}: the answer broke off`,
      { cause, hint: "look at the log of slicer-proxy up, then run the command again" },
    );
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw this.#notTheApi(cause);
    }
  }

  #notTheApi(cause?: unknown): ProxyError {
    return absent(
      new ProxyError(
        "api.refused",
        `Cannot use the API at ${this.#target.label}: its answer is not the proxy's`,
        {
          cause,
          hint: "does --url or SLICER_URL name the socket of another program?",
        },
      ),
    );
  }

  #refused(response: Response, text: string): ProxyError {
    const { label } = this.#target;
    const [message = "", ...more] = text.slice(0, MAX_ERROR_CHARS).trim().split(/\r?\n/);
    const isOurs = message.startsWith("Cannot "); // as every error of our API does
    if (response.status === 401) {
      const refusal = new ProxyError(
        "api.refused",
        `Cannot use the API at ${label}: the token is missing or wrong`,
        { hint: "set SLICER_TOKEN_FILE to a copy of the file api-token in the proxy's state folder" },
      );
      return isOurs ? refusal : absent(refusal);
    }
    if (!isOurs && [403, 404, 405, 501].includes(response.status)) return this.#notTheApi();
    const hint = more.find((line) => line.startsWith("hint: "))?.slice("hint: ".length);
    return new ProxyError(
      "api.refused",
      message || `Cannot use the API at ${label}: it answered with status ${response.status}`,
      hint === undefined ? {} : { hint },
    );
  }

  async #unreachable(cause: unknown): Promise<ProxyError> {
    const [state, hint] = this.#target.kind === "unix"
      ? await whyNoSocket(this.#target.path, cause)
      : whyNoServer(cause);
    const error = new ProxyError(
      "api.unreachable",
      `Cannot reach the proxy's API at ${this.#target.label}: ${state}`,
      { cause, hint },
    );
    return /^(there is no such socket|the socket is there, but|connection refused)/.test(state)
      ? absent(error)
      : error;
  }
}

/**
 * The API that the command line and the environment name.
 *
 * @throws ProxyError `cli.usage` for an address that is none, and for a token over plain http to another machine;
 * `input.invalid` for a token or CA file that cannot be read
 */
export async function apiClient(args: CommandArgs, io: Io): Promise<ApiClient> {
  const home = io.env("HOME");
  const inherited = args.has("url") ? undefined : io.env("SLICER_URL");
  const target = parseApiUrl(args.text("url") ?? inherited ?? DEFAULT_SOCKET, home);
  const usual = resolve(DEFAULT_SOCKET);
  const isElsewhere = inherited !== undefined && !(target.kind === "unix" && target.path === usual);
  const say = (label: string) =>
    io.output.note(`SLICER_URL is ${label}, where no proxy answers: using ${DEFAULT_SOCKET}`);
  const fallback = isElsewhere ? { path: usual, say } : undefined;
  const note = (line: string) => io.output.note(line);
  if (target.kind === "unix") return new ApiClient(target, { fallback, say: note });
  const token = io.env("SLICER_TOKEN") ?? await readSetting(io, "SLICER_TOKEN_FILE");
  if (token !== undefined && target.base.protocol === "http:" && !isLoopback(target.base.hostname)) {
    throw usageError(
      `Cannot send the API's token to ${target.label}: plain http would show it to the network`,
      "use https, or reach the socket through ssh",
    );
  }
  const caCert = target.base.protocol === "https:" ? await readSetting(io, "SLICER_CA_FILE") : undefined;
  return new ApiClient(target, {
    fallback,
    say: note,
    ...(token === undefined ? {} : { token: token.trim() }),
    ...(caCert === undefined ? {} : { caCert }),
  });
}

/**
 * Where a client goes when what `SLICER_URL` names is not the proxy: Slicer's guides set it to slicerd's socket. Never for
 * `--url`, by which somebody has said what they mean.
 */
export interface Fallback {
  readonly path: string;
  /** Tells people, once. */
  readonly say: (label: string) => void;
}

/** Failures of calls that no proxy has got. */
const ABSENT = new WeakSet<ProxyError>();

function absent(error: ProxyError): ProxyError {
  ABSENT.add(error);
  return error;
}

async function isLive(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch {
    return false;
  }
}

/** One path segment: a name or a host pattern. `*` stays as it is, as the published clients send it. */
export function segment(text: string): string {
  return encodeURIComponent(text);
}

function openHttpClient(target: ApiTarget, caCert: string | undefined): Deno.HttpClient {
  if (target.kind === "unix") {
    return Deno.createHttpClient({ proxy: { transport: "unix", path: target.path } });
  }
  if (target.base.protocol === "https:") {
    return Deno.createHttpClient(caCert === undefined ? {} : { caCerts: [caCert] });
  }
  // Dialled explicitly, so that HTTP_PROXY, which the users of this program are likely to have set, never gets the token.
  const hostname = target.base.hostname.replace(/^\[(.*)\]$/, "$1");
  return Deno.createHttpClient({
    proxy: { transport: "tcp", hostname, port: Number(target.base.port || "80") },
  });
}

/** fetch() says why only in English, so the socket is tried once more to learn the class of the failure. */
async function whyNoSocket(path: string, cause: unknown): Promise<readonly [string, string]> {
  if (isTimeout(cause)) return ["no answer in time", "look at the log of slicer-proxy up"];
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return ["there is no such socket", START_HINT];
    if (error instanceof Deno.errors.PermissionDenied) {
      return ["permission denied", "the proxy belongs to another user: run this command with sudo"];
    }
    if (error instanceof Deno.errors.ConnectionRefused) {
      return [
        "the socket is there, but nothing listens",
        "the proxy has ended: start it with slicer-proxy up",
      ];
    }
    return [messageOf(error), START_HINT];
  }
  return ["the connection was closed without an answer", "look at the log of slicer-proxy up"];
}

function whyNoServer(cause: unknown): readonly [string, string] {
  if (isTimeout(cause)) return ["no answer in time", "look at the log of slicer-proxy up"];
  const text = cause instanceof Error ? `${cause.message} ${cause.cause ? messageOf(cause.cause) : ""}` : "";
  if (/certificate/i.test(text)) {
    return /UnknownIssuer/.test(text)
      ? ["its certificate is not trusted", "set SLICER_CA_FILE to the ca.crt of the proxy's host group"]
      : [
        "its certificate is not valid for it",
        "call it by what up was given as --api-bind, --bind or --san",
      ];
  }
  if (/refused/i.test(text)) return ["connection refused", START_HINT];
  if (/dns error|lookup/i.test(text)) return ["there is no such host", "look at --url or SLICER_URL"];
  return ["no connection", START_HINT];
}

function isTimeout(cause: unknown): boolean {
  return cause instanceof DOMException && cause.name === "TimeoutError";
}

async function readSetting(io: Io, variable: string): Promise<string | undefined> {
  const path = io.env(variable);
  if (path === undefined) return undefined;
  try {
    return await Deno.readTextFile(expandHome(path, io.env("HOME")));
  } catch (cause) {
    throw new ProxyError("input.invalid", `Cannot read the file that ${variable} names: ${path}`, { cause });
  }
}

/** True for names and addresses of this machine; URL has put the address in canonical form. */
function isLoopback(hostname: string): boolean {
  if (hostname === "localhost" || hostname === "[::1]") return true;
  return parseIp(hostname)?.[0] === 127;
}

/** True for an object of JSON. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
