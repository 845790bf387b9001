/**
 * What the helper is told: the files below its folder (`names.ts`). The token stands alone in a file of mode 0600; the rest may
 * be read by everyone in the VM, so that `agent connect` works for them too.
 *
 * Not here: the journal of what was changed in the VM (`journal.ts`).
 *
 * @module
 */
import { messageOf, ProxyError } from "../core/errors.ts";
import { formatHostPort, type HostPort, parseAuthority, parsePort } from "../core/host_port.ts";
import { parseName } from "../core/names.ts";
import { replaceFile } from "./files.ts";
import { currentNames } from "./names.ts";

/** A local port that leads to one place through the proxy. */
export interface TunnelConfig {
  readonly name: string;
  readonly listen: HostPort;
  readonly target: HostPort;
}

/** See each field. */
export interface AgentConfig {
  /** The proxy's TLS port. */
  readonly proxy: HostPort;
  /** PEM: the certificates that the proxy's is verified with. */
  readonly caFile: string;
  /** DNS-over-HTTPS through the proxy, instead of asking the proxy itself. */
  readonly dohUrl?: string;
  /** Loopback ports: redirected HTTP, redirected HTTPS, and a proxy for programs that take one. */
  readonly httpPort: number;
  readonly httpsPort: number;
  readonly proxyPort: number;
  readonly firewall: "nft" | "iptables";
  readonly service: "systemd" | "process";
  readonly tunnels: readonly TunnelConfig[];
}

/** The paths below a folder, that of the installation in this VM but for tests. */
export function agentFiles(dir = currentNames().dir) {
  return {
    dir,
    config: `${dir}/config.json`,
    token: `${dir}/token`,
    ca: `${dir}/ca.crt`,
    journal: `${dir}/journal.jsonl`,
    backups: `${dir}/backup`,
  } as const;
}

/**
 * The configuration, or undefined where no helper is installed.
 *
 * @throws ProxyError `state.unreadable`, `state.damaged`
 */
export async function readConfig(dir?: string): Promise<AgentConfig | undefined> {
  const path = agentFiles(dir).config;
  const text = await readOptional(path);
  if (text === undefined) return undefined;
  try {
    return parseConfig(JSON.parse(text));
  } catch (cause) {
    throw new ProxyError("state.damaged", `Cannot read ${path}: ${messageOf(cause)}`, {
      cause,
      hint: "slicer-proxy agent uninstall puts the VM back; then install again",
    });
  }
}

/** Writes the configuration, at once or not at all. */
export async function writeConfig(config: AgentConfig, dir?: string): Promise<void> {
  const json = {
    ...config,
    proxy: formatHostPort(config.proxy),
    tunnels: config.tunnels.map(({ name, listen, target }) => ({
      name,
      listen: formatHostPort(listen),
      target: formatHostPort(target),
    })),
  };
  await replaceFile(agentFiles(dir).config, JSON.stringify(json, undefined, 2) + "\n", { mode: 0o644 });
}

/**
 * The token, or undefined where there is none.
 *
 * @throws ProxyError `state.unreadable`, for everyone but root
 */
export async function readToken(dir?: string): Promise<string | undefined> {
  return (await readOptional(agentFiles(dir).token))?.trim();
}

export async function writeToken(token: string, dir?: string): Promise<void> {
  await replaceFile(agentFiles(dir).token, token + "\n", { mode: 0o600 });
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    const words = cause instanceof Deno.errors.PermissionDenied ? "permission denied" : messageOf(cause);
    throw new ProxyError("state.unreadable", `Cannot read ${path}: ${words}`, { cause, hint: "run as root" });
  }
}

function parseConfig(input: unknown): AgentConfig {
  const fields = recordOf(input);
  const { caFile, dohUrl, firewall, service, tunnels } = fields;
  if (typeof caFile !== "string") throw new TypeError("caFile is missing");
  if (firewall !== "nft" && firewall !== "iptables") throw new TypeError("firewall is unknown");
  if (service !== "systemd" && service !== "process") throw new TypeError("service is unknown");
  if (!Array.isArray(tunnels)) throw new TypeError("tunnels is no list");
  return {
    proxy: hostPortOf(fields.proxy, "proxy"),
    caFile,
    ...(typeof dohUrl === "string" ? { dohUrl } : {}),
    httpPort: portOf(fields.httpPort, "httpPort"),
    httpsPort: portOf(fields.httpsPort, "httpsPort"),
    proxyPort: portOf(fields.proxyPort, "proxyPort"),
    firewall,
    service,
    tunnels: tunnels.map((each: unknown) => {
      const { name, listen, target } = recordOf(each);
      return {
        name: parseName("tunnel", String(name)),
        listen: hostPortOf(listen, "listen"),
        target: hostPortOf(target, "target"),
      };
    }),
  };
}

function recordOf(input: unknown): Record<string, unknown> {
  if (typeof input !== "object" || input === null) throw new TypeError("it is no object");
  return { ...input };
}

function hostPortOf(input: unknown, what: string): HostPort {
  const place = typeof input === "string" ? parseAuthority(input) : undefined;
  if (!place) throw new TypeError(`${what} is no host and port`);
  return place;
}

function portOf(input: unknown, what: string): number {
  const port = typeof input === "number" ? parsePort(String(input)) : undefined;
  if (port === undefined) throw new TypeError(`${what} is no port`);
  return port;
}
