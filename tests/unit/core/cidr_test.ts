import { assert, assertEquals, assertThrows } from "@std/assert";
import { cidrContains, formatCidr, formatIp, parseCidr, parseIp } from "../../../core/cidr.ts";
import { isProxyError, ProxyError } from "../../../core/errors.ts";

Deno.test("parseIp() and formatIp() give the one canonical text of an address", async (t) => {
  const rows: readonly [string, string][] = [
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::ffff:127.0.0.1", "::ffff:7f00:1"],
    ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"],
  ];
  for (const [text, canonical] of rows) {
    await t.step(text, () => {
      const bytes = parseIp(text);
      assert(bytes);
      assertEquals(formatIp(bytes), canonical);
    });
  }
});

Deno.test("parseIp() refuses what is not exactly one address", async (t) => {
  const rows: readonly [string, string][] = [
    ["empty", ""],
    ["three parts", "127.0.1"],
    ["five parts", "1.2.3.4.5"],
    ["leading zero, octal to some", "010.0.0.1"],
    ["hexadecimal", "0x7f.0.0.1"],
    ["one number", "2130706433"],
    ["256", "1.2.3.256"],
    ["sign", "+1.2.3.4"],
    ["trailing dot", "1.2.3.4."],
    ["trailing newline", "1.2.3.4\n"],
    ["Arabic digits", "١.٢.٣.٤"],
    ["zone id", "fe80::1%eth0"],
    ["encoded zone id", "fe80::1%25eth0"],
    ["brackets", "[::1]"],
    ["two gaps", "1::2::3"],
    ["three colons", ":::"],
    ["one colon", ":"],
    ["lone leading colon", ":1:2:3:4:5:6:7"],
    ["seven groups", "1:2:3:4:5:6:7"],
    ["nine groups", "1:2:3:4:5:6:7:8:9"],
    ["gap of no groups", "1:2:3:4::5:6:7:8"],
    ["five digits", "::12345"],
    ["IPv4 not last", "::1.2.3.4:5"],
    ["IPv4 before the gap", "1.2.3.4::"],
    ["bad IPv4 tail", "::ffff:1.2.3.04"],
  ];
  for (const [name, text] of rows) await t.step(name, () => assertEquals(parseIp(text), undefined));
});

Deno.test("parseCidr() reads networks and single addresses", async (t) => {
  const rows: readonly [string, string][] = [
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["192.0.2.1", "192.0.2.1/32"],
    ["192.0.2.1/32", "192.0.2.1/32"],
    ["192.0.2.2/31", "192.0.2.2/31"],
    ["FD00::/8", "fd00::/8"],
    ["::1", "::1/128"],
    ["::/0", "::/0"],
  ];
  for (const [text, printed] of rows) {
    await t.step(text, () => assertEquals(formatCidr(parseCidr(text)), printed));
  }
});

Deno.test("parseCidr() refuses bad prefixes and bits after the prefix", async (t) => {
  const rows = [
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/",
    "10.0.0.0/08",
    "10.0.0.0/8/8",
    "10.0.0.0/-1",
    "x/8",
    "",
  ];
  for (const text of [...rows, "10.1.2.3/8", "192.0.2.3/31", "fd00::1/64"]) {
    await t.step(JSON.stringify(text), () => {
      assert(isProxyError(assertThrows(() => parseCidr(text), ProxyError), "input.invalid"));
    });
  }
  await t.step("names the network that was likely meant", () => {
    assertEquals(assertThrows(() => parseCidr("10.1.2.3/8"), ProxyError).hint, "write 10.0.0.0/8");
  });
});

Deno.test("cidrContains() ends exactly at the network's edges", async (t) => {
  const rows: readonly [string, string, boolean][] = [
    ["10.0.0.0/8", "9.255.255.255", false],
    ["10.0.0.0/8", "10.0.0.0", true],
    ["10.0.0.0/8", "10.255.255.255", true],
    ["10.0.0.0/8", "11.0.0.0", false],
    ["172.16.0.0/12", "172.31.255.255", true],
    ["172.16.0.0/12", "172.32.0.0", false],
    ["0.0.0.0/0", "255.0.0.1", true],
    ["0.0.0.0/0", "::1", false],
    ["::/0", "1.2.3.4", false],
    ["fe80::/10", "febf:ffff::1", true],
    ["fe80::/10", "fec0::", false],
    ["::1/128", "::1", true],
    ["::1/128", "::2", false],
  ];
  for (const [cidr, text, expected] of rows) {
    await t.step(`${text} in ${cidr}: ${expected}`, () => {
      const ip = parseIp(text);
      assert(ip);
      assertEquals(cidrContains(parseCidr(cidr), ip), expected);
    });
  }
});
