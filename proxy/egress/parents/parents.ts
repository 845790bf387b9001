/**
 * Parent proxies: which one an upstream is reached through, if any. Plain data, which crosses to workers.
 *
 * Not here: reading the flags (`cli/up/upstream_proxy.ts`), connecting (`parent_way.ts`).
 *
 * @module
 */
import { type Cidr, cidrContains, type IpBytes, parseIp } from "../../../core/cidr.ts";
import { formatHostPort } from "../../../core/host_port.ts";
import { matchHost } from "../../../policy/match.ts";

/** An HTTP proxy that the way out leads through. */
export interface ParentProxy {
  /** How it is spoken to itself; what goes through it is another matter. */
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  /** The value of `Proxy-Authorization`. Sent to this parent and to nobody else, and never logged. */
  readonly authorization?: string | undefined;
}

/** Whom a parent is asked for: an address that was checked here, or under an exact rule the name. */
export const PARENT_DNS = ["local", "parent"] as const;

/** One of {@linkcode PARENT_DNS}. */
export type ParentDns = typeof PARENT_DNS[number];

/** `--upstream-proxy` and the flags beside it. */
export interface ParentProxies {
  /** No two have the same pattern. */
  readonly byPattern: readonly { readonly pattern: string; readonly parent: ParentProxy }[];
  /** Host patterns that are reached without a parent. */
  readonly directHosts: readonly string[];
  /** Networks that are. */
  readonly directCidrs: readonly Cidr[];
  readonly dns: ParentDns;
}

/** Nothing goes through a parent. */
export const NO_PARENTS: ParentProxies = { byPattern: [], directHosts: [], directCidrs: [], dns: "local" };

/**
 * The parent for a host, by the pattern that says most about it: its own name, then the longest suffix, then `*`. The order of
 * the flags means nothing, so that one which is added at the end is never without effect.
 */
export function parentFor(parents: ParentProxies, host: string): ParentProxy | undefined {
  if (parents.byPattern.length === 0) return undefined; // as for most, and each request asks
  if (parents.directHosts.some((pattern) => matchHost(pattern, host))) return undefined;
  const ip = parseIp(host);
  if (ip && isDirect(parents, [ip])) return undefined;
  let best: ParentProxies["byPattern"][number] | undefined;
  for (const each of parents.byPattern) {
    if (!matchHost(each.pattern, host)) continue;
    if (each.pattern === host) return each.parent;
    if (!best || each.pattern.length > best.pattern.length) best = each;
  }
  return best?.parent;
}

/** True when all addresses of a name lie in networks that are reached without a parent: one that does not is no reason to go around. */
export function isDirect({ directCidrs }: ParentProxies, addresses: readonly IpBytes[]): boolean {
  return directCidrs.length > 0 && addresses.length > 0 &&
    addresses.every((ip) => directCidrs.some((cidr) => cidrContains(cidr, ip)));
}

/** A parent's URL, without its user. */
export function formatParent(parent: ParentProxy): string {
  return `${parent.scheme}://${formatHostPort(parent)}`;
}
