/**
 * A request on its way through the proxy, and what any stage may do with it: name it in the audit log, refuse it, and close
 * its connection in order.
 *
 * Not here: the stages (`accept/session.ts`, `tunnels/connect.ts`, `decide/admit.ts`, `forward/forward.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import type { Rule } from "../policy/rule.ts";
import type { AuditRecord, Origin } from "../policy/audit_record.ts";
import { authenticate } from "./who/auth.ts";
import type { AwsRequest } from "./decide/aws_request.ts";
import type { Meter } from "./decide/budgets.ts";
import { type ByteReader, closeWriteQuietly } from "./streams/byte_reader.ts";
import { type ClientStream, type ConnectionState, modeOf, type ProxyContext } from "./context.ts";
import { answerOf, type Refusal } from "./error_response.ts";
import type { FailedDial } from "./egress/failed_dial.ts";
import type { HeaderField } from "./message/fields.ts";
import { grpcStatusIn } from "./message/grpc.ts";
import type { IncomingRequest } from "./message/message.ts";
import type { Client, Grant } from "./policy_source.ts";
import type { RequestTarget, TunnelOrigin, Upgrade } from "./message/target.ts";

/** The tunnel that a session is inside of. Its client is the one that opened it. */
export interface Tunnel extends TunnelOrigin {
  readonly client: Client;
  /** In a tunnel that was refused and is open only to say so: the refusal, as long as it stands. Logged already. */
  readonly denial?: (() => Refusal | undefined) | undefined;
  /** The dial that was to say what is spoken in it has failed. */
  readonly failedDial?: FailedDial | undefined;
  /** Set once something came through it that has a line in the audit log. */
  hasLine?: boolean;
}

/** Where requests come from: one client connection, or the inside of its tunnel. */
export interface Session {
  readonly tunnel: Tunnel | undefined;
  /** True within TLS, the proxy's own or a tunnel's: what is answered here cannot be read or changed on the way. */
  readonly isTls?: boolean;
  /** Its requests are streams of HTTP/2. */
  readonly isHttp2?: boolean;
  readonly state: ConnectionState;
  /** Where its requests come from: the connection's, with the version of TLS that this is inside of. */
  readonly origin: Origin;
  readonly context: ProxyContext;
}

/** One client connection in clear. */
export interface OpenSession extends Session {
  readonly stream: ClientStream;
  readonly reader: ByteReader;
}

/** A request on its way through the proxy; every stage adds what it has found out. */
export interface Exchange {
  readonly session: Session;
  readonly request: IncomingRequest;
  /** By the monotonic clock. */
  readonly startedAt: number;
}

/** A secret that a request may use. */
export interface AdmittedSecret {
  readonly name: string;
  readonly version: string;
  /** It goes without TLS, and therefore only to an address in a private network. */
  readonly isOnlyNear: boolean;
}

/** A request that may go upstream. */
export interface AdmittedExchange extends Exchange {
  readonly client: Client;
  readonly target: RequestTarget;
  readonly rule: Rule;
  /** The secret whose credential it gets. */
  readonly secret: AdmittedSecret | undefined;
  /** Its AWS signature, which is to be replaced. */
  readonly aws: AwsRequest | undefined;
  readonly upgrade: Upgrade | undefined;
  /** The only tools of MCP that its answer may name, where it is to be narrowed. */
  readonly tools?: readonly string[] | undefined;
  /** What counts its bytes, where it is under a budget. */
  readonly meter?: Meter;
  /** All of it has to stay in force until the request is over. */
  readonly grant: Grant;
}

/**
 * Who asks, on a proxy port: each request says it anew (SPEC section 9.2).
 *
 * @throws ProxyError `auth.*`, `limit.reached`
 */
export function identify({ state, context }: Session, fields: readonly HeaderField[]): Client {
  const client = authenticate(fields, (token) => clientOf(token, { state, context }));
  if (!state.identify(client.name)) {
    throw new ProxyError("limit.reached", "Cannot take the request: this client has too many connections", {
      reason: "quota",
    });
  }
  return client;
}

/** Refuses everybody while the policy cannot be known. @throws ProxyError `policy.store-lost` */
export function checkStore({ policy }: ProxyContext): void {
  if (!policy.isLost()) return;
  throw new ProxyError("policy.store-lost", "Cannot do anything: this host has lost the store of its fleet");
}

/** Refuses a client that is suspended, and everybody as {@linkcode checkStore}. @throws ProxyError `policy.suspended` */
export function checkSuspension({ name }: Client, context: ProxyContext): void {
  checkStore(context);
  const { policy } = context;
  if (!policy.isSuspended(name)) return;
  throw new ProxyError("policy.suspended", `Cannot do anything for client "${name}": it is suspended`);
}

/** Whose token this is. @throws ProxyError `auth.invalid`, `limit.reached` */
export function clientOf(token: string, { state, context }: Pick<Session, "state" | "context">): Client {
  const { admission, policy, clock } = context;
  return admission.guesses.clientOf({ token, source: state.source, nowMs: clock.now() }, policy);
}

/** How long the upstream may take to answer, in milliseconds. */
export function responseTimeoutOf({ rule, session: { context: { limits } } }: AdmittedExchange): number {
  return rule.responseTimeoutMs ?? limits.responseTimeoutMs;
}

/** How long neither side may send anything of its body, in milliseconds. What was upgraded rests for longer. */
export function idleTimeoutOf({ upgrade, session: { context: { limits } } }: AdmittedExchange): number {
  return upgrade ? limits.tunnelIdleTimeoutMs : limits.bodyIdleTimeoutMs;
}

/** The audit fields of a target. */
export function describeTarget(
  target: RequestTarget,
  { logQuery }: ProxyContext,
): Draft<Partial<AuditRecord>> {
  const { scheme, host, port, path, query, says } = target;
  const described: Draft<Partial<AuditRecord>> = { scheme, host, port, path };
  if (logQuery && query !== undefined) described.query = query;
  if (says !== undefined) described.says = says;
  return described;
}

/** What is being put together. */
export type Draft<T> = { -readonly [K in keyof T]: T[K] };

/** Answers a refusal and logs it. Never rejects. */
export async function refuseExchange(
  { session, request }: Exchange,
  refusal: Refusal,
  known: Partial<AuditRecord>,
): Promise<void> {
  const answer = answerOf(refusal, request.head, known.host ?? session.tunnel?.host);
  const grpcStatus = grpcStatusIn(answer.fields);
  logRefusal(session, refusal, { ...known, ...(grpcStatus === undefined ? {} : { grpcStatus }) });
  await request.answer(answer);
}

/** Logs a refusal of whatever came last. */
export function logRefusal(
  session: Session,
  refusal: Refusal,
  known: Partial<AuditRecord>,
): void {
  const { context, tunnel, origin } = session;
  const isPolicy = refusal.status === 403;
  if (tunnel) tunnel.hasLine = true;
  context.audit.write({
    verdict: "deny",
    ...(tunnel
      ? { client: tunnel.client.name, scheme: tunnel.scheme, host: tunnel.host, port: tunnel.port }
      : {}),
    ...known,
    ...(isPolicy
      ? { mode: modeOf(context, known.client ?? tunnel?.client.name) }
      : { status: refusal.status }),
    reason: refusal.reason,
    ...(session.isHttp2 ? { proto: "h2" as const } : {}),
    origin,
  });
}

/**
 * Reads on for a moment after the last answer, so that unread bytes do not reset the connection under it (RFC 9112 §9.6). Not
 * bounded in bytes: a client in the middle of an upload would lose the answer that tells it to stop.
 */
export async function linger({ stream, reader, context: { limits, deadlines } }: OpenSession): Promise<void> {
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
