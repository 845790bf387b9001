/**
 * Passthrough: the bytes of a tunnel are spliced untouched, half-close kept, and counted. Only one thing is looked at: what
 * begins as TLS must begin with a ClientHello that names the target, and so must a second one that the server asks for.
 *
 * @module
 */
import type { ClientHello } from "../../core/client_hello.ts";
import { ProxyError } from "../../core/errors.ts";
import { type HostPort, isIpLiteral } from "../../core/host_port.ts";
import type { Rule } from "../../policy/rule.ts";
import type { Reason } from "../../policy/reason.ts";
import type { AuditRecord } from "../../policy/audit_record.ts";
import { type ByteReader, type ByteStream, closeQuietly } from "../streams/byte_reader.ts";
import { openMeter } from "../decide/budgets.ts";
import { namesHost } from "./inspect.ts";
import { meteredStream } from "../forward/metered.ts";
import type { Client } from "../policy_source.ts";
import type { OpenSession } from "../exchange.ts";
import { splice } from "../streams/splice.ts";
import { WrappedStream } from "../streams/wrapped_stream.ts";
import { HelloWatch } from "../tls/hello_watch.ts";

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
export async function passThrough(session: OpenSession, tunnel: PassthroughTunnel): Promise<void> {
  const { context, stream, reader } = session;
  const { client, rule, target, startedAt } = tunnel;
  const { limits, deadlines, grants, dialler, policy } = context;
  const grant = { client, rule };
  const meter = openMeter(context, { client, rule, host: target.host });
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
  const known = { client: client.name, ...tunnel.identity, ...target, origin: session.origin };
  const opened = context.audit.begin?.({ verdict: "passthrough", ...known });
  let reason: Reason | undefined;
  const stop = (why: Reason) => {
    reason ??= why;
    stream.abort();
    closeQuietly(upstream.stream);
  };
  meter?.watch(() => stop("budget"));
  try {
    await tunnel.admit();
  } catch {
    stop("client-closed");
  }
  const watch = new HelloWatch({
    limits,
    deadlines,
    check: (hello) => faultOf(hello, target),
    refuse: stop,
  });
  const joined = splice(
    meteredStream(new GuardedClient(stream, reader, watch), meter),
    new WatchedUpstream(upstream.stream, watch),
    {
      deadlines,
      idleTimeoutMs: limits.tunnelIdleTimeoutMs,
      afterATimeoutMs: limits.halfCloseTimeoutMs,
      afterBTimeoutMs: limits.halfCloseTimeoutMs,
    },
  );
  const releaseTunnel = context.admission.addTunnel();
  const release = grants.hold(grant, stop);
  await joined.done;
  release();
  releaseTunnel();
  if (joined.timedOut) reason ??= "idle-timeout";
  context.audit.write({
    verdict: reason !== undefined && REFUSED.has(reason) ? "deny" : "passthrough",
    ...known,
    ...(reason ? { reason } : {}),
    sent: joined.bytesToB,
    received: joined.bytesToA,
    durationMs: context.clock.monotonic() - startedAt,
    setupMs,
    opened,
  });
}

/** Reasons for which the tunnel ended before anything but a first handshake message was passed through. */
const REFUSED: ReadonlySet<Reason> = new Set(["sni-mismatch", "sni-missing", "tls-no-client-hello"]);

/** SPEC section 9.5: TLS in a passthrough must be for the host that the rule names. Other protocols are not looked into. */
function faultOf({ serverName }: ClientHello, { host }: HostPort): Reason | undefined {
  if (serverName === undefined) return isIpLiteral(host) ? undefined : "sni-missing";
  return namesHost(serverName, host) ? undefined : "sni-mismatch";
}

/** The client's side: what the watch has not admitted, nobody gets. */
class GuardedClient extends WrappedStream {
  readonly #reader: ByteReader;
  readonly #watch: HelloWatch;
  #admitted = 0;

  constructor(stream: ByteStream, reader: ByteReader, watch: HelloWatch) {
    super(stream);
    this.#reader = reader;
    this.#watch = watch;
  }

  override async read(into: Uint8Array): Promise<number | null> {
    const reader = this.#reader;
    if (reader.size === 0) {
      if (this.#watch.isDone) return await super.read(into);
      if (!await reader.fill()) return null;
    }
    if (this.#admitted === 0) this.#admitted = await this.#watch.admit(reader);
    const count = Math.min(this.#admitted, reader.size, into.length);
    into.set(reader.available.subarray(0, count));
    reader.consume(count);
    this.#admitted -= count;
    return count;
  }
}

/** The upstream's side: the watch sees its answer to the ClientHello. */
class WatchedUpstream extends WrappedStream {
  readonly #watch: HelloWatch;

  constructor(stream: ByteStream, watch: HelloWatch) {
    super(stream);
    this.#watch = watch;
  }

  override async read(into: Uint8Array): Promise<number | null> {
    const count = await super.read(into);
    if (count !== null && !this.#watch.isDone) this.#watch.answered(into.subarray(0, count));
    return count;
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
