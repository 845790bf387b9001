/**
 * Connections to name servers. What one is named by is the operator's word: its address may lie in any network, and is never
 * found out by asking itself.
 *
 * @module
 */
import { messageOf } from "../../../core/errors.ts";
import { isIpLiteral } from "../../../core/host_port.ts";
import { shutdownSocket } from "../../../core/native.ts";
import { ByteReader, type ByteStream, closeQuietly } from "../../streams/byte_reader.ts";
import { SocketStream } from "../../streams/socket_stream.ts";
import { upstreamTlsError } from "../../tls/errors.ts";
import { interleave, race } from "../connect/race.ts";
import { FailedLookup } from "./failed_lookup.ts";
import { orAborted } from "./or_aborted.ts";

/** How to connect, and whom to trust. */
export interface ServerSocketOptions {
  readonly host: string;
  readonly port: number;
  /** Without it, no TLS. */
  readonly tls?: {
    readonly alpn: readonly string[];
    /** PEM certificates to trust beside the roots, as they are now. */
    readonly caCerts: () => readonly string[];
  };
  /** Finds the addresses of a server that is named by a name. */
  readonly systemResolve: (host: string) => Promise<readonly string[]>;
}

/** An open one. Whoever has it closes the stream. */
export interface ServerSocket {
  readonly stream: ByteStream;
  readonly reader: ByteReader;
  /** What was agreed on in the TLS handshake. */
  readonly protocol: string | undefined;
}

const ATTEMPT_DELAY_MS = 250;

/**
 * Connects, with a verified certificate where there is TLS.
 *
 * @throws FailedLookup `away`, or the signal's reason
 */
export async function openServerSocket(
  options: ServerSocketOptions,
  signal: AbortSignal,
): Promise<ServerSocket> {
  try {
    const addresses = isIpLiteral(options.host)
      ? [options.host]
      : await orAborted(options.systemResolve(options.host), signal);
    const { connection: tcp } = await race(interleave(addresses), {
      connect: (hostname, cancelled) => Deno.connect({ hostname, port: options.port, signal: cancelled }),
      discard: closeQuietly,
      tryExtra: () => () => {},
      delayMs: ATTEMPT_DELAY_MS,
      signal,
    });
    tcp.setNoDelay(true);
    if (!options.tls) return wrap(tcp, undefined);
    return await startTls(tcp, { host: options.host, ...options.tls }, signal);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof FailedLookup) throw error;
    throw new FailedLookup("away", whyNot(error), { cause: error });
  }
}

async function startTls(
  tcp: Deno.TcpConn,
  { host, alpn, caCerts }: { readonly host: string } & NonNullable<ServerSocketOptions["tls"]>,
  signal: AbortSignal,
): Promise<ServerSocket> {
  const [local, remote] = [tcp.localAddr as Deno.NetAddr, tcp.remoteAddr as Deno.NetAddr];
  let tls: Deno.TlsConn | undefined;
  const cut = () => {
    shutdownSocket(local, remote); // closing alone would keep the descriptor until the peer closes
    closeQuietly(tls ?? tcp);
  };
  signal.addEventListener("abort", cut);
  try {
    tls = await Deno.startTls(tcp, { hostname: host, caCerts: [...caCerts()], alpnProtocols: [...alpn] });
    const { alpnProtocol } = await tls.handshake();
    return wrap(tls, alpnProtocol ?? undefined);
  } catch (error) {
    closeQuietly(tls ?? tcp);
    throw upstreamTlsError(host, error);
  } finally {
    signal.removeEventListener("abort", cut);
  }
}

function wrap(conn: Deno.TcpConn | Deno.TlsConn, protocol: string | undefined): ServerSocket {
  const stream = new SocketStream(conn);
  return { stream, reader: new ByteReader(stream), protocol };
}

/** Of several failures the last. */
function whyNot(error: unknown): string {
  return messageOf(error instanceof AggregateError ? error.errors.at(-1) ?? error : error);
}
