/**
 * What a request asks for: one scheme, host, port and path, or a refusal. Every place that names the host (request target,
 * Host, tunnel) must name the same one.
 *
 * Not here: whether it is allowed (`policy/`), credentials (`inject/credential_use.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import {
  formatHost,
  formatHostPort,
  type HostPort,
  hyphenFault,
  parseAuthority,
} from "../../core/host_port.ts";
import {
  findBadNomination,
  hasTooManyNominations,
  type HeaderField,
  isAmbiguousName,
  listOf,
  valuesOf,
} from "./fields.ts";
import type { RequestHead } from "./message.ts";

export type Scheme = "http" | "https";

/** A request's place, in canonical form, and its target as the upstream gets it. */
export interface RequestTarget extends HostPort {
  readonly scheme: Scheme;
  /** Origin-form (RFC 9112 §3.2.1), bytes as sent, or `*` for OPTIONS. */
  readonly originForm: string;
  /** `originForm` without the query. */
  readonly path: string;
  /** Without the `?`; undefined when there is none. */
  readonly query: string | undefined;
  /** What words of rules saw of the request, for its record. */
  readonly says?: string | undefined;
}

/** The tunnel that a request came through. */
export interface TunnelOrigin extends HostPort {
  readonly scheme: Scheme;
}

const ABSOLUTE_FORM = /^(https?|wss?):\/\/([^/?]*)([/?].*)?$/i;

/**
 * The place that a request names.
 *
 * @param tunnel where the request came through, or undefined on a proxy port, where only absolute-form is understood
 * @throws ProxyError `client.malformed`, with reason `host-mismatch` when two parts name different hosts
 */
export function parseTarget(head: RequestHead, tunnel: TunnelOrigin | undefined): RequestTarget {
  const place = tunnel ? parseInTunnel(head, tunnel) : parseAbsolute(head);
  if (head.version === "HTTP/2") {
    checkScheme(head, place.scheme);
    if (head.fields.some(({ key }) => isAmbiguousName(key))) {
      throw malformed("a field's name is framing or identity to some servers, written with _");
    }
  }
  const { authority, version } = head;
  const hosts = valuesOf(head.fields, "host");
  // RFC 9112 §3.2: exactly one Host. HTTP/1.0 may leave it out: the target's or the tunnel's is meant then, and sent.
  // RFC 9113 §8.3.1: `:authority` is in the place of Host, which may be there too and must agree then.
  const mayLack = authority !== undefined || version === "HTTP/1.0";
  if (hosts.length > 1 || (hosts.length === 0 && !mayLack)) {
    throw malformed("it needs exactly one Host header");
  }
  for (const host of hosts) checkHost(host, place);
  if (authority !== undefined) checkHost(authority, place);
  return withPath(place);
}

function withPath(place: ReturnType<typeof parseAbsolute>): RequestTarget {
  const { scheme, host, port, originForm } = place;
  const queryAt = originForm.indexOf("?");
  const path = queryAt < 0 ? originForm : originForm.slice(0, queryAt);
  const query = queryAt < 0 ? undefined : originForm.slice(queryAt + 1);
  return { scheme, host, port, originForm, path, query };
}

function checkHost(text: string, place: TunnelOrigin): void {
  if (text === authorityOf(place)) return; // as nearly everybody writes it
  const host = parseAuthority(text, defaultPort(place.scheme));
  if (!host) throw malformed("its Host header is no host");
  if (host.host !== place.host || host.port !== place.port) throw mismatch("the Host header");
}

/** RFC 9113 §8.3.1: a server must not be told of another scheme than the connection has. */
function checkScheme({ scheme }: RequestHead, expected: Scheme): void {
  if (scheme?.toLowerCase() !== expected) throw malformed("its :scheme is not that of the connection");
}

/** The target of a CONNECT: authority-form, the port is required (RFC 9110 §9.3.6). A Host header must agree. */
export function parseConnectTarget(head: RequestHead): HostPort {
  const target = parseAuthority(head.target);
  if (!target) throw noAuthority(head.target, "CONNECT needs host:port");
  const hosts = valuesOf(head.fields, "host");
  const host = hosts.length === 0 ? target : parseAuthority(hosts[0] ?? "", target.port);
  if (hosts.length > 1 || !host) throw malformed("its Host header is no host");
  if (host.host !== target.host || host.port !== target.port) throw mismatch("the Host header");
  if (
    valuesOf(head.fields, "transfer-encoding").length > 0 ||
    valuesOf(head.fields, "content-length").some(isNotZero)
  ) {
    throw malformed("a CONNECT has no body (RFC 9110 §9.3.6)");
  }
  return target;
}

/** Methods that no proxy should pass: TRACE returns credentials, and the others begin another protocol. */
export function isRefusedMethod(method: string): boolean {
  return ["TRACE", "TRACK", "CONNECT", "PRI"].includes(method.toUpperCase());
}

/** The protocol that a request asks to switch to, or undefined. */
export type Upgrade = { readonly protocol: string; readonly fields: readonly HeaderField[] };

/**
 * The upgrade that a request asks for, with the two fields that carry it. `h2c` and TLS are never switched to; a server
 * may ignore an Upgrade (RFC 9110 §7.8), and so do we.
 *
 * @throws ProxyError `client.malformed` for a bad `Connection`
 */
export function parseUpgrade(head: RequestHead): Upgrade | undefined {
  if (hasTooManyNominations(head.fields)) throw malformed("Connection names too many fields");
  const nomination = findBadNomination(head.fields);
  if (nomination !== undefined) throw malformed(`Connection must not name ${nomination}`);
  if (head.protocol !== undefined) {
    const protocol = head.protocol.toLowerCase();
    return isHttpOrTls(protocol) ? undefined : { protocol, fields: [] };
  }
  if (head.version === "HTTP/1.0" || !listOf(head.fields, "connection").includes("upgrade")) return undefined;
  const protocols = listOf(head.fields, "upgrade");
  const [protocol, ...more] = protocols;
  if (protocol === undefined || isHttpOrTls(protocol)) return undefined;
  if (more.length > 0) throw malformed("more than one protocol to upgrade to");
  return { protocol, fields: head.fields.filter((field) => field.key === "upgrade") };
}

/** HTTP in another version, or TLS, would hide requests from us. */
function isHttpOrTls(protocol: string): boolean {
  return /^(h2c|h2|tls\/.*|http\/.*)$/.test(protocol);
}

export function defaultPort(scheme: Scheme): number {
  return scheme === "https" ? 443 : 80;
}

/** As in a Host field: without the scheme's own port. */
export function authorityOf({ scheme, host, port }: TunnelOrigin): string {
  return port === defaultPort(scheme) ? formatHost(host) : formatHostPort({ host, port });
}

function parseAbsolute(head: RequestHead): HostPort & Pick<RequestTarget, "scheme" | "originForm"> {
  const match = ABSOLUTE_FORM.exec(head.target);
  if (!match) {
    throw malformed(
      head.target.startsWith("/")
        ? "this is a proxy: send CONNECT or a request for an absolute URL (set HTTPS_PROXY and HTTP_PROXY)"
        : "its target is no absolute http, https, ws or wss URL",
    );
  }
  const [, schemeText = "", authority = "", rest = ""] = match;
  // RFC 6455 §3: a WebSocket is asked for over HTTP.
  const scheme = ["https", "wss"].includes(schemeText.toLowerCase()) ? "https" : "http";
  const place = parseAuthority(authority, defaultPort(scheme));
  if (!place) throw noAuthority(authority, "its URL has no plain host and port");
  // RFC 9112 §3.2.4: OPTIONS for a whole server is `*` in origin-form.
  const originForm = rest === ""
    ? (head.method === "OPTIONS" ? "*" : "/")
    : rest.startsWith("?")
    ? `/${rest}`
    : rest;
  return { scheme, ...place, originForm };
}

function parseInTunnel(head: RequestHead, tunnel: TunnelOrigin): ReturnType<typeof parseAbsolute> {
  const { target, method } = head;
  const { scheme, host, port } = tunnel;
  if (target.startsWith("/") || (target === "*" && method === "OPTIONS")) {
    return { scheme, host, port, originForm: target };
  }
  const place = parseAbsolute(head);
  if (place.scheme !== scheme || place.host !== host || place.port !== port) {
    throw mismatch("the request target");
  }
  return place;
}

/** A name with such a label has host and port all the same. */
function noAuthority(text: string, what: string): ProxyError {
  return malformed(hyphenFault(text.replace(/:\d{0,5}$/, "")) ?? what);
}

function isNotZero(length: string): boolean {
  return length !== "0";
}

function malformed(what: string): ProxyError {
  return new ProxyError("client.malformed", `Cannot read the request: ${what}`, { reason: "malformed" });
}

function mismatch(what: string): ProxyError {
  return new ProxyError(
    "policy.mismatch",
    `Cannot forward the request: ${what} names another host than the tunnel or URL`,
    {
      reason: "host-mismatch",
    },
  );
}
