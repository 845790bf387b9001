/**
 * Which version of HTTP is spoken in a tunnel: the client's offer is made upstream, and what the upstream picks is what the
 * client gets, so that no version has to be made from another.
 *
 * Not here: the handshakes (`tls/loopback.ts`, `egress/dialler.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import type { HostPort } from "../../core/host_port.ts";
import { hostWithin } from "../../policy/rule.ts";
import type { ClientCertificate } from "../../secrets/credential.ts";
import { isHttp1Only } from "../../policy/decide.ts";
import type { Rule } from "../../policy/rule.ts";
import type { Alpn, UpstreamConnection } from "../egress/upstream_connection.ts";
import { FailedDial } from "../egress/failed_dial.ts";
import type { PoolKey } from "../egress/pools/pool.ts";
import type { OpenSession } from "../exchange.ts";
import type { Http2ClientConnection } from "../http2/types.ts";
import type { Client } from "../policy_source.ts";

/** A tunnel to be looked into. */
interface Tunnel {
  readonly client: Client;
  /** Without a rule nothing is dialled. */
  readonly rule: Rule | undefined;
  readonly target: HostPort;
}

/** What is spoken, and what came of asking. */
export interface ProtocolChoice {
  readonly protocol: Alpn;
  /** Where the upstream was asked and has picked HTTP/2: the connection that its requests will go on. */
  readonly upstream?: Http2ClientConnection;
  /** Where it could not be asked. */
  readonly failedDial?: FailedDial;
}

/**
 * The protocol for a tunnel whose client offers `offered`; a promise only where the upstream has to be asked. The connection is
 * kept for the first request then; where it cannot be asked, the client gets what it prefers, and its first request is told why.
 */
export function chooseProtocol(
  session: OpenSession,
  tunnel: Tunnel,
  offered: readonly string[],
): ProtocolChoice | Promise<ProtocolChoice> {
  const { context: { protocols, policy } } = session;
  if (!protocols || !offered.includes("h2")) return { protocol: "http/1.1" };
  const offer = [...new Set(offered)].filter((name) => name === "h2" || name === "http/1.1");
  if (!tunnel.rule) return { protocol: offer[0] ?? "http/1.1" };
  if (isHttp1Only(policy.rulesFor(tunnel.client, tunnel.target.host), tunnel.target)) {
    return { protocol: "http/1.1" };
  }
  const known = protocols.pickOf(tunnel.target, offer);
  if (known) return { protocol: known };
  return choose(session, { ...tunnel, rule: tunnel.rule }, offer);
}

async function choose(
  session: OpenSession,
  tunnel: Tunnel & { readonly rule: Rule },
  offer: readonly Alpn[],
): Promise<ProtocolChoice> {
  const { context: { protocols, clock } } = session;
  const { rule, target } = tunnel;
  try {
    const choice = await ask(session, tunnel, offer);
    protocols?.notePick(target, offer, choice.protocol);
    return choice;
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    const failedDial = new FailedDial(error, rule.host, clock.monotonic());
    return { protocol: offer[0] ?? "http/1.1", failedDial };
  }
}

/** Dials as the first request will, and leaves the connection where it looks for one. */
async function ask(
  { context }: OpenSession,
  { client, target, rule }: Tunnel & { readonly rule: Rule },
  offer: readonly Alpn[],
): Promise<ProtocolChoice> {
  const { dialler, pool, http2Pool, grants, policy } = context;
  const version = rule.secret === undefined ? undefined : policy.secretInfo(rule.secret)?.version;
  const credential = rule.secret === undefined || version === undefined
    ? undefined
    : { secret: rule.secret, version };
  const grant = { client, rule, ...(credential ? { credential } : {}) };
  const key: PoolKey = { scheme: "https", ...target, grant, way: dialler.wayTo(target.host) };
  const cancel = new AbortController();
  const release = grants.hold(grant, () =>
    cancel.abort(
      new ProxyError("policy.revoked", "Cannot open the tunnel: the client or rule that admitted it is gone"),
    ));
  let connection: UpstreamConnection;
  try {
    const clientCertificate = await certificateUnder(rule, { context, client, target });
    connection = await dialler.dial(
      { scheme: "https", ...target, client, ruleHost: rule.host, alpn: offer, clientCertificate },
      cancel.signal,
    );
  } finally {
    release();
  }
  const { protocol } = connection;
  if (protocol === "h2") return { protocol, upstream: http2Pool.add(key, connection) };
  pool.put(key, connection);
  return { protocol };
}

/** The certificate that the rule's secret shows to this host and to no other. Other secrets are not fetched for this. */
async function certificateUnder(
  { host, secret }: Rule,
  { context: { policy }, client, target }: {
    readonly context: Pick<OpenSession["context"], "policy">;
    readonly client: Client;
    readonly target: HostPort;
  },
): Promise<ClientCertificate | undefined> {
  const info = secret === undefined ? undefined : policy.secretInfo(secret);
  if (secret === undefined || info?.type !== "mtls") return undefined;
  if (!hostWithin(host, info.host) || !hostWithin(target.host, info.host)) return undefined;
  const request = { client: client.name, host: target.host, method: "CONNECT", path: "/" };
  const credential = await policy.credential(secret, request);
  return credential?.version === info.version ? credential.clientCertificate : undefined;
}
