import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  adapterName,
  ensureBindAddress,
  parseBindAddress,
  parseBindAddresses,
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
      "fe80::1",
      "febf::1/64",
      "fe80::1%eth0",
      "::ffff:10.0.0.1",
      "[::1]",
    ]
  ) {
    assertThrows(() => parseBindAddress(bad), ProxyError, "Cannot bind to");
  }
});

Deno.test("parseBindAddresses() takes both families, and none that is within another", () => {
  const texts = (...values: string[]) => parseBindAddresses(values).map(({ address }) => address);
  assertEquals(texts("10.0.0.1/24", "fd00::1/64", "::1"), ["10.0.0.1", "fd00::1", "::1"]);
  assertEquals(texts("0.0.0.0", "fd00::1"), ["0.0.0.0", "fd00::1"]);
  assertEquals(texts("::"), ["::"]);
  const rows: readonly (readonly [string[], string])[] = [
    [["10.0.0.1", "10.0.0.1/24"], "twice"],
    [["::", "10.0.0.1"], "every address"],
    [["fd00::1", "::"], "every address"],
    [["0.0.0.0", "10.0.0.1"], "every address"],
    [["0.0.0.0", "::"], "every address"],
    [Array.from({ length: 17 }, (_, at) => `10.0.0.${at + 1}`), "16 are the most"],
  ];
  for (const [values, words] of rows) assertThrows(() => parseBindAddresses(values), ProxyError, words);
  const { hint } = assertThrows(() => parseBindAddresses(["fe80::1%eth0"]), ProxyError);
  assertStringIncludes(hint ?? "", "unique local address");
});

Deno.test("adapterName() is stable, one per address and at most 15 bytes", () => {
  assertEquals(adapterName(parseIp("192.168.222.1") ?? new Uint8Array()), "slp-c0a8de01");
  const names = ["fd00:1::1", "fd00:2::1", "fd00::a:1", "fd00::1:a"]
    .map((text) => adapterName(parseIp(text) ?? new Uint8Array()));
  assertEquals(new Set(names).size, 4);
  assert(names.every((name) => /^slp-6[0-9a-f]{8}$/.test(name)), names.join());
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
    "address add 192.168.222.1/32 dev lo",
    "address delete 192.168.222.1/32 dev lo",
  ]);
});

Deno.test("ensureBindAddress() makes an IPv6 address that can be bound to at once", async () => {
  const ip = fakeIp([]);
  const made = await ensureBindAddress({ address: "fd00::1", prefix: 64 }, ip.run, "linux");
  assertEquals(ip.calls[1], `address add fd00::1/64 dev ${made?.adapter} nodad`);
  const lo = fakeIp([["link add", "Error: Unknown device type."]]);
  await ensureBindAddress({ address: "fd00::1", prefix: 64 }, lo.run, "linux");
  assertEquals(lo.calls[1], "address add fd00::1/128 dev lo nodad");
});

Deno.test("ensureBindAddress() says what to run without the right to, and leaves nothing behind", async () => {
  const ip = fakeIp([["link add", "RTNETLINK answers: Operation not permitted\n"]]);
  const error = await assertRejects(
    () => ensureBindAddress(BIND, ip.run, "linux"),
    ProxyError,
    "Operation not permitted",
  );
  assertStringIncludes(error.hint ?? "", "sudo ip address add 192.168.222.1/32 dev lo");
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
