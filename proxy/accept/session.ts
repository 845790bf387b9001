/**
 * The requests of one client connection, one after the other: read a head, find out who asks and for what, decide, and
 * forward or refuse. The connection is a proxy port's (CONNECT and absolute-form) or the inside of a tunnel.
 *
 * Not here: CONNECT itself (`tunnels/connect.ts`), forwarding (`forward/forward.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import type { AuditRecord } from "../../policy/audit_record.ts";
import { answerOf, type Refusal, refusalOf } from "../error_response.ts";
import { type Exchange, linger, logRefusal, type OpenSession, refuseExchange } from "../exchange.ts";
import { serveGuest } from "../guest/service.ts";
import { readRequestHead, takeRequestHead } from "../http1/head_reader.ts";
import { Http1Request, type Next, writeAnswer } from "../http1/request.ts";
import type { RequestHead } from "../message/message.ts";
import { serveRequest } from "../serve.ts";
import { PIPELINED_REQUEST_BYTES, turnAfter } from "../streams/turn_share.ts";

/** A CONNECT on a proxy port, for the caller to serve. */
export interface ConnectExchange extends Exchange {
  readonly session: OpenSession;
  readonly request: Http1Request;
}

/**
 * Serves requests until the connection ends, and closes it then. Rejects with nothing but a bug.
 *
 * @returns a CONNECT request that came on a proxy port, for the caller to serve; the stream is open then
 */
export async function serveSession(session: OpenSession): Promise<ConnectExchange | undefined> {
  let next: Next = "keep";
  for (let isFirst = true; next === "keep" && !(session.state.isStopping && !isFirst); isFirst = false) {
    const turn = isFirst || session.reader.size === 0 ? undefined : turnAfter(PIPELINED_REQUEST_BYTES);
    if (turn) await turn;
    const head = await readHead(session, isFirst);
    if (!head) break;
    const exchange = exchangeOf(session, head);
    if ("refusal" in exchange) {
      await refuseUnread(session, exchange.refusal, { method: head.method }, head);
      next = "close";
      break;
    }
    if (session.tunnel) {
      session.tunnel.hasLine = true; // each request has one
      await serveRequest(exchange);
    } else if (head.method === "CONNECT") return exchange;
    else await serveOnPort(exchange);
    next = exchange.request.next;
  }
  if (next === "close") await linger(session);
  if (next !== "taken") session.stream.close();
  return undefined;
}

/** The next head, or undefined when there is none to serve; what is wrong with it has been answered then. */
async function readHead(session: OpenSession, isFirst: boolean): Promise<RequestHead | undefined> {
  const { reader, stream, context: { limits, deadlines }, state } = session;
  let isLate = false;
  const isBegun = isFirst || reader.size > 0;
  const deadline = deadlines.start(isBegun ? limits.headTimeoutMs : limits.keepAliveTimeoutMs, () => {
    isLate = true;
    if (reader.size === 0) return stream.close();
    // Slowloris: the answer is best effort, nobody else writes while a head is read.
    const late = refusalOf(
      new ProxyError("client.timeout", "Cannot read the request: its head took too long"),
    );
    refuseUnread(session, late, {}).finally(() => stream.close());
  });
  try {
    if (reader.size === 0) {
      reader.rest();
      state.isIdle = true;
      const hasMore = await reader.fill();
      state.isIdle = false;
      if (!hasMore) return undefined;
      deadline.restart(limits.headTimeoutMs);
    }
    return takeRequestHead(reader, limits) ?? await readRequestHead(reader, limits);
  } catch (error) {
    const isGone = error instanceof ProxyError && error.code === "client.closed";
    if (!isLate && !isGone && error instanceof ProxyError) {
      deadline.stop();
      await refuseUnread(session, refusalOf(error), {});
      await linger(session);
    }
    return undefined;
  } finally {
    state.isIdle = false;
    deadline.stop();
  }
}

/** Answers and logs a refusal of what could not be read whole. Nothing more is read then. */
async function refuseUnread(
  session: OpenSession,
  refusal: Refusal,
  known: Partial<AuditRecord>,
  head?: RequestHead,
): Promise<void> {
  logRefusal(session, refusal, known);
  const isHead = head?.method === "HEAD";
  const answer = answerOf(refusal, { fields: head?.fields ?? [] }, known.host ?? session.tunnel?.host);
  await writeAnswer(session, answer, { isHead, close: true });
}

/** The request that begins with a head, or what is wrong with its framing. */
function exchangeOf(
  session: OpenSession,
  head: RequestHead,
): ConnectExchange | { readonly refusal: Refusal } {
  const { context } = session;
  const startedAt = context.clock.monotonic();
  try {
    if (!context.audit.isWritable) {
      throw new ProxyError("audit.write-failed", "Cannot take the request: the audit log cannot be written");
    }
    return { session, request: new Http1Request(head, session), startedAt };
  } catch (error) {
    if (!(error instanceof ProxyError)) context.reportBug(error);
    return { refusal: refusalOf(error) };
  }
}

/** On a proxy port a request in origin-form may be for the proxy itself. */
async function serveOnPort(exchange: ConnectExchange): Promise<void> {
  const { session: { context }, request: { head } } = exchange;
  try {
    if (head.target.startsWith("/") && await serveGuest(exchange)) return;
  } catch (error) {
    if (!(error instanceof ProxyError)) context.reportBug(error);
    return await refuseExchange(exchange, refusalOf(error), { method: head.method });
  }
  await serveRequest(exchange);
}
