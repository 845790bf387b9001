/**
 * Who may take how much: connections in all, per client and per source, upstream dials, certificates. One client, or one
 * that has not said who it is, cannot starve the others. New work is refused; what is admitted goes on.
 *
 * @module
 */
import { formatHostPort, type HostPort } from "../core/host_port.ts";
import type { Limits } from "../core/limits.ts";

/** Gives back what was admitted. Safe to call more than once. */
export type Release = () => void;

/** Counts per key that disappear at zero. */
class Counts {
  readonly #counts = new Map<string, number>();

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  add(key: string, change: 1 | -1): void {
    const count = this.of(key) + change;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
  }
}

/** The counters of one proxy. A `try…` returns undefined when the limit is reached, unless it says otherwise. */
export class Admission {
  readonly #limits: Limits;
  readonly #sources = new Counts();
  readonly #clients = new Counts();
  readonly #dialsByClient = new Counts();
  readonly #dialsByDestination = new Counts();
  readonly #mints = new Map<string, { minute: number; count: number }>();
  #connections = 0;
  #anonymous = 0;
  #dials = 0;
  #tunnels = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get connections(): number {
    return this.#connections;
  }

  /** How many tunnels are open. */
  get tunnels(): number {
    return this.#tunnels;
  }

  /** Counts a tunnel; its connection was admitted before. */
  addTunnel(): Release {
    this.#tunnels++;
    return once(() => this.#tunnels--);
  }

  /** Any client connection. */
  tryConnection(): Release | undefined {
    if (this.#connections >= this.#limits.maxConnections) return undefined;
    this.#connections++;
    return once(() => this.#connections--);
  }

  /** A connection against the quota of its source address, until it proves who it is. */
  tryUnauthenticated(source: string): Release | undefined {
    if (this.#sources.of(source) >= this.#limits.maxUnauthenticatedPerSource) return undefined;
    this.#sources.add(source, 1);
    return once(() => this.#sources.add(source, -1));
  }

  /** A connection of an authenticated client. */
  tryClient(client: string): Release | undefined {
    if (this.#clients.of(client) >= this.#limits.maxConnectionsPerClient) return undefined;
    this.#clients.add(client, 1);
    return once(() => this.#clients.add(client, -1));
  }

  /** A connection that SOCKS admitted without credentials. */
  tryAnonymous(): Release | undefined {
    if (this.#anonymous >= this.#limits.maxAnonymousConnections) return undefined;
    this.#anonymous++;
    return once(() => this.#anonymous--);
  }

  /**
   * An upstream connect with its look-up and handshake.
   *
   * @returns how to give it back, or which kind of limit refuses it: the client's own (`quota`), or one that it shares
   */
  tryDial(client: string, destination: HostPort): Release | "quota" | "overload" {
    const { maxPendingDials, maxPendingDialsPerClient, maxPendingDialsPerDestination } = this.#limits;
    const where = formatHostPort(destination);
    if (this.#dialsByClient.of(client) >= maxPendingDialsPerClient) return "quota";
    if (this.#dials >= maxPendingDials) return "overload";
    if (this.#dialsByDestination.of(where) >= maxPendingDialsPerDestination) return "overload";
    this.#dials++;
    this.#dialsByClient.add(client, 1);
    this.#dialsByDestination.add(where, 1);
    return once(() => {
      this.#dials--;
      this.#dialsByClient.add(client, -1);
      this.#dialsByDestination.add(where, -1);
    });
  }

  /** A new certificate for a client, by the clock's minute. */
  tryMint(client: string, nowMs: number): boolean {
    const minute = Math.floor(nowMs / 60_000);
    const entry = this.#mints.get(client);
    if (!entry || entry.minute !== minute) {
      for (const [name, old] of this.#mints) if (old.minute !== minute) this.#mints.delete(name);
      this.#mints.set(client, { minute, count: 1 });
      return true;
    }
    return entry.count++ < this.#limits.maxMintsPerClientPerMinute;
  }
}

function once(release: () => void): Release {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    release();
  };
}
