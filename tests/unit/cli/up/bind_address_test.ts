import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  adapterName,
  ensureBindAddress,
  parseBindAddress,
  type RunIp,
} from "../../../../cli/up/bind_address.ts";
import { parseIp } from "../../../../core/cidr.ts";
import { ProxyError } from "../../../../core/errors.ts";

/** Records what is run; answers with the first matching row, or success. */
function fakeIp(
  rows: readonly (readonly [prefix: string, stderr: string])[],
): { run: RunIp; calls: string[] } {
  const calls: string[] = [];
  return {
    calls,
    run: (args) => {
      const line = args.join(" ");
      calls.push(line);
      const row = rows.find(([prefix]) => line.startsWith(prefix));
      return Promise.resolve(row ? { isOk: false, stderr: row[1] } : { isOk: true, stderr: "" });
    },
  };
}

const BIND = { address: "192.168.222.1", prefix: 24 };

Deno.test("parseBindAddress() reads addresses with and without a prefix and refuses the rest", () => {
  assertEquals(parseBindAddress("192.168.222.1"), { address: "192.168.222.1", prefix: 32 });
  assertEquals(parseBindAddress("192.168.222.1/24"), BIND);
  assertEquals(parseBindAddress("FD00::1/64"), { address: "fd00::1", prefix: 64 });
  for (
    const bad of [
      "",
      "localhost",
      "192.168.222.1/33",
      "192.168.222.1/",
      "1.2.3.4/8/9",
      "010.0.0.1",
      "1.2.3.4/-1",
    ]
  ) {
    assertThrows(() => parseBindAddress(bad), ProxyError, "Cannot bind to");
  }
});

Deno.test("adapterName() is stable, one per address and at most 15 bytes", () => {
  assertEquals(adapterName(parseIp("192.168.222.1") ?? new Uint8Array()), "slp-c0a8de01");
  assertEquals(adapterName(parseIp("fd00::a:1") ?? new Uint8Array()), "slp-000a0001");
});

Deno.test("ensureBindAddress() makes a dummy adapter and removes it", async () => {
  const ip = fakeIp([]);
  const made = await ensureBindAddress(BIND, ip.run, "linux");
  assertEquals(made?.adapter, "slp-c0a8de01");
  await made?.[Symbol.asyncDispose]();
  assertEquals(ip.calls, [
    "link add slp-c0a8de01 type dummy",
    "address add 192.168.222.1/24 dev slp-c0a8de01",
    "link set slp-c0a8de01 up",
    "link delete slp-c0a8de01",
  ]);
});

Deno.test("ensureBindAddress() uses lo where the kernel has no dummy driver, and removes only the address", async () => {
  const ip = fakeIp([["link add", "Error: Unknown device type."]]);
  const made = await ensureBindAddress(BIND, ip.run, "linux");
  await made?.[Symbol.asyncDispose]();
  assertEquals(made?.adapter, "lo");
  assertEquals(ip.calls.slice(1), [
    "address add 192.168.222.1/24 dev lo",
    "address delete 192.168.222.1/24 dev lo",
  ]);
});

Deno.test("ensureBindAddress() says what to run without the right to, and leaves nothing behind", async () => {
  const ip = fakeIp([["link add", "RTNETLINK answers: Operation not permitted\n"]]);
  const error = await assertRejects(
    () => ensureBindAddress(BIND, ip.run, "linux"),
    ProxyError,
    "Operation not permitted",
  );
  assertStringIncludes(error.hint ?? "", "sudo ip address add 192.168.222.1/24 dev lo");
  const half = fakeIp([["address add", "RTNETLINK answers: Invalid argument"]]);
  await assertRejects(() => ensureBindAddress(BIND, half.run, "linux"), ProxyError, "Invalid argument");
  assertEquals(half.calls.at(-1), "link delete slp-c0a8de01");
});

Deno.test("ensureBindAddress() leaves loopback, wildcards, existing addresses and other systems alone", async () => {
  const ip = fakeIp([]);
  for (const address of ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::", "::1"]) {
    assertEquals(await ensureBindAddress({ address, prefix: 32 }, ip.run, "linux"), undefined);
  }
  const own = Deno.networkInterfaces().find(({ family }) => family === "IPv4")?.address ?? "127.0.0.1";
  assertEquals(await ensureBindAddress({ address: own, prefix: 32 }, ip.run, "linux"), undefined);
  assertEquals(await ensureBindAddress(BIND, ip.run, "darwin"), undefined);
  assertEquals(ip.calls, []);
});
