/**
 * A request on its way through the proxy, and what any stage may do with it: name it in the audit log, refuse it, and close
 * its connection in order.
 *
 * Not here: the stages (`session.ts`, `connect.ts`, `forward.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import type { Rule } from "../policy/rule.ts";
import type { AuditRecord, Origin } from "../policy/audit_record.ts";
import { authenticate } from "./auth.ts";
import type { Body } from "./http1/body.ts";
import { type ByteReader, closeWriteQuietly, writeAll } from "./streams/byte_reader.ts";
import type { ClientStream, ConnectionState, ProxyContext } from "./context.ts";
import { formatRefusal, type Refusal } from "./error_response.ts";
import { type HeaderField, listOf } from "./message/fields.ts";
import type { RequestHead } from "./http1/head_reader.ts";
import type { Client } from "./policy_source.ts";
import type { RequestTarget, TunnelOrigin, Upgrade } from "./message/target.ts";

/** The tunnel that a session is inside of. Its client is the one that opened it. */
export interface Tunnel extends TunnelOrigin {
  readonly client: Client;
}

/** One client connection in clear. */
export interface Session {
  readonly stream: ClientStream;
  readonly reader: ByteReader;
  readonly tunnel: Tunnel | undefined;
  /** True on the proxy's own TLS: what is answered here cannot be read or changed on the way. */
  readonly isTls?: boolean;
  readonly state: ConnectionState;
  /** Where its requests come from: the connection's, with the version of TLS that this is inside of. */
  readonly origin: Origin;
  readonly context: ProxyContext;
}

/** A request on its way through the proxy; every stage adds what it has found out. */
export interface Exchange {
  readonly session: Session;
  readonly head: RequestHead;
  readonly body: Body;
  /** By the monotonic clock. */
  readonly startedAt: number;
}

/** A request that may go upstream. */
export interface AdmittedExchange extends Exchange {
  readonly client: Client;
  readonly target: RequestTarget;
  readonly rule: Rule;
  /** The secret whose credential it gets. */
  readonly secret: { readonly name: string; readonly version: string } | undefined;
  readonly upgrade: Upgrade | undefined;
}

/** What becomes of the connection: `keep` reads another request, `taken` means that somebody else closes it. */
export type Next = "keep" | "close" | "taken";

/**
 * Who asks, on a proxy port: each request says it anew (SPEC section 9.2).
 *
 * @throws ProxyError `auth.*`, `limit.reached`
 */
export function identify({ state, context }: Session, fields: readonly HeaderField[]): Client {
  const client = authenticate(fields, context.policy);
  if (!state.identify(client.name)) {
    throw new ProxyError("limit.reached", "Cannot take the request: this client has too many connections", {
      reason: "quota",
    });
  }
  return client;
}

/** The audit fields of a target. */
export function describeTarget(target: RequestTarget, { logQuery }: ProxyContext): Partial<AuditRecord> {
  const { scheme, host, port, path, query } = target;
  return { scheme, host, port, path, ...(logQuery && query !== undefined ? { query } : {}) };
}

/** Answers a refusal and logs it. */
export async function refuseExchange(
  exchange: Pick<Exchange, "session" | "head" | "startedAt"> & { readonly body?: Pick<Body, "done"> },
  refusal: Refusal,
  known: Partial<AuditRecord>,
): Promise<Next> {
  const { session, head, body } = exchange;
  const isFatal = refusal.status === 400 || refusal.status === 431 || refusal.status === 408;
  const close = isFatal || !body?.done || wantsClose(head) || session.state.isStopping;
  await refuse(session, refusal, known, { head, close });
  if (!close) return "keep";
  await linger(session);
  return "close";
}

/** True when the client will not, or cannot, send another request on its connection (RFC 9112 §9.3). */
export function wantsClose(head: RequestHead): boolean {
  return head.version === "HTTP/1.0" || listOf(head.fields, "connection").includes("close");
}

/** Writes and logs a refusal of whatever the session has just read. */
export async function refuse(
  { stream, context, tunnel, origin }: Session,
  refusal: Refusal,
  known: Partial<AuditRecord>,
  { head, close }: { readonly head?: RequestHead; readonly close: boolean } = { close: true },
): Promise<void> {
  const isPolicy = refusal.status === 403;
  context.audit.write({
    verdict: "deny",
    ...(tunnel
      ? { client: tunnel.client.name, scheme: tunnel.scheme, host: tunnel.host, port: tunnel.port }
      : {}),
    ...known,
    ...(isPolicy ? { mode: context.mode } : { status: refusal.status }),
    reason: refusal.reason,
    origin,
  });
  // A client that sends requests and reads no answers must not hold its connection for ever.
  const deadline = context.deadlines.start(context.limits.headTimeoutMs, () => stream.abort());
  try {
    await writeAll(
      stream,
      formatRefusal(refusal, { fields: head?.fields ?? [], isHead: head?.method === "HEAD", close }),
    );
  } catch {
    // The client is gone; the line is written.
  } finally {
    deadline.stop();
  }
}

/**
 * Reads on for a moment after the last answer, so that unread bytes do not reset the connection under it (RFC 9112 §9.6). Not
 * bounded in bytes: a client in the middle of an upload would lose the answer that tells it to stop.
 */
export async function linger({ stream, reader, context: { limits, deadlines } }: Session): Promise<void> {
  const deadline = deadlines.start(limits.lingerTimeoutMs, () => stream.close());
  try {
    await closeWriteQuietly(stream);
    do reader.consume(reader.size); while (await reader.fill());
  } catch {
    // Closed by the deadline or by the client.
  } finally {
    deadline.stop();
  }
}
