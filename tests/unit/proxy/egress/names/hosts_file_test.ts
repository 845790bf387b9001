import { assertEquals } from "@std/assert";
import { waitUntil } from "../../../../support/sockets.ts";
import { NAME_LIMITS } from "../../../../../core/limits.ts";
import { HostsFile, parseHosts } from "../../../../../proxy/egress/names/hosts_file.ts";

Deno.test("parseHosts() reads what hosts(5) describes, and skips what it cannot read", () => {
  const text = [
    "127.0.0.1\tlocalhost  loopback # a comment with db.test",
    "::1 localhost",
    "#10.0.0.1 off.test",
    "10.0.0.2 DB.Test db.test\r",
    "10.0.0.3 db.test",
    "0x7f.1 hex.test",
    "fe80::1%lo zone.test",
    "10.0.0.4 a..b 10.0.0.5 ok.test",
    "10.0.0.6",
  ].join("\n");
  assertEquals(
    [...parseHosts(text)],
    [
      ["localhost", ["127.0.0.1", "::1"]],
      ["loopback", ["127.0.0.1"]],
      ["db.test", ["10.0.0.2", "10.0.0.3"]],
      ["ok.test", ["10.0.0.4"]],
    ],
  );
});

Deno.test("addresses() follows the file, and keeps what it had while the file cannot be read", async () => {
  const path = await Deno.makeTempFile();
  const warnings: string[] = [];
  let now = 0;
  const hosts = new HostsFile(path, { now: () => now, warn: (line) => warnings.push(line) });
  const later = async () => {
    now += NAME_LIMITS.hostsCheckMs;
    await hosts.addresses("x.test"); // looks at the file, and does not wait for it
    await new Promise((next) => setTimeout(next, 50));
  };
  try {
    await Deno.writeTextFile(path, "10.0.0.1 db.test\n");
    assertEquals(await hosts.addresses("db.test"), ["10.0.0.1"]);
    assertEquals(await hosts.addresses("no.test"), []);
    await Deno.writeTextFile(path, "10.0.0.22 db.test\n");
    assertEquals(await hosts.addresses("db.test"), ["10.0.0.1"], "not before its time");
    for (let tries = 0; tries < 100 && (await hosts.addresses("db.test"))[0] !== "10.0.0.22"; tries++) {
      await later();
    }
    assertEquals(await hosts.addresses("db.test"), ["10.0.0.22"]);
    await Deno.remove(path);
    await Deno.mkdir(path);
    for (let tries = 0; tries < 100 && warnings.length === 0; tries++) await later();
    await later();
    assertEquals(warnings.length, 1, "said once");
    assertEquals(await hosts.addresses("db.test"), ["10.0.0.22"]);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});

/** A file that a test writes, and the clock that decides when it is looked at. */
async function setUp(text?: string) {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/hosts`;
  if (text !== undefined) await Deno.writeTextFile(path, text);
  const warnings: string[] = [];
  const { stat } = Deno;
  let looks = 0;
  Deno.stat = (at) => {
    if (at === path) looks++;
    return stat(at);
  };
  let nowMs = 1_000_000;
  const hosts = new HostsFile(path, { now: () => nowMs, warn: (line) => warnings.push(line) });
  return {
    ...{ path, hosts, warnings },
    looks: () => looks,
    later: (ms: number) => nowMs += ms,
    /** The addresses once the file was looked at again. */
    after: async (expected: string) => {
      nowMs += NAME_LIMITS.hostsCheckMs;
      await waitUntil(`it says ${expected}`, async () => `${await hosts.addresses("db.test")}` === expected);
    },
    [Symbol.asyncDispose]: async () => {
      Deno.stat = stat;
      await Deno.remove(dir, { recursive: true });
    },
  };
}

Deno.test("addresses() looks at the file every five seconds, not sooner, and reads it when it has changed", async () => {
  await using s = await setUp("10.0.0.1 db.test\n");
  for (let at = 0; at < 3; at++) await s.hosts.addresses("db.test");
  assertEquals(s.looks(), 1);
  s.later(4_999);
  await s.hosts.addresses("db.test");
  assertEquals(s.looks(), 1);
  s.later(1);
  await s.hosts.addresses("db.test");
  assertEquals(s.looks(), 2);
});

Deno.test("a file that is not there says nothing, and nobody is warned of it", async () => {
  await using s = await setUp();
  assertEquals(await s.hosts.addresses("db.test"), []);
  await Deno.writeTextFile(s.path, "10.0.0.1 db.test\n");
  await s.after("10.0.0.1");
  await Deno.remove(s.path);
  await s.after("");
  assertEquals(s.warnings, []);
  await Deno.writeTextFile(s.path, "10.0.0.1 db.test\n");
  await s.after("10.0.0.1");
});

Deno.test("a file of 8 MiB is read, and what a larger one says is left aside, with a warning for each time that it is new", async () => {
  const line = "10.0.0.1 db.test\n";
  await using s = await setUp(line.padEnd(8_388_608, "#"));
  assertEquals(await s.hosts.addresses("db.test"), ["10.0.0.1"]);
  const tooLarge = "10.0.0.2 db.test\n".padEnd(8_388_609, "#");
  for (let round = 1; round <= 2; round++) {
    await Deno.writeTextFile(s.path, tooLarge);
    s.later(NAME_LIMITS.hostsCheckMs);
    await s.hosts.addresses("db.test");
    await waitUntil("it is told", () => s.warnings.length === round);
    assertEquals(await s.hosts.addresses("db.test"), [round === 1 ? "10.0.0.1" : "10.0.0.3"]);
    await Deno.writeTextFile(s.path, "10.0.0.3 db.test\n");
    await s.after("10.0.0.3");
  }
  assertEquals(s.warnings[0], `${s.path} cannot be read: it has more than 8388608 bytes`);
});
