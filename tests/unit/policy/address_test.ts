import { assert, assertEquals, assertThrows } from "@std/assert";
import { type IpBytes, parseCidr, parseIp } from "../../../core/cidr.ts";
import {
  type AddressClass,
  type AddressOptions,
  checkAddress,
  checkAll,
  classifyAddress,
  isNearAddress,
} from "../../../policy/address.ts";

function ip(text: string): IpBytes {
  const bytes = parseIp(text);
  assert(bytes, text);
  return bytes;
}

function options(
  more: { deny?: string[]; allow?: string[]; own?: string[]; ruleHost?: string },
): AddressOptions {
  return {
    denyCidrs: (more.deny ?? []).map(parseCidr),
    allowCidrs: (more.allow ?? []).map(parseCidr),
    ownAddresses: (more.own ?? []).map(parseCidr),
    ruleHost: more.ruleHost ?? "api.example.com",
  };
}

/** "ok" or the reason. */
function outcome(text: string, more: Parameters<typeof options>[0]): string {
  const verdict = checkAddress(ip(text), options(more));
  return verdict.ok ? "ok" : verdict.reason;
}

Deno.test("classifyAddress() knows each range up to its edges", async (t) => {
  const rows: readonly [AddressClass, readonly string[]][] = [
    ["unspecified", ["0.0.0.0", "::"]],
    ["reserved", ["0.0.0.1", "0.255.255.255"]],
    ["public", ["2600::a00:1"]], // 10.0.0.1 at the end of any other prefix is no disguise
    ["public", ["1.0.0.0", "9.255.255.255"]],
    ["private", ["10.0.0.0", "10.255.255.255"]],
    ["public", ["11.0.0.0", "100.63.255.255"]],
    ["cgnat", ["100.64.0.0", "100.100.100.199", "100.100.100.201", "100.127.255.255"]],
    ["public", ["100.128.0.0", "126.255.255.255"]],
    ["loopback", ["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"]],
    ["public", ["128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255"]],
    ["link-local", ["169.254.0.0", "169.254.169.253", "169.254.169.255", "169.254.255.255"]],
    ["public", ["169.255.0.0", "172.15.255.255"]],
    ["private", ["172.16.0.0", "172.31.255.255"]],
    ["public", ["172.32.0.0", "191.255.255.255"]],
    ["reserved", ["192.0.0.0", "192.0.0.191", "192.0.0.193", "192.0.0.255"]],
    ["public", ["192.0.1.0", "192.0.1.255"]],
    ["reserved", ["192.0.2.0", "192.0.2.255"]],
    ["public", ["192.0.3.0", "192.88.98.255"]],
    ["reserved", ["192.88.99.0", "192.88.99.255"]],
    ["public", ["192.88.100.0", "192.167.255.255"]],
    ["private", ["192.168.0.0", "192.168.255.255"]],
    ["public", ["192.169.0.0", "198.17.255.255"]],
    ["reserved", ["198.18.0.0", "198.19.255.255"]],
    ["public", ["198.20.0.0", "198.51.99.255"]],
    ["reserved", ["198.51.100.0", "198.51.100.255"]],
    ["public", ["198.51.101.0", "203.0.112.255"]],
    ["reserved", ["203.0.113.0", "203.0.113.255"]],
    ["public", ["203.0.114.0", "223.255.255.255"]],
    ["multicast", ["224.0.0.0", "239.255.255.255"]],
    ["reserved", ["240.0.0.0", "255.255.255.254"]],
    ["broadcast", ["255.255.255.255"]],

    ["metadata", ["169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.42.42", "169.254.0.23"]],
    ["metadata", ["100.100.100.200", "168.63.129.16", "192.0.0.192"]],
    ["metadata", ["fd00:ec2::", "fd00:ec2::254", "fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["metadata", ["fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fd00:a9fe:a9fe::1"]],
    ["metadata", ["fd00:100::100:200", "fe80::a9fe:a9fe"]],
    ["private", ["fd00:ec1:ffff:ffff:ffff:ffff:ffff:ffff", "fd00:ec3::", "fd20:ce::253", "fd20:ce::255"]],

    ["reserved", ["100::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "5f00::1"]],
    ["public", ["2000::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2606:4700::1111"]],
    ["reserved", ["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["public", ["3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["public", ["2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["reserved", ["2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["public", ["2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["reserved", ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["public", ["2001:db9::"]],
    ["reserved", ["fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["private", ["fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["reserved", ["fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["link-local", ["fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["reserved", ["fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]],
    ["multicast", ["ff00::", "ff02::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]],
  ];
  for (const [kind, addresses] of rows) {
    for (const text of addresses) {
      await t.step(`${text} is ${kind}`, () => assertEquals(classifyAddress(ip(text)), kind));
    }
  }
});

Deno.test("classifyAddress() sees through every IPv6 disguise of an IPv4 address", async (t) => {
  const rows: readonly [string, string, AddressClass][] = [
    ["IPv4-mapped", "::ffff:127.0.0.1", "loopback"],
    ["IPv4-mapped, public", "::ffff:8.8.8.8", "public"],
    ["IPv4-mapped metadata", "::ffff:a9fe:a9fe", "metadata"],
    ["IPv4-mapped, unspecified", "::ffff:0:0", "unspecified"],
    ["just before IPv4-mapped", "::fffe:ffff:ffff", "reserved"],
    ["IPv4-compatible", "::127.0.0.1", "loopback"],
    ["IPv4-compatible, private", "::10.0.0.1", "reserved"],
    ["IPv4-compatible, public", "::8.8.8.8", "reserved"],
    ["IPv4-compatible, ::2 is no loopback", "::2", "reserved"],
    ["IPv4-translated", "::ffff:0:127.0.0.1", "loopback"],
    ["IPv4-translated, public", "::ffff:0:8.8.8.8", "reserved"],
    ["NAT64", "64:ff9b::127.0.0.1", "loopback"],
    ["NAT64, private", "64:ff9b::192.168.0.1", "private"],
    ["NAT64, public", "64:ff9b::8.8.8.8", "public"],
    ["just outside NAT64", "64:ff9b::1:7f00:1", "reserved"],
    ["local NAT64, /96", "64:ff9b:1::127.0.0.1", "loopback"],
    ["local NAT64, /96 with a subnet", "64:ff9b:1:fffe::a9fe:a9fe", "metadata"],
    ["local NAT64, /64", "64:ff9b:1:0:7f:0:100:0", "loopback"],
    ["local NAT64, /56", "64:ff9b:1:7f:0:1::", "loopback"],
    ["local NAT64, /48", "64:ff9b:1:7f00:0:100::", "loopback"],
    ["local NAT64, /64, all four bytes", "64:ff9b:1:0:a9:fea9:fe00:0", "metadata"],
    ["local NAT64, /56, all four bytes", "64:ff9b:1:a9:fe:a9fe::", "metadata"],
    ["local NAT64, /48, all four bytes", "64:ff9b:1:a9fe:a9:fe00::", "metadata"],
    ["local NAT64, public", "64:ff9b:1::8.8.8.8", "private"],
    ["local NAT64, nothing", "64:ff9b:1::", "unspecified"],
    ["just outside local NAT64", "64:ff9b:2::7f00:1", "reserved"],
    ["6to4", "2002:7f00:1::", "loopback"],
    ["6to4, metadata", "2002:a9fe:a9fe::1", "metadata"],
    ["6to4, public", "2002:808:808::1", "public"],
    ["just outside 6to4", "2003:7f00:1::", "public"],
    ["Teredo client", "2001:0:808:808:0:0:80ff:fffe", "loopback"],
    ["Teredo server", "2001:0:7f00:1:0:0:f7f7:f7f7", "loopback"],
    ["Teredo, both public", "2001:0:808:808:0:0:f7f7:f7f7", "public"],
    ["ISATAP", "2606:4700::5efe:127.0.0.1", "loopback"],
    ["ISATAP, universal", "2606:4700::200:5efe:169.254.169.254", "metadata"],
    ["ISATAP, group bit", "2606:4700::300:5efe:10.0.0.1", "private"],
    ["ISATAP, public", "2606:4700::5efe:8.8.8.8", "public"],
    ["ISATAP on the link", "fe80::5efe:8.8.8.8", "link-local"],
    ["no ISATAP", "2606:4700::400:5efe:127.0.0.1", "public"],
    ["ISATAP within 6to4", "2002:808:808::5efe:127.0.0.1", "loopback"],
  ];
  for (const [name, text, kind] of rows) {
    await t.step(name, () => assertEquals(classifyAddress(ip(text)), kind));
  }
});

Deno.test("checkAddress() opens by class, rule and option", async (t) => {
  const wild = "*.example.com";
  const rows: readonly [string, string, Parameters<typeof options>[0], string][] = [
    ["public", "8.8.8.8", {}, "ok"],
    ["public for every host", "8.8.8.8", { ruleHost: "*" }, "ok"],
    ["private for one host", "10.0.0.1", {}, "ok"],
    ["private for a suffix", "10.0.0.1", { ruleHost: wild }, "address-denied"],
    ["private for every host", "fd12::1", { ruleHost: "*" }, "address-denied"],
    ["private for a suffix, allowed", "10.0.0.1", { ruleHost: wild, allow: ["10.0.0.0/24"] }, "ok"],
    [
      "private for a suffix, just not allowed",
      "10.0.1.0",
      { ruleHost: wild, allow: ["10.0.0.0/24"] },
      "address-denied",
    ],
    ["CGNAT for one host", "100.64.0.1", {}, "ok"],
    ["CGNAT for a suffix", "100.64.0.1", { ruleHost: wild }, "address-denied"],
    ["loopback for one host", "127.0.0.1", {}, "address-denied"],
    ["loopback for itself", "127.0.0.1", { ruleHost: "127.0.0.1" }, "address-denied"],
    ["loopback, allowed", "127.0.0.1", { allow: ["127.0.0.0/8"] }, "ok"],
    ["loopback, other family allowed", "::1", { allow: ["127.0.0.0/8"] }, "address-denied"],
    ["link-local", "169.254.1.1", {}, "address-denied"],
    ["unspecified", "0.0.0.0", {}, "address-denied"],
    ["unspecified IPv6", "::", {}, "address-denied"],
    ["multicast", "224.0.0.1", {}, "address-denied"],
    ["broadcast", "255.255.255.255", {}, "address-denied"],
    ["reserved", "240.0.0.1", {}, "address-denied"],
    ["documentation", "192.0.2.1", {}, "address-denied"],
    ["documentation, allowed", "192.0.2.1", { allow: ["192.0.2.0/24"] }, "ok"],
    ["metadata", "169.254.169.254", {}, "address-denied"],
    [
      "metadata, a network around it allowed",
      "169.254.169.254",
      { allow: ["169.254.0.0/16"] },
      "address-denied",
    ],
    ["metadata, everything allowed", "169.254.169.254", { allow: ["0.0.0.0/0"] }, "address-denied"],
    ["metadata, named", "169.254.169.254", { allow: ["169.254.169.254"] }, "ok"],
    ["metadata in a private network", "fd00:ec2::254", { allow: ["fc00::/7"] }, "address-denied"],
    ["metadata in CGNAT", "100.100.100.200", {}, "address-denied"],
    ["metadata with a public address", "168.63.129.16", {}, "address-denied"],

    ["deny beats public", "8.8.8.8", { deny: ["8.8.8.0/24"] }, "address-denied"],
    ["just outside deny", "8.8.9.0", { deny: ["8.8.8.0/24"] }, "ok"],
    ["deny beats allow", "10.0.0.1", { deny: ["10.0.0.0/8"], allow: ["10.0.0.1"] }, "address-denied"],
    ["deny reaches into a disguise", "64:ff9b::8.8.8.8", { deny: ["8.8.8.8"] }, "address-denied"],
    ["deny reaches the disguise", "64:ff9b::8.8.8.8", { deny: ["64:ff9b::/96"] }, "address-denied"],
    ["deny in IPv4-mapped form", "8.8.8.8", { deny: ["::ffff:8.8.8.0/120"] }, "address-denied"],
    ["deny in IPv4-mapped form, other address", "8.8.9.8", { deny: ["::ffff:8.8.8.0/120"] }, "ok"],
    ["deny of all IPv4 in IPv4-mapped form", "8.8.8.8", { deny: ["::ffff:0:0/96"] }, "address-denied"],
    ["deny of more than the mapped ones leaves IPv4", "8.8.8.8", { deny: ["::fffe:0:0/95"] }, "ok"],
    ["deny of all IPv6 leaves IPv4", "8.8.8.8", { deny: ["::/0"] }, "ok"],
    ["deny of all IPv6", "2606:4700::1", { deny: ["::/0"] }, "address-denied"],

    ["disguise of a public address", "64:ff9b::8.8.8.8", { ruleHost: "*" }, "ok"],
    ["disguise of a private address, one host", "64:ff9b::10.0.0.1", {}, "ok"],
    ["a public address behind local NAT64", "64:ff9b:1::8.8.8.8", { ruleHost: "*" }, "ok"],
    ["the same, /48", "64:ff9b:1:808:8:800::", { ruleHost: "*" }, "ok"],
    ["a private address behind local NAT64", "64:ff9b:1::10.0.0.1", {}, "ok"],
    [
      "a private address behind local NAT64, suffix",
      "64:ff9b:1::10.0.0.1",
      { ruleHost: wild },
      "address-denied",
    ],
    ["the same, /48", "64:ff9b:1:a00:0:100::", { ruleHost: wild }, "address-denied"],
    ["loopback behind local NAT64", "64:ff9b:1::127.0.0.1", {}, "address-denied"],
    ["nothing behind local NAT64", "64:ff9b:1::", {}, "address-denied"],
    ["deny reaches local NAT64", "64:ff9b:1::8.8.8.8", { deny: ["64:ff9b:1::/48"] }, "address-denied"],
    ["disguise of a private address, suffix", "64:ff9b::10.0.0.1", { ruleHost: wild }, "address-denied"],
    ["disguise, only IPv4 allowed", "::ffff:127.0.0.1", { allow: ["127.0.0.0/8"] }, "address-denied"],
    ["disguise, only IPv6 allowed", "::ffff:127.0.0.1", { allow: ["::ffff:0:0/96"] }, "address-denied"],
    ["disguise, both allowed", "::ffff:127.0.0.1", { allow: ["127.0.0.0/8", "::ffff:0:0/96"] }, "ok"],
    ["disguised metadata, network allowed", "2002:a9fe:a9fe::", {
      allow: ["2002::/16", "169.254.0.0/16"],
    }, "address-denied"],
    ["disguised metadata, named", "2002:a9fe:a9fe::", { allow: ["2002::/16", "169.254.169.254"] }, "ok"],

    ["own listener", "192.168.1.2", { own: ["192.168.1.2"] }, "own-address"],
    ["own listener, allowed", "127.0.0.2", { own: ["127.0.0.0/8"], allow: ["127.0.0.0/8"] }, "own-address"],
    ["own listener, disguised", "::ffff:192.168.1.2", { own: ["192.168.1.2"] }, "own-address"],
    ["not our own", "192.168.1.3", { own: ["192.168.1.2"] }, "ok"],
  ];
  for (const [name, text, more, expected] of rows) {
    await t.step(name, () => assertEquals(outcome(text, more), expected));
  }
});

Deno.test("checkAddress() says why without the address, and names the source", () => {
  const why = (text: string, more = {}) => {
    const verdict = checkAddress(ip(text), options(more));
    return verdict.ok ? "" : verdict.why;
  };
  assertEquals(
    why("127.0.0.5"),
    "it is loopback (RFC 1122 §3.2.1.3), which is dialled only where --allow-cidr names it",
  );
  assertEquals(
    why("2002:a00:1::", { ruleHost: "*" }),
    "it is private (RFC 1918) in an IPv6 disguise, which a rule for many hosts reaches only where `up --allow-cidr NETWORK` names it; a rule for exactly this host does, too",
  );
});

Deno.test("checkAll() refuses a name for one denied address", () => {
  const all = (...texts: string[]) => checkAll(texts.map(ip), options({})).ok;
  assertEquals(all("8.8.8.8"), true);
  assertEquals(all("8.8.8.8", "2606:4700::1"), true);
  assertEquals(all("8.8.8.8", "127.0.0.1"), false);
  assertEquals(all("::1", "8.8.8.8"), false);
  assertEquals(all(), false);
});

Deno.test("classifyAddress() refuses what is no address", () => {
  for (const length of [0, 3, 5, 15, 17]) {
    assertThrows(() => classifyAddress(new Uint8Array(length)), RangeError);
  }
});

Deno.test("isNearAddress() is true for networks that are reached without the Internet, in no disguise", async (t) => {
  const rows: readonly (readonly [string, boolean])[] = [
    ["10.0.0.1", true],
    ["172.16.0.1", true],
    ["172.32.0.1", false],
    ["192.168.255.255", true],
    ["100.64.0.1", true],
    ["100.128.0.1", false],
    ["127.0.0.1", true],
    ["::1", true],
    ["fd12::1", true],
    ["::ffff:10.0.0.1", true],
    ["::ffff:8.8.8.8", false],
    ["8.8.8.8", false],
    ["2606:4700::1", false],
    ["169.254.1.1", false],
    ["fe80::1", false],
    ["169.254.169.254", false],
    ["fd00:ec2::254", false], // a metadata service within ULA
    ["100.100.100.200", false], // one within CGNAT
    ["64:ff9b::10.0.0.1", false], // NAT64 to a private address: the translator may be anywhere
    ["64:ff9b:1::8.8.8.8", false],
    ["2002:a00:1::1", false],
    ["0.0.0.0", false],
  ];
  for (const [text, expected] of rows) {
    await t.step(text, () => assertEquals(isNearAddress(ip(text)), expected));
  }
});
