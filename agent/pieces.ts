/**
 * The contents of the files that the helper puts into the VM. Pure text: from what was there to what shall be there.
 *
 * Not here: writing them (`install.ts`), restoring them (`journal.ts`).
 *
 * @module
 */
import { messageOf, ProxyError } from "../core/errors.ts";
import { formatHost } from "../core/host_port.ts";
import { AGENT_COMMAND, NAMES } from "./names.ts";

/** Where each piece goes. */
export const PIECES = {
  resolvConf: "/etc/resolv.conf",
  environment: "/etc/environment",
  profile: NAMES.profile,
  docker: "/etc/docker/daemon.json",
  unit: NAMES.unitFile,
  command: AGENT_COMMAND,
} as const;

/** By this the files are known to be ours. */
export const MARK = "slicer-proxy agent";

/** What the environment of every login gets. */
export interface EnvironmentOptions {
  readonly proxyAddress: string;
  readonly proxyPort: number;
  /** The proxy's CA alone. */
  readonly caFile: string;
  /** All certificates that the VM trusts, the proxy's CA among them; undefined where there is no such file. */
  readonly bundle: string | undefined;
}

/** `/etc/resolv.conf`: only the name server changes, search domains and options stay (resolv.conf(5)). */
export function resolvConf(before: string): string {
  const kept = before.split("\n").filter((line) => /^\s*(search|domain|options|sortlist)\s/.test(line));
  return [
    `# made by ${MARK} install; "${MARK} uninstall" brings back what was here`,
    "nameserver 127.0.0.1",
    ...kept,
    "",
  ].join("\n");
}

/** Proxy and CA variables, by name. None of them holds the token. */
export function environmentVariables(options: EnvironmentOptions): ReadonlyMap<string, string> {
  const { proxyAddress, proxyPort, caFile, bundle } = options;
  const proxy = `http://127.0.0.1:${proxyPort}`;
  const noProxy = `localhost,127.0.0.1,::1,${formatHost(proxyAddress)}`;
  return new Map([
    ...["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].map((name) => [name, proxy] as const),
    ["NO_PROXY", noProxy],
    ["no_proxy", noProxy],
    // Node and Bun add these to their own list; Deno too.
    ["NODE_EXTRA_CA_CERTS", caFile],
    ["DENO_CERT", caFile],
    // These replace the program's list, so they need the whole bundle.
    ...(bundle === undefined
      ? []
      : ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "AWS_CA_BUNDLE", "CURL_CA_BUNDLE"].map((name) =>
        [name, bundle] as const
      )),
  ]);
}

/** `/etc/profile.d/slicer-proxy-agent.sh`, read by login shells. */
export function profileScript(variables: ReadonlyMap<string, string>): string {
  const lines = [...variables].map(([name, value]) => `export ${name}='${value}'`);
  return [`# made by ${MARK} install`, ...lines, ""].join("\n");
}

/** `/etc/environment`, read by PAM for every session: what was there, less the names that we set, and ours. */
export function environmentFile(before: string, variables: ReadonlyMap<string, string>): string {
  const nameOf = (line: string) => /^\s*(?:export\s+)?([A-Za-z_]\w*)=/.exec(line)?.[1] ?? "";
  const kept = before.split("\n").filter((line) => !variables.has(nameOf(line)));
  while (kept.at(-1) === "") kept.pop();
  const lines = [...variables].map(([name, value]) => `${name}="${value}"`);
  return [...kept, `# made by ${MARK} install`, ...lines, ""].join("\n");
}

/** The command in the VM: a script that runs this program, wherever it lies. */
export function commandScript(self: readonly string[]): string {
  const words = self.map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  return `#!/bin/sh\n# made by ${MARK} install\nexec ${words.join(" ")} "$@"\n`;
}

/**
 * Docker's `daemon.json`: the daemon fetches images through the helper (Docker 23 and later).
 *
 * @throws ProxyError `agent.failed` where what is there is no JSON object
 */
export function dockerConfig(before: string | undefined, options: EnvironmentOptions): string {
  let config: Record<string, unknown> = {};
  if (before !== undefined && before.trim() !== "") {
    let parsed: unknown;
    try {
      parsed = JSON.parse(before);
    } catch (cause) {
      throw new ProxyError("agent.failed", `Cannot change ${PIECES.docker}: ${messageOf(cause)}`, { cause });
    }
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
      throw new ProxyError("agent.failed", `Cannot change ${PIECES.docker}: it holds no JSON object`);
    }
    config = { ...parsed };
  }
  const variables = environmentVariables(options);
  const proxies = {
    "http-proxy": variables.get("HTTP_PROXY"),
    "https-proxy": variables.get("HTTPS_PROXY"),
    "no-proxy": variables.get("NO_PROXY"),
  };
  return JSON.stringify({ ...config, proxies }, undefined, 2) + "\n";
}

/**
 * The systemd unit. The token is not in it: the helper reads its own file.
 *
 * @param command the program and its arguments, each quoted for systemd.syntax(7)
 */
export function systemdUnit(command: readonly string[]): string {
  return `# made by ${MARK} install
[Unit]
Description=Slicer Proxy helper: DNS and redirects through the proxy
Wants=network-online.target nss-lookup.target
After=network-online.target
Before=nss-lookup.target docker.service
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=${command.map(quoteUnit).join(" ")}
Restart=always
RestartSec=1
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW
ProtectSystem=strict
ReadWritePaths=-/run
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`;
}

/** A word of a unit file: `%` and `$` are doubled, the rest goes in quotes when it needs them. */
function quoteUnit(word: string): string {
  const escaped = word.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("%", "%%").replaceAll(
    "$",
    "$$$$",
  );
  return /^[\w@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped}"`;
}
