/**
 * Hosts and authorities (RFC 3986 §3.2) as every part of the program sees them. One strict reader and its inverse:
 * what cannot be read in exactly one way is refused, so that policy, dialling and the audit log always mean the same
 * host. A host here never has a port, brackets or a trailing dot.
 *
 * @module
 */
import { formatIp, parseIp } from "./cidr.ts";

/** A host and a port. */
export interface HostPort {
  /** Canonical: lower-case A-labels, a dotted quad, or RFC 5952 without brackets. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

const LABEL = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

/**
 * The canonical form of a host name or IP literal without brackets, or undefined when it is not one: empty or long
 * labels, characters beyond LDH and `_`, non-ASCII (send A-labels), zone ids, and names whose last label is a
 * number, which some resolvers read as an IPv4 address in another base (WHATWG URL §3.5 "ends in a number").
 * One trailing dot is dropped (RFC 1034 §3.1).
 */
export function parseHost(text: string): string | undefined {
  if (text.includes(":")) {
    const ip = parseIp(text);
    return ip && formatIp(ip);
  }
  const name = text.endsWith(".") ? text.slice(0, -1) : text;
  if (name.length === 0 || name.length > 253) return undefined;
  const labels = name.split(".");
  for (const label of labels) if (!LABEL.test(label)) return undefined;
  const lower = name.toLowerCase(); // only now: the Kelvin sign's lower case is an ASCII k
  if (/^(\d+|0x[0-9a-f]*)$/i.test(labels[labels.length - 1] ?? "")) {
    const ip = text === name ? parseIp(lower) : undefined;
    return ip && formatIp(ip);
  }
  return lower;
}

/** A hyphen at the end of a label, which some names on the Internet have, and no certificate or resolver has to take. */
const OUTER_HYPHEN = /(^|\.)-|-(\.|$)/g;

/**
 * What is wrong with a text that is a host name but for hyphens at the ends of its labels (RFC 1123 §2.1, RFC 5890 §2.3.1);
 * undefined for every other.
 */
export function hyphenFault(text: string): string | undefined {
  const mended = text.replace(OUTER_HYPHEN, "$1x$2");
  if (mended === text || parseHost(mended) === undefined) return undefined;
  return "a label of its host begins or ends with a hyphen";
}

/** True when a canonical host is an IP literal. */
export function isIpLiteral(host: string): boolean {
  return parseIp(host) !== undefined;
}

/** A port from its decimal text, 1 to 65535 without leading zeros, or undefined. */
export function parsePort(text: string): number | undefined {
  if (!/^[1-9]\d{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}

/**
 * `host`, `host:port` or `[v6]:port` (RFC 3986 §3.2). Userinfo, an empty port and an IPv6 literal without brackets are
 * refused.
 *
 * @param defaultPort the port when none is given; without it a port is required, as in CONNECT (RFC 9110 §9.3.6)
 */
export function parseAuthority(text: string, defaultPort?: number): HostPort | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@/?#]+))(?::(\d*))?$/.exec(text);
  if (!match) return undefined;
  const [, v6, name, portText] = match;
  const host = v6 === undefined ? parseHost(name ?? "") : (v6.includes(":") ? parseHost(v6) : undefined);
  const port = portText === undefined ? defaultPort : parsePort(portText);
  return host === undefined || port === undefined ? undefined : { host, port };
}

/** The text of a host in an authority: IPv6 gets its brackets. */
export function formatHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** `host:port`, the inverse of {@linkcode parseAuthority}. */
export function formatHostPort({ host, port }: HostPort): string {
  return `${formatHost(host)}:${port}`;
}
