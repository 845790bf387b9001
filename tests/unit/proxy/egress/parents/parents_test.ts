import { assertEquals } from "@std/assert";
import { parseCidr, parseIp } from "../../../../../core/cidr.ts";
import {
  formatParent,
  isDirect,
  NO_PARENTS,
  PARENT_DNS,
  parentFor,
} from "../../../../../proxy/egress/parents/parents.ts";

const parentOf = (port: number) => ({ scheme: "http", host: "proxy.corp", port } as const);

Deno.test("parentFor() takes the pattern that says most, whatever the order, and none for exempt hosts", async (t) => {
  const all = [["*", 1], ["a.corp.test", 2], ["*.corp.test", 3], ["*.deep.corp.test", 4]] as const;
  const rows: readonly (readonly [string, number | undefined])[] = [
    ["example.com", 1],
    ["corp.test", 1],
    ["b.corp.test", 3],
    ["a.corp.test", 2],
    ["x.deep.corp.test", 4],
    ["lan.test", undefined],
    ["x.home.test", undefined],
    ["home.test", 1],
    ["10.1.2.3", undefined],
    ["11.1.2.3", 1],
    ["fd00::1", undefined],
  ];
  for (const order of [all, all.toReversed()]) {
    const parents = {
      ...NO_PARENTS,
      byPattern: order.map(([pattern, port]) => ({ pattern, parent: parentOf(port) })),
      directHosts: ["lan.test", "*.home.test"],
      directCidrs: [parseCidr("10.0.0.0/8"), parseCidr("fd00::/8")],
    };
    for (const [host, port] of rows) {
      await t.step(host, () => assertEquals(parentFor(parents, host)?.port, port));
    }
  }
  assertEquals(parentFor(NO_PARENTS, "example.com"), undefined);
});

Deno.test("isDirect() is true only when every address lies in an exempt network", async (t) => {
  const parents = { ...NO_PARENTS, directCidrs: [parseCidr("10.0.0.0/8")] };
  const rows: readonly (readonly [string, readonly string[], boolean])[] = [
    ["all within", ["10.0.0.1", "10.9.9.9"], true],
    ["one outside", ["10.0.0.1", "192.0.2.1"], false],
    ["another family", ["fd00::1"], false],
    ["none", [], false],
  ];
  for (const [name, addresses, expected] of rows) {
    const ips = addresses.map(parseIp).filter((ip) => ip !== undefined);
    await t.step(name, () => assertEquals(isDirect(parents, ips), expected));
  }
});

Deno.test("formatParent() leaves credentials out", () => {
  assertEquals(formatParent({ ...parentOf(3128), authorization: "Basic eA==" }), "http://proxy.corp:3128");
});

Deno.test("a parent is asked for an address or a name, and by default there is none", () => {
  assertEquals([...PARENT_DNS], ["local", "parent"]);
  assertEquals(NO_PARENTS, { byPattern: [], directHosts: [], directCidrs: [], dns: "local" });
  assertEquals(parentFor(NO_PARENTS, "up.test"), undefined);
});
