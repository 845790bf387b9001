import { assertEquals } from "@std/assert";
import { LastUses } from "../../../../proxy/records/last_uses.ts";

Deno.test("LastUses knows who used a secret last, and counts only what was sent", () => {
  const uses = new LastUses();
  uses.add({ verdict: "allow", secret: "key", client: "one" }, 1_000);
  uses.add({ verdict: "allow", secret: "other", client: "two" }, 1_500);
  uses.add({ verdict: "allow", secret: "key", client: "two" }, 2_000);
  uses.add({ verdict: "deny", secret: "key", client: "three" }, 3_000);
  uses.add({ verdict: "change", secret: "key", client: "three" }, 3_000);
  uses.add({ verdict: "allow", client: "three" }, 3_000);
  assertEquals(uses.of("key"), { atMs: 2_000, client: "two" });
  assertEquals(uses.of("other"), { atMs: 1_500, client: "two" });
  assertEquals([uses.of("none"), uses.of("undefined")], [undefined, undefined]);
});

Deno.test("LastUses forgets the secret that was not used for the longest once there are more than 2,000", () => {
  const uses = new LastUses();
  const use = (secret: string) => uses.add({ verdict: "allow", secret, client: "one" }, 1);
  for (let i = 0; i < 2_000; i++) use(`s${i}`);
  use("s0"); // is the latest now
  assertEquals([uses.of("s0")?.atMs, uses.of("s1")?.atMs], [1, 1]);
  use("s2000");
  assertEquals([uses.of("s0")?.atMs, uses.of("s1"), uses.of("s2")?.atMs], [1, undefined, 1]);
});
