/**
 * HTTP/2 connections to upstreams, each for one client, place and credential: their requests share it, nobody else's do.
 *
 * Not here: what is sent on them (`http2/upstream.ts`).
 *
 * @module
 */
import type { Deadline, Deadlines } from "../../core/deadlines.ts";
import type { Limits } from "../../core/limits.ts";
import type { Grants } from "../grants.ts";
import { startHttp2Client } from "../http2/client.ts";
import type { Http2ClientConnection } from "../http2/types.ts";
import type { UpstreamConnection } from "./dialler.ts";
import { keyOf, type PoolKey } from "./pool.ts";
import type { ProtocolMemory } from "./protocol_memory.ts";

/** A connection that a request may use until it says that it is over. */
export interface Http2Lease {
  readonly connection: Http2ClientConnection;
  readonly isReused: boolean;
  /** The request is over. */
  readonly release: () => void;
}

interface Entry {
  readonly connection: Http2ClientConnection;
  readonly key: string;
  users: number;
  /** While nobody uses it. */
  idle: { readonly deadline: Deadline; readonly release: () => void } | undefined;
  /** Lets go of the client and credential that it is for. */
  end: () => void;
}

/** The connections of a proxy. */
export class Http2Pool {
  readonly #limits: Limits;
  readonly #deadlines: Deadlines;
  readonly #grants: Grants;
  readonly #protocols: ProtocolMemory | undefined;
  readonly #entries = new Map<string, Entry>();
  /** Of each dial under way what came of it; undefined when whoever dialled has given it up. */
  readonly #dials = new Map<string, Promise<Entry | undefined>>();
  #isClosed = false;

  constructor(options: {
    readonly limits: Limits;
    readonly deadlines: Deadlines;
    readonly grants: Grants;
    /** Is told what the upstreams say about themselves. */
    readonly protocols?: ProtocolMemory | undefined;
  }) {
    this.#limits = options.limits;
    this.#deadlines = options.deadlines;
    this.#grants = options.grants;
    this.#protocols = options.protocols;
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
      const known = this.#entries.get(name);
      if (known && !known.connection.isDraining) return this.#use(known, key, true);
      const underWay = this.#dials.get(name);
      if (!underWay) break;
      await underWay;
      signal.throwIfAborted();
    }
    const dialling = dial().then((upstream) => this.add(key, upstream));
    const outcome = dialling.catch((error) => {
      if (signal.aborted) return undefined; // not the failure of those who wait: they dial themselves
      throw error;
    });
    outcome.catch(() => {}); // perhaps nobody waits
    this.#dials.set(name, outcome);
    try {
      return this.#use(await dialling, key, false);
    } finally {
      this.#dials.delete(name);
    }
  }

  /** Begins HTTP/2 on a connection that was dialled, and keeps it. */
  add(key: PoolKey, { stream, reader }: UpstreamConnection): Entry {
    const connection = startHttp2Client({
      stream,
      reader,
      limits: this.#limits,
      deadlines: this.#deadlines,
    });
    const entry: Entry = { connection, key: keyOf(key), users: 0, idle: undefined, end: () => {} };
    if (this.#isClosed) connection.close();
    else this.#entries.set(entry.key, entry);
    const { client, credential } = key.grant;
    entry.end = this.#grants.hold(
      { client, ...(credential ? { credential } : {}) },
      () => connection.close(),
    );
    void connection.closed.then(() => this.#forget(entry));
    this.#learn(connection, key);
    this.#rest(entry, key);
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

  close(): void {
    this.#isClosed = true;
    for (const { connection } of [...this.#entries.values()]) connection.close();
  }

  #use(entry: Entry, key: PoolKey, isReused: boolean): Http2Lease {
    entry.users++;
    this.#wake(entry);
    return {
      connection: entry.connection,
      isReused,
      release: () => {
        if (--entry.users > 0) return;
        if (this.#entries.get(entry.key) === entry) this.#rest(entry, key);
        else entry.connection.shutDown(); // another one is in its place
      },
    };
  }

  /** Unused, it is kept for a while, and no longer than its last request's permission. */
  #rest(entry: Entry, key: PoolKey): void {
    const close = () => entry.connection.close();
    entry.idle = {
      deadline: this.#deadlines.start(this.#limits.idleUpstreamTimeoutMs, close),
      release: this.#grants.hold(key.grant, close),
    };
  }

  #wake(entry: Entry): void {
    entry.idle?.deadline.stop();
    entry.idle?.release();
    entry.idle = undefined;
  }

  #forget(entry: Entry): void {
    this.#wake(entry);
    entry.end();
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
  }
}
