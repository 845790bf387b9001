/**
 * The requests of one client connection, one after the other: read a head, find out who asks and for what, decide, and
 * forward or refuse. The connection is a proxy port's (CONNECT and absolute-form) or the inside of a tunnel.
 *
 * Not here: CONNECT itself (`connect.ts`), forwarding (`forward.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { formatHostPort } from "../core/host_port.ts";
import { decideRequest } from "../policy/decide.ts";
import { explainDenial } from "../policy/explain.ts";
import { hostWithin, type Rule } from "../policy/rule.ts";
import type { Credential } from "../secrets/credential.ts";
import type { AuditRecord } from "./audit_log.ts";
import { authenticate } from "./auth.ts";
import { type Body, requestBody } from "./body.ts";
import { type ByteReader, closeWriteQuietly, writeAll } from "./byte_reader.ts";
import { handleConnect } from "./connect.ts";
import type { ClientStream, ConnectionState, ProxyContext } from "./context.ts";
import { formatRefusal, type Refusal, refusalOf } from "./error_response.ts";
import { forward } from "./forward.ts";
import { findOverride, listOf } from "./headers.ts";
import { readRequestHead, type RequestHead } from "./http1_reader.ts";
import type { Client } from "./policy_source.ts";
import {
  isRefusedMethod,
  parseTarget,
  parseUpgrade,
  type RequestTarget,
  type TunnelOrigin,
  type Upgrade,
} from "./request.ts";

/** The tunnel that a session is inside of. Its client is the one that opened it. */
export interface Tunnel extends TunnelOrigin {
  readonly client: Client;
}

/** One client connection in clear. */
export interface Session {
  readonly stream: ClientStream;
  readonly reader: ByteReader;
  readonly tunnel: Tunnel | undefined;
  readonly state: ConnectionState;
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
  readonly credential: Credential | undefined;
  readonly upgrade: Upgrade | undefined;
}

/** What becomes of the connection: `keep` reads another request, `taken` means that somebody else closes it. */
export type Next = "keep" | "close" | "taken";

/** Serves requests until the connection ends. Closes the stream unless a tunnel has taken it over. Never rejects. */
export async function serveSession(session: Session): Promise<void> {
  let next: Next = "keep";
  let isFirst = true;
  while (next === "keep") {
    const head = await readHead(session, isFirst);
    if (!head) break;
    isFirst = false;
    next = await serveRequest(session, head);
    if (session.state.isStopping && next === "keep") next = "close";
  }
  if (next !== "taken") session.stream.close();
}

/** The next head, or undefined when there is none to serve; what is wrong with it has been answered then. */
async function readHead(session: Session, isFirst: boolean): Promise<RequestHead | undefined> {
  const { reader, stream, context: { limits, deadlines }, state } = session;
  let isLate = false;
  const deadline = deadlines.start(isFirst ? limits.headTimeoutMs : limits.keepAliveTimeoutMs, () => {
    isLate = true;
    if (reader.size === 0) return stream.close();
    // Slowloris: the answer is best effort, nobody else writes while a head is read.
    const late = refusalOf(
      new ProxyError("client.timeout", "Cannot read the request: its head took too long"),
    );
    refuse(session, late, {}).finally(() => stream.close());
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
    return await readRequestHead(reader, limits);
  } catch (error) {
    if (!isLate && error instanceof ProxyError && error.code !== "client.closed") {
      deadline.stop();
      await refuse(session, refusalOf(error), {});
      await linger(session);
    }
    return undefined;
  } finally {
    state.isIdle = false;
    deadline.stop();
  }
}

async function serveRequest(session: Session, head: RequestHead): Promise<Next> {
  const { context } = session;
  const startedAt = context.clock.monotonic();
  let known: Partial<AuditRecord> = { method: head.method };
  let exchange: Exchange | undefined;
  try {
    if (!context.audit.isWritable) {
      throw new ProxyError("audit.write-failed", "Cannot take the request: the audit log cannot be written");
    }
    exchange = { session, head, body: requestBody(head, context.limits), startedAt };
    if (head.method === "CONNECT" && !session.tunnel) return await handleConnect(exchange);
    const target = parseTarget(head, session.tunnel);
    known = { ...known, ...describeTarget(target, context) };
    const client = session.tunnel?.client ?? identify(exchange);
    known = { ...known, client: client.name };
    const admitted = admit(exchange, client, target);
    return "refusal" in admitted
      ? await refuseExchange(exchange, admitted.refusal, known)
      : await forward(admitted);
  } catch (error) {
    if (!(error instanceof ProxyError)) context.reportBug(error);
    return await refuseExchange(exchange ?? { session, head, startedAt }, refusalOf(error), known);
  }
}

/**
 * Who asks, on a proxy port: each request says it anew (SPEC section 9.2).
 *
 * @throws ProxyError `auth.*`, `limit.reached`
 */
export function identify({ session, head }: Exchange): Client {
  const client = authenticate(head.fields, session.context.policy);
  if (!session.state.identify(client.name)) {
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

/** Everything that is decided about a request, in one place and without waiting for anything. */
function admit(
  exchange: Exchange,
  client: Client,
  target: RequestTarget,
): AdmittedExchange | { readonly refusal: Refusal } {
  const { head, body, session: { context: { policy } } } = exchange;
  const what = `Client "${client.name}" may not ${head.method} ${target.scheme}://${
    formatHostPort(target)
  }${target.path}`;
  const deny = (reason: Refusal["reason"], why: string) => ({
    refusal: { status: 403, reason, detail: `${what}: ${why}` },
  });
  if (isRefusedMethod(head.method)) return deny("method-refused", "no proxy forwards this method");
  const request = { host: target.host, port: target.port, method: head.method, path: target.path };
  const decision = decideRequest(policy.rulesFor(client, target.host), request);
  if (decision.verdict === "deny") {
    const explanation = explainDenial(
      { client: client.name, ...request },
      decision.reason,
      policy.rulesOf(client),
    );
    return { refusal: { status: 403, reason: decision.reason, detail: what, explanation } };
  }
  const { rule } = decision;
  const isLimited = rule.methods.length > 0 || rule.paths.length > 0;
  const override = isLimited ? findOverride(head.fields) : undefined;
  if (override) {
    return deny("method-override", `the header ${override.name} would change what the rule has checked`);
  }
  const upgrade = parseUpgrade(head);
  if (upgrade && upgrade.protocol !== "websocket" && isLimited) {
    return deny("upgrade-not-allowed", "another protocol could leave the rule's methods and paths");
  }
  if (upgrade && !body.done) {
    throw new ProxyError("client.malformed", "Cannot read the request: an upgrade with a body");
  }
  let credential: Credential | undefined;
  if (rule.secret !== undefined) {
    credential = policy.credential(rule.secret);
    if (!credential) {
      return deny("secret-missing", `the rule names the secret "${rule.secret}", which does not exist`);
    }
    if (!hostWithin(rule.host, credential.host) || !hostWithin(target.host, credential.host)) {
      return deny("secret-host", `the secret "${rule.secret}" is bound to another host`);
    }
    if (target.scheme === "http" && !credential.cleartext) {
      return deny("cleartext-secret", `the secret "${rule.secret}" is not sent without TLS`);
    }
  }
  return { ...exchange, client, target, rule, credential, upgrade };
}

/** Answers a refusal and logs it. */
export async function refuseExchange(
  exchange: Pick<Exchange, "session" | "head" | "startedAt"> & { readonly body?: Body },
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

async function refuse(
  { stream, context, tunnel }: Session,
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
  });
  try {
    await writeAll(
      stream,
      formatRefusal(refusal, { fields: head?.fields ?? [], isHead: head?.method === "HEAD", close }),
    );
  } catch {
    // The client is gone; the line is written.
  }
}

/** Reads on for a moment after the last answer, so that unread bytes do not reset the connection under it. */
export async function linger({ stream, reader, context: { limits, deadlines } }: Session): Promise<void> {
  const MAX_BYTES = 1_048_576;
  await closeWriteQuietly(stream);
  const deadline = deadlines.start(limits.lingerTimeoutMs, () => stream.close());
  try {
    for (let bytes = reader.size; bytes < MAX_BYTES; bytes += reader.size) {
      reader.consume(reader.size);
      if (!await reader.fill()) break;
    }
  } catch {
    // Closed by the deadline or by the client.
  } finally {
    deadline.stop();
  }
}
