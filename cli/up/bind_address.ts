/**
 * Makes the address of `--bind` exist on Linux: a host group's microVMs reach the proxy at an address that no adapter of the
 * host need have. What was made is removed again at the end; an address that exists is left alone.
 *
 * @module
 */
import { formatIp, type IpBytes, parseIp } from "../../core/cidr.ts";
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
        hint: "write --bind 192.168.222.1, 192.168.222.1/24 or 0.0.0.0",
      },
    );
  }
  return { address: formatIp(ip), prefix };
}

/** The name of the adapter for an address: the same at every start, and within the 15 bytes that Linux allows. */
export function adapterName(ip: IpBytes): string {
  const bytes = ip.length === 4 ? ip : ip.slice(-4);
  return "slp-" + [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
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
  const adapter = adapterName(ip);
  const link = await runIp(["link", "add", adapter, "type", "dummy"]);
  if (link.isOk || /File exists/.test(link.stderr)) {
    const added = await runIp(["address", "add", where, "dev", adapter]);
    const raised = added.isOk ? await runIp(["link", "set", adapter, "up"]) : added;
    if (raised.isOk) return remover(adapter, ["link", "delete", adapter], runIp);
    if (link.isOk) await runIp(["link", "delete", adapter]);
    throw cannotMake(where, raised.stderr);
  }
  if (/not permitted|denied/i.test(link.stderr)) throw cannotMake(where, link.stderr);
  // The kernel has no dummy driver: loopback carries the address as well.
  const added = await runIp(["address", "add", where, "dev", "lo"]);
  if (!added.isOk) throw cannotMake(where, added.stderr);
  return remover("lo", ["address", "delete", where, "dev", "lo"], runIp);
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
  return Deno.networkInterfaces().some((each) => cutAt(each.address, "%") === address);
}

function isWildcardOrLoopback(ip: IpBytes): boolean {
  return ip.every((byte) => byte === 0) || (ip.length === 4 ? ip[0] === 127 : formatIp(ip) === "::1");
}

function cannotMake(where: string, stderr: string): ProxyError {
  const why = stderr.trim().split("\n").pop()?.replace(/^RTNETLINK answers: /, "") || "the ip command failed";
  return new ProxyError("listen.failed", `Cannot make the address ${where} exist: ${why}`, {
    hint: `run as root, or once: sudo ip address add ${where} dev lo`,
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
