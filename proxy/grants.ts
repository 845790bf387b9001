/**
 * What is open under which permission. When a client, rule or secret goes, everything that was admitted under it ends at
 * once: streams, tunnels, upgrades, idle connections.
 *
 * @module
 */
import type { Client, Grant, PolicySource } from "./policy_source.ts";

/** Ends what a grant had opened. Must not throw. */
export type EndGrant = (why: "revoked" | "shutdown") => void;

/** The open grants of a proxy. */
export class Grants {
  readonly #policy: PolicySource;
  readonly #open = new Set<{ readonly grant: Grant; readonly end: EndGrant }>();
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
    const held = { grant, end };
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
    const open = [...this.#open];
    this.#open.clear();
    for (const { end } of open) end("shutdown");
  }

  #sweep(): void {
    this.#clients = undefined;
    for (const held of this.#open) {
      if (this.#policy.isLive(held.grant)) continue;
      this.#open.delete(held);
      held.end("revoked");
    }
  }
}
