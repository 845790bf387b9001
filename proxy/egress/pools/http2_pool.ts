/**
 * HTTP/2 connections to upstreams, each for one client, place and credential: their requests share it, nobody else's do. When
 * all places on it are taken, another is opened beside it, as long as there is room for such; then requests wait.
 *
 * Not here: what is sent on them (`http2/upstream.ts`).
 *
 * @module
 */
import type { Deadline, Deadlines } from "../../../core/deadlines.ts";
import type { Limits } from "../../../core/limits.ts";
import type { Admission } from "../../accept/admission.ts";
import type { Grants } from "../../grants.ts";
import { startHttp2Client } from "../../http2/client.ts";
import type { Http2ClientConnection } from "../../http2/types.ts";
import { type Counts, IDLE_UPSTREAMS, LocalCounts } from "../../records/counts.ts";
import type { UpstreamConnection } from "../upstream_connection.ts";
import { keyOf, type PoolKey } from "./pool.ts";
import type { ProtocolMemory } from "./protocol_memory.ts";

/** A connection that a request may use until it says that it is over. */
export interface Http2Lease {
  readonly connection: Http2ClientConnection;
  readonly isReused: boolean;
  /** The request is over. */
  readonly release: () => void;
}

type Release = () => void;

interface Entry {
  readonly connection: Http2ClientConnection;
  readonly key: string;
  /** Its place among those that no client connection accounts for: it is one of several for its key. */
  readonly place: Release | undefined;
  users: number;
  /** Its last request is the last that it gets. */
  isRetired: boolean;
  /** While nobody uses it. */
  idle:
    | { readonly deadline: Deadline; readonly release: Release; readonly place: Release | undefined }
    | undefined;
  /** Lets go of the client and credential that it is for. */
  end: Release;
}

/** The connections of a proxy. */
export class Http2Pool {
  readonly #limits: Limits;
  readonly #deadlines: Deadlines;
  readonly #grants: Grants;
  readonly #counts: Counts;
  readonly #protocols: ProtocolMemory | undefined;
  readonly #admission: Pick<Admission, "turnsOf" | "growth"> | undefined;
  readonly #entries = new Map<string, Set<Entry>>();
  /** Of each dial under way what came of it; undefined when whoever dialled has given it up. */
  readonly #dials = new Map<string, Promise<Entry | undefined>>();
  /** What was dialled before is retired. */
  #retiredAt = -Infinity;
  #isClosed = false;

  constructor(
    options: {
      readonly limits: Limits;
      readonly deadlines: Deadlines;
      readonly grants: Grants;
      readonly counts?: Counts;
      /** Is told what the upstreams say about themselves. */
      readonly protocols?: ProtocolMemory | undefined;
      readonly admission?: Pick<Admission, "turnsOf" | "growth">;
    },
  ) {
    this.#limits = options.limits;
    this.#deadlines = options.deadlines;
    this.#grants = options.grants;
    this.#counts = options.counts ?? new LocalCounts();
    this.#protocols = options.protocols;
    this.#admission = options.admission;
  }

  /**
   * The connection for a request. Requests that come while one is dialled wait for it, and fail with it.
   *
   * @throws what `dial` throws, or the signal's reason
   */
  async lease(
    key: PoolKey,
    signal: AbortSignal,
    dial: () => Promise<UpstreamConnection>,
  ): Promise<Http2Lease> {
    const name = keyOf(key);
    for (;;) {
      const known = this.#leastBusy(name);
      if (known && known.users < known.connection.maxStreams) return this.#use(known, key, true);
      const underWay = this.#dials.get(name);
      if (!underWay) return await this.#open(key, known, { signal, dial });
      const dialled = await underWay;
      signal.throwIfAborted();
      const full = dialled ? undefined : this.#leastBusy(name);
      if (full) return this.#use(full, key, true);
    }
  }

  /** Begins HTTP/2 on a connection that was dialled, and keeps it for the requests of `key`. */
  add(key: PoolKey, upstream: UpstreamConnection): Http2ClientConnection {
    return this.#start(key, upstream, undefined).connection;
  }

  /** Ends what is idle at once, and what is in use with the requests that use it. No other request gets onto either. */
  retire(): void {
    this.#retiredAt = performance.now();
    for (const entry of [...this.#entries.values()].flatMap((entries) => [...entries])) {
      entry.isRetired = true;
      if (entry.users === 0) entry.connection.close();
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const entries of [...this.#entries.values()]) {
      for (const { connection } of [...entries]) connection.close();
    }
  }

  /** @param full the one that has no room, where the request waits if there can be no other */
  async #open(
    key: PoolKey,
    full: Entry | undefined,
    { signal, dial }: { readonly signal: AbortSignal; readonly dial: () => Promise<UpstreamConnection> },
  ): Promise<Http2Lease> {
    const name = keyOf(key);
    const place = full && this.#takePlace(name);
    if (full && !place) return this.#use(full, key, true);
    const dialling = dial().then((upstream) => this.#start(key, upstream, place));
    const outcome = dialling.catch((error) => {
      // Not the failure of those who wait: they dial themselves, or make do with the full one.
      if (signal.aborted || full) return undefined;
      throw error;
    });
    outcome.catch(() => {}); // perhaps nobody waits
    this.#dials.set(name, outcome);
    try {
      return this.#use(await dialling, key, false);
    } catch (error) {
      place?.();
      const other = this.#leastBusy(name);
      if (full && other && !signal.aborted) return this.#use(other, key, true);
      throw error;
    } finally {
      this.#dials.delete(name);
    }
  }

  #start(key: PoolKey, { stream, reader, dialledAt }: UpstreamConnection, place: Release | undefined): Entry {
    const { client, credential } = key.grant;
    const admission = this.#admission;
    const connection = startHttp2Client({
      stream,
      reader,
      limits: this.#limits,
      deadlines: this.#deadlines,
      ...(admission ? { turns: admission.turnsOf(client.name), growth: admission.growth(client.name) } : {}),
    });
    const name = keyOf(key);
    const entry: Entry = {
      connection,
      key: name,
      place,
      users: 0,
      isRetired: dialledAt < this.#retiredAt,
      idle: undefined,
      end: () => {},
    };
    entry.end = this.#grants.hold(
      { client, ...(credential ? { credential } : {}) },
      () => connection.close(),
    );
    const entries = this.#entries.get(name) ?? new Set();
    this.#entries.set(name, entries.add(entry));
    void connection.closed.then(() => this.#forget(entry));
    this.#learn(connection, key);
    if (this.#isClosed) connection.close();
    else this.#rest(entry, key);
    return entry;
  }

  #learn(connection: Http2ClientConnection, place: PoolKey): void {
    const protocols = this.#protocols;
    if (!protocols) return;
    connection.ready.then(
      () => protocols.noteExtendedConnect(place, connection.hasExtendedConnect),
      () => {},
    );
    void connection.closed.then(() => {
      if (connection.goAwayCode) protocols.forget(place); // other than NO_ERROR
    });
  }

  #use(entry: Entry, key: PoolKey, isReused: boolean): Http2Lease {
    entry.users++;
    this.#wake(entry);
    return {
      connection: entry.connection,
      isReused,
      release: () => {
        if (--entry.users > 0 || entry.connection.isDraining) return;
        if (entry.isRetired) entry.connection.shutDown();
        else this.#rest(entry, key);
      },
    };
  }

  #leastBusy(name: string): Entry | undefined {
    let best: Entry | undefined;
    for (const entry of this.#entries.get(name) ?? []) {
      if (entry.connection.isDraining || entry.isRetired) continue;
      // The first with room is filled first, so that the others come to rest.
      if (entry.users < entry.connection.maxStreams) return entry;
      if (!best || entry.users < best.users) best = entry;
    }
    return best;
  }

  /** Unused, it is kept for a while where there is room for it, and no longer than its last request's permission. */
  #rest(entry: Entry, key: PoolKey): void {
    const place = entry.place ? undefined : this.#tryPlace();
    if (!entry.place && !place) {
      entry.connection.shutDown();
      return;
    }
    const close = () => entry.connection.close();
    entry.idle = {
      deadline: this.#deadlines.start(this.#limits.idleUpstreamTimeoutMs, close),
      release: this.#grants.hold(key.grant, close),
      place,
    };
  }

  #wake(entry: Entry): void {
    entry.idle?.deadline.stop();
    entry.idle?.release();
    entry.idle?.place?.();
    entry.idle = undefined;
  }

  #forget(entry: Entry): void {
    this.#wake(entry);
    entry.place?.();
    entry.end();
    const entries = this.#entries.get(entry.key);
    entries?.delete(entry);
    if (entries?.size === 0) this.#entries.delete(entry.key);
  }

  /** For one more connection of a key that has some. */
  #takePlace(name: string): Release | undefined {
    const size = this.#entries.get(name)?.size ?? 0;
    return size < this.#limits.maxHttp2UpstreamsPerKey ? this.#tryPlace() : undefined;
  }

  /** For a descriptor that no client connection accounts for. */
  #tryPlace(): Release | undefined {
    if (this.#counts.of(IDLE_UPSTREAMS) >= this.#limits.maxIdleUpstream) return undefined;
    this.#counts.add(IDLE_UPSTREAMS, 1);
    let isTaken = true;
    return () => {
      if (isTaken) this.#counts.add(IDLE_UPSTREAMS, -1);
      isTaken = false;
    };
  }
}
