/**
 * Certificates that tunnels will ask for: whether a client may have another host looked into. It is asked before the tunnel is
 * open, where the answer can still be a refusal that says why.
 *
 * Not here: counting (`accept/admission.ts`), the certificates (`tls/loopback.ts`, `ca/`).
 *
 * @module
 */
import type { ProxyContext } from "../context.ts";
import type { Alpn } from "../egress/upstream_connection.ts";
import type { Refusal } from "../error_response.ts";
import type { Client } from "../policy_source.ts";

const PROTOCOLS: readonly Alpn[] = ["http/1.1", "h2"];

/** What the interceptor caches a host's certificate under: each protocol is another listener. */
export function listenerName(host: string, protocol: Alpn): string {
  return `host ${host} ${protocol}`;
}

/**
 * The refusal of a tunnel to a host without a certificate, where its client has asked for too many of them this minute. A
 * promise only where that has to be asked for.
 */
export function newHostRefusal(
  context: ProxyContext,
  client: Client,
  host: string,
): Refusal | undefined | Promise<Refusal | undefined> {
  const { interceptor, certificates } = context;
  if (PROTOCOLS.some((protocol) => interceptor.has(listenerName(host, protocol)))) return undefined;
  const isWarm = certificates.isWarm(host);
  if (typeof isWarm !== "boolean") {
    return isWarm.then((is) => is ? undefined : countNew(context, client, host));
  }
  return isWarm ? undefined : countNew(context, client, host);
}

function countNew(
  { admission, clock, limits }: ProxyContext,
  client: Client,
  host: string,
): Refusal | undefined {
  if (admission.tryNewHost(client.name, host, clock.now())) return undefined;
  const detail =
    `Client "${client.name}" has asked for ${limits.maxMintsPerClientPerMinute} new hosts in this ` +
    "minute, and may not ask for more";
  return { status: 429, reason: "new-hosts", detail };
}
