/**
 * `agent tunnel add`, `list`, `remove`: they change the helper's configuration, which takes it over within a second.
 *
 * @module
 */
import { type AgentConfig, readConfig, writeConfig } from "../../agent/config.ts";
import { mustBeRoot } from "../../agent/install.ts";
import { isFree } from "../../agent/listen.ts";
import { isListening } from "../../agent/probe.ts";
import { ProxyError } from "../../core/errors.ts";
import { formatHostPort, isIpLiteral, parseAuthority } from "../../core/host_port.ts";
import { parseName } from "../../core/names.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { usageError } from "../command/parse.ts";

const TAKEN_OVER_MS = 5_000;

/** Adds a tunnel, and waits until it is open. */
export async function addTunnel(args: CommandArgs, io: Io): Promise<void> {
  mustBeRoot();
  const name = parseName("tunnel", args.argument("NAME"));
  const target = parseAuthority(args.argument("HOST:PORT"));
  if (!target) throw usageError("Cannot tunnel there: write HOST:PORT", "db.internal:5432");
  const listen = parseAuthority(args.textOf("listen"));
  if (!listen || !isIpLiteral(listen.host)) {
    throw usageError("Cannot listen there: write an IP address and a port", "--listen 127.0.0.1:5432");
  }
  const config = await installed();
  if (config.tunnels.some((tunnel) => tunnel.name === name)) {
    throw new ProxyError("input.conflict", `Cannot add the tunnel ${name}: there is one of that name`, {
      hint: `slicer-proxy agent tunnel remove ${name}`,
    });
  }
  if (!isFree(listen)) {
    throw new ProxyError("listen.failed", `Cannot listen on ${formatHostPort(listen)}: another program does`);
  }
  if (!listen.host.startsWith("127.") && listen.host !== "::1") {
    io.output.warn(`whoever can reach ${listen.host} can use this tunnel, with this VM's token`);
  }
  await writeConfig({ ...config, tunnels: [...config.tunnels, { name, listen, target }] });
  const isOpen = await within(TAKEN_OVER_MS, () => isListening(listen));
  io.output.note(
    `${isOpen ? "opened" : "added"} the tunnel ${name}: ${formatHostPort(listen)} leads to ${
      formatHostPort(target)
    }`,
  );
  if (!isOpen) io.output.warn("it is not open yet: slicer-proxy agent status says why");
}

/** Lists the tunnels. */
export async function listTunnels(args: CommandArgs, io: Io): Promise<void> {
  const { tunnels } = await installed();
  const rows = tunnels.map(({ name, listen, target }) => ({
    name,
    listen: formatHostPort(listen),
    target: formatHostPort(target),
  }));
  if (args.has("json")) return io.output.json(rows);
  if (rows.length === 0) return io.output.note("no tunnels yet: slicer-proxy agent tunnel add opens one");
  io.output.table(
    ["NAME", "LISTEN", "TARGET"],
    rows.map(({ name, listen, target }) => [name, listen, target]),
  );
}

/** Removes a tunnel; its connections end. */
export async function removeTunnel(args: CommandArgs, io: Io): Promise<void> {
  mustBeRoot();
  const name = parseName("tunnel", args.argument("NAME"));
  const config = await installed();
  const tunnel = config.tunnels.find((each) => each.name === name);
  if (!tunnel) throw new ProxyError("input.not-found", `Cannot remove the tunnel ${name}: there is none`);
  await writeConfig({ ...config, tunnels: config.tunnels.filter((each) => each !== tunnel) });
  await within(TAKEN_OVER_MS, async () => !await isListening(tunnel.listen));
  io.output.note(`removed the tunnel ${name}`);
}

async function installed(): Promise<AgentConfig> {
  const config = await readConfig();
  if (config) return config;
  throw new ProxyError("agent.failed", "Cannot find the helper: it is not installed in this VM", {
    hint: "slicer-proxy agent install PROXY_IP --token-file FILE",
  });
}

async function within(ms: number, isSo: () => Promise<boolean>): Promise<boolean> {
  for (const end = performance.now() + ms; performance.now() < end;) {
    if (await isSo()) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}
