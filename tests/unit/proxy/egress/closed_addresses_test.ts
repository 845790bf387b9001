import { assertEquals } from "@std/assert";
import { parseIp } from "../../../../core/cidr.ts";
import { isProxyError } from "../../../../core/errors.ts";
import { ClosedAddresses } from "../../../../proxy/egress/closed_addresses.ts";

/** Closed hosts with names that a test changes, and a clock that it moves. */
function stage(
  names: Record<string, readonly string[] | "out">,
  hosts: readonly string[] = Object.keys(names),
) {
  const state = { nowMs: 0, hosts, lookUps: 0 };
  const closed = new ClosedAddresses({
    hosts: () => state.hosts,
    resolve: (host) => {
      state.lookUps++;
      const found = names[host] ?? "out";
      return found === "out" ? Promise.reject(new Error("no name server")) : Promise.resolve(found);
    },
    now: () => state.nowMs,
  });
  /** `ok`, or why it may not be dialled. */
  const check = async (address: string, ruleHost = "*") => {
    const ip = parseIp(address);
    if (!ip) throw new Error(`${address} is none`);
    const error = await closed.check(ip, ruleHost).then(() => undefined, (error) => error);
    return error === undefined ? "ok" : isProxyError(error) ? error.reason : String(error);
  };
  return { state, names, check };
}

Deno.test("ClosedAddresses.check() refuses each address of each closed host, in every disguise, and nothing else", async (t) => {
  const { check } = stage({
    "login.test": ["192.0.2.1", "2001:db8::1"],
    "other.test": ["192.0.2.9"],
    "203.0.113.5": "out", // an endpoint that is given by its address needs no look-up
  });
  const rows: readonly (readonly [address: string, outcome: string])[] = [
    ["192.0.2.1", "token-endpoint"],
    ["192.0.2.9", "token-endpoint"],
    ["203.0.113.5", "token-endpoint"],
    ["2001:db8:0::1", "token-endpoint"],
    ["::ffff:192.0.2.1", "token-endpoint"],
    ["64:ff9b::192.0.2.1", "token-endpoint"],
    ["2002:c000:201::", "token-endpoint"],
    ["192.0.2.2", "ok"],
    ["2001:db8::2", "ok"],
    ["64:ff9b::192.0.2.2", "ok"],
  ];
  for (const [address, outcome] of rows) {
    await t.step(address, async () => assertEquals(await check(address), outcome));
  }
  await t.step("under a rule for exactly this address too", async () => {
    assertEquals(await check("192.0.2.1", "192.0.2.1"), "token-endpoint");
  });
});

Deno.test("ClosedAddresses.check() looks up once a minute, however many ask, and nothing where nothing is closed", async () => {
  const { state, check } = stage({ "a.test": ["192.0.2.1"], "b.test": ["192.0.2.2"] });
  await Promise.all(Array.from({ length: 50 }, () => check("192.0.2.3")));
  for (let i = 0; i < 50; i++) await check("192.0.2.3");
  assertEquals(state.lookUps, 2);
  state.nowMs = 59_999;
  await check("192.0.2.3");
  assertEquals(state.lookUps, 2);
  state.nowMs = 60_000;
  await check("192.0.2.3");
  assertEquals(state.lookUps, 4);
  const none = stage({}, []);
  assertEquals([await none.check("192.0.2.1"), none.state.lookUps], ["ok", 0]);
});

Deno.test("ClosedAddresses.check() remembers addresses for a day, and forgets hosts that are open again", async () => {
  const { state, names, check } = stage({ "a.test": ["192.0.2.1"] });
  assertEquals(await check("192.0.2.1"), "token-endpoint");
  names["a.test"] = ["192.0.2.2"];
  state.nowMs = 60_000;
  await check("192.0.2.9");
  assertEquals([await check("192.0.2.1"), await check("192.0.2.2")], ["token-endpoint", "token-endpoint"]);
  state.nowMs = 24 * 3_600_000;
  assertEquals([await check("192.0.2.1"), await check("192.0.2.2")], ["ok", "token-endpoint"]);
  state.hosts = [];
  assertEquals(await check("192.0.2.2"), "ok");
});

Deno.test("ClosedAddresses.check() dials no address under a wide rule before it knows, and none on a name server's word later", async () => {
  const { state, names, check } = stage({ "a.test": "out", "b.test": ["192.0.2.2"] });
  assertEquals([await check("192.0.2.9"), await check("192.0.2.9", "192.0.2.9")], ["dns", "ok"]);
  assertEquals(await check("192.0.2.2", "192.0.2.2"), "token-endpoint"); // what is known counts
  names["a.test"] = ["192.0.2.1"];
  assertEquals(await check("192.0.2.9"), "dns"); // asked a moment ago
  state.nowMs = 5_000;
  assertEquals([await check("192.0.2.9"), await check("192.0.2.1")], ["ok", "token-endpoint"]);
  names["a.test"] = "out"; // later: what was known goes on
  state.nowMs = 100_000;
  assertEquals([await check("192.0.2.9"), await check("192.0.2.1")], ["ok", "token-endpoint"]);
});
