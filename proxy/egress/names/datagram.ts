/**
 * Questions over UDP (RFC 1035 §4.2.1), each from a socket of its own: whoever wants to forge an answer has to guess its port
 * and its id (RFC 5452), and gets few tries before the question goes to TCP.
 *
 * @module
 */
import { formatIp, parseIp } from "../../../core/cidr.ts";
import { messageOf } from "../../../core/errors.ts";
import { NAME_LIMITS } from "../../../core/limits.ts";
import type { Exchange } from "./exchange.ts";
import { FailedLookup } from "./failed_lookup.ts";

/** Larger answers are not asked for (no EDNS): fragments get lost, and are a way to forge. */
const MAX_BYTES = 512;

/**
 * Asks once, without repeating it.
 *
 * @returns the answer; undefined when so many datagrams did not answer that somebody guesses: TCP is the way then
 * @throws FailedLookup `away`, or the signal's reason
 */
export async function askByDatagram(
  { host, port }: { readonly host: string; readonly port: number },
  { query, isAnswer }: Exchange,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  signal.throwIfAborted();
  using socket = openSocket(host);
  const close = () => closeQuietly(socket.conn);
  signal.addEventListener("abort", close);
  try {
    await socket.conn.send(query, { transport: "udp", hostname: host, port });
    const into = new Uint8Array(MAX_BYTES);
    for (let strays = 0; strays < NAME_LIMITS.maxStrays; strays++) {
      const [bytes, from] = await socket.conn.receive(into);
      if (isFrom(from as Deno.NetAddr, host, port) && isAnswer(bytes)) return bytes;
    }
    return undefined;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw new FailedLookup("away", messageOf(error), { cause: error });
  } finally {
    signal.removeEventListener("abort", close);
  }
}

/** The system chooses the port, at random (RFC 6056). */
function openSocket(host: string): Disposable & { readonly conn: Deno.DatagramConn } {
  try {
    const hostname = host.includes(":") ? "::" : "0.0.0.0";
    const conn = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
    return { conn, [Symbol.dispose]: () => closeQuietly(conn) };
  } catch (error) {
    throw new FailedLookup("away", messageOf(error), { cause: error });
  }
}

function isFrom(from: Deno.NetAddr, host: string, port: number): boolean {
  const ip = parseIp(from.hostname);
  return from.port === port && ip !== undefined && formatIp(ip) === host;
}

function closeQuietly(conn: Deno.DatagramConn): void {
  try {
    conn.close();
  } catch {
    // It is closed already.
  }
}
