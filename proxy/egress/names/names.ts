/**
 * How this process finds names: `/etc/hosts`, the name servers of `--dns`, and the system's resolver for every name that
 * they are not for. Without `--dns` the system's resolver does all of it, as it is configured.
 *
 * Not here: what may be dialled of what is found (`../dialler.ts`).
 *
 * @module
 */
import { Deadlines } from "../../../core/deadlines.ts";
import { type DnsRecord, RECORD_TYPES } from "../../../core/dns_record.ts";
import { NAME_LIMITS } from "../../../core/limits.ts";
import { type Resolve, systemResolve } from "../dialler.ts";
import { recordLookup, type ResolveRecords } from "./record_lookup.ts";
import { type Asker, type NameCounters, NO_NAMES } from "./asker.ts";
import { FailedLookup } from "./failed_lookup.ts";
import { HostsFile } from "./hosts_file.ts";
import type { ServersOf } from "./name_server.ts";
import { isLocal, Resolver } from "./resolver.ts";
import { SystemLookups } from "./system_lookups.ts";
import { withTimeLimit } from "./time_limit.ts";

/** See {@linkcode openNames}. */
export interface NamesOptions {
  /** Of `--dns`; none: the system's resolver is asked about everything. */
  readonly servers: readonly ServersOf[];
  /** From a question to the end of waiting for its answer. */
  readonly limitMs: number;
  /** PEM certificates trusted for a host in addition to the roots. */
  readonly caCertsFor: (host: string) => readonly string[];
  readonly log: { warn(line: string): void; info(line: string): void };
  /** Tests pass their own. */
  readonly system?: (host: string) => Promise<readonly string[]>;
  readonly hostsPath?: string;
  readonly hasIpv6?: () => boolean;
  readonly now?: () => number;
}

/** An open one. Disposing it ends the connections to name servers. */
export interface Names extends Disposable {
  readonly resolve: Resolve;
  readonly resolveRecords: ResolveRecords;
  readonly counters: Readonly<NameCounters>;
  /** Answers of before are not used: this machine has slept, or is on another network. */
  forget(): void;
}

/** Opens nothing before the first name is asked for. */
export function openNames(options: NamesOptions): Names {
  const { servers, limitMs, caCertsFor, log, system = systemResolve } = options;
  const { now = () => performance.now(), hostsPath = "/etc/hosts", hasIpv6 = () => hasGlobalIpv6(now) } =
    options;
  const counters: NameCounters = { ...NO_NAMES };
  const lookups = new SystemLookups(system, counters);
  const bySystem: Resolve = (name, asker) => limited(limitMs, asker, (each) => lookups.addresses(name, each));
  if (servers.length === 0) {
    return {
      resolve: bySystem,
      resolveRecords: recordLookup(),
      counters,
      forget: () => {},
      [Symbol.dispose]: () => {},
    };
  }
  const hosts = new HostsFile(hostsPath, { now, warn: (line) => log.warn(line) });
  const own = new Resolver({
    zones: servers,
    limitMs,
    counters,
    caCertsFor,
    log,
    now,
    deadlines: new Deadlines(),
    systemResolve: system,
    outside: {
      addresses: (name, asker) => lookups.addresses(name, asker),
      records: (name, type, asker) => recordLookup()(name, typeOf(type), asker),
    },
  });
  return {
    resolve: async (name, asker) => {
      const known = await hosts.addresses(name);
      if (known.length > 0) return known;
      if (isLocal(name)) return localAddresses(name);
      if (!own.knows(name)) return await bySystem(name, asker);
      return inOrder(await limited(limitMs, asker, (each) => own.addresses(name, each)), hasIpv6());
    },
    resolveRecords: async (name, type, asker) => {
      if (!own.knows(name)) return await recordLookup()(name, type, asker);
      try {
        return isLocal(name)
          ? []
          : await limited(limitMs, asker, (each) => own.records(name, numberOf(type), each));
      } catch (error) {
        if (error instanceof FailedLookup && !error.isUnknown) return [];
        throw error;
      }
    },
    counters,
    forget: () => own.forget(),
    [Symbol.dispose]: () => own[Symbol.dispose](),
  };
}

/** Looks up within the time for it, waiting for a place included. */
function limited<T>(
  ms: number,
  { client, signal }: Asker = { client: "", signal: NEVER },
  look: (asker: Asker) => Promise<T>,
): Promise<T> {
  return withTimeLimit({ ms, signal }, (signal) => look({ client, signal }));
}

const NEVER = new AbortController().signal;

/** RFC 6761 §6.3: nobody is asked. */
function localAddresses(name: string): readonly string[] {
  if (name === "localhost" || name.endsWith(".localhost")) return ["127.0.0.1", "::1"];
  throw new FailedLookup("nxdomain");
}

function typeOf(number: number): DnsRecord["type"] {
  const type = RECORD_TYPES.get(number);
  if (type === undefined) throw new TypeError(`no such record type: ${number}`);
  return type;
}

function numberOf(type: string): number {
  for (const [number, name] of RECORD_TYPES) if (name === type) return number;
  throw new TypeError(`no such record type: ${type}`);
}

/** The family that is more likely to answer first (RFC 6724 §2.1), as the system's resolver would have it. */
function inOrder(addresses: readonly string[], isIpv6First: boolean): readonly string[] {
  const isV6 = (address: string) => address.includes(":");
  return [...addresses].sort((a, b) => (isV6(a) === isV6(b) ? 0 : isV6(a) === isIpv6First ? -1 : 1));
}

let lastLook = { at: -Infinity, has: false };

/** True where an adapter has an IPv6 address of the Internet (2000::/3). Looked at now and then. */
function hasGlobalIpv6(now: () => number): boolean {
  if (now() - lastLook.at < NAME_LIMITS.hostsCheckMs) return lastLook.has;
  const has = Deno.networkInterfaces().some(({ family, address }) =>
    family === "IPv6" && /^[23]/.test(address)
  );
  lastLook = { at: now(), has };
  return has;
}
