/**
 * The way out through a parent proxy: the parent's addresses are raced like any others, and it is asked for the upstream's
 * addresses in turn. When it cannot be had, the upstream cannot: nothing ever goes around it.
 *
 * Not here: which parent (`parents.ts`), `CONNECT` (`parent_tunnel.ts`).
 *
 * @module
 */
import { cidrContains, type IpBytes, parseIp } from "../../../core/cidr.ts";
import type { Cidr } from "../../../core/cidr.ts";
import type { Deadlines } from "../../../core/deadlines.ts";
import { isProxyError, messageOf, ProxyError } from "../../../core/errors.ts";
import { formatHostPort, type HostPort, isIpLiteral } from "../../../core/host_port.ts";
import type { Limits } from "../../../core/limits.ts";
import { RecentMap } from "../../../core/recent_map.ts";
import type { Admission } from "../../accept/admission.ts";
import { closeQuietly } from "../../streams/byte_reader.ts";
import { SocketStream } from "../../streams/socket_stream.ts";
import { type ByteStream } from "../../streams/byte_reader.ts";
import type { Connector } from "../connect/connector.ts";
import { asTcp, type Line } from "../connect/line.ts";
import { notReached, parentError } from "./parent_error.ts";
import { openTunnel } from "./parent_tunnel.ts";
import { formatParent, type ParentProxy } from "./parents.ts";
import { type DeadChoice, interleave, race, Winners } from "../connect/race.ts";
import { RelayedStream } from "../connect/relayed_stream.ts";
import { startUpstreamTls } from "../tls/upstream_tls.ts";

export interface ParentWayOptions {
  readonly connector: Connector;
  readonly limits: Limits;
  readonly deadlines: Deadlines;
  readonly admission: Admission;
  /** All addresses of a name, in bounded time. */
  readonly resolve: (host: string, client: string, signal: AbortSignal) => Promise<readonly string[]>;
  readonly caCertsFor: (host: string) => readonly string[];
  /** The addresses at which this process listens as a proxy on a port. */
  readonly ownListeners: (port: number) => readonly Cidr[];
  readonly onDeadChoice?: ((dead: DeadChoice) => void) | undefined;
}

/** What is asked of a parent. */
export interface Asked extends HostPort {
  /** The client on whose account it is counted. */
  readonly client: string;
  readonly parent: ParentProxy;
}

/** A tunnel, with what its other end has said already. */
export interface Tunnel {
  readonly line: Line;
  readonly first: Uint8Array;
}

/** How long a parent that has refused our password is not asked again: many a directory locks an account after a few refusals. */
const REFUSED_MS = 30_000;
/** Clients choose the places. */
const MAX_PLACES = 1_024;
/** A name may have many addresses; each that is asked for costs the parent a connection. */
const MAX_ASKED = 4;

/** See the module. */
export class ParentWay {
  readonly #options: ParentWayOptions;
  readonly #winners = new Winners();
  /** Until when a parent is not asked with a password, in milliseconds of `performance.now()`. */
  readonly #refusedUntil = new Map<string, number>();
  /** The same of single places through it. */
  readonly #refusedThere = new RecentMap<string, number>(MAX_PLACES);
  /** With these a parent opened a tunnel, and has refused none since. */
  readonly #accepted = new Set<string>();

  constructor(options: ParentWayOptions) {
    this.#options = options;
  }

  /**
   * A connection to the parent itself.
   *
   * @throws ProxyError `upstream.*` with a reason of the parent, or the signal's reason
   */
  async reach(asked: Asked, signal: AbortSignal): Promise<Line> {
    this.#checkRefusal(asked);
    return await this.#inTime(asked, signal, (cancelled) => this.#reach(asked, cancelled));
  }

  /**
   * A tunnel to the upstream.
   *
   * @param hosts the upstream's addresses that were checked, or its name
   * @throws as {@linkcode reach}
   */
  async tunnel(asked: Asked, hosts: readonly string[], signal: AbortSignal): Promise<Tunnel> {
    this.#checkRefusal(asked);
    const { admission, limits, onDeadChoice } = this.#options;
    const place = `${formatHostPort(asked)} by ${formatParent(asked.parent)}`;
    const tried = this.#winners.order(place, interleave(hosts)).slice(0, MAX_ASKED);
    return await this.#inTime(asked, signal, async (cancelled) => {
      const refused = new AbortController(); // other addresses would not change its mind, and count as wrong passwords
      const { connection, address } = await race(tried, {
        connect: async (host, ended) => {
          try {
            const tunnel = await this.#ask(asked, host, ended);
            this.#accepted.add(loginOf(asked.parent));
            return tunnel;
          } catch (error) {
            if (isProxyError(error) && error.reason === "parent-auth") {
              this.#noteRefusal(asked.parent);
              refused.abort(error);
            }
            throw error;
          }
        },
        discard: ({ line }) => closeQuietly(line.stream),
        tryExtra: () => admission.tryExtraConnect(asked.client, asked),
        delayMs: limits.parentAttemptDelayMs,
        signal: AbortSignal.any([cancelled, refused.signal]),
      });
      const dead = this.#winners.note(place, address, tried);
      if (dead) onDeadChoice?.(dead);
      return connection;
    });
  }

  /**
   * A 407 to a request in absolute form, which an upstream can send as well. Where the parent is known to take the password, only
   * this place is left alone for it: no upstream may cut everybody off.
   */
  noteRefusalAt({ parent, ...place }: HostPort & { readonly parent: ParentProxy }): void {
    if (!this.#accepted.has(loginOf(parent))) return this.#noteRefusal(parent);
    this.#refusedThere.set(placeOf(parent, place), performance.now() + REFUSED_MS);
  }

  /** The parent does not take our password: it is left alone for a while. */
  #noteRefusal(parent: ParentProxy): void {
    this.#accepted.delete(loginOf(parent));
    this.#refusedUntil.set(loginOf(parent), performance.now() + REFUSED_MS);
  }

  /** What is refused here was not refused by the parent again: its time goes on to its end. */
  #checkRefusal({ parent, ...place }: Asked): void {
    const until = [this.#refusedUntil.get(loginOf(parent)), this.#refusedThere.get(placeOf(parent, place))];
    if (!until.some((each) => each !== undefined && each > performance.now())) return;
    throw parentError(formatHostPort(place), "parent-auth", {
      words: "it has just refused the user and password that it gets, and is not asked again so soon",
    });
  }

  async #ask(asked: Asked, host: string, signal: AbortSignal): Promise<Tunnel> {
    const line = await this.#reach(asked, signal);
    const cut = () => closeQuietly(line.stream);
    signal.addEventListener("abort", cut);
    try {
      const first = await openTunnel(line.stream, {
        parent: asked.parent,
        authority: formatHostPort({ host, port: asked.port }),
        place: formatHostPort(asked),
        limits: this.#options.limits,
      });
      return { line, first };
    } catch (error) {
      cut();
      throw error;
    } finally {
      signal.removeEventListener("abort", cut);
    }
  }

  async #reach(asked: Asked, signal: AbortSignal): Promise<Line> {
    const { parent, client } = asked;
    const { connector } = this.#options;
    try {
      const addresses = await this.#addressesOf(asked, signal);
      const { host, port } = parent;
      const line = await connector.connect({ host, port, addresses, client }, signal);
      return parent.scheme === "http" ? line : { stream: await this.#secure(line, parent, signal) };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw notReached(formatHostPort(asked), error);
    }
  }

  async #secure(line: Line, { host }: ParentProxy, signal: AbortSignal): Promise<ByteStream> {
    const { tcp, end } = await asTcp(line, this.#options, signal);
    try {
      const { conn } = await startUpstreamTls(tcp, { host, ...this.#options }, signal);
      return new RelayedStream(new SocketStream(conn), end);
    } catch (error) {
      end();
      throw error;
    }
  }

  /** A parent may be anywhere, in private networks too, but it is never this proxy: a request would go round for ever. */
  async #addressesOf(asked: Asked, signal: AbortSignal): Promise<readonly string[]> {
    const { host, port } = asked.parent;
    const found = isIpLiteral(host) ? [host] : await this.#options.resolve(host, asked.client, signal);
    const ips = found.map(parseIp).filter((ip) => ip !== undefined);
    if (ips.length === 0 || ips.length !== found.length) {
      throw parentError(formatHostPort(asked), "parent-unreachable", {
        words: "its name has no usable address",
      });
    }
    const own = this.#options.ownListeners(port);
    const isOwn = (ip: IpBytes) => own.some((cidr) => cidrContains(cidr, ip));
    if (!ips.some(isOwn)) return found;
    throw new ProxyError(
      "upstream.address-denied",
      `Cannot connect to ${formatHostPort(asked)}: its parent proxy is this proxy itself`,
      { reason: "own-address" },
    );
  }

  /** All that is done through a parent, in one time. */
  async #inTime<T>(asked: Asked, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { deadlines, limits } = this.#options;
    const place = formatHostPort(asked);
    const late = new AbortController();
    const deadline = deadlines.start(
      limits.parentTimeoutMs,
      () => late.abort(parentError(place, "parent-timeout", { words: "it does not answer in time" })),
    );
    try {
      return await work(AbortSignal.any([signal, late.signal]));
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (late.signal.aborted) throw late.signal.reason;
      throw mostTelling(place, error);
    } finally {
      deadline.stop();
    }
  }
}

/** A parent, and as whom it is asked. */
function loginOf(parent: ParentProxy): string {
  return `${formatParent(parent)} ${parent.authorization ?? ""}`;
}

function placeOf(parent: ParentProxy, place: HostPort): string {
  return `${loginOf(parent)} ${formatHostPort(place)}`;
}

/** Of several failures the one that says most: what the parent answered, before that it could not be asked. */
function mostTelling(place: string, error: unknown): unknown {
  const errors: readonly unknown[] = error instanceof AggregateError ? error.errors : [error];
  const known = errors.filter((each) => each instanceof ProxyError);
  const answered = known.find(({ reason }) => reason === "parent-auth" || reason === "parent-denied");
  if (answered) return answered;
  return known.at(-1) ??
    parentError(place, "parent-malformed", {
      words: "it closed the connection without an answer",
      cause: messageOf(errors.at(-1)),
    });
}
