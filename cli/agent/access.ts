/**
 * Which proxy, with which token and CA, a command inside a VM is to use: from its flags, from `HTTPS_PROXY`, or from what is
 * installed.
 *
 * @module
 */
import { type AgentConfig, agentFiles, readConfig, readToken } from "../../agent/config.ts";
import type { ProxyAccess } from "../../agent/proxy_link.ts";
import { type CaChoice, findCa } from "../../agent/trust.ts";
import { isProxyError, ProxyError } from "../../core/errors.ts";
import { type HostPort, isIpLiteral, parseAuthority } from "../../core/host_port.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { usageError } from "../command/parse.ts";
import { readSecret } from "../rules/secret_input.ts";

const TLS_PORT = 3_129;
const PLAIN_PORT = 3_128;

/** A proxy and a token, from wherever they were named. */
export interface NamedProxy {
  readonly proxy: HostPort;
  readonly token: string;
}

/**
 * The proxy of `--token`, an address and `HTTPS_PROXY`.
 *
 * @param address the argument or flag that names it, when there is one
 * @returns undefined when nothing names a proxy
 * @throws ProxyError `cli.usage`, `input.invalid`
 */
export async function namedProxy(
  address: string | undefined,
  args: CommandArgs,
  io: Io,
): Promise<NamedProxy | undefined> {
  const inherited = proxyFromEnvironment(io);
  const proxy = address === undefined ? inherited?.proxy : parseProxyAddress(address);
  if (!proxy) return undefined;
  const given = await readSecret(args, io, { what: "token", value: "token", files: ["token-file"] });
  const token = given?.text ?? inherited?.token;
  if (token === undefined) {
    throw usageError(
      `Cannot run "${args.spec.name}": the token is missing`,
      "write --token-file FILE, or set HTTPS_PROXY=https://proxy:TOKEN@PROXY_IP:3129",
    );
  }
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new ProxyError(
      "input.invalid",
      "Cannot use this token: it holds spaces or characters beyond ASCII",
    );
  }
  return { proxy, token };
}

/** The values of `--ca` and `--ca-sha256`. */
export function caChoice(args: CommandArgs): CaChoice {
  return { file: args.text("ca"), sha256: args.text("ca-sha256") };
}

/** How `connect` gets out: straight to the proxy, or through the helper, for those who may not read the token. */
export type WayOut = { readonly access: ProxyAccess } | { readonly local: HostPort };

/**
 * The way out of a command that any user of the VM may run.
 *
 * @throws ProxyError `cli.usage`, `input.invalid`, `agent.failed`, `state.*`
 */
export async function wayOut(args: CommandArgs, io: Io): Promise<WayOut> {
  const named = await namedProxy(args.text("proxy"), args, io);
  if (named) {
    const { pem } = await findCa(caChoice(args), named.proxy);
    return { access: { ...named, caPem: pem } };
  }
  const config = await readConfig();
  if (!config) {
    throw new ProxyError("agent.failed", "Cannot find a proxy: none is named, and no helper is installed", {
      hint:
        "set HTTPS_PROXY=https://proxy:TOKEN@PROXY_IP:3129 (for a proxy on loopback, write --proxy IP and " +
        "--token-file FILE), or run slicer-proxy agent install as root",
    });
  }
  const token = await tokenIfReadable();
  if (token === undefined) return { local: { host: "127.0.0.1", port: config.proxyPort } };
  return { access: { proxy: config.proxy, caPem: await caOf(config), token } };
}

/**
 * Reads the address of a proxy: an IP address, with a port when it is not the usual one.
 *
 * @throws ProxyError `cli.usage`
 */
export function parseProxyAddress(text: string): HostPort {
  const place = text.includes("::") && !text.includes("[")
    ? parseAuthority(`[${text}]`, TLS_PORT)
    : parseAuthority(text, TLS_PORT);
  if (place && isIpLiteral(place.host)) return place;
  // A name would have to be looked up by the very service that is being set up.
  throw usageError(
    `Cannot use ${JSON.stringify(text.slice(0, 60))} as the proxy: it is no IP address`,
    "write 192.168.222.1, or 192.168.222.1:PORT",
  );
}

/**
 * The proxy and token of `HTTPS_PROXY`. One without a token, or on loopback, is not the real proxy: the helper itself sets
 * such a value.
 */
function proxyFromEnvironment(io: Io): NamedProxy | undefined {
  const text = io.env("HTTPS_PROXY") ?? io.env("https_proxy");
  if (text === undefined) return undefined;
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return undefined;
  }
  const token = decode(url.password);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (token === "" || host === "localhost" || host === "::1" || host.startsWith("127.")) return undefined;
  const port = url.port === "" ? undefined : Number(url.port);
  if (url.protocol === "https:") return { proxy: { host, port: port ?? 443 }, token };
  if (url.protocol !== "http:") return undefined;
  // The token goes over TLS alone: beside the plain port is the TLS port.
  if (port === PLAIN_PORT || port === TLS_PORT) return { proxy: { host, port: TLS_PORT }, token };
  throw usageError(
    "Cannot use HTTPS_PROXY: it names a plain port, and the token goes over TLS alone",
    "write HTTPS_PROXY=https://proxy:TOKEN@PROXY_IP:3129, with the proxy's TLS port",
  );
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function tokenIfReadable(): Promise<string | undefined> {
  try {
    return await readToken();
  } catch (error) {
    if (isProxyError(error, "state.unreadable")) return undefined;
    throw error;
  }
}

async function caOf({ caFile }: AgentConfig): Promise<string> {
  try {
    return await Deno.readTextFile(caFile);
  } catch (cause) {
    throw new ProxyError("agent.failed", `Cannot read ${caFile}`, {
      cause,
      hint: `${agentFiles().dir} is damaged: slicer-proxy agent uninstall, then install again`,
    });
  }
}
