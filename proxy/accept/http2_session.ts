/**
 * The requests of a tunnel that speaks HTTP/2: every stream is a request of its own, as many at once as its client may have.
 *
 * Not here: frames (`http2/`), one request (`serve.ts`).
 *
 * @module
 */
import type { Deadline } from "../../core/deadlines.ts";
import { ProxyError } from "../../core/errors.ts";
import { decideConnect } from "../../policy/decide.ts";
import { refusalOf } from "../error_response.ts";
import { logRefusal, type OpenSession, refuseExchange, type Tunnel } from "../exchange.ts";
import { Http2Request } from "../http2/request.ts";
import { startHttp2Server } from "../http2/server.ts";
import type { Http2ClientConnection, Http2ServerConnection, Http2ServerStream } from "../http2/types.ts";
import { serveRequest } from "../serve.ts";

/** A session inside of a tunnel. */
export type Http2Session = OpenSession & { readonly tunnel: Tunnel };

/** See each field. */
export interface Http2SessionOptions {
  /** A rule has opened the tunnel, which ends when none covers it any more. */
  readonly hasRule: boolean;
  /** The upstream connection that its requests will go on, where it is known already. */
  readonly upstream: Http2ClientConnection | undefined;
}

/** Serves the inside of a tunnel until it ends, and closes it then. Never rejects. */
export async function serveHttp2(session: Http2Session, options: Http2SessionOptions): Promise<void> {
  const { stream, reader, state, context } = session;
  const { limits, deadlines } = context;
  let idle: Deadline | undefined;
  let running = 0;
  let isOver = false;
  const connection = startHttp2Server({
    stream,
    reader,
    limits,
    deadlines,
    onRequest: async (request) => {
      running++;
      state.isIdle = false;
      idle?.stop();
      try {
        await serveStream(session, request);
      } finally {
        if (state.isStopping) connection.shutDown();
        if (--running === 0) rest(limits.keepAliveTimeoutMs);
      }
    },
    resets: context.admission.resetsOf(session.tunnel.client.name),
    turns: context.admission.turnsOf(session.tunnel.client.name),
    onRefused: (error) => logRefusal(session, refusalOf(error), {}),
    hasExtendedConnect: options.hasRule && context.protocols?.hasExtendedConnect(session.tunnel) === true,
  });
  announceAsUpstream(connection, options.upstream);
  /** Nothing is under way: it may be closed without harm, and is after a while. */
  const rest = (ms: number) => {
    if (isOver) return; // what was under way may take longer than its connection
    state.isIdle = true;
    idle?.stop();
    idle = deadlines.start(ms, () => connection.shutDown());
    if (state.isStopping) connection.shutDown();
  };
  rest(limits.headTimeoutMs);
  const release = options.hasRule ? endWithoutRule(session, connection) : () => {};
  await connection.closed;
  isOver = true;
  release();
  idle?.stop();
  state.isIdle = false;
  stream.close();
}

/** Extended CONNECT (RFC 8441) is what the client may ask for once the upstream has said that it takes it. */
function announceAsUpstream(
  connection: Http2ServerConnection,
  upstream: Http2ClientConnection | undefined,
): void {
  upstream?.ready.then(
    () => {
      if (upstream.hasExtendedConnect) connection.announceExtendedConnect();
    },
    () => {}, // its requests are told why
  );
}

/**
 * Ends the connection when no rule covers the tunnel any more, as a tunnel of HTTP/1 ends with its rule. The streams of such
 * rules end by their own grants; until they have said so it waits, but not for long.
 *
 * @returns a function that lets go
 */
function endWithoutRule(
  { context: { grants, policy, limits, deadlines }, tunnel }: Http2Session,
  connection: Http2ServerConnection,
): () => void {
  const { client } = tunnel;
  let release = () => {};
  const holdNext = () => {
    const decision = decideConnect(policy.rulesFor(client, tunnel.host), tunnel);
    const grant = "rule" in decision ? { client, rule: decision.rule } : undefined;
    if (grant && policy.isLive(grant)) {
      release = grants.hold(grant, (why) => {
        if (why === "revoked") holdNext();
      });
      return;
    }
    connection.shutDown();
    const deadline = deadlines.start(limits.lingerTimeoutMs, () => connection.close());
    release = () => deadline.stop();
  };
  holdNext();
  return () => release();
}

async function serveStream(session: OpenSession, stream: Http2ServerStream): Promise<void> {
  const { context, tunnel } = session;
  if (tunnel) tunnel.hasLine = true;
  const request = new Http2Request(stream, context);
  const exchange = { session, request, startedAt: context.clock.monotonic() };
  const release = context.admission.tryStream(tunnel?.client.name ?? "");
  try {
    if (!context.audit.isWritable) {
      throw new ProxyError("audit.write-failed", "Cannot take the request: the audit log cannot be written");
    }
    if (!release) {
      throw new ProxyError(
        "limit.reached",
        "Cannot take the request: this client has too many requests open",
        {
          reason: "quota",
        },
      );
    }
    await serveRequest(exchange);
  } catch (error) {
    if (!(error instanceof ProxyError)) context.reportBug(error);
    await refuseExchange(exchange, refusalOf(error), { method: request.head.method });
  } finally {
    release?.();
  }
}
