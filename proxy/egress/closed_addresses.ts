/**
 * Addresses of hosts where adopted logins are renewed. Those hosts are closed by name; a client under a rule for every host
 * could still dial the address itself, where no name is checked: by passthrough without SNI, or in clear.
 *
 * Only targets that are addresses are looked at. A name is judged as a name: behind a shared address of a content network
 * there are thousands of others, and what it speaks has to name itself (SNI).
 *
 * Not here: which hosts are closed (`secrets/endpoints.ts`).
 *
 * @module
 */
import { formatIp, type IpBytes, parseIp } from "../../core/cidr.ts";
import { ProxyError } from "../../core/errors.ts";
import { embeddedIpv4 } from "../../policy/address.ts";

/** How often a closed host is looked up at most, however many tunnels are asked for; and how soon after a failure. */
const LOOK_UP_MS = 60_000;
const RETRY_MS = 5_000;
/** How long an address stays closed after the last look-up that had it: big sites answer with some of theirs at a time. */
const KEEP_MS = 24 * 3_600_000;
/** Addresses that are remembered of one host, those seen last. */
const MAX_ADDRESSES = 1_024;

/** See {@linkcode ClosedAddresses}. */
export interface ClosedAddressesOptions {
  /** Hosts that are closed as a whole, canonical. */
  readonly hosts: () => readonly string[];
  /** All addresses of a name. Ends in bounded time. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** What is known of one closed host. */
interface Known {
  /** The end of each address, in the order of the last look-up that had it. */
  readonly until: Map<string, number>;
  lookedUpAt: number;
  pending: Promise<void> | undefined;
  /** Whether any look-up had an answer. */
  isAnswered: boolean;
}

/** The addresses, looked up when somebody wants to dial one, and remembered. */
export class ClosedAddresses {
  readonly #options: ClosedAddressesOptions;
  readonly #known = new Map<string, Known>();

  constructor(options: ClosedAddressesOptions) {
    this.#options = options;
  }

  /**
   * Checks an address that a client has named itself. Of a rule for exactly this address its author knows what is there; under
   * a wider one nothing is dialled while it cannot be known.
   *
   * @throws ProxyError `policy.mismatch` for an address of a closed host, `upstream.dns` while that cannot be known
   */
  async check(ip: IpBytes, ruleHost: string): Promise<void> {
    const hosts = new Set(this.#options.hosts());
    for (const host of this.#known.keys()) if (!hosts.has(host)) this.#known.delete(host);
    const known = [...hosts].map((host) => this.#look(host));
    // Later look-ups go on beside: nobody waits for a name server that is slow today.
    await Promise.all(known.map((each) => each.isAnswered ? undefined : each.pending));
    const now = this.#options.now();
    const asked = [ip, ...embeddedIpv4(ip)].map(formatIp);
    if (known.some(({ until }) => asked.some((address) => (until.get(address) ?? -Infinity) > now))) {
      throw new ProxyError(
        "policy.mismatch",
        "Cannot connect: the proxy renews its credentials at this address",
        {
          reason: "token-endpoint",
        },
      );
    }
    if (ruleHost === formatIp(ip) || known.every(({ isAnswered }) => isAnswered)) return;
    throw new ProxyError(
      "upstream.dns",
      "Cannot connect to an address: the proxy cannot find out at which it renews its credentials",
      { reason: "dns" },
    );
  }

  #look(host: string): Known {
    let known = this.#known.get(host);
    if (!known) {
      known = { until: new Map(), lookedUpAt: -Infinity, pending: undefined, isAnswered: false };
      this.#known.set(host, known);
    }
    const now = this.#options.now();
    const restMs = known.isAnswered ? LOOK_UP_MS : RETRY_MS;
    if (!known.pending && known.lookedUpAt + restMs <= now) {
      known.lookedUpAt = now;
      known.pending = this.#lookUp(host, known);
    }
    return known;
  }

  /** Never rejects. */
  async #lookUp(host: string, known: Known): Promise<void> {
    try {
      const literal = parseIp(host);
      const addresses = literal ? [host] : await this.#options.resolve(host);
      const end = this.#options.now() + KEEP_MS;
      for (const address of addresses) {
        const ip = parseIp(address);
        if (ip) remember(known.until, formatIp(ip), end);
      }
      known.isAnswered = true;
    } catch {
      // The system's resolver does not tell a name that does not exist from a server that is out.
    } finally {
      known.pending = undefined;
    }
  }
}

function remember(until: Map<string, number>, address: string, end: number): void {
  until.delete(address);
  until.set(address, end);
  if (until.size <= MAX_ADDRESSES) return;
  const [oldest] = until.keys();
  if (oldest !== undefined) until.delete(oldest);
}
