/**
 * The inside of an inspected tunnel: TLS is ended with a leaf for the target, cleartext HTTP is read as it is, and every
 * request in it is served on its own.
 *
 * Not here: whether the tunnel is opened (`connect.ts`), how TLS is ended (`tls/loopback.ts`).
 *
 * @module
 */
import type { ClientHello } from "../../core/client_hello.ts";
import { ProxyError } from "../../core/errors.ts";
import { type HostPort, parseHost } from "../../core/host_port.ts";
import { isHttp1Only } from "../../policy/decide.ts";
import type { Reason } from "../../policy/reason.ts";
import type { Rule } from "../../policy/rule.ts";
import type { Origin } from "../../policy/audit_record.ts";
import { ByteReader, writeAll } from "../streams/byte_reader.ts";
import { isTlsRecord, peekClientHello } from "../streams/client_hello.ts";
import { type ClientStream, modeOf } from "../context.ts";
import { type Refusal, refusalOf } from "../error_response.ts";
import type { OpenSession, Tunnel } from "../exchange.ts";
import type { Alpn } from "../egress/upstream_connection.ts";
import { beginsWithPreface } from "../http2/preface.ts";
import { serveHttp2 } from "../accept/http2_session.ts";
import type { Client } from "../policy_source.ts";
import { listenerName } from "./new_hosts.ts";
import { chooseProtocol, type ProtocolChoice } from "./protocol_choice.ts";
import { serveSession } from "../accept/session.ts";

/** TLS alert `unrecognized_name` (RFC 6066 §3), fatal. */
const UNRECOGNIZED_NAME = new Uint8Array([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70]);

/** A tunnel to be looked into. Without a rule (audit mode) nothing inside will be allowed by it. */
export interface InspectedTunnel {
  readonly client: Client;
  readonly rule: Rule | undefined;
  readonly target: HostPort;
  /** How the tunnel was asked for, for the audit log. */
  readonly method: string;
  /** When, by the monotonic clock. */
  readonly startedAt: number;
  /** See `Tunnel.denial`. */
  readonly denial?: () => Refusal | undefined;
}

/** Serves the inside of a tunnel, TLS or clear, until it ends. Owns the stream. Never rejects. */
export async function inspect(session: OpenSession, tunnel: InspectedTunnel): Promise<void> {
  const { context, stream, state } = session;
  const { client, rule, target, method, denial } = tunnel;
  let { origin } = session;
  const releaseTunnel = context.admission.addTunnel();
  let inner: ClientStream = stream;
  let reason: Reason | undefined;
  let place: Tunnel | undefined;
  const end = (why: "revoked" | "shutdown") => {
    reason = why;
    inner.abort();
  };
  let release = context.grants.hold({ client, ...(rule ? { rule } : {}) }, end);
  try {
    const opening = await sniff(session, tunnel);
    const scheme = opening === "tls" ? "https" as const : "http" as const;
    const serve = (reader: ByteReader, { protocol, upstream, failedDial }: ProtocolChoice) => {
      place = { ...target, scheme, client, denial, failedDial, hasLine: false };
      const isTls = scheme === "https" || session.isTls === true;
      const inside = { stream: inner, reader, isTls, tunnel: place, state, origin, context };
      if (protocol !== "h2") return serveSession(inside);
      // Each stream holds its own rule: that another one of theirs has gone is no reason to end it.
      const releaseClient = context.grants.hold({ client }, end);
      release();
      release = releaseClient;
      return serveHttp2({ ...inside, isHttp2: true }, { hasRule: rule !== undefined, upstream });
    };
    if (opening === "tls") {
      const hello = await checkServerName(session, target);
      origin = { ...origin, tls: hello.tls };
      const chosen = chooseProtocol(session, tunnel, hello.alpn);
      const choice = chosen instanceof Promise ? await chosen : chosen;
      const tls = await context.interceptor.terminate(
        stream,
        session.reader.takeAll(),
        listenerName(target.host, choice.protocol),
        async () => ({ ...await context.certificates.forHost(target.host), alpn: choice.protocol }),
      );
      inner = tls;
      if (reason) tls.abort(); // during the handshake
      else await serve(new ByteReader(tls), choice);
      await tls.done;
    } else await serve(session.reader, { protocol: opening });
    if (!denial && !place?.hasLine) noteUnasked(session, tunnel, { opening, origin, reason });
  } catch (error) {
    if (!(error instanceof ProxyError)) context.reportBug(error);
    context.audit.write({
      verdict: "deny",
      client: client.name,
      method,
      ...target,
      mode: modeOf(context, client.name),
      reason: reason ?? refusalOf(error).reason,
      origin,
    });
    stream.close();
  } finally {
    release();
    releaseTunnel();
  }
}

/**
 * Nothing was asked in it, and it has its line all the same: the upstream may have been dialled for it. In clear its program
 * was none of HTTP, or it waited for an answer until it gave up.
 */
function noteUnasked(
  { context }: OpenSession,
  { client, rule, target, method, startedAt }: InspectedTunnel,
  { opening, origin, reason }: {
    readonly opening: Opening;
    readonly origin: Origin;
    readonly reason: Reason | undefined;
  },
): void {
  const known = { client: client.name, method, ...target, origin };
  const isOther = opening === "http/1.1";
  if (rule && !isOther) {
    const durationMs = context.clock.monotonic() - startedAt;
    context.audit.write({
      ...known,
      verdict: "allow",
      status: 200,
      reason,
      sent: 0,
      received: 0,
      durationMs,
    });
  } else {
    const mode = modeOf(context, client.name);
    const why = reason ?? (isOther ? "tls-no-client-hello" : "client-closed");
    context.audit.write({ ...known, verdict: "deny", mode, reason: why });
  }
}

/** What a tunnel begins with: TLS, or in clear one of the versions of HTTP. */
type Opening = "tls" | Alpn;

/**
 * Waits for the first bytes inside the tunnel. HTTP/2 in clear is there for clients that know that it is (RFC 9113 §3.3).
 *
 * @throws ProxyError `client.timeout`, `client.malformed` for what is neither TLS nor HTTP
 */
async function sniff(
  { reader, stream, state, context: { deadlines, limits, protocols, policy } }: OpenSession,
  { client, target }: InspectedTunnel,
): Promise<Opening> {
  let isLate = false;
  const deadline = deadlines.start(limits.headTimeoutMs, () => {
    isLate = true;
    stream.close();
  });
  try {
    state.isIdle = reader.size === 0;
    if (reader.size === 0 && !await reader.fill()) throw silent();
    state.isIdle = false;
    if (isTlsRecord(reader.available[0])) return "tls";
    if (isOtherProtocol(reader.available)) throw otherProtocol();
    const mayBeHttp2 = protocols && !isHttp1Only(policy.rulesFor(client, target.host), target);
    return mayBeHttp2 && await beginsWithPreface(reader) ? "h2" : "http/1.1";
  } catch (error) {
    throw isLate || !(error instanceof ProxyError) ? silent() : error;
  } finally {
    state.isIdle = false;
    deadline.stop();
  }
}

function silent(): ProxyError {
  return new ProxyError("client.timeout", "Cannot look into the tunnel: nothing was sent through it", {
    reason: "tls-no-client-hello",
  });
}

/**
 * True for what no HTTP request begins with: SSH's banner (RFC 4253 §4.2), and binary protocols, such as those of databases. An
 * HTTP reader would wait for the end of a head that never comes, and their programs for an answer.
 */
function isOtherProtocol(bytes: Uint8Array): boolean {
  const [first = 0] = bytes;
  const isText = first >= 0x20 && first < 0x7f || first === 0x0d || first === 0x0a;
  return !isText || new TextDecoder("latin1").decode(bytes.subarray(0, 4)) === "SSH-";
}

function otherProtocol(): ProxyError {
  return new ProxyError(
    "client.malformed",
    "Cannot look into the tunnel: neither TLS nor HTTP is sent in it",
    {
      reason: "tls-no-client-hello",
    },
  );
}

/**
 * The SNI must be the CONNECT target (SPEC section 2): a permitted host cannot front for another.
 *
 * @returns the hello
 */
async function checkServerName(
  { reader, stream, context: { deadlines, limits } }: OpenSession,
  { host }: HostPort,
): Promise<ClientHello> {
  const deadline = deadlines.start(limits.handshakeTimeoutMs, () => stream.close());
  try {
    const hello = await peekClientHello(reader, limits);
    if (hello.serverName === undefined || namesHost(hello.serverName, host)) return hello;
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
