import { assertEquals } from "@std/assert";
import type { ProxyContext } from "../../../../proxy/context.ts";
import { listenerName, newHostRefusal } from "../../../../proxy/tunnels/new_hosts.ts";

const CLIENT = { name: "one", version: "1" };

/** Asks about `up.test` where these listeners and certificates are there, and says what was counted. */
async function ask({ listeners = [], isWarm = false, hasRoom = true }: {
  readonly listeners?: readonly string[];
  readonly isWarm?: boolean;
  readonly hasRoom?: boolean;
}) {
  const counted: unknown[] = [];
  const context = {
    interceptor: { has: (name: string) => listeners.includes(name) },
    certificates: { isWarm: (host: string) => Promise.resolve(isWarm && host === "up.test") },
    admission: {
      tryNewHost: (...given: readonly unknown[]) => {
        counted.push(given);
        return hasRoom;
      },
    },
    clock: { now: () => 7 },
    limits: { maxMintsPerClientPerMinute: 60 },
  } as unknown as ProxyContext;
  return { refusal: await newHostRefusal(context, CLIENT, "up.test"), counted };
}

Deno.test("newHostRefusal() counts a host that has no certificate, and no other", async (t) => {
  const counted = [["one", "up.test", 7]];
  const rows: readonly (readonly [string, Parameters<typeof ask>[0], counted: readonly unknown[]])[] = [
    ["new", {}, counted],
    ["open for HTTP/1.1", { listeners: [listenerName("up.test", "http/1.1")], hasRoom: false }, []],
    ["open for HTTP/2", { listeners: [listenerName("up.test", "h2")], hasRoom: false }, []],
    ["open for another host", { listeners: [listenerName("a.test", "h2")] }, counted],
    ["with a certificate on disk", { isWarm: true, hasRoom: false }, []],
  ];
  for (const [name, setUp, expected] of rows) {
    await t.step(
      name,
      async () => assertEquals(await ask(setUp), { refusal: undefined, counted: expected } as never),
    );
  }
});

Deno.test("newHostRefusal() says how many new hosts a client may have", async () => {
  const { refusal } = await ask({ hasRoom: false });
  assertEquals([refusal?.status, refusal?.reason], [429, "new-hosts"]);
  assertEquals(refusal?.detail?.includes('Client "one" has asked for 60 new hosts'), true);
});
