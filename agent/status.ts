/**
 * What is in place, piece by piece.
 *
 * @module
 */
import { isProxyError, messageOf } from "../core/errors.ts";
import { formatHostPort } from "../core/host_port.ts";
import { type AgentConfig, agentFiles, readConfig, readToken } from "./config.ts";
import { hasRedirects } from "./firewall.ts";
import { DNS_PLACE } from "./helper.ts";
import { type Change, Journal, sha256 } from "./journal.ts";
import { CHECK_NAME, currentNames, NAMES } from "./names.ts";
import { checkProxy } from "./name_lookup.ts";
import { askLocalDns, isListening } from "./probe.ts";
import { dialProxy } from "./proxy_link.ts";
import { isServiceRunning } from "./service.ts";
import { findTrustStore, holdsCertificates } from "./trust.ts";
import { exists, readIfThere } from "./files.ts";

/** One piece. */
export interface PieceState {
  readonly piece: string;
  readonly ok: boolean;
  /** In words. */
  readonly state: string;
}

/** True in a VM that has the helper. */
export async function isAgentInstalled(): Promise<boolean> {
  return await exists(agentFiles().config);
}

/** All pieces; none where no helper is installed. */
export async function agentStatus(): Promise<readonly PieceState[]> {
  const journal = await Journal.open();
  const config = await readConfig();
  if (!config || journal.changes.length === 0) return [];
  const states: PieceState[] = [{
    piece: "installation",
    ok: journal.isComplete,
    state: !journal.isComplete
      ? "interrupted: install again, or uninstall"
      : currentNames() === NAMES
      ? "complete"
      : `complete, by an older name (${currentNames().dir}): install again, and it gets the new one`,
  }];
  const isRunning = await isServiceRunning(config.service);
  states.push({
    piece: "service",
    ok: isRunning,
    state: `${isRunning ? "running" : "not running"} (${config.service})`,
  });
  states.push(await proxyState(config));
  const isAnswering = await askLocalDns(DNS_PLACE, CHECK_NAME);
  states.push({
    piece: "dns",
    ok: isAnswering,
    state: `${formatHostPort(DNS_PLACE)} ${isAnswering ? "answers" : "does not answer"}${
      config.dohUrl === undefined ? "" : `, through ${config.dohUrl}`
    }`,
  });
  const isRedirected = await hasRedirects(config.firewall);
  states.push({
    piece: "redirects",
    ok: isRedirected,
    state: `ports 80 and 443 ${isRedirected ? "redirected" : "not redirected"} (${config.firewall})`,
  });
  states.push(await trustState(config));
  const files = new Map<string, Extract<Change, { change: "file" }>>();
  for (const change of journal.changes) if (change.change === "file") files.set(change.path, change);
  for (const change of files.values()) {
    const text = await readIfThere(change.path);
    const state = text === undefined
      ? "missing"
      : sha256(text) === change.sha256
      ? "in place"
      : "changed by somebody else";
    states.push({ piece: change.path, ok: state === "in place", state });
  }
  for (const { name, listen, target } of config.tunnels) {
    const isOpen = await isListening(listen);
    states.push({
      piece: `tunnel ${name}`,
      ok: isOpen,
      state: `${formatHostPort(listen)} to ${formatHostPort(target)}, ${isOpen ? "open" : "not open"}`,
    });
  }
  return states;
}

async function proxyState(config: AgentConfig): Promise<PieceState> {
  const where = formatHostPort(config.proxy);
  try {
    const token = await readToken() ?? "";
    const access = { proxy: config.proxy, caPem: await Deno.readTextFile(config.caFile), token };
    if (config.dohUrl === undefined) await checkProxy(access);
    else (await dialProxy(access)).close();
    return { piece: "proxy", ok: true, state: `${where} reachable, certificate and token good` };
  } catch (error) {
    const words = isProxyError(error, "auth.invalid") ? "does not know the token" : messageOf(error);
    return { piece: "proxy", ok: false, state: `${where}: ${words}` };
  }
}

async function trustState(config: AgentConfig): Promise<PieceState> {
  const store = await findTrustStore();
  if (!store) return { piece: "trust store", ok: false, state: "none in this VM: install ca-certificates" };
  const bundle = await readIfThere(store.bundle) ?? "";
  const ok = config.caFile === store.bundle ||
    holdsCertificates(bundle, await readIfThere(config.caFile) ?? "");
  return { piece: "trust store", ok, state: ok ? "holds the CA" : `${store.bundle} does not hold the CA` };
}
