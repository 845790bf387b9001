import { assertEquals } from "@std/assert";
import { Trust } from "../../../../../proxy/egress/tls/trust.ts";

Deno.test("Trust has for a host the certificates of every pattern that covers it, and of no other", () => {
  const trust = new Trust([
    { pattern: "*", pem: ["all"] },
    { pattern: "*.corp.test", pem: ["corp 1", "corp 2"] },
    { pattern: "a.corp.test", pem: ["a"] },
  ]);
  assertEquals(trust.certificatesFor("a.corp.test"), ["all", "corp 1", "corp 2", "a"]);
  assertEquals(trust.certificatesFor("corp.test"), ["all"]);
  assertEquals(new Trust([{ pattern: "a.test", pem: ["a"] }]).certificatesFor("b.test"), []);
});

Deno.test("replace() tells whether something is trusted no more, for any host", () => {
  const trust = new Trust([{ pattern: "a.test", pem: ["one", "two"] }]);
  assertEquals(trust.replace([{ pattern: "a.test", pem: ["two", "one"] }]), false);
  assertEquals(trust.replace([{ pattern: "a.test", pem: ["two", "one", "three"] }]), false);
  assertEquals(trust.certificatesFor("a.test"), ["two", "one", "three"]);
  assertEquals(trust.replace([{ pattern: "a.test", pem: ["one", "three"] }]), true);
  assertEquals(trust.replace([{ pattern: "b.test", pem: ["one", "three"] }]), true); // for another host
  assertEquals([trust.certificatesFor("a.test"), trust.replace([])], [[], true]);
});
