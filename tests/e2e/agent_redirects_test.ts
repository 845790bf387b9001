// deno-lint-ignore-file no-console
/** The helper's redirects in a network namespace, for a proxy that VMs reach by IPv6 alone. */
import { assertEquals } from "@std/assert";
import type { FirewallKind } from "../../agent/firewall.ts";
import { hasProgram, runProgram } from "../support/programs.ts";

const VM = `slicer6r-${Deno.pid}`;
const CHILD = new URL("../support/redirect_child.ts", import.meta.url).pathname;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;
const PROXY = "fd00:99::1";

/** A link whose other end is nobody: what is not redirected gets no answer. */
const SET_UP = `
ip netns add ${VM}
ip netns exec ${VM} sh -c 'echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up'
ip -n ${VM} link add vm6 type veth peer name far6
ip -n ${VM} address add fd00:99::2/64 dev vm6 nodad
ip -n ${VM} link set vm6 up
ip -n ${VM} link set far6 up
`;

for (const kind of ["nft", "iptables"] satisfies readonly FirewallKind[]) {
  Deno.test({
    name: `${kind} leads IPv4 and IPv6 to the helper, and neither to the proxy's own address`,
    ignore: Deno.build.os !== "linux" || !["ip", kind].every(hasProgram),
    fn: async () => {
      const made = await runProgram("sh", ["-ec", SET_UP]);
      try {
        const inVm = (...args: string[]) => runProgram("ip", ["netns", "exec", VM, ...args]);
        const isOk = made.code === 0 &&
          (kind === "nft"
            ? (await inVm("nft", "add", "table", "ip6", "probe")).code === 0 &&
              (await inVm("nft", "add chain ip6 probe c { type nat hook output priority -100; }")).code === 0
            : (await inVm("ip6tables", "-w", "5", "-t", "nat", "-S", "OUTPUT")).code === 0);
        if (!isOk) {
          console.log(`skipped: no network namespaces with ${kind} and NAT for IPv6 here`);
          return;
        }
        if (kind === "nft") await inVm("nft", "delete", "table", "ip6", "probe");
        const { code, stdout, stderr } = await inVm(
          Deno.execPath(),
          "run",
          "-A",
          "-q",
          "--config",
          CONFIG,
          CHILD,
          kind,
          PROXY,
        );
        assertEquals(code, 0, stderr);
        assertEquals(JSON.parse(stdout), {
          notes: [],
          isThere: true,
          arrivals: {
            "198.51.100.7 443": "127.0.0.1",
            "2001:db8::7 443": "::1",
            "2001:db8::7 80": "::1",
            "proxy 80": "nobody",
            "proxy 8080": "nobody",
          },
          isGone: true,
        });
      } finally {
        await runProgram("ip", ["netns", "delete", VM]);
      }
    },
  });
}
