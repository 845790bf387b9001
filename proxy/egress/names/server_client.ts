/**
 * One name server: the way to it by its scheme, and what its answers mean.
 *
 * Not here: which of several is asked (`server_group.ts`).
 *
 * @module
 */
import type { Deadlines } from "../../../core/deadlines.ts";
import { RCODE } from "../../../core/dns_message.ts";
import { type DnsQuestion, type DnsResponse, readDnsResponse } from "../../../core/dns_response.ts";
import { isProxyError } from "../../../core/errors.ts";
import { NAME_LIMITS } from "../../../core/limits.ts";
import { askByDatagram } from "./datagram.ts";
import { makeExchange, type Way } from "./exchange.ts";
import { FailedLookup } from "./failed_lookup.ts";
import { Http2Link } from "./http2_link.ts";
import type { NameServer } from "./name_server.ts";
import { openServerSocket } from "./server_socket.ts";
import { StreamLinks } from "./stream_links.ts";

/** What connections to name servers need. */
export interface ServerClientOptions {
  readonly deadlines: Deadlines;
  readonly systemResolve: (host: string) => Promise<readonly string[]>;
  /** PEM certificates trusted for a host in addition to the roots. */
  readonly caCertsFor: (host: string) => readonly string[];
}

/** Says whether the server that answers for a name is also the one to be asked about its alias. */
export type MayFollow = (alias: string) => boolean;

/** Asks one server. Disposing it ends its connections. */
export class ServerClient implements Disposable {
  readonly #server: NameServer;
  /** For `udp`, where long answers are asked for again. */
  readonly #way: Way;

  constructor(server: NameServer, options: ServerClientOptions) {
    this.#server = server;
    this.#way = wayTo(server, options);
  }

  /**
   * Asks once.
   *
   * @returns an answer of which the code is NOERROR or NXDOMAIN
   * @throws FailedLookup, or the signal's reason
   */
  async ask(question: DnsQuestion, mayFollow: MayFollow, signal: AbortSignal): Promise<DnsResponse> {
    const exchange = makeExchange(question, this.#server.scheme === "https" ? 0 : undefined);
    const short = this.#server.scheme === "udp"
      ? await askByDatagram(this.#server, exchange, signal)
      : undefined;
    if (short) {
      const response = read(short, question, mayFollow);
      if (!response.isTruncated) return response;
    }
    const response = read(await this.#way.ask(exchange, signal), question, mayFollow);
    if (response.isTruncated) throw new FailedLookup("garbage", "it cuts an answer short that need not be");
    return response;
  }

  /** Connections that are open now get no further question. */
  leave(): void {
    this.#way.leave();
  }

  [Symbol.dispose](): void {
    this.#way[Symbol.dispose]();
  }
}

/** How long a connection for everybody's questions may take to come about. */
const CONNECT_MS = NAME_LIMITS.attemptMs[NAME_LIMITS.attemptMs.length - 1];

function wayTo(server: NameServer, { deadlines, caCertsFor, ...options }: ServerClientOptions): Way {
  const { scheme, host, port } = server;
  const systemResolve = oneAtATime(options.systemResolve);
  const caCerts = () => caCertsFor(host);
  if (scheme === "https") {
    return new Http2Link(server, deadlines, async () => {
      const late = new AbortController();
      const timer = setTimeout(
        () => late.abort(new FailedLookup("away", "connecting took too long")),
        CONNECT_MS,
      );
      try {
        return await openServerSocket(
          { host, port, systemResolve, tls: { alpn: ["h2"], caCerts } },
          late.signal,
        );
      } finally {
        clearTimeout(timer);
      }
    });
  }
  const tls = scheme === "tls" ? { tls: { alpn: ["dot"], caCerts } } : {}; // RFC 7858's own, from IANA's registry
  return new StreamLinks((signal) => openServerSocket({ host, port, systemResolve, ...tls }, signal));
}

/** Look-ups of the one name that is ever asked for: one that hangs keeps a thread of the runtime, whoever has given it up. */
function oneAtATime(resolve: ServerClientOptions["systemResolve"]): ServerClientOptions["systemResolve"] {
  let underWay: Promise<readonly string[]> | undefined;
  return (host) => underWay ??= resolve(host).finally(() => underWay = undefined);
}

function read(bytes: Uint8Array, question: DnsQuestion, mayFollow: MayFollow): DnsResponse {
  let response: DnsResponse;
  try {
    response = readDnsResponse(bytes, question, mayFollow);
  } catch (error) {
    if (!isProxyError(error)) throw error;
    throw new FailedLookup(error.reason === "too-large" ? "too-large" : "garbage", error.message, {
      cause: error,
    });
  }
  if (response.rcode === RCODE.noError || response.rcode === RCODE.nxDomain) return response;
  if (response.rcode === RCODE.refused) throw new FailedLookup("refused");
  if (response.rcode === RCODE.servFail) throw new FailedLookup("servfail");
  throw new FailedLookup("servfail", `its answer has the code ${response.rcode}`);
}
