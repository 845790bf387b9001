/**
 * The way out: resolve once, check every address, dial a checked one, verify TLS. Connections are pooled per client, scheme,
 * host, port and secret version, never shared across any of them.
 *
 * Not here: which addresses are allowed (`policy/address.ts`), what is sent (`../forward/forward.ts`).
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import { type Cidr, type IpBytes, parseIp } from "../../core/cidr.ts";
import type { Deadlines } from "../../core/deadlines.ts";
import { isProxyError, ProxyError } from "../../core/errors.ts";
import { isIpLiteral } from "../../core/host_port.ts";
import type { Limits } from "../../core/limits.ts";
import { type AddressOptions, checkAll, isNearAddress } from "../../policy/address.ts";
import type { ClientCertificate } from "../../secrets/credential.ts";
import type { Admission } from "../accept/admission.ts";
import type { Client } from "../policy_source.ts";
import { ClosedAddresses } from "./closed_addresses.ts";
import { CertificateLooks } from "./tls/certificate_look.ts";
import { Connector, type DialFrom } from "./connect/connector.ts";
import { finishDial, type Opened } from "./finish_dial.ts";
import { ParentWay } from "./parents/parent_way.ts";
import { formatParent, isDirect, NO_PARENTS, parentFor, type ParentProxies } from "./parents/parents.ts";
import type { DeadChoice } from "./connect/race.ts";
import type { Alpn, UpstreamConnection } from "./upstream_connection.ts";
import type { Asker } from "./names/asker.ts";
import { FailedLookup, lookupError } from "./names/failed_lookup.ts";

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
  /** Parent proxies. Default: none. */
  readonly parents?: ParentProxies | undefined;
  /** Where this process listens as a proxy, exactly: another program may be a parent on the same port of another address. */
  readonly ownListeners?: ((port: number) => readonly Cidr[]) | undefined;
  /** Families and local addresses to dial from. Default: any. */
  readonly dialFrom?: DialFrom | undefined;
  /** Is told of a place whose preferred address did not answer. */
  readonly onDeadChoice?: ((dead: DeadChoice) => void) | undefined;
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
  /** Whoever asks can send requests in absolute form, as a parent proxy takes them: without TLS there need be no tunnel. */
  readonly inAbsoluteForm?: boolean;
}

/** Dials. */
export class Dialler {
  readonly #options: UpstreamOptions;
  readonly #looks = new CertificateLooks();
  readonly #connector: Connector;
  readonly #parents: ParentProxies;
  readonly #parentWay: ParentWay;
  readonly #closed: ClosedAddresses | undefined;

  constructor(options: UpstreamOptions) {
    this.#options = options;
    const { closedHosts, resolve, limits, parents = NO_PARENTS, dialFrom, ownListeners } = options;
    this.#connector = new Connector({ ...options, from: dialFrom });
    this.#parents = parents;
    this.#parentWay = new ParentWay({
      ...options,
      connector: this.#connector,
      resolve: (host, client, signal) => this.#lookUp(host, client, signal),
      ownListeners: ownListeners ?? (() => []),
    });
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
      const opened = await this.#open(target, signal);
      const { address, line } = opened;
      try {
        return await finishDial(opened, { ...target, ...this.#options }, signal);
      } catch (error) {
        // A look takes no other way than straight to the address: not through a parent, and from no other address.
        throw isProxyError(error, "upstream.tls") && address !== undefined && line.tcp
          ? await this.#looks.tellMore(error, { ...target, address }, signal)
          : error;
      }
    } finally {
      release();
    }
  }

  /**
   * Every address of the name, checked as for dialling, without dialling: for the name service.
   *
   * @throws ProxyError `upstream.dns`, `upstream.address-denied`
   */
  addresses(target: DialTarget, signal: AbortSignal): Promise<readonly string[]> {
    return this.#resolve(target, signal);
  }

  /** The parent proxy that a host is reached through, as text: connections by different ways are never the same. */
  wayTo(host: string): string | undefined {
    const parent = parentFor(this.#parents, host);
    return parent && formatParent(parent);
  }

  async #open(target: DialTarget, signal: AbortSignal): Promise<Opened> {
    const { host, port, client } = target;
    const parent = parentFor(this.#parents, host);
    const isNamed = parent !== undefined && this.#isAskedByName(target);
    const addresses = isNamed ? [host] : await this.#resolve(target, signal);
    if (!parent || isDirect(this.#parents, addresses.map(parseIp).filter((ip) => ip !== undefined))) {
      const line = await this.#connector.connect({ host, port, addresses, client: client.name }, signal);
      return { line, address: line.address };
    }
    if (target.isOnlyNear) throw notThroughParent(host);
    const asked = { host, port, client: client.name, parent };
    // A name that is asked for by its address would lose its name: a proxy makes `Host` from the URL (RFC 9112 §3.2.2).
    if (target.scheme === "http" && target.inAbsoluteForm && (isNamed || isIpLiteral(host))) {
      const onRefused = () => this.#parentWay.noteRefusalAt(asked);
      return { line: await this.#parentWay.reach(asked, signal), parent: { proxy: parent, onRefused } };
    }
    return await this.#parentWay.tunnel(asked, addresses, signal);
  }

  /** `--upstream-proxy-dns=parent`: only under a rule for exactly this name, whose author knows what is there. */
  #isAskedByName({ host, ruleHost }: DialTarget): boolean {
    return this.#parents.dns === "parent" && ruleHost === host && !isIpLiteral(host);
  }

  async #resolve(
    { host, port, ruleHost, isOnlyNear, client }: DialTarget,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const { addresses } = this.#options;
    const found = isIpLiteral(host) ? [host] : await this.#lookUp(host, client.name, signal);
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

  async #lookUp(host: string, client: string, signal: AbortSignal): Promise<readonly string[]> {
    const { resolve, limits } = this.#options;
    try {
      return await within(resolve(host, { client, signal }), limits.resolveTimeoutMs, signal);
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      throw lookupError(host, cause instanceof TimedOut ? new FailedLookup("timeout") : cause);
    }
  }
}

/** What a parent gets without TLS, it can read, wherever it is. */
function notThroughParent(host: string): ProxyError {
  return new ProxyError(
    "upstream.address-denied",
    `Cannot send a credential to ${host} without TLS: it would go through a parent proxy`,
    { reason: "cleartext-secret" },
  );
}

function isNear(ip: IpBytes | undefined): boolean {
  return ip !== undefined && isNearAddress(ip);
}

class TimedOut extends Error {}

/** The promise's outcome, or a rejection after `ms` or with the signal's reason. */
async function within<T>(promise: Promise<T>, ms: number, signal?: AbortSignal): Promise<T> {
  const { promise: given, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new TimedOut()), ms);
  const onAbort = () => reject(signal?.reason);
  signal?.addEventListener("abort", onAbort);
  if (signal?.aborted) onAbort();
  try {
    return await Promise.race([promise, given]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
