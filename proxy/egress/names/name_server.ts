/**
 * Name servers as `up --dns` names them, and which of them is asked about which name. Plain data, which goes to workers.
 *
 * Not here: asking (`server_group.ts`).
 *
 * @module
 */
import { parseIp } from "../../../core/cidr.ts";
import { ProxyError } from "../../../core/errors.ts";
import { quoteText } from "../../../core/escape.ts";
import { formatHostPort, isIpLiteral, parseAuthority, parseHost } from "../../../core/host_port.ts";
import { NAME_LIMITS } from "../../../core/limits.ts";

/** One name server. */
export interface NameServer {
  /** `tls` is RFC 7858, `https` is RFC 8484. */
  readonly scheme: "udp" | "tcp" | "tls" | "https";
  /** Canonical. An address for `udp` and `tcp`; a name is looked up by the system, and its certificate is for it. */
  readonly host: string;
  readonly port: number;
  /** Of `https`. */
  readonly path: string;
}

/** The servers for the names of a zone, in the order in which they are asked. */
export interface ServersOf {
  /** The zone's name and all below it, canonical; `""` is every name that no other zone holds. */
  readonly zone: string;
  readonly servers: readonly NameServer[];
}

const PORTS = { udp: 53, tcp: 53, tls: 853, https: 443 } as const;
const HINT =
  "write --dns udp://10.0.0.53, tcp://10.0.0.53, tls://9.9.9.9, https://dns.example/dns-query, or " +
  "corp.example=10.0.0.53 for the names of one zone";

/**
 * Reads the values of `--dns`: a server, or `ZONE=SERVER`.
 *
 * @returns one row for each zone, none when there are no values
 * @throws ProxyError `input.invalid`
 */
export function parseDnsServers(values: readonly string[]): readonly ServersOf[] {
  const byZone = new Map<string, NameServer[]>();
  for (const value of values) {
    const [, zoneText, serverText = ""] = /^(?:([^=:/?]*)=)?([^]*)$/.exec(value) ?? [];
    const zone = zoneText === undefined ? "" : parseZone(zoneText, value);
    const servers = byZone.get(zone) ?? [];
    const server = parseNameServer(serverText);
    if (servers.some((each) => formatNameServer(each) === formatNameServer(server))) {
      throw new ProxyError("input.invalid", `Cannot use --dns ${quoteText(value, 80)}: it is there twice`);
    }
    if (servers.length === NAME_LIMITS.maxServers) {
      throw new ProxyError(
        "input.invalid",
        `Cannot ask more than ${NAME_LIMITS.maxServers} name servers${zone === "" ? "" : ` for ${zone}`}`,
      );
    }
    servers.push(server);
    byZone.set(zone, servers);
  }
  return [...byZone].map(([zone, servers]) => ({ zone, servers }));
}

/**
 * Reads a server: an address, or a URL.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseNameServer(text: string): NameServer {
  const [, schemeText = "udp", rest = ""] = /^(?:([a-z]+):\/\/)?([^]*)$/.exec(text) ?? [];
  const scheme = schemeText in PORTS ? schemeText as NameServer["scheme"] : undefined;
  const slash = rest.indexOf("/");
  const [authority, path] = slash < 0 ? [rest, ""] : [rest.slice(0, slash), rest.slice(slash)];
  // An IPv6 address alone needs no brackets.
  const where = scheme &&
    (parseIp(authority)
      ? { host: parseHost(authority) ?? "", port: PORTS[scheme] }
      : parseAuthority(authority, PORTS[scheme]));
  const isPath = scheme === "https"
    ? /^(?:\/[\x21\x24-\x3b\x3d\x40-\x5a\x5f\x61-\x7a\x7e]*)?$/.test(path)
    : path === "";
  if (!scheme || !where || !isPath) throw unusable(text, "it is no name server");
  if ((scheme === "udp" || scheme === "tcp") && !isIpLiteral(where.host)) {
    throw unusable(text, `a ${scheme} server is named by its address`);
  }
  return { scheme, ...where, path: scheme === "https" ? path || "/dns-query" : "" };
}

/** The text of a server, the inverse of {@linkcode parseNameServer}. */
export function formatNameServer({ scheme, host, port, path }: NameServer): string {
  return `${scheme}://${formatHostPort({ host, port })}${path}`;
}

/** Of several zones the longest that holds a canonical name. */
export function zoneOf<Z extends { readonly zone: string }>(
  zones: readonly Z[],
  name: string,
): Z | undefined {
  let best: Z | undefined;
  for (const each of zones) {
    const isIn = each.zone === "" || name === each.zone || name.endsWith(`.${each.zone}`);
    if (isIn && (!best || each.zone.length > best.zone.length)) best = each;
  }
  return best;
}

function parseZone(text: string, value: string): string {
  const zone = parseHost(text);
  if (zone === undefined || isIpLiteral(zone)) throw unusable(value, `${quoteText(text, 60)} is no zone`);
  return zone;
}

function unusable(text: string, why: string): ProxyError {
  return new ProxyError("input.invalid", `Cannot use --dns ${quoteText(text, 80)}: ${why}`, { hint: HINT });
}
