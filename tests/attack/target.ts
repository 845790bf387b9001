/** What an attacker knows: where the proxy is, a token of its own, and how long it may go on. One JSON line between processes. */

/** A running site, as the attacker's process is told of it. */
export interface Target {
  readonly httpPort: number;
  readonly httpsPort: number;
  /** The API's TCP port; it speaks TLS, as beyond loopback. */
  readonly apiPort: number;
  /** The token of the client `attacker`. */
  readonly token: string;
  /** Those of further clients of its own. */
  readonly moreTokens: readonly string[];
  readonly caPem: string;
  /** `localhost:PORT` of an upstream that answers over TLS, and of one in clear. */
  readonly tlsHost: string;
  readonly clearHost: string;
  /** The same for an upstream that speaks HTTP/2, under a rule of the attacker's. */
  readonly http2Host: string;
  /** Of one in clear whose answers never end, under a rule of the attacker's. */
  readonly bulkHost: string;
  /** Where a login is renewed, under a rule of the attacker's. */
  readonly loginHost: string;
  /** When the attack has to end by itself. */
  readonly seconds: number;
}

/** What the attacker did, for the report. */
export interface Tally {
  readonly tries: number;
  readonly note?: string;
}

/**
 * A way to attack. `run` goes on for `target.seconds` at most; it fails for its own bugs only: whatever the proxy does to it is
 * what it wants to know.
 */
export interface Attack {
  readonly name: string;
  /** What it does, in a line. */
  readonly about: string;
  /** Left out of the short form. */
  readonly isLong?: true;
  /**
   * Where what it costs can be counted: the most requests of its own that the HTTP/2 upstream may see, of each thread. A count
   * is the same on a machine that is busy with other things, and so it decides in the place of latency.
   */
  readonly mostBegun?: { readonly atOnce: number; readonly perSecond: number };
  run(target: Target): Promise<Tally>;
}

/** From where attackers dial, so that limits per source tell them from the innocent client (127.0.0.1). */
export function sourceOf(lane: number): string {
  return `127.0.1.${1 + lane % 250}`;
}
