import { assertEquals } from "@std/assert";
import { Deadlines } from "../../../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import type { OpenSession } from "../../../../proxy/exchange.ts";
import { serveSocks } from "../../../../proxy/tunnels/socks.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";

/** What a client from `source` that can only come without credentials is answered, in hex, and the reasons in the log. */
async function greet(source: string): Promise<{ answered: string; reasons: (string | undefined)[] }> {
  const greeting = [Uint8Array.of(5, 1, 0)];
  const answered: number[] = [];
  const reasons: (string | undefined)[] = [];
  const stream = {
    read: (into: Uint8Array) => {
      const bytes = greeting.shift();
      if (bytes) into.set(bytes);
      return Promise.resolve(bytes?.length ?? null);
    },
    write: (bytes: Uint8Array) => {
      answered.push(...bytes);
      return Promise.resolve(bytes.length);
    },
    closeWrite: () => Promise.resolve(),
    close: () => {},
    abort: () => {},
  };
  const reader = new ByteReader(stream);
  await reader.fill();
  const session = {
    ...{ stream, reader, tunnel: undefined, origin: { src: `${source}:1` }, state: { source } },
    context: {
      deadlines: new Deadlines(),
      limits: DEFAULT_LIMITS,
      clock: { now: () => 0, monotonic: () => 0 },
      socksAuth: "optional",
      audit: {
        isWritable: true,
        write: ({ reason }: { readonly reason?: string }) => reasons.push(reason),
      },
      reportBug: (error: unknown) => {
        throw error;
      },
    },
  };
  await serveSocks(session as unknown as OpenSession);
  return { answered: answered.map((byte) => byte.toString(16).padStart(2, "0")).join(""), reasons };
}

Deno.test("serveSocks() lets nobody from a public source come without credentials", async (t) => {
  for (const source of ["203.0.113.9", "8.8.8.8", "2001:4860:4860::8888"]) {
    await t.step(source, async () => {
      assertEquals(await greet(source), { answered: "05ff", reasons: ["auth-missing"] });
    });
  }
  for (const source of ["127.0.0.1", "10.1.2.3", "fd00::1"]) {
    await t.step(source, async () => assertEquals((await greet(source)).answered, "0500"));
  }
});
