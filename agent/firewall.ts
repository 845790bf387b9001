/**
 * The redirects: outgoing TCP to ports 80 and 443 comes to the helper, whatever address it was for. Exempt are the proxy's
 * own address (so the helper never meets itself), this machine's addresses, and bridges to containers. Outgoing QUIC is
 * refused at once, so that browsers fall back to TCP without waiting.
 *
 * With nftables everything is one table, put in place and taken away at once; with iptables, chains of our own in each
 * family. Nothing of anybody else's is touched.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { findProgram, type Ran, runProgram, whyFailed } from "./programs.ts";

/** Which tool makes the rules. */
export type FirewallKind = "nft" | "iptables";

/** What the rules say. */
export interface Redirects {
  /** The proxy's address. */
  readonly proxyAddress: string;
  readonly httpPort: number;
  readonly httpsPort: number;
}

/** Runs a program; tests pass their own. */
export type Run = (name: string, args: readonly string[], options?: { stdin?: string }) => Promise<Ran>;

const TABLE = "slicer_agent";
const CHAIN = "SLICER_AGENT";
/** What goes to containers of this VM stays inside it. */
const BRIDGES = ["docker", "br-", "podman", "cni", "virbr", "lxdbr"];
/**
 * Without a route a connection fails before any rule sees it, and a VM that may reach only the proxy may well have none. A
 * routing rule behind all others leads these two ports, and nothing else, to where they are redirected.
 */
const ROUTE_TABLE = "1803";
const ROUTE_PRIORITY = "32800";
const PORTS = ["80", "443"];

/**
 * The tool that works here.
 *
 * @throws ProxyError `agent.failed` where none does
 */
export async function findFirewall(run: Run = runProgram): Promise<FirewallKind> {
  const script = nftScript({ proxyAddress: "192.0.2.1", httpPort: 1, httpsPort: 2 });
  const nft = await run("nft", ["--check", "--file", "-"], { stdin: script });
  if (nft.isOk) return "nft";
  const iptables = await run("iptables", ["-w", "5", "-t", "nat", "-S", "OUTPUT"]);
  if (iptables.isOk) return "iptables";
  const isMissing = /not installed/.test(nft.stderr) && /not installed/.test(iptables.stderr);
  throw new ProxyError(
    "agent.failed",
    `Cannot redirect connections: ${
      isMissing ? "neither nft nor iptables is installed" : whyFailed(isMissing ? nft : iptables)
    }`,
    { hint: "install nftables or iptables into the VM's image; both need root and a kernel with NAT" },
  );
}

/**
 * Puts the rules in place, or replaces those that are.
 *
 * @returns words about what could not be done and does not matter everywhere
 * @throws ProxyError `agent.failed`
 */
export async function applyRedirects(
  kind: FirewallKind,
  redirects: Redirects,
  run: Run = runProgram,
): Promise<readonly string[]> {
  const notes: string[] = [];
  if (kind === "nft") {
    must(await run("nft", ["--file", "-"], { stdin: nftScript(redirects) }));
  } else {
    await applyIptables("iptables", redirects, run);
    if (await findProgram("ip6tables") === undefined) {
      notes.push("ip6tables is missing: IPv6 is not redirected");
    } else if (!await applyIp6tables(redirects, run)) notes.push("IPv6 cannot be redirected: it is refused");
  }
  if (!await applyRoutes(run)) notes.push("no routing rule could be made: a default route is needed");
  return notes;
}

/** Takes the rules away. What is not there is no failure. */
export async function removeRedirects(kind: FirewallKind, run: Run = runProgram): Promise<void> {
  for (const family of ["-4", "-6"]) {
    for (const port of PORTS) await run("ip", [family, "rule", "del", ...routeRule(port)]);
    await run("ip", [family, "route", "flush", "table", ROUTE_TABLE]);
  }
  if (kind === "nft") {
    // Adding it first makes the deletion work whether or not it is there.
    must(await run("nft", ["--file", "-"], { stdin: `table inet ${TABLE}\ndelete table inet ${TABLE}\n` }));
    return;
  }
  for (const program of ["iptables", "ip6tables"]) {
    for (const table of ["nat", "filter"]) {
      await run(program, ["-w", "5", "-t", table, "-D", "OUTPUT", "-j", CHAIN]);
      await run(program, ["-w", "5", "-t", table, "-F", CHAIN]);
      await run(program, ["-w", "5", "-t", table, "-X", CHAIN]);
    }
  }
}

/** True when the rules are in place. */
export async function hasRedirects(kind: FirewallKind, run: Run = runProgram): Promise<boolean> {
  const { isOk } = kind === "nft"
    ? await run("nft", ["list", "table", "inet", TABLE])
    : await run("iptables", ["-w", "5", "-t", "nat", "-C", "OUTPUT", "-j", CHAIN]);
  return isOk;
}

/** The nftables table. Naming it twice makes the deletion work the first time too; one file is one transaction. */
export function nftScript({ proxyAddress, httpPort, httpsPort }: Redirects): string {
  const family = proxyAddress.includes(":") ? "ip6" : "ip";
  const bridges = BRIDGES.map((name) => `"${name}*"`).join(", ");
  return `table inet ${TABLE}
delete table inet ${TABLE}
table inet ${TABLE} {
  chain to_helper {
    type nat hook output priority -100; policy accept;
    ${family} daddr ${proxyAddress} return
    fib daddr type local return
    oifname { ${bridges} } return
    tcp dport 80 redirect to :${httpPort}
    tcp dport 443 redirect to :${httpsPort}
  }
  chain no_quic {
    type filter hook output priority 0; policy accept;
    ${family} daddr ${proxyAddress} return
    fib daddr type local return
    oifname { ${bridges} } return
    udp dport 443 reject
  }
}
`;
}

/** What `iptables-restore --noflush` takes: naming a chain empties it, so this replaces what was. */
export function iptablesScript(
  { proxyAddress, httpPort, httpsPort }: Redirects,
  family: 4 | 6,
  canRedirect = true,
): string {
  const isProxyFamily = proxyAddress.includes(":") === (family === 6);
  const exempt = [
    ...(isProxyFamily ? [`-A ${CHAIN} -d ${proxyAddress} -j RETURN`] : []),
    `-A ${CHAIN} -m addrtype --dst-type LOCAL -j RETURN`,
    ...BRIDGES.map((name) => `-A ${CHAIN} -o ${name}+ -j RETURN`),
  ];
  const redirect = [
    `-A ${CHAIN} -p tcp --dport 80 -j REDIRECT --to-ports ${httpPort}`,
    `-A ${CHAIN} -p tcp --dport 443 -j REDIRECT --to-ports ${httpsPort}`,
  ];
  const refuse = [
    `-A ${CHAIN} -p udp --dport 443 -j REJECT`,
    ...(canRedirect
      ? []
      : PORTS.map((port) => `-A ${CHAIN} -p tcp --dport ${port} -j REJECT --reject-with tcp-reset`)),
  ];
  return [
    ...(canRedirect ? ["*nat", `:${CHAIN} - [0:0]`, ...exempt, ...redirect, "COMMIT"] : []),
    "*filter",
    `:${CHAIN} - [0:0]`,
    ...exempt,
    ...refuse,
    "COMMIT",
    "",
  ].join("\n");
}

async function applyIptables(
  program: "iptables" | "ip6tables",
  redirects: Redirects,
  run: Run,
  canRedirect = true,
): Promise<void> {
  const script = iptablesScript(redirects, program === "iptables" ? 4 : 6, canRedirect);
  must(await run(`${program}-restore`, ["-w", "5", "--noflush"], { stdin: script }));
  for (const table of canRedirect ? ["nat", "filter"] : ["filter"]) {
    const jump = ["OUTPUT", "-j", CHAIN];
    const isThere = await run(program, ["-w", "5", "-t", table, "-C", ...jump]);
    if (!isThere.isOk) must(await run(program, ["-w", "5", "-t", table, "-A", ...jump]));
  }
}

/** False where IPv6 has no NAT: then it is refused, and programs take IPv4. */
async function applyIp6tables(redirects: Redirects, run: Run): Promise<boolean> {
  try {
    await applyIptables("ip6tables", redirects, run);
    return true;
  } catch {
    try {
      await applyIptables("ip6tables", redirects, run, false);
    } catch {
      // No IPv6 at all.
    }
    return false;
  }
}

async function applyRoutes(run: Run): Promise<boolean> {
  let isOk = true;
  for (const family of ["-4", "-6"]) {
    const route = await run("ip", [family, "route", "replace", "default", "dev", "lo", "table", ROUTE_TABLE]);
    for (const port of PORTS) {
      const rule = await run("ip", [family, "rule", "add", ...routeRule(port)]);
      const isThere = rule.isOk || /File exists/.test(rule.stderr);
      if (family === "-4") isOk &&= route.isOk && isThere;
    }
  }
  return isOk;
}

function routeRule(port: string): readonly string[] {
  return ["pref", ROUTE_PRIORITY, "ipproto", "tcp", "dport", port, "table", ROUTE_TABLE];
}

function must(ran: Ran): void {
  if (ran.isOk) return;
  throw new ProxyError("agent.failed", `Cannot redirect connections: ${whyFailed(ran)}`);
}
