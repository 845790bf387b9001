/**
 * One accepted connection, from its first byte: TLS around it, then SOCKS or HTTP, told apart by that byte. All
 * of it on either port.
 *
 * Not here: accepting (`server.ts`), what each protocol does.
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import type { TlsVersion } from "../../policy/audit_record.ts";
import { ByteReader } from "../streams/byte_reader.ts";
import { isTlsRecord, peekClientHello } from "../streams/client_hello.ts";
import type { ClientStream, ConnectionState, ProxyContext } from "../context.ts";
import { handleConnect, type Inside } from "../tunnels/connect.ts";
import { refusalOf } from "../error_response.ts";
import { serveSocks, SOCKS4, SOCKS5 } from "../tunnels/socks.ts";
import { linger, type OpenSession } from "../exchange.ts";
import { serveSession } from "./session.ts";

/** Serves a connection until it ends. Owns it. Never rejects. */
export async function serveConnection(
  stream: ClientStream,
  { state, context }: {
    readonly state: ConnectionState;
    readonly context: ProxyContext;
  },
): Promise<void> {
  try {
    const { origin } = state;
    const session: OpenSession = {
      stream,
      reader: new ByteReader(stream),
      tunnel: undefined,
      state,
      origin,
      context,
    };
    if (!await waitFirstByte(session)) return stream.close();
    if (!isTlsRecord(session.reader.available[0])) {
      const serveInside = await serveProtocol(session);
      return await serveInside?.();
    }
    const { interceptor, certificates } = context;
    const version = await offeredVersion(session);
    const tls = await interceptor.terminate(
      stream,
      session.reader.takeAll(),
      "proxy",
      () => certificates.forProxy(),
    );
    const inside: OpenSession = {
      ...session,
      stream: tls,
      reader: new ByteReader(tls),
      isTls: true,
      origin: { ...origin, tls: version },
    };
    if (await waitFirstByte(inside)) {
      const serveInside = await serveProtocol(inside);
      await serveInside?.();
    } else tls.close();
    await tls.done;
  } catch (error) {
    stream.close();
    if (!(error instanceof ProxyError)) context.reportBug(error);
    const { reason } = refusalOf(error);
    if (reason !== "client-closed") context.audit.write({ verdict: "deny", reason, origin: state.origin });
  }
}

/**
 * The version of TLS that the client's hello asks for. What is wrong with a hello is for the handshake to say.
 *
 * @throws ProxyError `client.timeout`
 */
async function offeredVersion(
  { reader, stream, context: { deadlines, limits } }: OpenSession,
): Promise<TlsVersion | undefined> {
  let isLate = false;
  const deadline = deadlines.start(limits.handshakeTimeoutMs, () => {
    isLate = true;
    stream.close();
  });
  try {
    return (await peekClientHello(reader, limits)).tls;
  } catch {
    if (!isLate) return undefined;
    throw new ProxyError("client.timeout", "Cannot serve TLS: the handshake took too long", {
      reason: "tls-handshake",
    });
  } finally {
    deadline.stop();
  }
}

/** False when the client sends nothing in time, or goes away. */
async function waitFirstByte(
  { reader, stream, state, context: { deadlines, limits } }: OpenSession,
): Promise<boolean> {
  if (reader.size > 0) return true;
  const deadline = deadlines.start(limits.headTimeoutMs, () => stream.close());
  state.isIdle = true;
  try {
    return await reader.fill();
  } catch {
    return false;
  } finally {
    state.isIdle = false;
    deadline.stop();
  }
}

/**
 * Requests one after the other, until one of them is a CONNECT that is admitted.
 *
 * @returns the tunnel, where it is looked into: it is for the caller to serve
 */
async function serveProtocol(session: OpenSession): Promise<Inside | undefined> {
  const first = session.reader.available[0];
  if (first === SOCKS5 || first === SOCKS4) return await serveSocks(session);
  for (;;) {
    const connect = await serveSession(session);
    if (!connect) return undefined;
    const next = await handleConnect(connect);
    if (typeof next === "function") return next;
    if (next === "close") await linger(session);
    if (next === "close") session.stream.close();
    if (next !== "keep") return undefined;
  }
}
