import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../../core/errors.ts";
import {
  formatNameServer,
  parseDnsServers,
  parseNameServer,
  zoneOf,
} from "../../../../../proxy/egress/names/name_server.ts";

Deno.test("parseNameServer() reads what formatNameServer() writes, and shorter forms of it", async (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ["10.0.0.53", "udp://10.0.0.53:53"],
    ["10.0.0.53:5353", "udp://10.0.0.53:5353"],
    ["fd00::53", "udp://[fd00::53]:53"],
    ["[fd00:0::53]:5353", "udp://[fd00::53]:5353"],
    ["tcp://10.0.0.53", "tcp://10.0.0.53:53"],
    ["tls://9.9.9.9", "tls://9.9.9.9:853"],
    ["tls://DNS.example", "tls://dns.example:853"],
    ["https://dns.example", "https://dns.example:443/dns-query"],
    ["https://[fd00::53]:8443/dns", "https://[fd00::53]:8443/dns"],
  ];
  for (const [text, expected] of rows) {
    await t.step(text, () => {
      assertEquals(formatNameServer(parseNameServer(text)), expected);
      assertEquals(formatNameServer(parseNameServer(expected)), expected);
    });
  }
});

Deno.test("parseDnsServers() refuses what is no server or zone", async (t) => {
  const rows = [
    ["", "it is no name server"],
    ["udp://dns.example", "a udp server is named by its address"],
    ["dns.example", "a udp server is named by its address"],
    ["quic://10.0.0.1", "it is no name server"],
    ["tls://user@dns.example", "it is no name server"],
    ["tls://dns.example/path", "it is no name server"],
    ["https://dns.example/dns-query{?dns}", "it is no name server"],
    ["https://dns.example/a?b", "it is no name server"],
    ["10.0.0.53:0", "it is no name server"],
    ["10.0.0.256", "it is no name server"],
    ["*.corp.example=10.0.0.53", `"*.corp.example" is no zone`],
    ["=10.0.0.53", `"" is no zone`],
    ["10.0.0.1=10.0.0.53", `"10.0.0.1" is no zone`],
  ] as const;
  for (const [text, why] of rows) {
    await t.step(text, () => {
      const { code, message } = assertThrows(() => parseDnsServers([text]), ProxyError);
      assertEquals([code, message.endsWith(why)], ["input.invalid", true], message);
    });
  }
  const many = Array.from({ length: 9 }, (_, at) => `10.0.0.${at}`);
  assertEquals(parseDnsServers(many.slice(0, 8))[0]?.servers.length, 8);
  assertThrows(() => parseDnsServers(many), ProxyError, "more than 8");
  assertThrows(() => parseDnsServers(["10.0.0.1", "udp://10.0.0.1:53"]), ProxyError, "twice");
});

Deno.test("zoneOf() finds the longest zone that holds a name", async (t) => {
  const zones = parseDnsServers([
    "9.9.9.9",
    "corp.example=10.0.0.1",
    "Lab.Corp.Example.=10.0.0.2",
    "corp.example=10.0.0.3",
  ]);
  assertEquals(zones.map(({ zone, servers }) => [zone, servers.length]), [["", 1], ["corp.example", 2], [
    "lab.corp.example",
    1,
  ]]);
  const rows = [
    ["example", ""],
    ["corp.example", "corp.example"],
    ["a.b.corp.example", "corp.example"],
    ["acorp.example", ""],
    ["x.lab.corp.example", "lab.corp.example"],
  ] as const;
  for (const [name, expected] of rows) {
    await t.step(name, () => assertEquals(zoneOf(zones, name)?.zone, expected));
  }
  assertEquals(zoneOf(zones.slice(1), "up.test"), undefined);
});
