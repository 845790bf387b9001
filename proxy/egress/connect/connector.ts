/**
 * TCP connects of the proxy itself, to upstreams and to parent proxies alike: the addresses of a place are raced, from the
 * source address and within the families that the operator wants.
 *
 * Not here: which addresses may be dialled (`policy/address.ts`): whoever calls has checked them.
 *
 * @module
 */
import { parseIp } from "../../../core/cidr.ts";
import type { Deadlines } from "../../../core/deadlines.ts";
import { messageOf, ProxyError } from "../../../core/errors.ts";
import { formatHostPort, type HostPort } from "../../../core/host_port.ts";
import type { Limits } from "../../../core/limits.ts";
import type { Admission } from "../../accept/admission.ts";
import { closeQuietly } from "../../streams/byte_reader.ts";
import { SocketStream } from "../../streams/socket_stream.ts";
import type { Line } from "./line.ts";
import { type DeadChoice, interleave, race, Winners } from "./race.ts";
import { connectFrom } from "./source_dial.ts";

/** Which families the proxy dials. */
export const UPSTREAM_FAMILIES = ["any", "4", "6"] as const;

/** One of {@linkcode UPSTREAM_FAMILIES}. */
export type UpstreamFamily = typeof UPSTREAM_FAMILIES[number];

/** `--upstream-family` and `--upstream-source`. Plain data, which crosses to workers. */
export interface DialFrom {
  readonly family: UpstreamFamily;
  /** Local addresses to dial from, at most one of each family. When there is any, a family without one is not dialled. */
  readonly sources: readonly string[];
}

/** Any family, and the address that the system picks. */
export const FROM_ANYWHERE: DialFrom = { family: "any", sources: [] };

export interface ConnectorOptions {
  readonly limits: Limits;
  readonly deadlines: Deadlines;
  readonly admission: Admission;
  readonly from?: DialFrom | undefined;
  /** Is told of a place whose preferred address did not answer. */
  readonly onDeadChoice?: ((dead: DeadChoice) => void) | undefined;
}

/** A place and its addresses. */
export interface ConnectTarget extends HostPort {
  readonly addresses: readonly string[];
  /** On whose account attempts beside each other are counted. */
  readonly client: string;
}

/** A name may have many more addresses than anyone should wait for; big sites have up to eight of each family. */
const MAX_ADDRESSES_TRIED = 32;

/** See the module. */
export class Connector {
  readonly #options: ConnectorOptions;
  readonly #winners = new Winners();

  constructor(options: ConnectorOptions) {
    this.#options = options;
  }

  /**
   * The first address that answers. All share one time: a name with many dead addresses holds nothing for longer.
   *
   * @throws ProxyError `upstream.refused`, `upstream.timeout`, `upstream.unreachable`, or the signal's reason
   */
  async connect(target: ConnectTarget, signal: AbortSignal): Promise<Line & { readonly address: string }> {
    const { deadlines, limits, admission, onDeadChoice } = this.#options;
    const place = formatHostPort(target);
    const usable = interleave(target.addresses.filter((address) => this.#isUsable(address)));
    if (usable.length === 0) throw noAddressLeft(place);
    const tried = this.#winners.order(place, usable).slice(0, MAX_ADDRESSES_TRIED);
    const late = new AbortController();
    const deadline = deadlines.start(limits.connectTimeoutMs, () => late.abort(new TimedOut()));
    try {
      const { connection, address } = await race(tried, {
        connect: (hostname, cancelled) => this.#open(hostname, target.port, cancelled),
        discard: ({ stream }) => closeQuietly(stream),
        tryExtra: () => admission.tryExtraConnect(target.client, target),
        delayMs: limits.connectAttemptDelayMs,
        signal: AbortSignal.any([signal, late.signal]),
      });
      const dead = this.#winners.note(place, address, tried);
      if (dead) onDeadChoice?.(dead);
      return { ...connection, address };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw connectError(place, mostTelling(error));
    } finally {
      deadline.stop();
    }
  }

  #isUsable(address: string): boolean {
    const { family, sources } = this.#options.from ?? FROM_ANYWHERE;
    if (family !== "any" && family !== familyOf(address)) return false;
    return sources.length === 0 || this.#sourceFor(address) !== undefined;
  }

  #sourceFor(address: string): string | undefined {
    return this.#options.from?.sources.find((source) => familyOf(source) === familyOf(address));
  }

  async #open(hostname: string, port: number, signal: AbortSignal): Promise<Line> {
    const source = this.#sourceFor(hostname);
    if (source !== undefined) return { stream: await connectFrom(source, { hostname, port, signal }) };
    const tcp = await Deno.connect({ hostname, port, signal });
    tcp.setNoDelay(true);
    return { stream: new SocketStream(tcp), tcp };
  }
}

/** The family of an address; one in IPv4's disguise is dialled as IPv6, and is. */
export function familyOf(address: string): "4" | "6" {
  return parseIp(address)?.length === 4 ? "4" : "6";
}

function noAddressLeft(place: string): ProxyError {
  return new ProxyError(
    "upstream.unreachable",
    `Cannot connect to ${place}: it has no address of a family that the proxy dials`,
    { reason: "connect-unreachable", hint: "see --upstream-family and --upstream-source" },
  );
}

function connectError(where: string, error: unknown): ProxyError {
  const fail = (code: "upstream.refused" | "upstream.timeout" | "upstream.unreachable", words: string) => {
    const reason =
      { "upstream.refused": "connect-refused", "upstream.timeout": "connect-timeout" }[code as string] ??
        "connect-unreachable";
    return new ProxyError(code, `Cannot connect to ${where}: ${words}`, { cause: error, reason });
  };
  if (error instanceof Deno.errors.ConnectionRefused) return fail("upstream.refused", "connection refused");
  if (
    error instanceof TimedOut || error instanceof Deno.errors.TimedOut || /timed out/i.test(messageOf(error))
  ) {
    return fail("upstream.timeout", "the connect timed out");
  }
  return fail("upstream.unreachable", "the network or host cannot be reached");
}

/** Of several failures the one that says most: somebody is there and refuses. */
function mostTelling(error: unknown): unknown {
  if (!(error instanceof AggregateError)) return error;
  return error.errors.find((each) => each instanceof Deno.errors.ConnectionRefused) ?? error.errors.at(-1);
}

class TimedOut extends Error {}
