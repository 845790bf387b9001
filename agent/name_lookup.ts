/**
 * Asking for names: DNS over HTTP (RFC 8484), either to the proxy itself, which answers only for names that a rule of this
 * VM could allow, or through it to a public resolver (`--doh-url`). Answers are kept as long as they say, refusals never: a
 * rule that is added takes effect with the next look-up.
 *
 * Not here: the sockets on port 53 (`dns_server.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import {
  type DnsAnswer,
  type DnsQuery,
  formatDnsQuery,
  parseDnsAnswer,
  RCODE,
  TYPE_A,
  TYPE_AAAA,
} from "../core/dns_message.ts";
import { messageOf, ProxyError } from "../core/errors.ts";
import { formatHost, formatHostPort } from "../core/host_port.ts";
import { CHECK_NAME } from "./names.ts";
import { type HttpResponse, readHttpHead, readHttpResponse } from "./http.ts";
import { closeQuietly, dialProxy, type ProxyAccess, proxyAuthorization, writeAll } from "./proxy_link.ts";

/** A question of a program. */
export type Question = Pick<DnsQuery, "name" | "type">;

/** Where questions go. */
export interface NameService {
  /** Opens a connection; requests go over it in turn. */
  dial(): Promise<Deno.Conn>;
  /** The head of a request with a body of `length` bytes. */
  head(length: number): string;
  /** True when only addresses may be asked for. */
  readonly onlyAddresses: boolean;
}

const ANSWER_TIMEOUT_MS = 12_000;
/** Requests under way at a time; more wait. */
const MAX_CONNECTIONS = 8;
const MAX_IDLE = 4;
const MAX_CACHED = 1_024;
const MAX_TTL_SECONDS = 300;

/** The proxy's own name service. */
export function proxyNames(access: () => ProxyAccess): NameService {
  return {
    dial: () => dialProxy(access()),
    head: (length) => {
      const { proxy, token } = access();
      return `POST /dns-query HTTP/1.1\r\nHost: ${formatHostPort(proxy)}\r\n` +
        `Proxy-Authorization: ${proxyAuthorization(token)}\r\nContent-Type: application/dns-message\r\n` +
        `Accept: application/dns-message\r\nContent-Length: ${length}\r\n\r\n`;
    },
    onlyAddresses: false,
  };
}

/**
 * A public resolver, reached through our own proxy on loopback.
 *
 * @param url `https://host/path`, checked before
 */
export function dohNames(url: URL, proxyPort: () => number, caPem: () => string): NameService {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const where = formatHostPort({ host, port: Number(url.port || 443) });
  return {
    dial: async () => {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: proxyPort() });
      try {
        await writeAll(conn, Buffer.from(`CONNECT ${where} HTTP/1.1\r\nHost: ${where}\r\n\r\n`, "latin1"));
        const { head } = await readHttpHead(conn);
        if (!head.startsWith("HTTP/1.1 200 ")) {
          throw new ProxyError("upstream.refused", `Cannot reach ${where}: the proxy refuses it`, {
            hint: `slicer-proxy allow CLIENT --host ${host} --method POST --path ${url.pathname}`,
          });
        }
        const tls = await Deno.startTls(conn, { hostname: host, caCerts: [caPem()] });
        await tls.handshake();
        return tls;
      } catch (error) {
        closeQuietly(conn);
        throw error;
      }
    },
    head: (length) =>
      `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${formatHost(host)}${
        url.port && `:${url.port}`
      }\r\n` +
      "Content-Type: application/dns-message\r\nAccept: application/dns-message\r\n" +
      `Content-Length: ${length}\r\n\r\n`,
    onlyAddresses: true,
  };
}

/** Looks names up. */
export class NameLookup implements Disposable {
  readonly #service: NameService;
  readonly #now: () => number;
  readonly #cache = new Map<string, { readonly answer: DnsAnswer; readonly until: number }>();
  readonly #pending = new Map<string, Promise<DnsAnswer>>();
  readonly #idle: Deno.Conn[] = [];
  readonly #waiting: (() => void)[] = [];
  #busy = 0;
  #isClosed = false;

  /** @param now milliseconds, monotonic */
  constructor(service: NameService, now: () => number) {
    this.#service = service;
    this.#now = now;
  }

  /** The answer; questions for the same at the same time share it. */
  async ask(question: Question): Promise<DnsAnswer> {
    const { type } = question;
    const name = question.name.toLowerCase();
    // RFC 6761 §6.3; and nothing of this VM's own loopback is anyone else's business.
    if (name === "localhost" || name.endsWith(".localhost")) return localhost(type);
    if (this.#service.onlyAddresses && type !== TYPE_A && type !== TYPE_AAAA) {
      return { rcode: RCODE.noError, addresses: [], ttl: 0 };
    }
    const key = `${type} ${name}`;
    const known = this.#cache.get(key);
    if (known) {
      const leftMs = known.until - this.#now();
      if (leftMs > 0) return { ...known.answer, ttl: Math.ceil(leftMs / 1_000) };
      this.#cache.delete(key);
    }
    const pending = this.#pending.get(key);
    if (pending) return await pending;
    const asked = this.#askService({ name, type }).finally(() => this.#pending.delete(key));
    this.#pending.set(key, asked);
    const answer = await asked;
    if (answer.ttl > 0) this.#keep(key, answer);
    return answer;
  }

  /** Forgets everything: another token may see other names. */
  clear(): void {
    this.#cache.clear();
    for (const conn of this.#idle.splice(0)) closeQuietly(conn);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.clear();
  }

  #keep(key: string, answer: DnsAnswer): void {
    if (this.#cache.size >= MAX_CACHED) {
      const [oldest] = this.#cache.keys();
      if (oldest !== undefined) this.#cache.delete(oldest);
    }
    const seconds = Math.min(answer.ttl, MAX_TTL_SECONDS);
    this.#cache.set(key, { answer, until: this.#now() + seconds * 1_000 });
  }

  async #askService(question: Question): Promise<DnsAnswer> {
    if (this.#busy >= MAX_CONNECTIONS) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#busy++;
    try {
      const message = formatDnsQuery({ id: 0, ...question }); // RFC 8484 §4.1: the id is 0
      const head = this.#service.head(message.length);
      const response = await this.#exchange(Buffer.concat([Buffer.from(head, "latin1"), message]));
      if (response.status !== 200) throw refused(response);
      return parseDnsAnswer(response.body, question);
    } finally {
      this.#busy--;
      this.#waiting.shift()?.();
    }
  }

  /** One request and its response. A connection that was idle may have ended since: then once more on a new one. */
  async #exchange(request: Uint8Array): Promise<HttpResponse> {
    for (let conn = this.#idle.pop(); conn; conn = this.#idle.pop()) {
      try {
        return await this.#exchangeOn(conn, request);
      } catch {
        // Ended while idle.
      }
    }
    return await this.#exchangeOn(await this.#service.dial(), request);
  }

  async #exchangeOn(conn: Deno.Conn, request: Uint8Array): Promise<HttpResponse> {
    const timer = setTimeout(() => closeQuietly(conn), ANSWER_TIMEOUT_MS);
    let canKeep = false;
    try {
      await writeAll(conn, request);
      const response = await readHttpResponse(conn);
      canKeep = response.status === 200 && response.rest.length === 0 &&
        response.field("connection")?.toLowerCase() !== "close";
      return response;
    } finally {
      clearTimeout(timer);
      if (canKeep && !this.#isClosed && this.#idle.length < MAX_IDLE) this.#idle.push(conn);
      else closeQuietly(conn);
    }
  }
}

/**
 * Asks the proxy for a name that nobody has, to find out whether it knows our token and answers names.
 *
 * @returns the proxy's clock, in milliseconds since the epoch, or undefined when it does not say
 * @throws ProxyError `auth.invalid`, `upstream.*`
 */
export async function checkProxy(access: ProxyAccess): Promise<number | undefined> {
  const service = proxyNames(() => access);
  const message = formatDnsQuery({ id: 0, name: CHECK_NAME, type: TYPE_A });
  const conn = await service.dial();
  const timer = setTimeout(() => closeQuietly(conn), ANSWER_TIMEOUT_MS);
  try {
    await writeAll(conn, Buffer.concat([Buffer.from(service.head(message.length), "latin1"), message]));
    const response = await readHttpResponse(conn);
    if (response.status !== 200) throw refused(response);
    const date = Date.parse(response.field("date") ?? "");
    return Number.isNaN(date) ? undefined : date;
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    throw new ProxyError("upstream.closed", `Cannot use the proxy: ${messageOf(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
    closeQuietly(conn);
  }
}

function refused({ status, field }: HttpResponse): ProxyError {
  if (status === 407) {
    return new ProxyError("auth.invalid", "Cannot use the proxy: it does not know this token", {
      hint: "slicer-proxy client create NAME (or rotate NAME), on the host, prints a token",
    });
  }
  const reason = field("x-slicer-proxy-reason");
  return new ProxyError(
    "upstream.refused",
    `Cannot look up names: the answer is ${status}${reason === undefined ? "" : ` (${reason})`}`,
    { hint: "a proxy that answers no names needs --doh-url, and a rule for that host" },
  );
}

function localhost(type: number): DnsAnswer {
  const addresses = type === TYPE_A ? ["127.0.0.1"] : type === TYPE_AAAA ? ["::1"] : [];
  return { rcode: RCODE.noError, addresses, ttl: 600 };
}
