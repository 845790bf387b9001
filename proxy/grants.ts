/**
 * What is open under which permission. When a client, rule or secret goes, everything that was admitted under it ends at
 * once: streams, tunnels, upgrades, idle connections.
 *
 * @module
 */
import { type Linked, LinkedSet } from "../core/linked_set.ts";
import type { Client, Grant, PolicySource } from "./policy_source.ts";

/** Ends what a grant had opened. Must not throw. */
export type EndGrant = (why: "revoked" | "shutdown") => void;

/** The open grants of a proxy. */
export class Grants {
  readonly #policy: PolicySource;
  readonly #open = new LinkedSet<Held>();
  readonly #unsubscribe: () => void;
  /** By name, until the next change. */
  #clients: ReadonlyMap<string, Client> | undefined;
  #isClosed = false;

  constructor(policy: PolicySource) {
    this.#policy = policy;
    this.#unsubscribe = policy.onChange(() => this.#sweep());
  }

  /** How many are open. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Calls `end` once, as soon as the grant is no longer in force or the proxy stops: at once when that is so now.
   *
   * @returns a function that lets go
   */
  hold(grant: Grant, end: EndGrant): () => void {
    if (this.#isClosed || !this.#policy.isLive(grant)) {
      end(this.#isClosed ? "shutdown" : "revoked");
      return () => {};
    }
    const held = new Held(grant, end);
    this.#open.add(held);
    return () => this.#open.delete(held);
  }

  /** The same for all that a client has, as it is now. Nobody of that name holds nothing. */
  holdClient(name: string, end: EndGrant): () => void {
    this.#clients ??= new Map(this.#policy.clients().map((client) => [client.name, client]));
    const client = this.#clients.get(name);
    return client ? this.hold({ client }, end) : () => {};
  }

  /** Ends everything that is open, and whatever is still opened. */
  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    this.#end(() => true, "shutdown");
  }

  #sweep(): void {
    this.#clients = undefined;
    this.#end(({ grant }) => !this.#policy.isLive(grant), "revoked");
  }

  #end(isOver: (held: Held) => boolean, why: Parameters<EndGrant>[0]): void {
    for (const held of this.#open.those(isOver)) {
      if (this.#open.delete(held)) held.end(why); // one may let go of another
    }
  }
}

class Held implements Linked<Held> {
  readonly grant: Grant;
  readonly end: EndGrant;
  isLinked = false;
  previous: Held | undefined = undefined;
  next: Held | undefined = undefined;

  constructor(grant: Grant, end: EndGrant) {
    this.grant = grant;
    this.end = end;
  }
}
