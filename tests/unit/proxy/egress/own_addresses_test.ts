import { assertEquals } from "@std/assert";
import { cidrContains, parseIp } from "../../../../core/cidr.ts";
import { listenersOn, localAddresses } from "../../../../proxy/egress/own_addresses.ts";

/** Far behind whatever another test in this process has looked at. */
const START = 1e12;

/** Adapters that a test sets. */
function adapters(...first: readonly string[]) {
  const real = Deno.networkInterfaces;
  let now: readonly string[] = first;
  Deno.networkInterfaces = () =>
    now.map((address) => ({ ...real()[0], address })) as Deno.NetworkInterfaceInfo[];
  return {
    set: (...addresses: readonly string[]) => now = addresses,
    [Symbol.dispose]: () => void (Deno.networkInterfaces = real),
  };
}

const has = (address: string, nowMs: number) => {
  const ip = parseIp(address);
  return ip !== undefined &&
    localAddresses({ monotonic: () => nowMs }).some((cidr) => cidrContains(cidr, ip));
};

Deno.test("localAddresses() has loopback, all addresses, and those of the adapters as they were seconds ago", () => {
  using own = adapters("10.1.2.3", "fe80::1%eth0");
  for (const address of ["127.0.0.1", "127.255.255.255", "::1", "0.0.0.0", "::", "10.1.2.3", "fe80::1"]) {
    assertEquals(has(address, START), true, address);
  }
  for (const address of ["128.0.0.0", "::2", "0.0.0.1", "10.1.2.4"]) {
    assertEquals(has(address, START), false, address);
  }
  own.set("10.1.2.4");
  assertEquals([has("10.1.2.3", START + 4_999), has("10.1.2.4", START + 4_999)], [true, false]);
  assertEquals([has("10.1.2.3", START + 5_000), has("10.1.2.4", START + 5_000)], [false, true]);
});

Deno.test("listenersOn() is where a port answers: everywhere for a listener on all addresses", async (t) => {
  using _ = adapters("10.1.2.3");
  const clock = { monotonic: () => START * 2 };
  const listeners = [
    { hostname: "10.1.2.3", port: 3128 },
    { hostname: "0.0.0.0", port: 8080 },
    { hostname: "::", port: 8443 },
  ];
  const rows: readonly (readonly [port: number, address: string, boolean])[] = [
    [3128, "10.1.2.3", true],
    [3128, "127.0.0.1", false],
    [8080, "127.0.0.1", true],
    [8080, "10.1.2.3", true],
    [8443, "10.1.2.3", true],
    [8444, "10.1.2.3", false],
  ];
  for (const [port, address, expected] of rows) {
    await t.step(`${address}:${port}`, () => {
      const ip = parseIp(address);
      const found = listenersOn(port, listeners, clock).some((cidr) =>
        ip !== undefined && cidrContains(cidr, ip)
      );
      assertEquals(found, expected);
    });
  }
});
