// deno-lint-ignore-file no-console
/**
 * Run inside a VM's network namespace: puts the helper's redirects in place, dials addresses of both families, and prints at which
 * of the helper's listeners each arrived.
 */
import { applyRedirects, type FirewallKind, hasRedirects, removeRedirects } from "../../agent/firewall.ts";
import { closeQuietly } from "../../proxy/streams/byte_reader.ts";

const [kind, proxyAddress = ""] = Deno.args as [FirewallKind, string];
// One port for both families, as the helper has it.
const v4 = Deno.listen({ hostname: "127.0.0.1", port: 0 });
const { port } = v4.addr as Deno.NetAddr;
const v6 = Deno.listen({ hostname: "::1", port });
let arrived = Promise.withResolvers<string>();
for (const listener of [v4, v6]) void acceptAll(listener);

async function acceptAll(listener: Deno.TcpListener): Promise<void> {
  for await (const conn of listener) {
    closeQuietly(conn);
    arrived.resolve((listener.addr as Deno.NetAddr).hostname);
  }
}

/** `127.0.0.1`, `::1`, or why nobody was reached. */
async function arrival(hostname: string, dialled: number): Promise<string> {
  arrived = Promise.withResolvers();
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error("nobody answers")), 3_000);
  try {
    closeQuietly(await Deno.connect({ hostname, port: dialled, signal: late.signal }));
    return await arrived.promise;
  } catch {
    return "nobody";
  } finally {
    clearTimeout(timer);
  }
}

const notes = await applyRedirects(kind, { proxyAddress, httpPort: port, httpsPort: port });
const isThere = await hasRedirects(kind);
const arrivals: Record<string, string> = {};
for (
  const [hostname, dialled] of [["198.51.100.7", 443], ["2001:db8::7", 443], ["2001:db8::7", 80]] as const
) {
  arrivals[`${hostname} ${dialled}`] = await arrival(hostname, dialled);
}
for (const dialled of [80, 8_080]) arrivals[`proxy ${dialled}`] = await arrival(proxyAddress, dialled);
await removeRedirects(kind);
console.log(JSON.stringify({ notes, isThere, arrivals, isGone: !await hasRedirects(kind) }));
Deno.exit(0);
