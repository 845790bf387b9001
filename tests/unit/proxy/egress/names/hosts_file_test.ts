import { assertEquals } from "@std/assert";
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
