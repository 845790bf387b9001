// deno-lint-ignore-file no-console
/** A host and a VM that speak IPv6 to each other, in network namespaces: both families bound, URLs, certificate, API, NAT64. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Collected, Program, programCommand } from "../support/program.ts";
import { hasProgram, type Outcome, runProgram } from "../support/programs.ts";
import { waitUntil } from "../support/sockets.ts";

const HOST = `slicer6h-${Deno.pid}`;
const VM = `slicer6v-${Deno.pid}`;

const SET_UP = `
ip netns add ${HOST} && ip netns add ${VM}
ip netns exec ${HOST} sh -c 'echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up'
ip netns exec ${VM} sh -c 'echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up'
ip link add host6 netns ${HOST} type veth peer name vm6 netns ${VM}
ip -n ${HOST} address add fd00:99::1/64 dev host6 nodad
ip -n ${HOST} address add 10.99.0.1/24 dev host6
ip -n ${HOST} link set host6 up
ip -n ${VM} address add fd00:99::2/64 dev vm6 nodad
ip -n ${VM} address add 10.99.0.2/24 dev vm6
ip -n ${VM} link set vm6 up
ip -n ${VM} route add default via fd00:99::1
ip -n ${VM} route add default via 10.99.0.1
# What a translator would answer for.
ip -n ${HOST} address add 64:ff9b::808:808/128 dev lo nodad
ip -n ${HOST} address add 64:ff9b:1::808:808/128 dev lo nodad
ip -n ${HOST} address add 64:ff9b::a00:1/128 dev lo nodad
`;

const inside = (netns: string, name: string, args: readonly string[]): Promise<Outcome> =>
  runProgram("ip", ["netns", "exec", netns, name, ...args], {
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", NO_COLOR: "1" },
  });

Deno.test({
  name:
    "a host and its VMs on IPv6: two addresses, a tunnel, the TLS port, the API, and what lies behind NAT64",
  ignore: Deno.build.os !== "linux" || !["ip", "curl", "python3"].every(hasProgram),
  fn: async (t) => {
    const made = await runProgram("sh", ["-ec", SET_UP]);
    if (made.code !== 0) {
      console.log(`skipped: no network namespaces with IPv6 here: ${made.stderr}`);
      await runProgram("sh", ["-c", `ip netns delete ${HOST}; ip netns delete ${VM}`]);
      return;
    }
    const dir = await Deno.makeTempDir({ prefix: "slicer-v6-" });
    const spawn = (command: string, args: readonly string[]) =>
      new Deno.Command("ip", {
        args: ["netns", "exec", HOST, command, ...args],
        cwd: dir,
        clearEnv: true,
        env: new Program(dir, { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }).environment(),
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    await Deno.mkdir(`${dir}/www`);
    await Deno.writeTextFile(`${dir}/www/hello.txt`, "hello\n");
    const site = spawn("python3", ["-m", "http.server", "--bind", "::", "--directory", `${dir}/www`, "8000"]);
    const siteWords = [new Collected(site.stdout), new Collected(site.stderr)];
    const { command, args } = programCommand([
      ...[
        "up",
        "--bind",
        "::1,fd00:222::1/64",
        "--bind",
        "10.222.0.1/24",
        "--api-bind",
        "[::1]:8443",
        "--workers",
        "2",
      ],
    ]);
    const up = spawn(command, args);
    const [audit, words] = [new Collected(up.stdout), new Collected(up.stderr)];
    try {
      await words.wait(/VMs reach it by .*10\.222\.0\.1/, 60_000);
      await waitUntil("the site", async () => {
        const { code } = await inside(HOST, "curl", ["-sf", "-g", "http://[::1]:8000/hello.txt"]);
        return code === 0;
      });
      // Sockets in the file system are of no namespace.
      const program = new Program(dir);
      const token = await program.ok(["client", "create", "one"]);
      const hello = (proxy: string, url: string, ...more: string[]) =>
        inside(VM, "curl", ["-s", "-g", "--max-time", "20", ...more, "--proxy", proxy, url]);
      const allow = (host: string) => program.ok(["allow", "one", "--host", host, "--port", "8000"]);

      await t.step("the log has URLs that programs can read", () => {
        assertStringIncludes(words.text, "made the address fd00:222::1 on ");
        assertStringIncludes(words.text, "made the address 10.222.0.1 on ");
        assertMatch(
          words.text,
          /listening on \[::1\]:3128 and \[::1\]:3129 and \[fd00:222::1\]:3128 and .* and 10\.222\.0\.1:3128/,
        );
        assertStringIncludes(words.text, "HTTPS_PROXY=https://proxy:TOKEN@[fd00:222::1]:3129");
      });
      await t.step("status has both addresses", async () => {
        const { bind, binds } = JSON.parse(await program.ok(["status", "--json"]));
        assertEquals([bind, binds], ["::1", ["::1", "fd00:222::1", "10.222.0.1"]]);
      });
      await t.step("a VM gets through, by either family", async () => {
        await allow("fd00:99::1");
        for (const at of ["[fd00:222::1]", "10.222.0.1"]) {
          const { stdout } = await hello(
            `http://proxy:${token}@${at}:3128`,
            "http://[fd00:99::1]:8000/hello.txt",
          );
          assertEquals(stdout, "hello\n", at);
        }
        await audit.wait(/^allow client=one .*host=fd00:99::1 .*src=\[fd00:99::2\]:\d+/m, 30_000);
        await audit.wait(/^allow client=one .*src=10\.99\.0\.2:\d+/m, 30_000);
      });
      await t.step("the TLS port's certificate is for its address", async () => {
        const ca = `${dir}/.slicer/ca/sbox/ca.crt`;
        const { stdout, stderr } = await hello(
          `https://proxy:${token}@[fd00:222::1]:3129`,
          "http://[fd00:99::1]:8000/hello.txt",
          ...["-S", "--proxy-cacert", ca],
        );
        assertEquals(stdout, "hello\n", stderr);
      });
      await t.step("behind NAT64 the IPv4 address counts", async () => {
        await allow("*");
        for (const address of ["64:ff9b::808:808", "64:ff9b:1::808:808"]) {
          const url = `http://[${address}]:8000/hello.txt`;
          const { stdout } = await hello(`http://proxy:${token}@[fd00:222::1]:3128`, url);
          assertEquals(stdout, "hello\n", address);
        }
        const url = "http://[64:ff9b::a00:1]:8000/hello.txt";
        const { stdout } = await hello(`http://proxy:${token}@[fd00:222::1]:3128`, url);
        assertStringIncludes(stdout, "private (RFC 1918) in an IPv6 disguise");
      });
      await t.step("the environment of a VM has brackets", async () => {
        for (const named of [[], ["--proxy", "fd00:222::1"], ["--proxy", "[fd00:222::1]"]]) {
          const text = await program.ok(["env", "one", ...named, "--token", token, "--format", "json"]);
          assertStringIncludes(text, "@[fd00:222::1]:3129");
        }
      });
      await t.step("the API answers on IPv6", async () => {
        const api = (await Deno.readTextFile(`${dir}/.slicer/proxy/api-token`)).trim();
        const header = ["-H", `Authorization: Bearer ${api}`];
        const { stdout } = await inside(HOST, "curl", ["-s", "-g", ...header, "http://[::1]:8443/healthz"]);
        assertMatch(stdout, /ok/i);
      });
      up.kill("SIGTERM");
      await words.ended;
      assertEquals((await up.status).code, 0, words.text);
      const after = await runProgram("ip", ["-n", HOST, "address"]);
      assertEquals(/fd00:222::1|10\.222\.0\.1/.exec(after.stdout), null, "the addresses have gone");
    } finally {
      for (const child of [up, site]) {
        try {
          child.kill("SIGKILL");
        } catch {
          // It has ended.
        }
        await child.status;
      }
      await Promise.all([audit, words, ...siteWords].map(({ ended }) => ended));
      await runProgram("sh", ["-c", `ip netns delete ${HOST}; ip netns delete ${VM}`]);
      await Deno.remove(dir, { recursive: true });
    }
  },
});
