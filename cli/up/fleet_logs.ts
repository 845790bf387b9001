/**
 * The part of `up` by which hosts of a fleet read each other's audit logs: where this host's API is reached by the others,
 * and how theirs are asked.
 *
 * Not here: the call itself (`fleet_call.ts`), and the order of records (`api/fleet_reader.ts`).
 *
 * @module
 */
import type { FleetLogs } from "../../api/control.ts";
import { parseIp } from "../../core/cidr.ts";
import { ProxyError } from "../../core/errors.ts";
import { formatHostPort, type HostPort, parseAuthority, parseHost } from "../../core/host_port.ts";
import type { Fleet } from "../../store/fleet/fleet.ts";
import type { LogWay } from "../../store/fleet/log_proof.ts";
import { usageError } from "../command/parse.ts";
import { readHostLog } from "./fleet_call.ts";

/** Where other hosts reach the API; without a port it is the API's own. */
export interface Advertised {
  readonly host: string;
  readonly port: number | undefined;
}

/** The flags that say where the API is. */
export interface ApiPlace {
  readonly apiBind: HostPort | undefined;
  readonly apiAdvertise: Advertised | undefined;
}

/** @throws ProxyError `cli.usage` */
export function parseAdvertised(text: string): Advertised {
  const where = parseAuthority(text);
  const host = where?.host ?? parseHost(text);
  const ip = host === undefined ? undefined : parseIp(host);
  if (host !== undefined && !ip?.every((byte) => byte === 0)) return { host, port: where?.port };
  throw usageError(
    "Cannot tell other hosts this --api-advertise: it is no host, nor host and port",
    "write a name or an address of this host: --api-advertise proxy-1.internal:8443",
  );
}

/**
 * Where the others reach the API: where an operator says, else where it is bound. Not where the proxy is: that address is
 * often the same on every host, and each would ask itself.
 */
export function advertisedHost({ apiAdvertise, apiBind }: ApiPlace): string | undefined {
  if (apiAdvertise) return apiAdvertise.host;
  return apiBind && !isOnlyHere(apiBind.host) ? apiBind.host : undefined;
}

/** Loopback, or every address. */
function isOnlyHere(host: string): boolean {
  return isLoopbackBind(host) || (parseIp(host)?.every((byte) => byte === 0) ?? false);
}

/** How the others read this host's log; undefined when its API is not open to them. */
export function ownWay(
  config: ApiPlace,
  { isTls, port, caPem }: { readonly isTls: boolean; readonly port: number; readonly caPem: string },
): LogWay | undefined {
  const host = advertisedHost(config);
  if (!isTls || host === undefined) return undefined;
  return { origin: `https://${formatHostPort({ host, port: config.apiAdvertise?.port ?? port })}`, caPem };
}

/** The logs of the other hosts. */
export function fleetLogs(fleet: Pick<Fleet, "logWays" | "status">): FleetLogs {
  return {
    ownLabel: fleet.status.host,
    hosts: () => fleet.logWays.list(),
    ask: (way, query, signal) => readHostLog(way, query, { signal }),
  };
}

/** @throws ProxyError `cli.usage` for a flag that could do nothing */
export function checkAdvertised(
  { apiAdvertise, apiBind, store }: ApiPlace & { readonly store: unknown },
): void {
  if (!apiAdvertise || (store && apiBind && !isLoopbackBind(apiBind.host))) return;
  throw new ProxyError(
    "cli.usage",
    "Cannot use --api-advertise without --store and an --api-bind beyond loopback",
    {
      hint: "other hosts of a fleet read the audit log there, over TLS",
    },
  );
}

/** Where the API needs no TLS, and has none. */
export function isLoopbackBind(host: string): boolean {
  return host.startsWith("127.") || host === "::1" || host === "localhost";
}
