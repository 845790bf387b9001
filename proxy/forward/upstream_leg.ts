/**
 * Which upstream connection a request gets: a kept one of the same client, place and credential, or a new one.
 *
 * Not here: dialling (`egress/dialler.ts`), what is kept and for how long (`egress/pools/pool.ts`).
 *
 * @module
 */
import { isProxyError, ProxyError } from "../../core/errors.ts";
import { formatHostPort } from "../../core/host_port.ts";
import type { ClientCertificate } from "../../secrets/credential.ts";
import type { Alpn, UpstreamConnection } from "../egress/upstream_connection.ts";
import { announcedIdleMs } from "../egress/pools/idle_times.ts";
import { parentHop } from "../egress/parents/parent_hop.ts";
import type { PoolKey } from "../egress/pools/pool.ts";
import type { AdmittedExchange } from "../exchange.ts";
import { Http1Leg } from "../http1/upstream.ts";
import type { Http2ClientConnection } from "../http2/types.ts";
import { Http2Leg } from "../http2/upstream.ts";
import type { UpstreamLeg } from "../message/message.ts";

/** A leg on a kept connection, or undefined. `isReplayable` is whether the request can be sent again, should it be dead. */
export function takeLeg(exchange: AdmittedExchange, isReplayable: boolean): UpstreamLeg | undefined {
  const { session: { context: { pool } } } = exchange;
  if (exchange.request.head.version === "HTTP/2") return undefined;
  const key = keyFor(exchange);
  const connection = pool.take(key, isReplayable);
  return connection && legOn(connection, exchange, key);
}

/**
 * A leg on a new connection, or on one that requests of HTTP/2 share.
 *
 * @throws ProxyError `upstream.*`, `limit.reached`, or the signal's reason
 */
export async function dialLeg(
  exchange: AdmittedExchange,
  signal: AbortSignal,
  clientCertificate?: ClientCertificate,
): Promise<UpstreamLeg> {
  const { session: { context: { http2Pool } }, target } = exchange;
  if (exchange.request.head.version !== "HTTP/2") {
    const connection = await dial(exchange, { signal, alpn: ["http/1.1"], clientCertificate });
    return legOn(connection, exchange, keyFor(exchange));
  }
  const { connection, isReused, release } = await http2Pool.lease(
    keyFor(exchange),
    signal,
    () => dial(exchange, { signal, alpn: ["h2"], clientCertificate }),
  );
  const leg = new Http2Leg(connection, { isReused, onOver: release });
  try {
    if (target.scheme === "http") await checkSpeaksHttp2(connection, exchange);
    if (exchange.request.head.protocol !== undefined) await checkExtendedConnect(connection, exchange);
    return leg;
  } catch (error) {
    leg.close();
    throw error;
  }
}

/**
 * Without TLS nobody has said that the upstream speaks HTTP/2. Until it has, it gets nothing that the client chose: a server of
 * HTTP/1 could find requests in it that no rule has seen.
 */
async function checkSpeaksHttp2(
  connection: Http2ClientConnection,
  { target }: AdmittedExchange,
): Promise<void> {
  try {
    await connection.ready;
  } catch (cause) {
    if (!isProxyError(cause, "upstream.malformed", "upstream.closed")) throw cause;
    throw new ProxyError(
      "upstream.malformed",
      `Cannot open the stream: ${formatHostPort(target)} does not speak HTTP/2 without TLS`,
      { cause, reason: "protocol-mismatch" },
    );
  }
}

/**
 * RFC 8441 §3: an upstream must have announced Extended CONNECT. The client was told of it by another connection to the same
 * upstream, perhaps.
 */
async function checkExtendedConnect(
  connection: Http2ClientConnection,
  { session: { context: { protocols } }, target }: AdmittedExchange,
): Promise<void> {
  await connection.ready;
  if (connection.hasExtendedConnect) return;
  protocols?.forget(target);
  throw new ProxyError(
    "upstream.malformed",
    `Cannot open the stream: ${target.host} does not take :protocol over HTTP/2`,
    { reason: "protocol-mismatch" },
  );
}

/** A new connection that speaks what the tunnel does. One that cannot be had may mean that this was a wrong choice. */
async function dial(
  { session, target, rule, client, secret, upgrade }: AdmittedExchange,
  { signal, ...how }: {
    readonly signal: AbortSignal;
    readonly alpn: readonly [Alpn];
    readonly clientCertificate: ClientCertificate | undefined;
  },
): Promise<UpstreamConnection> {
  const { context: { dialler, protocols, clock }, tunnel, state } = session;
  try {
    const failed = tunnel?.failedDial?.take(rule.host, clock.monotonic());
    if (failed) throw failed;
    const isOnlyNear = secret?.isOnlyNear ?? false;
    const inAbsoluteForm = how.alpn[0] === "http/1.1" && !upgrade; // else it is a tunnel, through a parent too
    return await dialler.dial(
      { ...target, client, ruleHost: rule.host, isOnlyNear, inAbsoluteForm, ...how },
      signal,
    );
  } catch (error) {
    if (error instanceof ProxyError && error.code.startsWith("upstream.")) protocols?.forget(target);
    // Only another tunnel can choose anew.
    if (tunnel && isProtocolMismatch(error)) state.isStopping = true;
    throw error;
  }
}

/** A connection on which a parent proxy takes requests is none to change protocols on: it goes by another way. */
function keyFor({ session: { context: { dialler } }, target, grant, upgrade }: AdmittedExchange): PoolKey {
  const { scheme, host, port } = target;
  const way = dialler.wayTo(host);
  const isTunnel = way !== undefined && upgrade && scheme === "http";
  return { scheme, host, port, grant, way: isTunnel ? `tunnel by ${way}` : way };
}

function isProtocolMismatch(error: unknown): boolean {
  return error instanceof ProxyError && error.reason === "protocol-mismatch";
}

function legOn(connection: UpstreamConnection, exchange: AdmittedExchange, key: PoolKey): UpstreamLeg {
  const { session: { context: { pool, limits } }, target } = exchange;
  const { stream, reader, isReused, parent } = connection;
  return new Http1Leg({
    ...{ stream, reader, isReused, limits },
    hop: parent && parentHop(parent, target),
    keep: ({ fields }) => pool.put(key, connection, announcedIdleMs(fields)),
  });
}
