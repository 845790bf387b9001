/**
 * CONNECT (RFC 9110 §9.3.6): decide by host and port, then splice, look inside, or refuse. In audit mode an unknown target is
 * looked into as well, so that its first request can be logged; every request inside is then refused on its own.
 *
 * Not here: the bytes of a spliced tunnel (`tunnel.ts`), the requests inside an inspected one (`session.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { type HostPort, parseHost } from "../core/host_port.ts";
import { decideConnect } from "../policy/decide.ts";
import { explainDenial } from "../policy/explain.ts";
import type { Rule } from "../policy/rule.ts";
import type { AuditRecord } from "./audit_log.ts";
import { ByteReader, writeAll } from "./byte_reader.ts";
import { isTlsRecord, peekClientHello } from "./client_hello.ts";
import type { ClientStream } from "./context.ts";
import { refusalOf } from "./error_response.ts";
import type { Client } from "./policy_source.ts";
import { type Exchange, identify, type Next, refuseExchange, serveSession, type Session } from "./session.ts";
import { passThrough } from "./tunnel.ts";
import { parseConnectTarget } from "./request.ts";

const ESTABLISHED = new TextEncoder().encode("HTTP/1.1 200 Connection Established\r\n\r\n");
/** TLS alert `unrecognized_name` (RFC 6066 §3), fatal. */
const UNRECOGNIZED_NAME = new Uint8Array([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70]);

/** Serves a CONNECT request on a proxy port. Rejects only on a bug. */
export async function handleConnect(exchange: Exchange): Promise<Next> {
  const { session, head, startedAt } = exchange;
  const { context } = session;
  let known: Partial<AuditRecord> = { method: "CONNECT" };
  try {
    const target = parseConnectTarget(head);
    known = { ...known, ...target };
    const client = identify(exchange);
    known = { ...known, client: client.name };
    const decision = decideConnect(context.policy.rulesFor(client, target.host), target);
    if (decision.verdict === "deny" && context.mode === "strict") {
      const explanation = explainDenial(
        { client: client.name, ...target },
        decision.reason,
        context.policy.rulesOf(client),
      );
      const detail = `Client "${client.name}" may not connect to ${head.target}`;
      return await refuseExchange(
        exchange,
        { status: 403, reason: decision.reason, detail, explanation },
        known,
      );
    }
    const admit = () => writeAll(session.stream, ESTABLISHED);
    if (decision.verdict === "passthrough") {
      await passThrough(session, { client, rule: decision.rule, target, startedAt, admit });
    } else {
      await admit();
      await inspect(session, { client, rule: "rule" in decision ? decision.rule : undefined, target });
    }
    return "taken";
  } catch (error) {
    if (!(error instanceof ProxyError)) context.reportBug(error);
    return await refuseExchange(exchange, refusalOf(error), known);
  }
}

/** A tunnel to be looked into. Without a rule (audit mode) nothing inside will be allowed by it. */
export interface InspectedTunnel {
  readonly client: Client;
  readonly rule: Rule | undefined;
  readonly target: HostPort;
}

/** Serves the inside of a tunnel, TLS or clear, until it ends. Owns the stream. Never rejects. */
export async function inspect(session: Session, tunnel: InspectedTunnel): Promise<void> {
  const { context, stream, state } = session;
  const { client, rule, target } = tunnel;
  const releaseTunnel = context.admission.addTunnel();
  const release = context.grants.hold({ client, ...(rule ? { rule } : {}) }, () => inner.abort());
  let inner: ClientStream = stream;
  try {
    const isTls = await sniff(session);
    const scheme = isTls ? "https" : "http";
    let { reader } = session;
    if (isTls) {
      await checkServerName(session, target);
      const tls = await context.interceptor.terminate(
        stream,
        reader.takeAll(),
        `host ${target.host}`,
        () => certificateFor(session, tunnel),
      );
      inner = tls;
      reader = new ByteReader(tls);
      if (!context.policy.isLive({ client, ...(rule ? { rule } : {}) })) return tls.abort();
      await serveSession({ stream: tls, reader, tunnel: { ...target, scheme, client }, state, context });
      await tls.done;
    } else await serveSession({ stream, reader, tunnel: { ...target, scheme, client }, state, context });
  } catch (error) {
    if (!(error instanceof ProxyError)) context.reportBug(error);
    const { reason } = refusalOf(error);
    context.audit.write({
      verdict: "deny",
      client: client.name,
      method: "CONNECT",
      ...target,
      mode: context.mode,
      reason,
    });
    stream.close();
  } finally {
    release();
    releaseTunnel();
  }
}

/**
 * Waits for the first byte inside the tunnel.
 *
 * @returns whether it begins a TLS handshake
 */
async function sniff({ reader, stream, context: { deadlines, limits } }: Session): Promise<boolean> {
  let isLate = false;
  const deadline = deadlines.start(limits.headTimeoutMs, () => {
    isLate = true;
    stream.close();
  });
  try {
    if (reader.size === 0 && !await reader.fill()) throw silent();
    return isTlsRecord(reader.available[0]);
  } catch (error) {
    throw isLate || !(error instanceof ProxyError) ? silent() : error;
  } finally {
    deadline.stop();
  }
}

function silent(): ProxyError {
  return new ProxyError("client.timeout", "Cannot look into the tunnel: nothing was sent through it", {
    reason: "tls-no-client-hello",
  });
}

/** The SNI must be the CONNECT target (SPEC section 2): a permitted host cannot front for another. */
async function checkServerName(
  { reader, stream, context: { deadlines, limits } }: Session,
  { host }: HostPort,
) {
  const deadline = deadlines.start(limits.handshakeTimeoutMs, () => stream.close());
  try {
    const { serverName } = await peekClientHello(reader, limits);
    if (serverName === undefined || namesHost(serverName, host)) return;
    await writeAll(stream, UNRECOGNIZED_NAME);
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    throw silent();
  } finally {
    deadline.stop();
  }
  throw new ProxyError(
    "policy.mismatch",
    "Cannot look into the tunnel: the SNI names another host than CONNECT did",
    {
      reason: "host-mismatch",
    },
  );
}

/** True when an SNI names the host. Some Go clients append the port, which RFC 6066 does not allow; it is ignored. */
export function namesHost(serverName: string, host: string): boolean {
  return parseHost(serverName.replace(/:\d{1,5}$/, "")) === host;
}

async function certificateFor({ context }: Session, { client, target }: InspectedTunnel) {
  if (!context.admission.tryMint(client.name, context.clock.now())) {
    throw new ProxyError(
      "limit.reached",
      "Cannot look into the tunnel: this client asks for too many new hosts",
      {
        reason: "quota",
      },
    );
  }
  return await context.certificates.forHost(target.host);
}
