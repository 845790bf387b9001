/**
 * Looking at a running helper from outside, as any program of the VM does.
 *
 * @module
 */
import { formatDnsQuery, parseDnsAnswer, RCODE, TYPE_A } from "../core/dns_message.ts";
import type { HostPort } from "../core/host_port.ts";
import type { AgentConfig } from "./config.ts";
import { hasRedirects } from "./firewall.ts";
import { DNS_PLACE } from "./helper.ts";
import { closeQuietly, writeAll } from "./proxy_link.ts";

/** True when something accepts connections there. */
export async function isListening({ host, port }: HostPort): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: host, port })).close();
    return true;
  } catch {
    return false;
  }
}

/** Waits until the helper listens everywhere and its redirects are in place; false when that takes longer than `ms`. */
export async function waitForHelper(config: AgentConfig, ms: number): Promise<boolean> {
  const { httpPort, httpsPort, proxyPort } = config;
  const places = [
    DNS_PLACE,
    ...[httpPort, httpsPort, proxyPort].map((port) => ({ host: "127.0.0.1", port })),
  ];
  for (const end = performance.now() + ms; performance.now() < end;) {
    const are = await Promise.all(places.map(isListening));
    if (are.every(Boolean) && await hasRedirects(config.firewall)) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

/** Asks a DNS server over TCP. True when it knows, or knows that there is no such name. */
export async function askLocalDns(where: HostPort, name: string): Promise<boolean> {
  let conn: Deno.TcpConn | undefined;
  const timer = setTimeout(() => closeQuietly(conn), 15_000);
  try {
    conn = await Deno.connect({ hostname: where.host, port: where.port });
    const query = formatDnsQuery({ id: 1, name, type: TYPE_A });
    await writeAll(conn, new Uint8Array([query.length >> 8, query.length & 0xff, ...query]));
    const buffer = new Uint8Array(1_024);
    let length = 0;
    while (length < 2 || length < 2 + ((buffer[0] ?? 0) << 8 | (buffer[1] ?? 0))) {
      const count = await conn.read(buffer.subarray(length));
      if (count === null || count === 0) return false;
      length += count;
    }
    const { rcode } = parseDnsAnswer(buffer.subarray(2, length), { name, type: TYPE_A });
    return rcode === RCODE.noError || rcode === RCODE.nxDomain;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
    closeQuietly(conn);
  }
}
