/**
 * Which upstream connection a request gets: a kept one of the same client, place and credential, or a new one.
 *
 * Not here: dialling (`egress/dialler.ts`), what is kept and for how long (`egress/pool.ts`).
 *
 * @module
 */
import type { UpstreamConnection } from "./egress/dialler.ts";
import { announcedIdleMs } from "./egress/idle_times.ts";
import type { AdmittedExchange } from "./exchange.ts";
import { Http1Leg } from "./http1/upstream.ts";
import { Http2Leg } from "./http2/upstream.ts";
import type { UpstreamLeg } from "./message/message.ts";

/** A leg on a kept connection, or undefined. `isReplayable` is whether the request can be sent again, should it be dead. */
export function takeLeg(exchange: AdmittedExchange, isReplayable: boolean): UpstreamLeg | undefined {
  const { session: { context: { pool } }, target, grant } = exchange;
  if (exchange.request.head.version === "HTTP/2") return undefined;
  const connection = pool.take({ ...target, grant }, isReplayable);
  return connection && legOn(connection, exchange);
}

/**
 * A leg on a new connection.
 *
 * @throws ProxyError `upstream.*`, `limit.reached`, or the signal's reason
 */
export async function dialLeg(exchange: AdmittedExchange, signal: AbortSignal): Promise<UpstreamLeg> {
  const { session: { context: { dialler } }, target, rule, client, secret } = exchange;
  const place = { ...target, client, ruleHost: rule.host, isOnlyNear: secret?.isOnlyNear ?? false };
  if (exchange.request.head.version !== "HTTP/2") {
    return legOn(await dialler.dial(place, signal), exchange);
  }
  const { http2Pool } = exchange.session.context;
  const key = { ...target, grant: exchange.grant };
  const { connection, isReused, release } = await http2Pool.lease(
    key,
    signal,
    () => dialler.dial({ ...place, alpn: ["h2"] }, signal),
  );
  return new Http2Leg(connection, { isReused, onOver: release });
}

function legOn(connection: UpstreamConnection, exchange: AdmittedExchange): UpstreamLeg {
  const { session: { context: { pool, limits } }, target, grant } = exchange;
  return new Http1Leg({
    ...connection,
    limits,
    keep: ({ fields }) => pool.put({ ...target, grant }, connection, announcedIdleMs(fields)),
  });
}
