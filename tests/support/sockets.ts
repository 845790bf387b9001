/** Real sockets for tests: connected pairs, silent listeners, and how many this process has open. */
import { hasNativeCalls } from "../../core/native.ts";
import { closeQuietly } from "../../proxy/streams/byte_reader.ts";

// Opens the C library here: it stays open for the process, which the sanitizer would count against the first test.
hasNativeCalls();

/** Both ends of a connection on loopback; disposing closes what is still open. */
export interface TcpPair extends Disposable {
  readonly near: Deno.TcpConn;
  readonly far: Deno.TcpConn;
}

/** Connects to ourselves. */
export async function tcpPair(hostname = "127.0.0.1"): Promise<TcpPair> {
  using listener = Deno.listen({ hostname, port: 0 });
  const [near, far] = await Promise.all([
    Deno.connect({ hostname, port: listener.addr.port }),
    listener.accept(),
  ]);
  return {
    near,
    far,
    [Symbol.dispose]: () => {
      closeQuietly(near);
      closeQuietly(far);
    },
  };
}

/** A listener that accepts and says nothing; disposing closes all of it. */
export interface SilentPeer extends AsyncDisposable {
  readonly port: number;
  readonly accepted: readonly Deno.TcpConn[];
}

/** Starts one. */
export function startSilentPeer(hostname = "127.0.0.1"): SilentPeer {
  const listener = Deno.listen({ hostname, port: 0 });
  const accepted: Deno.TcpConn[] = [];
  const accepting = (async () => {
    try {
      for (;;) accepted.push(await listener.accept());
    } catch {
      // closed
    }
  })();
  return {
    port: listener.addr.port,
    accepted,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      await accepting;
      accepted.forEach(closeQuietly);
    },
  };
}

/** How many sockets this process has open. Linux. */
export function openSockets(): number {
  let count = 0;
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      if (Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith("socket:")) count++;
    } catch {
      // the descriptor of the listing itself
    }
  }
  return count;
}

/** The same once it no longer changes: what earlier tests closed is freed a moment later. */
export function settledSockets(): Promise<number> {
  return settled(openSockets);
}

/** A count once it no longer changes. */
export async function settled(count: () => number): Promise<number> {
  for (let last = -1;;) {
    const now = count();
    if (now === last) return now;
    last = now;
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}

/** Waits until `isSo`, for at most `ms`. For states that nothing announces. */
export async function waitUntil(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  ms = 30_000,
): Promise<void> {
  const until = performance.now() + ms;
  while (!await isSo()) {
    if (performance.now() > until) throw new Error(`waited ${ms} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The promise's outcome, or a failure after `ms`: a test that hangs says where. */
export async function soon<T>(what: string, promise: Promise<T>, ms = 30_000): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
