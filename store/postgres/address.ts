/**
 * Where a fleet's store is, as `--store` says it: `postgres://USER@HOST[:PORT][,HOST2[:PORT]]/DATABASE?sslmode=verify-full`, or
 * `postgres://USER@/DATABASE?host=/run/postgresql` for a socket of this machine.
 *
 * Nothing else decides it: what `PGHOST` and its like say to other programs is not for this one.
 *
 * @module
 */
import { cidrContains, parseCidr, parseIp } from "../../core/cidr.ts";
import { ProxyError } from "../../core/errors.ts";
import { formatHostPort, type HostPort, parseHost } from "../../core/host_port.ts";

/** Where a server listens: over TCP, or on a socket in a folder. */
export type StoreHost = HostPort | { readonly folder: string; readonly port: number };

/** See the module. */
export interface StoreAddress {
  /** Tried in this order; the one that can be written to is used. */
  readonly hosts: readonly StoreHost[];
  readonly user: string;
  readonly database: string;
  /** False only where nobody is between: on this machine. */
  readonly isEncrypted: boolean;
}

const DEFAULT_PORT = 5432;
const MAX_HOSTS = 8;
const LOOPBACK = ["127.0.0.0/8", "::1/128"].map(parseCidr);
const EXAMPLE = "write --store 'postgres://slicer_proxy@db.internal/slicer_proxy?sslmode=verify-full'";

/**
 * Reads it.
 *
 * @throws ProxyError `input.invalid`, without the address when it holds a password
 */
export function parseStoreAddress(text: string): StoreAddress {
  const match = /^postgres(?:ql)?:\/\/([^/?#]*)\/([^/?#]*)(?:\?([^#]*))?$/.exec(text);
  if (!match) return refuse("it is no postgres:// address with a user and a database");
  const [, authority = "", database = "", query = ""] = match;
  const at = authority.lastIndexOf("@");
  const user = authority.slice(0, Math.max(at, 0));
  if (user.includes(":") || /(^|&)password=/.test(query)) {
    return refuse(
      "it holds a password, which everybody on this machine can see in the list of processes",
      "leave the password out, and name a file that holds it with --store-password-file",
    );
  }
  if (user === "") return refuse("it names no user");
  if (database === "") return refuse("it names no database");
  const settings = new URLSearchParams(query);
  const sslmode = settings.get("sslmode") ?? undefined;
  const folder = settings.get("host") ?? undefined;
  for (const name of settings.keys()) {
    if (name !== "sslmode" && name !== "host") {
      return refuse(`it has the unknown setting ${name.slice(0, 40)}`);
    }
  }
  const hosts = hostsOf(authority.slice(at + 1), folder);
  return {
    hosts,
    user: decoded(user),
    database: decoded(database),
    isEncrypted: isEncrypted(hosts, sslmode),
  };
}

/** The address without what it cannot hold anyway, for messages. */
export function formatStoreHosts({ hosts }: StoreAddress): string {
  return hosts.map(formatStoreHost).join(",");
}

/** One host, for messages. */
export function formatStoreHost(host: StoreHost): string {
  return "folder" in host ? `${host.folder}/.s.PGSQL.${host.port}` : formatHostPort(host);
}

function hostsOf(text: string, folder: string | undefined): readonly StoreHost[] {
  if (folder !== undefined) {
    if (text !== "" && !/^:\d{1,5}$/.test(text)) return refuse("it names a host and a socket's folder");
    if (!folder.startsWith("/")) return refuse("the folder of its socket does not begin with /");
    return [{ folder, port: text === "" ? DEFAULT_PORT : portOf(text.slice(1)) }];
  }
  const hosts = text.split(",").map(hostOf);
  if (hosts.length > MAX_HOSTS) return refuse(`it names more than ${MAX_HOSTS} hosts`);
  return hosts;
}

function hostOf(text: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match && parseHost(match[1] ?? match[2] ?? "");
  if (!host) return refuse(`${JSON.stringify(text.slice(0, 60))} is no host`);
  return { host, port: match[3] === undefined ? DEFAULT_PORT : portOf(match[3]) };
}

function portOf(text: string): number {
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : refuse(`${text} is no port`);
}

/** Anything weaker would take the policy of every host, sealed secrets included, from whoever answers. */
function isEncrypted(hosts: readonly StoreHost[], sslmode: string | undefined): boolean {
  const isHere = hosts.every((host) => "folder" in host || isLoopback(host.host));
  const isSocket = hosts.every((host) => "folder" in host);
  if (isSocket) {
    if (sslmode === undefined || sslmode === "disable") return false;
    return refuse("a socket speaks no TLS", "leave sslmode out");
  }
  if (sslmode === undefined || sslmode === "verify-full") return true;
  if (sslmode === "disable" && isHere) return false;
  return refuse(
    `sslmode=${sslmode.slice(0, 20)} does not make sure who the server is`,
    "write sslmode=verify-full, and name the server's CA with --store-ca; sslmode=disable is for loopback alone",
  );
}

function isLoopback(host: string): boolean {
  const ip = parseIp(host);
  if (!ip) return host === "localhost";
  return LOOPBACK.some((network) => cidrContains(network, ip));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return refuse("it is not percent-encoded as a URL is");
  }
}

function refuse(state: string, hint = EXAMPLE): never {
  throw new ProxyError("input.invalid", `Cannot use this --store: ${state}`, { hint });
}
