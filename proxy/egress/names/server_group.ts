/**
 * The name servers of one zone, asked in turn: the first that knows something decides, and one that has not answered lately is
 * asked last.
 *
 * @module
 */
import type { DnsQuestion, DnsResponse } from "../../../core/dns_response.ts";
import { NAME_LIMITS } from "../../../core/limits.ts";
import { FailedLookup } from "./failed_lookup.ts";
import { formatNameServer, type NameServer } from "./name_server.ts";
import { type MayFollow, ServerClient, type ServerClientOptions } from "./server_client.ts";
import { withTimeLimit } from "./time_limit.ts";

/** See {@linkcode ServerGroup}. */
export interface ServerGroupOptions extends ServerClientOptions {
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly log: { warn(line: string): void; info(line: string): void };
}

interface Server {
  readonly name: string;
  readonly client: ServerClient;
  awayUntil: number;
  /** It was away at the last try, and the log says so. */
  isAway: boolean;
  heardAt: number;
}

/** Several servers as one. */
export class ServerGroup implements Disposable {
  readonly #servers: readonly Server[];
  readonly #options: ServerGroupOptions;
  readonly #closing = new AbortController();

  /** @param servers at least one */
  constructor(servers: readonly NameServer[], options: ServerGroupOptions) {
    this.#options = options;
    this.#servers = servers.map((server) => ({
      name: formatNameServer(server),
      client: new ServerClient(server, options),
      awayUntil: -Infinity,
      isAway: false,
      heardAt: -Infinity,
    }));
  }

  /**
   * Asks until a server knows whether there is such a name, or `limitMs` are over.
   *
   * @throws FailedLookup
   */
  async ask(question: DnsQuestion, mayFollow: MayFollow, limitMs: number): Promise<DnsResponse> {
    const endsAt = this.#options.now() + limitMs;
    const left = new Set(this.#inTurn());
    let failure: FailedLookup | undefined;
    for (const attemptMs of NAME_LIMITS.attemptMs) {
      for (const server of left) {
        const ms = Math.min(attemptMs, endsAt - this.#options.now());
        if (ms <= 0 || this.#closing.signal.aborted) throw failure ?? new FailedLookup("timeout");
        try {
          return await this.#askOne(server, question, { mayFollow, ms });
        } catch (error) {
          if (!(error instanceof FailedLookup)) throw error;
          // What a server says tells more than that another says nothing, and it would say it again.
          if (isSilence(error)) failure ??= error;
          else {
            if (!failure || isSilence(failure)) failure = error;
            left.delete(server);
          }
        }
      }
    }
    throw failure ?? new FailedLookup("timeout");
  }

  /** Connections that are open now get no further question, and no server counts as away. */
  leave(): void {
    for (const server of this.#servers) {
      server.client.leave();
      server.awayUntil = -Infinity;
    }
  }

  [Symbol.dispose](): void {
    this.#closing.abort(new FailedLookup("away", "the proxy stops"));
    for (const { client } of this.#servers) client[Symbol.dispose]();
  }

  #inTurn(): readonly Server[] {
    const now = this.#options.now();
    const isAway = ({ awayUntil }: Server) => awayUntil > now;
    return [...this.#servers.filter((each) => !isAway(each)), ...this.#servers.filter(isAway)];
  }

  async #askOne(
    server: Server,
    question: DnsQuestion,
    { mayFollow, ms }: { readonly mayFollow: MayFollow; readonly ms: number },
  ): Promise<DnsResponse> {
    const askedAt = this.#options.now();
    try {
      const response = await withTimeLimit(
        { ms, signal: this.#closing.signal },
        (signal) => server.client.ask(question, mayFollow, signal),
      );
      this.#heard(server);
      return response;
    } catch (error) {
      if (error instanceof FailedLookup && !isSilence(error)) this.#heard(server);
      // Names that are slow elsewhere are no fault of a server that answers for others meanwhile.
      else if (server.heardAt < askedAt && !this.#closing.signal.aborted) this.#missed(server, error);
      throw error;
    }
  }

  #heard(server: Server): void {
    server.heardAt = this.#options.now();
    server.awayUntil = -Infinity;
    if (!server.isAway) return;
    server.isAway = false;
    this.#options.log.info(`the name server ${server.name} answers again`);
  }

  #missed(server: Server, error: unknown): void {
    server.awayUntil = this.#options.now() + NAME_LIMITS.awayMs;
    if (server.isAway) return;
    server.isAway = true;
    const why = error instanceof Error ? error.message : String(error);
    this.#options.log.warn(`the name server ${server.name} does not answer: ${why}`);
  }
}

/** True for a failure that says nothing of the name: no server was heard. */
export function isSilence({ kind }: FailedLookup): boolean {
  return kind === "timeout" || kind === "away";
}
