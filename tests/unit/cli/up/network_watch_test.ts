import { assertEquals } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { NetworkWatch } from "../../../../cli/up/network_watch.ts";

function setUp(made = false) {
  const here = new Set(["192.168.222.1", "10.0.0.5", "127.0.0.1"]);
  const [lines, ended]: [string[], string[]] = [[], []];
  let tries = 0;
  const watch = new NetworkWatch({
    binds: [{ address: "192.168.222.1", prefix: 24 }],
    addresses: () => new Set(here),
    make: ({ address }) => {
      tries++;
      if (!made) return Promise.reject(new ProxyError("listen.failed", "Cannot make the address exist: no"));
      here.add(address);
      return Promise.resolve();
    },
    endFrom: (addresses) => ended.push(...addresses),
    log: {
      info: (line) => lines.push(`info ${line}`),
      warn: (line) => lines.push(`warn ${line}`),
      error: (line) => lines.push(`error ${line}`),
    },
  });
  return { here, lines, ended, watch, tries: () => tries };
}

const GONE = "warn the address 192.168.222.1 has gone: no VM reaches the proxy there until it is back";
const BACK = "info the address 192.168.222.1 is back, and served again";

Deno.test("NetworkWatch says once that a bound address has gone, and once that it is back", async () => {
  const { here, lines, ended, watch } = setUp();
  await using _ended = watch;
  await watch.look();
  here.delete("192.168.222.1");
  for (let i = 0; i < 3; i++) await watch.look();
  assertEquals(lines, [GONE, "warn Cannot make the address exist: no"]);
  here.add("192.168.222.1");
  for (let i = 0; i < 3; i++) await watch.look();
  assertEquals(lines.slice(2), [BACK]);
  assertEquals(ended, []); // what is open on it goes on
});

Deno.test("NetworkWatch makes again what the proxy had made", async () => {
  const { here, lines, watch, tries } = setUp(true);
  await using _ended = watch;
  here.delete("192.168.222.1");
  await watch.look();
  await watch.look();
  assertEquals([lines, tries()], [[GONE, BACK], 1]);
});

Deno.test("NetworkWatch ends what is connected from an address that stays away, and only that", async () => {
  const { here, lines, ended, watch } = setUp();
  await using _ended = watch;
  here.delete("10.0.0.5");
  await watch.look();
  here.add("10.0.0.5"); // it was renewed
  await watch.look();
  assertEquals(ended, []);
  here.delete("10.0.0.5");
  for (let i = 0; i < 3; i++) await watch.look();
  assertEquals([ended, lines], [["10.0.0.5"], []]);
});
