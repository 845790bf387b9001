/**
 * A process that opens tunnels, sends one request in each, and holds them until its stdin ends. Prints how many it holds.
 *
 * @module
 */
import { dialTls, openTlsTunnel, type RawPeer } from "../tests/support/raw_peer.ts";
import type { Route } from "./peer.ts";
import { HOST, TOKEN, UPSTREAM_PORT } from "./settings.ts";

/** Handshakes under way at once. */
const LANES = 16;

interface Options {
  readonly route: Route;
  readonly count: number;
  /** Taken in turn; the usual one when empty. */
  readonly tokens: readonly string[];
}

const { route, count, tokens } = JSON.parse(Deno.args[0] ?? "{}") as Options;
const caPem = await Deno.readTextFile(route.caFile);
const held: RawPeer[] = [];
const failures: unknown[] = [];

async function open(i: number): Promise<RawPeer> {
  if (route.proxyPort === undefined) return await dialTls(route.originPort, caPem);
  return await openTlsTunnel(
    route.proxyPort,
    `${HOST}:${UPSTREAM_PORT}`,
    tokens[i % tokens.length] ?? TOKEN,
    caPem,
  );
}

await Promise.all(Array.from({ length: LANES }, async (_, lane) => {
  for (let i = lane; i < count && failures.length === 0; i += LANES) {
    try {
      const peer = await open(i);
      held.push(peer);
      await peer.send(`GET /1k HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
      const { status } = await peer.readResponse();
      if (status !== 200) throw new Error(`answered ${status}`);
    } catch (error) {
      failures.push(error);
    }
  }
}));
await new Promise((resolve) => setTimeout(resolve, 2_000)); // buffers and garbage settle
const [failure] = failures;
const words = failure instanceof Error ? failure.message : "";
if (words) await Deno.stderr.write(new TextEncoder().encode(`stopped at ${held.length} tunnels: ${words}\n`));
await Deno.stdout.write(new TextEncoder().encode(`${held.length}\n`));
await Deno.stdin.read(new Uint8Array(1));
for (const peer of held) peer[Symbol.dispose]();
