/**
 * Two connections joined, half-close kept. There is no time-out here: the proxy has them all, and ends what is dead.
 *
 * @module
 */
import { closeQuietly, writeAll } from "./proxy_link.ts";

type Source = Pick<Deno.Conn, "read" | "close">;
type Sink = Pick<Deno.Conn, "write" | "closeWrite" | "close">;
type Stream = Source & Sink;

const SMALLEST_BUFFER = 4_096;
const LARGEST_BUFFER = 262_144;

/**
 * Joins `a` and `b` until both directions have ended, and closes both. Never rejects.
 *
 * @param first bytes that were read already: `toB` from `a`, `toA` from `b`
 */
export async function relay(
  a: Stream,
  b: Stream,
  first: { readonly toB?: Uint8Array; readonly toA?: Uint8Array } = {},
): Promise<void> {
  await Promise.all([pump(a, b, first.toB), pump(b, a, first.toA)]);
  closeQuietly(a);
  closeQuietly(b);
}

/** Copies until `from` ends, then half-closes `to`; when either fails, both are closed. Never rejects. */
export async function pump(from: Source, to: Sink, first: Uint8Array | undefined): Promise<void> {
  try {
    if (first && first.length > 0) await writeAll(to, first);
    let buffer = new Uint8Array(SMALLEST_BUFFER);
    for (;;) {
      const count = await from.read(buffer);
      if (count === null) break;
      await writeAll(to, buffer.subarray(0, count));
      if (count === buffer.length && count < LARGEST_BUFFER) buffer = new Uint8Array(count * 4);
    }
    await to.closeWrite();
  } catch {
    // Reset, or closed by the other direction: nothing more will come, and nobody is left to tell.
    closeQuietly(from);
    closeQuietly(to);
  }
}
