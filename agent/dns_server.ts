/**
 * DNS on loopback, UDP and TCP (RFC 1035 §4.2), for the VM's resolver. What does not fit into plain UDP is
 * asked for again over TCP.
 *
 * Not here: where answers come from (`name_lookup.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import dgram from "node:dgram";
import {
  type DnsAnswer,
  type DnsQuery,
  formatDnsAnswer,
  formatDnsFormatError,
  parseDnsQuery,
  RCODE,
  truncateDnsAnswer,
} from "../core/dns_message.ts";
import { isProxyError, messageOf, ProxyError } from "../core/errors.ts";
import { formatHostPort, type HostPort } from "../core/host_port.ts";
import { listen } from "./listen.ts";
import type { Question } from "./name_lookup.ts";
import { closeQuietly, writeAll } from "./proxy_link.ts";

/** Questions under way; beyond them UDP ones are dropped, and the program asks again. */
const MAX_PENDING = 512;
const TCP_IDLE_MS = 10_000;
const MAX_TCP_QUERY_BYTES = 4_096;

export interface DnsServerOptions {
  readonly where: HostPort;
  readonly ask: (question: Question) => Promise<DnsAnswer>;
  readonly log: (line: string) => void;
}

/** A running server. */
export interface DnsServer extends AsyncDisposable {
  readonly port: number;
}

/**
 * Starts it.
 *
 * @throws ProxyError `listen.failed`
 */
export async function startDnsServer({ where, ask, log }: DnsServerOptions): Promise<DnsServer> {
  const answer = answerer(ask, log);
  const tcp = listen(where, (conn) => serveTcp(conn, answer), (error) => log(messageOf(error)));
  const udp = dgram.createSocket("udp4");
  try {
    await bind(udp, { host: where.host, port: tcp.address.port });
  } catch (error) {
    await tcp[Symbol.asyncDispose]();
    throw error;
  }
  let pending = 0;
  let isClosed = false;
  udp.on("error", (error) => log(`DNS over UDP: ${error.message}`));
  udp.on("message", (message, from) => {
    if (pending >= MAX_PENDING) return;
    pending++;
    answer(message).then((bytes) => {
      pending--;
      if (bytes && !isClosed) udp.send(forUdp(message, bytes), from.port, from.address);
    });
  });
  return {
    port: tcp.address.port,
    [Symbol.asyncDispose]: async () => {
      isClosed = true;
      await new Promise<void>((resolve) => udp.close(() => resolve()));
      await tcp[Symbol.asyncDispose]();
    },
  };
}

function forUdp(message: Uint8Array, answer: Uint8Array): Uint8Array {
  try {
    return truncateDnsAnswer(answer, parseDnsQuery(message));
  } catch {
    return answer; // to what cannot be read the answer is a header
  }
}

/** The bytes that answer a message, or undefined for none. Never rejects. */
function answerer(ask: DnsServerOptions["ask"], log: (line: string) => void) {
  return async (message: Uint8Array): Promise<Uint8Array | undefined> => {
    let query: DnsQuery;
    try {
      query = parseDnsQuery(message);
    } catch {
      return formatDnsFormatError(message);
    }
    try {
      return formatDnsAnswer(query, await ask(query));
    } catch (error) {
      log(`no answer for a name: ${isProxyError(error) ? error.code : messageOf(error)}`);
      return formatDnsAnswer(query, { rcode: RCODE.servFail, addresses: [], ttl: 0 });
    }
  };
}

async function serveTcp(
  conn: Deno.TcpConn,
  answer: (message: Uint8Array) => Promise<Uint8Array | undefined>,
): Promise<void> {
  let bytes = new Uint8Array(0);
  const buffer = new Uint8Array(2_048);
  let timer = setTimeout(() => closeQuietly(conn), TCP_IDLE_MS);
  try {
    for (;;) {
      const count = await conn.read(buffer);
      if (count === null) return;
      clearTimeout(timer);
      timer = setTimeout(() => closeQuietly(conn), TCP_IDLE_MS);
      bytes = new Uint8Array(Buffer.concat([bytes, buffer.subarray(0, count)]));
      while (bytes.length >= 2) {
        const length = ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);
        if (length > MAX_TCP_QUERY_BYTES) return;
        if (bytes.length < 2 + length) break;
        const response = await answer(bytes.subarray(2, 2 + length));
        bytes = bytes.slice(2 + length);
        if (!response) return;
        const prefix = new Uint8Array([response.length >> 8, response.length & 0xff]);
        await writeAll(conn, Buffer.concat([prefix, response]));
      }
    }
  } catch {
    // The program is gone, or idle for too long.
  } finally {
    clearTimeout(timer);
    closeQuietly(conn);
  }
}

function bind(socket: dgram.Socket, where: HostPort): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: Error) => {
      reject(
        new ProxyError("listen.failed", `Cannot listen on ${formatHostPort(where)} (UDP): ${cause.message}`, {
          cause,
        }),
      );
    };
    socket.once("error", onError);
    socket.bind(where.port, where.host, () => {
      socket.off("error", onError);
      resolve();
    });
  });
}
