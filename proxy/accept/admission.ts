/**
 * Who may take how much: connections in all and per client, upstream dials, certificates. One client, or one
 * that has not said who it is, cannot starve the others. New work is refused; what is admitted goes on.
 *
 * @module
 */
import { formatHostPort, type HostPort } from "../../core/host_port.ts";
import { ASK_LIMITS, type Limits } from "../../core/limits.ts";
import type { KeptBytes } from "../message/sent_body.ts";
import { CONNECTIONS, type Counts, LocalCounts, TUNNELS } from "../records/counts.ts";
import { Budget } from "../http2/budget.ts";
import { Turns } from "../../core/turns.ts";
import { TokenGuesses } from "../who/token_guesses.ts";

const UNAUTHENTICATED = "unauthenticated";
const KEPT_BYTES = "kept bytes";
const HELD_BYTES = "held bytes";
const GROWTH_BYTES = "grown windows";

/** Clients of HTTP/2 that are known before those that owe nothing are forgotten: clients come and go with their machines. */
const MANY_HTTP2_CLIENTS = 1_024;

/** Gives back what was admitted. Safe to call more than once. */
export type Release = () => void;

/** The counters of one proxy. A `try…` returns undefined when the limit is reached, unless it says otherwise. */
export class Admission {
  readonly #limits: Limits;
  readonly #counts: Counts;
  /** Tokens, and how many wrong ones a source may show. */
  readonly guesses: TokenGuesses;
  /** New hosts of this minute: what this thread has counted, by client, and by client and host. */
  readonly #newHosts = new Map<string, number>();
  #minute = 0;
  /** By client. Each thread has its own: a shared count would be taken with every stream. */
  readonly #http2 = new Map<string, { readonly resets: Budget; readonly turns: Turns }>();

  constructor(limits: Limits, counts: Counts = new LocalCounts()) {
    this.#limits = limits;
    this.#counts = counts;
    this.guesses = new TokenGuesses(limits, counts);
  }

  /** Counts a tunnel; its connection was admitted before. */
  addTunnel(): Release {
    return this.#take(TUNNELS);
  }

  /** Any client connection. */
  tryConnection(): Release | undefined {
    return this.#try(CONNECTIONS, this.#limits.maxConnections);
  }

  /** A connection that has not said who it is. */
  tryUnauthenticated(): Release | undefined {
    return this.#try(UNAUTHENTICATED, this.#limits.maxUnauthenticated);
  }

  /** The same whatever the limit. */
  addUnauthenticated(): Release {
    return this.#take(UNAUTHENTICATED);
  }

  /**
   * A connection of an authenticated client. It may have no more than a third of what is still free, so that places never run
   * out for those who have few, whoever came first: a client alone gets a quarter of all, and ten such leave a place in
   * eighteen. Places of those who have not said who they are count as free, for they make room.
   */
  tryClient(client: string): Release | undefined {
    const { maxConnections, maxConnectionsPerClient, minConnectionsPerClient } = this.#limits;
    const free = maxConnections - (this.#counts.of(CONNECTIONS) - this.#counts.of(UNAUTHENTICATED));
    const share = Math.max(minConnectionsPerClient, Math.floor(free / 3));
    return this.#try(`client ${client}`, Math.min(maxConnectionsPerClient, share));
  }

  /** A request on an HTTP/2 stream of a client: many of them share one connection. */
  tryStream(client: string): Release | undefined {
    return this.#try(`streams of ${client}`, this.#limits.maxHttp2StreamsPerClient);
  }

  /** A request of a client that waits for a person. */
  tryAsk(client: string): Release | undefined {
    const ofClient = this.#try(`asks of ${client}`, ASK_LIMITS.maxPerClient);
    const ofAll = ofClient && this.#try("asks", ASK_LIMITS.max);
    if (!ofAll) ofClient?.();
    return ofAll && once(() => {
      ofClient();
      ofAll();
    });
  }

  /** How many requests over HTTP/2 a client may give up, over all its connections: what it made us begin for nothing. */
  resetsOf(client: string): Budget {
    return this.#http2Of(client).resets;
  }

  /** In which its requests over HTTP/2 begin and end, over all its connections. */
  turnsOf(client: string): Turns {
    return this.#http2Of(client).turns;
  }

  #http2Of(client: string) {
    const known = this.#http2.get(client);
    if (known) return known;
    if (this.#http2.size >= MANY_HTTP2_CLIENTS) {
      for (const [name, { resets, turns }] of this.#http2) {
        if (resets.isWhole && turns.isIdle) this.#http2.delete(name);
      }
    }
    const { maxHttp2ResetsPerClient, http2ResetsPerClientPerSecond, maxHttp2HeadsInTurn } = this.#limits;
    const made = {
      resets: new Budget(maxHttp2ResetsPerClient, http2ResetsPerClientPerSecond),
      turns: new Turns(maxHttp2HeadsInTurn),
    };
    this.#http2.set(client, made);
    return made;
  }

  /** A connection that SOCKS admitted without credentials. */
  tryAnonymous(): Release | undefined {
    return this.#try("anonymous", this.#limits.maxAnonymousConnections);
  }

  /**
   * An upstream connect with its look-up and handshake.
   *
   * @returns how to give it back, or which kind of limit refuses it: the client's own (`quota`), or one that it shares
   */
  tryDial(client: string, destination: HostPort): Release | "quota" | "overload" {
    return this.#tryConnect(client, destination, 1);
  }

  /**
   * A connect beside others of the same dial. It counts against the same caps, but gets only the first half of each: names
   * with dead addresses must not use up what other dials need.
   */
  tryExtraConnect(client: string, destination: HostPort): Release | undefined {
    const release = this.#tryConnect(client, destination, 0.5);
    return typeof release === "string" ? undefined : release;
  }

  #tryConnect(client: string, destination: HostPort, share: number): Release | "quota" | "overload" {
    const { maxPendingDials, maxPendingDialsPerClient, maxPendingDialsPerDestination } = this.#limits;
    const ofClient = this.#try(`dial by ${client}`, maxPendingDialsPerClient * share);
    if (!ofClient) return "quota";
    const ofAll = this.#try("dial", maxPendingDials * share);
    const ofPlace = ofAll &&
      this.#try(`dial to ${formatHostPort(destination)}`, maxPendingDialsPerDestination * share);
    const release = () => {
      ofClient();
      ofAll?.();
      ofPlace?.();
    };
    if (ofPlace) return release;
    release();
    return "overload";
  }

  /** Bytes of request bodies that are kept, so that they could be sent again. */
  readonly kept: KeptBytes = {
    take: (bytes) => {
      this.#counts.add(KEPT_BYTES, bytes);
      if (this.#counts.of(KEPT_BYTES) <= this.#limits.maxKeptBytes) return true;
      this.#counts.add(KEPT_BYTES, -bytes);
      return false;
    },
    give: (bytes) => this.#counts.add(KEPT_BYTES, -bytes),
  };

  /** Bytes of a client's request bodies that are held until they can be signed. */
  held(client: string): KeptBytes {
    const { maxHeldBytes, maxHeldBytesPerClient } = this.#limits;
    return this.#bytes(HELD_BYTES, client, [maxHeldBytes, maxHeldBytesPerClient]);
  }

  /** Bytes by which the windows of a client's upstream streams have grown. */
  growth(client: string): KeptBytes {
    const { maxHttp2GrowthBytes, maxHttp2GrowthBytesPerClient } = this.#limits;
    return this.#bytes(GROWTH_BYTES, client, [maxHttp2GrowthBytes, maxHttp2GrowthBytesPerClient]);
  }

  #bytes(key: string, client: string, [max, maxPerClient]: readonly [number, number]): KeptBytes {
    const ofClient = `${key} of ${client}`;
    const give = (bytes: number) => {
      this.#counts.add(key, -bytes);
      this.#counts.add(ofClient, -bytes);
    };
    return {
      take: (bytes) => {
        this.#counts.add(key, bytes);
        this.#counts.add(ofClient, bytes);
        const isRoom = this.#counts.of(key) <= max && this.#counts.of(ofClient) <= maxPerClient;
        if (!isRoom) give(bytes);
        return isRoom;
      },
      give,
    };
  }

  /**
   * A host that a client opens a tunnel to, and that has no certificate yet: making one is the most expensive thing that a
   * client can ask for. Counted by the clock's minute, a host once however many tunnels to it are opened within it.
   */
  tryNewHost(client: string, host: string, nowMs: number): boolean {
    const minute = Math.floor(nowMs / 60_000);
    if (minute !== this.#minute) {
      for (const [key, count] of this.#newHosts) this.#counts.add(key, -count);
      this.#newHosts.clear();
      this.#minute = minute;
    }
    const ofClient = `new hosts ${minute} ${client}`;
    const ofHost = `${ofClient} ${host}`;
    if (this.#counts.of(ofHost) > 0) return true;
    this.#note(ofClient, 1);
    const isWithin = this.#counts.of(ofClient) <= this.#limits.maxMintsPerClientPerMinute;
    if (isWithin) this.#note(ofHost, 1);
    else this.#note(ofClient, -1);
    return isWithin;
  }

  #note(key: string, change: number): void {
    this.#newHosts.set(key, (this.#newHosts.get(key) ?? 0) + change);
    this.#counts.add(key, change);
  }

  /** Counted first and looked at then: of two threads that want the last place at once, one at most gets it. */
  #try(key: string, limit: number): Release | undefined {
    const release = this.#take(key);
    if (this.#counts.of(key) <= limit) return release;
    release();
    return undefined;
  }

  #take(key: string): Release {
    this.#counts.add(key, 1);
    let isHeld = true; // not by `once`: a connection has four of these, and each is one function and not two
    return () => {
      if (isHeld) this.#counts.add(key, -1);
      isHeld = false;
    };
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
