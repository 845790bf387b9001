/**
 * Passthrough: the bytes of a tunnel are spliced untouched, half-close kept, and counted. Only one thing is looked at: a TLS
 * ClientHello at the client's start must name the target.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { type HostPort, isIpLiteral } from "../core/host_port.ts";
import type { Rule } from "../policy/rule.ts";
import type { Reason } from "../policy/reason.ts";
import type { AuditRecord } from "../policy/audit_record.ts";
import { type ByteReader, type ByteStream, closeQuietly } from "./streams/byte_reader.ts";
import { isTlsRecord, peekClientHello } from "./streams/client_hello.ts";
import { namesHost } from "./inspect.ts";
import type { ProxyContext } from "./context.ts";
import type { Client } from "./policy_source.ts";
import type { Session } from "./exchange.ts";
import { splice } from "./streams/splice.ts";

export interface PassthroughTunnel {
  readonly client: Client;
  readonly rule: Rule;
  readonly target: HostPort;
  readonly startedAt: number;
  /** Tells the client that the tunnel is open. */
  readonly admit: () => Promise<void>;
  /** For the audit line of a tunnel without credentials. */
  readonly identity?: Pick<AuditRecord, "client" | "auth" | "ruleOwner">;
}

/**
 * Dials, admits and splices until both sides have ended.
 *
 * @throws ProxyError `upstream.*`, `limit.reached` or `policy.revoked`, before the client was told anything
 */
export async function passThrough(session: Session, tunnel: PassthroughTunnel): Promise<void> {
  const { context, stream, reader } = session;
  const { client, rule, target, startedAt } = tunnel;
  const { limits, deadlines, grants, dialler, policy } = context;
  const grant = { client, rule };
  const cancel = new AbortController();
  const releaseDial = grants.hold(grant, (why) => cancel.abort(ended(why)));
  const upstream = await dialler.dial(
    { scheme: "tcp", ...target, client, ruleHost: rule.host },
    cancel.signal,
  )
    .finally(releaseDial);
  const setupMs = context.clock.monotonic() - startedAt;
  if (!policy.isLive(grant)) {
    closeQuietly(upstream.stream);
    throw ended("revoked");
  }
  let reason: Reason | undefined;
  const stop = (why: Reason) => {
    reason ??= why;
    stream.abort();
    closeQuietly(upstream.stream);
  };
  try {
    await tunnel.admit();
  } catch {
    stop("client-closed");
  }
  const guarded = new GuardedStream(stream, reader, (first) => checkFirstBytes(first, target, context, stop));
  const joined = splice(guarded, upstream.stream, {
    deadlines,
    idleTimeoutMs: limits.tunnelIdleTimeoutMs,
    afterATimeoutMs: limits.halfCloseTimeoutMs,
    afterBTimeoutMs: limits.halfCloseTimeoutMs,
  });
  const releaseTunnel = context.admission.addTunnel();
  const release = grants.hold(grant, stop);
  await joined.done;
  release();
  releaseTunnel();
  if (joined.timedOut) reason ??= "idle-timeout";
  context.audit.write({
    verdict: reason !== undefined && REFUSED.has(reason) ? "deny" : "passthrough",
    client: client.name,
    ...tunnel.identity,
    ...target,
    ...(reason ? { reason } : {}),
    sent: joined.bytesToB,
    received: joined.bytesToA,
    durationMs: context.clock.monotonic() - startedAt,
    setupMs,
    origin: session.origin,
  });
}

/** Reasons for which nothing of what the client sent was passed through. */
const REFUSED: ReadonlySet<Reason> = new Set(["sni-mismatch", "sni-missing", "tls-no-client-hello"]);

/** SPEC section 9.5: TLS in a passthrough must be for the host that the rule names. Other protocols are not looked into. */
async function checkFirstBytes(
  reader: ByteReader,
  { host }: HostPort,
  { limits, deadlines }: ProxyContext,
  stop: (why: Reason) => void,
): Promise<void> {
  if (!isTlsRecord(reader.available[0])) return;
  const deadline = deadlines.start(limits.handshakeTimeoutMs, () => stop("tls-no-client-hello"));
  try {
    const { serverName } = await peekClientHello(reader, limits);
    if (serverName === undefined ? isIpLiteral(host) : namesHost(serverName, host)) return;
    stop(serverName === undefined ? "sni-missing" : "sni-mismatch");
  } catch (error) {
    stop("tls-no-client-hello");
    throw error;
  } finally {
    deadline.stop();
  }
  throw new ProxyError("policy.mismatch", "Cannot pass the tunnel through: its SNI names another host");
}

/** A stream whose first bytes are checked before anyone gets them. */
class GuardedStream implements ByteStream {
  readonly #stream: ByteStream;
  readonly #reader: ByteReader;
  #check: ((first: ByteReader) => Promise<void>) | undefined;

  constructor(stream: ByteStream, reader: ByteReader, check: (first: ByteReader) => Promise<void>) {
    this.#stream = stream;
    this.#reader = reader;
    this.#check = check;
  }

  async read(into: Uint8Array): Promise<number | null> {
    if (this.#check) {
      if (this.#reader.size === 0 && !await this.#reader.fill()) return null;
      await this.#check(this.#reader);
      this.#check = undefined;
    }
    if (this.#reader.size === 0) return await this.#stream.read(into);
    const bytes = this.#reader.available.subarray(0, into.length);
    into.set(bytes);
    this.#reader.consume(bytes.length);
    return bytes.length;
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#stream.write(bytes);
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  close(): void {
    this.#stream.close();
  }
}

function ended(why: "revoked" | "shutdown"): ProxyError {
  return why === "revoked"
    ? new ProxyError(
      "policy.revoked",
      "Cannot open the tunnel: the client or rule that admitted it is gone",
    )
    : new ProxyError("limit.reached", "Cannot open the tunnel: the proxy is stopping", { reason: why });
}
