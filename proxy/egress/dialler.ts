/**
 * The way out: resolve once, check every address, dial a checked one, verify TLS. Connections are pooled per client, scheme,
 * host, port and secret version, never shared across any of them.
 *
 * Not here: which addresses are allowed (`policy/address.ts`), what is sent (`../forward.ts`).
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import { type Cidr, type IpBytes, parseIp } from "../../core/cidr.ts";
import type { Deadlines } from "../../core/deadlines.ts";
import { messageOf, ProxyError } from "../../core/errors.ts";
import { formatHostPort, isIpLiteral } from "../../core/host_port.ts";
import type { Limits } from "../../core/limits.ts";
import { type AddressOptions, checkAll, isNearAddress } from "../../policy/address.ts";
import type { ClientCertificate } from "../../secrets/credential.ts";
import type { Admission } from "../accept/admission.ts";
import { ByteReader, closeQuietly } from "../streams/byte_reader.ts";
import type { Client } from "../policy_source.ts";
import { ClosedAddresses } from "./closed_addresses.ts";
import { SocketStream } from "../streams/socket_stream.ts";
import { dialWithCertificate } from "./certificate_dial.ts";
import { CertificateLooks } from "./certificate_look.ts";
import type { Alpn, UpstreamConnection } from "./upstream_connection.ts";
import type { Asker } from "./names/asker.ts";
import { FailedLookup, lookupError } from "./names/failed_lookup.ts";
import { interleave, race, Winners } from "./race.ts";
import { startUpstreamTls } from "./upstream_tls.ts";

/** All addresses of a name. Rejects when it has none, with a `FailedLookup` where more is known. */
export type Resolve = (host: string, asker?: Asker) => Promise<readonly string[]>;

/** The operating system's resolver, `/etc/hosts` included. */
export const systemResolve: Resolve = async (host) =>
  (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address);

export interface UpstreamOptions {
  readonly limits: Limits;
  readonly deadlines: Deadlines;
  readonly admission: Admission;
  readonly resolve: Resolve;
  /** `--deny-cidr` and `--allow-cidr`. */
  readonly addresses: Pick<AddressOptions, "denyCidrs" | "allowCidrs">;
  /** PEM certificates trusted for a host in addition to the roots. */
  readonly caCertsFor: (host: string) => readonly string[];
  /** Hosts that no client may reach, by their addresses either; see `closed_addresses.ts`. Default: none. */
  readonly closedHosts?: () => readonly string[];
  /** Where this process itself answers on a port. */
  readonly ownAddresses: (port: number) => readonly Cidr[];
}

/** Where to, on whose behalf. */
export interface DialTarget {
  readonly scheme: "http" | "https" | "tcp";
  readonly host: string;
  readonly port: number;
  readonly client: Client;
  /** The host pattern of the rule that allows it: wide patterns do not reach private networks. */
  readonly ruleHost: string;
  /** A credential goes along without TLS: only private, CGNAT and loopback addresses are dialled. */
  readonly isOnlyNear?: boolean;
  /** Shown to the host, should it ask for one. */
  readonly clientCertificate?: ClientCertificate | undefined;
  /** What is offered within TLS, in the order of preference. Default: HTTP/1.1 alone. */
  readonly alpn?: readonly Alpn[];
}

/** A name may have many more addresses than anyone should wait for; big sites have up to eight of each family. */
const MAX_ADDRESSES_TRIED = 32;

/** Dials. */
export class Dialler {
  readonly #options: UpstreamOptions;
  readonly #winners = new Winners();
  readonly #looks = new CertificateLooks();
  readonly #closed: ClosedAddresses | undefined;

  constructor(options: UpstreamOptions) {
    this.#options = options;
    const { closedHosts, resolve, limits } = options;
    this.#closed = closedHosts && new ClosedAddresses({
      hosts: closedHosts,
      resolve: (host) => within(resolve(host), limits.resolveTimeoutMs),
      now: () => performance.now(),
    });
  }

  /**
   * A new connection, TLS verified when the scheme is `https`.
   *
   * @param signal gives up
   * @throws ProxyError `upstream.*`, or `limit.reached`
   */
  async dial(target: DialTarget, signal: AbortSignal): Promise<UpstreamConnection> {
    const release = this.#options.admission.tryDial(target.client.name, target);
    if (typeof release === "string") {
      throw new ProxyError("limit.reached", "Cannot connect: too many connects are under way", {
        reason: release,
      });
    }
    try {
      const addresses = await this.#resolve(target, signal);
      const tcp = await this.#connect(addresses, target, signal);
      const { hostname: address } = tcp.remoteAddr as Deno.NetAddr; // one that was checked, and answers
      try {
        return await this.#open(tcp, { ...target, address }, signal);
      } catch (error) {
        // Only where the connection goes to the address itself: a look takes no other way.
        throw error instanceof ProxyError && error.code === "upstream.tls" && addresses.includes(address)
          ? await this.#looks.tellMore(error, { ...target, address }, signal)
          : error;
      }
    } finally {
      release();
    }
  }

  /** What is to be spoken on a connection that was made, begun. */
  async #open(
    tcp: Deno.TcpConn,
    target: DialTarget & { readonly address: string },
    signal: AbortSignal,
  ): Promise<UpstreamConnection> {
    const { clientCertificate, address } = target;
    if (clientCertificate) {
      closeQuietly(tcp);
      const how = { address, certificate: clientCertificate, signal };
      return await dialWithCertificate({ ...target, ...this.#options }, how);
    }
    tcp.setNoDelay(true);
    const { conn, protocol } = target.scheme === "https"
      ? await startUpstreamTls(tcp, { ...target, ...this.#options }, signal)
      : { conn: tcp, protocol: target.alpn?.[0] ?? "http/1.1" as const };
    const stream = new SocketStream(conn);
    return { stream, reader: new ByteReader(stream), isReused: false, protocol };
  }

  /**
   * Every address of the name, checked as for dialling, without dialling: for the name service.
   *
   * @throws ProxyError `upstream.dns`, `upstream.address-denied`
   */
  addresses(target: DialTarget, signal: AbortSignal): Promise<readonly string[]> {
    return this.#resolve(target, signal);
  }

  async #resolve(
    { host, port, ruleHost, isOnlyNear, client }: DialTarget,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const { resolve, limits, addresses } = this.#options;
    let found: readonly string[];
    try {
      found = isIpLiteral(host)
        ? [host]
        : await within(resolve(host, { client: client.name, signal }), limits.resolveTimeoutMs, signal);
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      throw lookupError(host, cause instanceof TimedOut ? new FailedLookup("timeout") : cause);
    }
    const ips = found.map(parseIp).filter((ip) => ip !== undefined);
    if (ips.length === 0 || ips.length !== found.length) {
      throw new ProxyError("upstream.dns", `Cannot find ${host}: the name has no usable address`, {
        reason: "dns",
      });
    }
    const check = checkAll(ips, { ...addresses, ruleHost, ownAddresses: this.#options.ownAddresses(port) });
    if (!check.ok) {
      throw new ProxyError("upstream.address-denied", `Cannot connect to ${host}: ${check.why}`, {
        reason: check.reason,
      });
    }
    const [ip] = ips;
    if (ip && isIpLiteral(host)) await this.#closed?.check(ip, ruleHost);
    if (signal.aborted) throw signal.reason;
    if (!isOnlyNear) return found;
    // Decided by what is dialled, never by the name: its owner may point it anywhere.
    const near = found.filter((_, i) => isNear(ips[i]));
    if (near.length > 0) return near;
    throw new ProxyError(
      "upstream.address-denied",
      `Cannot send a credential to ${host} without TLS: it has no address in a private network`,
      { reason: "cleartext-secret" },
    );
  }

  /** The first address that answers. All share one time: a name with many dead addresses holds nothing for longer. */
  async #connect(
    addresses: readonly string[],
    target: DialTarget,
    signal: AbortSignal,
  ): Promise<Deno.TcpConn> {
    const { deadlines, limits, admission } = this.#options;
    const { port, client } = target;
    const place = formatHostPort(target);
    const tried = this.#winners.order(place, interleave(addresses)).slice(0, MAX_ADDRESSES_TRIED);
    const late = new AbortController();
    const deadline = deadlines.start(limits.connectTimeoutMs, () => late.abort(new TimedOut()));
    try {
      const { connection, address } = await race(tried, {
        connect: (hostname, cancelled) => Deno.connect({ hostname, port, signal: cancelled }),
        discard: closeQuietly,
        tryExtra: () => admission.tryExtraConnect(client.name, target),
        delayMs: limits.connectAttemptDelayMs,
        signal: AbortSignal.any([signal, late.signal]),
      });
      this.#winners.note(place, address, tried);
      return connection;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw connectError(place, mostTelling(error));
    } finally {
      deadline.stop();
    }
  }
}

function isNear(ip: IpBytes | undefined): boolean {
  return ip !== undefined && isNearAddress(ip);
}

function connectError(where: string, error: unknown): ProxyError {
  const fail = (code: "upstream.refused" | "upstream.timeout" | "upstream.unreachable", words: string) => {
    const reason =
      { "upstream.refused": "connect-refused", "upstream.timeout": "connect-timeout" }[code as string] ??
        "connect-unreachable";
    return new ProxyError(code, `Cannot connect to ${where}: ${words}`, { cause: error, reason });
  };
  if (error instanceof Deno.errors.ConnectionRefused) return fail("upstream.refused", "connection refused");
  if (
    error instanceof TimedOut || error instanceof Deno.errors.TimedOut || /timed out/i.test(messageOf(error))
  ) {
    return fail("upstream.timeout", "the connect timed out");
  }
  return fail("upstream.unreachable", "the network or host cannot be reached");
}

/** Of several failures the one that says most: somebody is there and refuses. */
function mostTelling(error: unknown): unknown {
  if (!(error instanceof AggregateError)) return error;
  return error.errors.find((each) => each instanceof Deno.errors.ConnectionRefused) ?? error.errors.at(-1);
}

class TimedOut extends Error {}

/** The promise's outcome, or a rejection after `ms` or with the signal's reason. */
async function within<T>(promise: Promise<T>, ms: number, signal?: AbortSignal): Promise<T> {
  const { promise: given, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new TimedOut()), ms);
  const onAbort = () => reject(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted) onAbort();
  try {
    return await Promise.race([promise, given]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
