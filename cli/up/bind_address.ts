/**
 * Makes the address of `--bind` exist on Linux: a host group's microVMs reach the proxy at an address that no adapter of the
 * host need have. What was made is removed again at the end; an address that exists is left alone.
 *
 * @module
 */
import { cidrContains, formatIp, type IpBytes, parseCidr, parseIp } from "../../core/cidr.ts";
import { ProxyError } from "../../core/errors.ts";
import { cutAt } from "../../core/text.ts";

/** An address to bind to, and the width of its network on an adapter that is made for it. */
export interface BindAddress {
  /** Canonical, without prefix. */
  readonly address: string;
  readonly prefix: number;
}

/** Runs `ip` (iproute2) with arguments. Tests pass their own. */
export type RunIp = (args: readonly string[]) => Promise<{ readonly isOk: boolean; readonly stderr: string }>;

/** More are not worth their sockets: each has two listeners in every thread. */
const MAX_BINDS = 16;

/**
 * Reads the values of `--bind`, which may be of both families.
 *
 * @returns at least one, in their order
 * @throws ProxyError `input.invalid` also for addresses of which one takes the other's place
 */
export function parseBindAddresses(values: readonly string[]): readonly BindAddress[] {
  const binds = values.map(parseBindAddress);
  if (binds.length > MAX_BINDS) {
    throw new ProxyError(
      "input.invalid",
      `Cannot bind to ${binds.length} addresses: ${MAX_BINDS} are the most`,
    );
  }
  const addresses = binds.map(({ address }) => address);
  const twice = addresses.find((address, at) => addresses.indexOf(address) !== at);
  if (twice !== undefined) {
    throw new ProxyError("input.invalid", `Cannot bind to ${twice} twice`);
  }
  const covered = (wildcard: string, others: readonly string[]) => {
    const [other] = others;
    if (!addresses.includes(wildcard) || other === undefined) return;
    throw new ProxyError(
      "input.invalid",
      `Cannot bind to ${wildcard} and ${other}: the first is every address`,
      {
        hint: `leave --bind ${other} out${wildcard === "::" ? "; :: takes IPv4 too" : ""}`,
      },
    );
  };
  covered("::", addresses.filter((each) => each !== "::"));
  covered("0.0.0.0", addresses.filter((each) => each !== "0.0.0.0" && !each.includes(":")));
  return binds;
}

/**
 * Reads a `--bind` value: an IP literal, or one with a prefix.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseBindAddress(text: string): BindAddress {
  const [address = "", prefixText, ...more] = text.split("/");
  const ip = parseIp(address);
  const bits = (ip?.length ?? 0) * 8;
  const prefix = prefixText === undefined ? bits : Number(prefixText);
  const isPrefix = prefixText === undefined || (/^(0|[1-9]\d{0,2})$/.test(prefixText) && prefix <= bits);
  if (!ip || !isPrefix || more.length > 0) {
    throw new ProxyError(
      "input.invalid",
      `Cannot bind to ${JSON.stringify(text.slice(0, 60))}: it is no IP address`,
      {
        hint: text.includes("%")
          ? LINK_LOCAL_HINT
          : "write --bind 192.168.222.1, 192.168.222.1/24, fd00:222::1, 0.0.0.0 or ::",
      },
    );
  }
  if (ip.length === 16 && (ip[0] === 0xfe && ((ip[1] ?? 0) & 0xc0) === 0x80)) {
    throw new ProxyError(
      "input.invalid",
      `Cannot bind to ${formatIp(ip)}: it is link-local, the same on every link`,
      {
        hint: LINK_LOCAL_HINT,
      },
    );
  }
  if (cidrContains(MAPPED, ip)) {
    throw new ProxyError(
      "input.invalid",
      `Cannot bind to ${formatIp(ip)}: it is an IPv4 address in disguise`,
      {
        hint: `write --bind ${formatIp(ip.slice(12))}`,
      },
    );
  }
  return { address: formatIp(ip), prefix };
}

/** RFC 4291 §2.5.5.2. */
const MAPPED = parseCidr("::ffff:0:0/96");
/** Its zone is one host's word for a link, and no proxy URL has a place for it. */
const LINK_LOCAL_HINT =
  "give the host a unique local address for its VMs, for instance --bind fd00:222::1/64";

/**
 * The name of the adapter for an address: the same at every start, and within the 15 bytes that Linux allows. Of an IPv6
 * address it is a digest (FNV-1a), so that two addresses have two names.
 */
export function adapterName(ip: IpBytes): string {
  const hex = (bytes: Iterable<number>) =>
    [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (ip.length === 4) return `slp-${hex(ip)}`;
  let digest = 0x811c9dc5;
  for (const byte of ip) digest = Math.imul(digest ^ byte, 0x01000193);
  return `slp-6${(digest >>> 0).toString(16).padStart(8, "0")}`;
}

/**
 * Makes sure that the address can be bound to. Elsewhere than on Linux, for wildcard and loopback addresses, and for one
 * that an adapter has, there is nothing to do.
 *
 * @returns what was made, to be disposed when the proxy has stopped; undefined when nothing was
 * @throws ProxyError `listen.failed`, with the command to run
 */
export async function ensureBindAddress(
  { address, prefix }: BindAddress,
  runIp: RunIp = runIpCommand,
  os: string = Deno.build.os,
): Promise<(AsyncDisposable & { readonly adapter: string }) | undefined> {
  const ip = parseIp(address);
  if (!ip || os !== "linux" || isWildcardOrLoopback(ip) || hasAddress(address)) return undefined;
  const where = `${address}/${prefix}`;
  // On loopback a network would be this machine as a whole, and nothing would reach the VMs in it.
  const alone = `${address}/${ip.length * 8}`;
  // Looking for another machine with the address takes a second, in which nobody can bind to it (RFC 4862 §5.4).
  const options = ip.length === 16 ? ["nodad"] : [];
  const adapter = adapterName(ip);
  const link = await runIp(["link", "add", adapter, "type", "dummy"]);
  if (link.isOk || /File exists/.test(link.stderr)) {
    const added = await runIp(["address", "add", where, "dev", adapter, ...options]);
    const raised = added.isOk ? await runIp(["link", "set", adapter, "up"]) : added;
    if (raised.isOk) return remover(adapter, ["link", "delete", adapter], runIp);
    if (link.isOk) await runIp(["link", "delete", adapter]);
    throw cannotMake(where, alone, raised.stderr);
  }
  if (/not permitted|denied/i.test(link.stderr)) throw cannotMake(where, alone, link.stderr);
  // The kernel has no dummy driver: loopback carries the address as well.
  const added = await runIp(["address", "add", alone, "dev", "lo", ...options]);
  if (!added.isOk) throw cannotMake(alone, alone, added.stderr);
  return remover("lo", ["address", "delete", alone, "dev", "lo"], runIp);
}

function remover(
  adapter: string,
  args: readonly string[],
  runIp: RunIp,
): AsyncDisposable & { readonly adapter: string } {
  return {
    adapter,
    [Symbol.asyncDispose]: async () => void await runIp(args),
  };
}

function hasAddress(address: string): boolean {
  return localAddresses().has(address);
}

/** Every address of this machine, without zones. */
export function localAddresses(): ReadonlySet<string> {
  return new Set(Deno.networkInterfaces().map(({ address }) => cutAt(address, "%")));
}

/** True for one that can go: no wildcard, and none of loopback's own. */
export function canGo({ address }: BindAddress): boolean {
  const ip = parseIp(address);
  return ip !== undefined && !isWildcardOrLoopback(ip);
}

function isWildcardOrLoopback(ip: IpBytes): boolean {
  return ip.every((byte) => byte === 0) || (ip.length === 4 ? ip[0] === 127 : formatIp(ip) === "::1");
}

/** @param onLoopback what anybody may put on loopback in its place */
function cannotMake(where: string, onLoopback: string, stderr: string): ProxyError {
  const why = stderr.trim().split("\n").pop()?.replace(/^RTNETLINK answers: /, "") || "the ip command failed";
  return new ProxyError("listen.failed", `Cannot make the address ${where} exist: ${why}`, {
    hint: `run as root, or once: sudo ip address add ${onLoopback} dev lo`,
  });
}

const runIpCommand: RunIp = async (args) => {
  try {
    const { success, stderr } = await new Deno.Command("ip", {
      args: [...args],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    })
      .output();
    return { isOk: success, stderr: new TextDecoder().decode(stderr) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      return { isOk: false, stderr: "the command ip (iproute2) is not installed" };
    }
    if (error instanceof Deno.errors.NotCapable) return { isOk: false, stderr: "not permitted to run ip" };
    throw error;
  }
};
