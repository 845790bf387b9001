/**
 * The client that does nothing wrong, a process of its own, so that an attacker's work does not show in its figures: forty
 * requests a second in a tunnel that it keeps, and five new tunnels a second. Each has a path of its own, by which its record is
 * found. Reads one JSON line on stdin, goes on for that long, prints one.
 */
import { openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";

/** What it is told. */
export interface Errand {
  readonly port: number;
  readonly host: string;
  readonly token: string;
  readonly caPem: string;
  readonly seconds: number;
  /** The first of its paths is `/i/FIRST`. */
  readonly first: number;
}

/** What it found. */
export interface Findings {
  /** Milliseconds, of requests in the kept tunnel, and of new tunnels with one request. */
  readonly keptMs: readonly number[];
  readonly freshMs: readonly number[];
  /** In words; empty when everything was answered with 200. */
  readonly failures: readonly string[];
  /** The paths used are `/i/FIRST` up to but without `/i/NEXT`. */
  readonly next: number;
}

const KEPT_EVERY_MS = 25;
const FRESH_EVERY_MS = 200;

async function main(errand: Errand): Promise<Findings> {
  const keptMs: number[] = [];
  const freshMs: number[] = [];
  const failures: string[] = [];
  let next = errand.first;
  const open = () => openTlsTunnel(errand.port, errand.host, errand.token, errand.caPem);
  const get = async (peer: RawPeer) => {
    await peer.send(`GET /i/${next++} HTTP/1.1\r\nHost: ${errand.host}\r\n\r\n`);
    const { status } = await peer.readResponse();
    if (status !== 200) throw new Error(`answered ${status}`);
  };
  const until = performance.now() + errand.seconds * 1_000;
  const every = async (ms: number, times: number[], once: () => Promise<void>) => {
    for (let due = performance.now(); due < until; due = Math.max(due + ms, performance.now())) {
      const wait = due - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      const began = performance.now();
      await once().catch((error) => failures.push(error instanceof Error ? error.message : String(error)));
      times.push(performance.now() - began);
    }
  };
  let kept: RawPeer | undefined;
  await Promise.all([
    every(KEPT_EVERY_MS, keptMs, async () => {
      try {
        await get(kept ??= await open());
      } catch (error) {
        kept?.[Symbol.dispose]();
        kept = undefined;
        throw error;
      }
    }),
    every(FRESH_EVERY_MS, freshMs, async () => {
      using peer = await open();
      await get(peer);
    }),
  ]);
  kept?.[Symbol.dispose]();
  return { keptMs, freshMs, failures, next };
}

if (import.meta.main) {
  const errand: Errand = JSON.parse(await new Response(Deno.stdin.readable).text());
  await Deno.stdout.write(new TextEncoder().encode(JSON.stringify(await main(errand))));
}
