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
import { hostWithin } from "../policy/rule.ts";
import type { AuditRecord } from "../policy/audit_record.ts";
import { requestBody } from "./http1/body.ts";
import { type Refusal, refusalOf } from "./error_response.ts";
import {
  type AdmittedExchange,
  describeTarget,
  type Exchange,
  identify,
  linger,
  type Next,
  refuse,
  refuseExchange,
  type Session,
} from "./exchange.ts";
import { forward } from "./forward.ts";
import { serveGuest } from "./guest/service.ts";
import { findOverride } from "./message/fields.ts";
import { readRequestHead, type RequestHead } from "./http1/head_reader.ts";
import type { Client } from "./policy_source.ts";
import { isRefusedMethod, parseTarget, parseUpgrade, type RequestTarget } from "./message/target.ts";

/**
 * Serves requests until the connection ends, and closes it then. Never rejects.
 *
 * @returns a CONNECT request that came on a proxy port, for the caller to serve; the stream is open then
 */
export async function serveSession(session: Session): Promise<Exchange | undefined> {
  let next: Next = "keep";
  for (let isFirst = true; next === "keep"; isFirst = false) {
    const head = await readHead(session, isFirst);
    if (!head) break;
    const served = await serveRequest(session, head);
    if (typeof served !== "string") return served;
    next = session.state.isStopping && served === "keep" ? "close" : served;
  }
  if (next !== "taken") session.stream.close();
  return undefined;
}

/** The next head, or undefined when there is none to serve; what is wrong with it has been answered then. */
async function readHead(session: Session, isFirst: boolean): Promise<RequestHead | undefined> {
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
    const isGone = error instanceof ProxyError && error.code === "client.closed";
    if (isGone && isFirst && !isLate) noteUnread(session);
    else if (!isLate && !isGone && error instanceof ProxyError) {
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

/** A tunnel of some other protocol, whose program waited for an answer until it gave up, has its line too. */
function noteUnread({ context, tunnel, origin }: Session): void {
  if (tunnel?.scheme !== "http") return;
  const { client, scheme, host, port } = tunnel;
  context.audit.write({
    ...{ verdict: "deny", client: client.name, scheme, host, port },
    reason: "tls-no-client-hello",
    origin,
  });
}

/** Serves one request; a CONNECT on a proxy port is handed back. */
async function serveRequest(session: Session, head: RequestHead): Promise<Next | Exchange> {
  const { context } = session;
  const startedAt = context.clock.monotonic();
  let known: Partial<AuditRecord> = { method: head.method };
  let exchange: Exchange | undefined;
  try {
    if (!context.audit.isWritable) {
      throw new ProxyError("audit.write-failed", "Cannot take the request: the audit log cannot be written");
    }
    exchange = { session, head, body: requestBody(head, context.limits), startedAt };
    if (head.method === "CONNECT" && !session.tunnel) return exchange;
    if (!session.tunnel && head.target.startsWith("/")) {
      const answered = await serveGuest(exchange);
      if (answered) return answered;
    }
    const target = parseTarget(head, session.tunnel);
    known = { ...known, ...describeTarget(target, context) };
    const client = session.tunnel?.client ?? identify(session, head.fields);
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
  if (policy.isTokenEndpoint(target)) return deny("token-endpoint", "the proxy renews its credentials there");
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
  const secret = rule.secret === undefined ? undefined : policy.secretInfo(rule.secret);
  if (rule.secret !== undefined) {
    if (!secret) {
      return deny("secret-missing", `the rule names the secret "${rule.secret}", which does not exist`);
    }
    if (!hostWithin(rule.host, secret.host) || !hostWithin(target.host, secret.host)) {
      return deny("secret-host", `the secret "${rule.secret}" is bound to another host`);
    }
    if (target.scheme === "http" && !secret.cleartext) {
      return deny("cleartext-secret", `the secret "${rule.secret}" is not sent without TLS`);
    }
  }
  const named = rule.secret !== undefined && secret
    ? { name: rule.secret, version: secret.version }
    : undefined;
  return { ...exchange, client, target, rule, secret: named, upgrade };
}
