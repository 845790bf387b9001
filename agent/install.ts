/**
 * Puts the helper into a VM, all or nothing: everything that can be known to fail is checked before anything is touched, and
 * a step that fails takes back those before it. A second installation changes token, proxy and CA in place.
 *
 * Not here: taking it away again (`uninstall.ts`), the contents of files (`pieces.ts`).
 *
 * @module
 */
import { messageOf, ProxyError } from "../core/errors.ts";
import { formatHostPort, type HostPort } from "../core/host_port.ts";
import { type AgentConfig, agentFiles, readConfig, readToken, writeConfig, writeToken } from "./config.ts";
import { exists, readIfThere, replaceFile } from "./files.ts";
import { isThisProgram, refuseForeign } from "./foreign.ts";
import { findFirewall } from "./firewall.ts";
import { DNS_PLACE } from "./helper.ts";
import { Journal } from "./journal.ts";
import { isFree } from "./listen.ts";
import { checkProxy } from "./name_lookup.ts";
import { CHECK_NAME, currentNames, NAMES, OLDER_NAMES } from "./names.ts";
import { askLocalDns, waitForHelper } from "./probe.ts";
import { addToNss, CERTUTIL_ADVICE, findNssStores, hasCertutil } from "./nss.ts";
import {
  commandScript,
  dockerConfig,
  environmentFile,
  type EnvironmentOptions,
  environmentVariables,
  PIECES,
  profileScript,
  resolvConf,
  systemdUnit,
} from "./pieces.ts";
import { findProgram } from "./programs.ts";
import { dialProxy } from "./proxy_link.ts";
import { findService, isServiceRunning, logCommand, startService } from "./service.ts";
import {
  anchorPath,
  type CaChoice,
  findCa,
  findTrustStore,
  holdsCertificates,
  updateTrustStore,
} from "./trust.ts";
import { undoAll } from "./uninstall.ts";

export interface InstallOptions {
  /** The proxy's TLS port. */
  readonly proxy: HostPort;
  readonly token: string;
  readonly ca: CaChoice;
  /** DNS-over-HTTPS through the proxy, instead of the proxy's own name service. */
  readonly dohUrl?: string | undefined;
  /** This program and its arguments up to the command, with full paths. */
  readonly self: readonly string[];
  /** Tells people what was done, in a line. */
  readonly say: (line: string) => void;
}

/** Loopback ports that are tried first; any free one will do. */
const PREFERRED_PORTS = { httpPort: 18_080, httpsPort: 18_443, proxyPort: 18_128 } as const;

const TAKEN_OVER_MS = 4_000;

/** What the checks have found out. */
interface Checked {
  readonly config: AgentConfig;
  readonly caPem: string;
  /** The CA file of the configuration is ours to write. */
  readonly ownsCa: boolean;
}

/**
 * Installs the helper, or changes the one that is installed.
 *
 * @returns `installed`, or `changed` for an installation that was there
 * @throws ProxyError `input.invalid`, `auth.invalid`, `upstream.*`, `agent.failed`, `listen.failed`, `state.*`
 */
export async function install(options: InstallOptions): Promise<"installed" | "changed"> {
  mustBeRoot();
  await refuseForeign(options.self);
  const journal = await Journal.open();
  if (journal.changes.length > 0 && !journal.isComplete) {
    options.say("an earlier installation was interrupted: putting back what it had changed");
    await undoAll(options.say);
  }
  const existing = journal.isComplete ? await readConfig() : undefined;
  const checked = await check(options, existing);
  if (existing && currentNames() !== OLDER_NAMES) {
    await change(options, checked, existing);
    return "changed";
  }
  if (existing) {
    // What it had changed is put back first: the files of before are in its journal, and its names are not ours any more.
    options.say(`taking over the installation in ${OLDER_NAMES.dir}, which is an older one of this program`);
    await undoAll(options.say);
  }
  try {
    await makeAll(options, checked);
  } catch (error) {
    options.say("a step failed: putting everything back");
    await undoAll(options.say).catch((undo) =>
      options.say(`not everything could be put back: ${messageOf(undo)}`)
    );
    throw error;
  }
  return "installed";
}

/** @throws ProxyError `agent.failed` */
export function mustBeRoot(): void {
  if (Deno.build.os !== "linux") {
    throw new ProxyError("agent.failed", "Cannot do this here: the helper is for Linux VMs");
  }
  if (Deno.uid() !== 0) {
    throw new ProxyError("agent.failed", "Cannot do this as this user: it needs root", { hint: "sudo …" });
  }
}

/** Finds everything that is needed, and changes nothing. */
async function check(options: InstallOptions, existing: AgentConfig | undefined): Promise<Checked> {
  const { proxy, token, dohUrl, say } = options;
  const firewall = existing?.firewall ?? await findFirewall();
  const { pem, isSystem } = await findCa(options.ca, proxy);
  const access = { proxy, caPem: pem, token };
  if (dohUrl === undefined) {
    await checkProxy(access);
    say(`the proxy at ${formatHostPort(proxy)} is there, its certificate is good, and it knows the token`);
  } else {
    (await dialProxy(access)).close();
    say(`the proxy at ${formatHostPort(proxy)} is there, and its certificate is good`);
  }
  const ports = existing ?? choosePorts();
  if (!existing && !isFree(DNS_PLACE)) {
    throw new ProxyError(
      "listen.failed",
      `Cannot answer DNS on ${formatHostPort(DNS_PLACE)}: something does`,
      {
        hint: "stop the name server that runs in this VM (dnsmasq, named, unbound?)",
      },
    );
  }
  if (await wantsDocker()) {
    dockerConfig(await readIfThere(PIECES.docker), environmentOf(proxy, ports.proxyPort, undefined));
  }
  const store = isSystem ? await findTrustStore() : undefined;
  return {
    caPem: pem,
    ownsCa: !isSystem,
    config: {
      proxy,
      caFile: store?.bundle ?? agentFiles(NAMES.dir).ca,
      ...(dohUrl === undefined ? {} : { dohUrl }),
      httpPort: ports.httpPort,
      httpsPort: ports.httpsPort,
      proxyPort: ports.proxyPort,
      firewall,
      service: existing?.service ?? await findService(),
      tunnels: existing?.tunnels ?? [],
    },
  };
}

async function makeAll(options: InstallOptions, checked: Checked): Promise<void> {
  const { self, say, token } = options;
  const { config } = checked;
  const { dir } = agentFiles();
  const journal = await Journal.open();
  await Deno.mkdir(dir, { recursive: true, mode: 0o755 });
  // First of all: by its journal the folder is known to be ours.
  await journal.add({ change: "folder", path: dir });
  if (checked.ownsCa) await replaceFile(agentFiles().ca, checked.caPem, { mode: 0o644 });
  await writeToken(token);
  await writeConfig(config);

  const bundle = await trust(journal, checked, say);
  await journal.add({ change: "redirects", firewall: config.firewall });
  if (config.service === "systemd") {
    await journal.writeFile(PIECES.unit, systemdUnit([...self, "agent", "run"]));
  }
  if (!await isThisProgram(self)) await journal.writeFile(PIECES.command, commandScript(self), 0o755);
  await journal.add({ change: "service", service: config.service });
  await startService(config.service, self);
  await mustAnswer(config, options);
  say(
    `DNS on ${formatHostPort(DNS_PLACE)} and redirects of ports 80 and 443 (${config.firewall}) are in place`,
  );

  await trustInBrowsers(journal, checked, say);
  const environment = environmentOf(config.proxy, config.proxyPort, bundle, config.caFile);
  const variables = environmentVariables(environment);
  await journal.writeFile(PIECES.profile, profileScript(variables), 0o644);
  await journal.writeFile(
    PIECES.environment,
    environmentFile(await readIfThere(PIECES.environment) ?? "", variables),
  );
  if (await wantsDocker()) {
    await journal.writeFile(PIECES.docker, dockerConfig(await readIfThere(PIECES.docker), environment));
    say("Docker fetches images through the proxy once it is restarted: systemctl restart docker");
  }
  await journal.writeFile(PIECES.resolvConf, resolvConf(await readIfThere(PIECES.resolvConf) ?? ""), 0o644);
  await journal.add({ change: "complete" });
}

/** Puts the CA into the trust store. @returns the store's bundle, when it holds the CA then */
async function trust(
  journal: Journal,
  { caPem, ownsCa }: Checked,
  say: (line: string) => void,
): Promise<string | undefined> {
  const store = await findTrustStore();
  if (!store) {
    say("this VM has no trust store (the package ca-certificates): install it, and then the helper again");
    return undefined;
  }
  if (!ownsCa || holdsCertificates(await readIfThere(store.bundle) ?? "", caPem)) {
    say("the CA is in the trust store already");
    return store.bundle;
  }
  await journal.add({ change: "trust-store" });
  await journal.writeFile(anchorPath(store), caPem, 0o644);
  await updateTrustStore(store);
  if (!holdsCertificates(await readIfThere(store.bundle) ?? "", caPem)) {
    throw new ProxyError("agent.failed", `Cannot trust the CA: ${store.program} did not take it in`);
  }
  say("the CA is in the trust store");
  return store.bundle;
}

/** Puts the CA into the browsers' own stores. One user's store that cannot be changed is no reason to fail: it is said. */
async function trustInBrowsers(
  journal: Journal,
  { caPem, ownsCa }: Checked,
  say: (line: string) => void,
): Promise<void> {
  const stores = await findNssStores();
  if (stores.length === 0) return;
  if (!await hasCertutil()) {
    return say(`browsers do not trust the CA yet: ${CERTUTIL_ADVICE}, then agent doctor --fix`);
  }
  if (!ownsCa) {
    return say(
      "browsers have to be told about the CA by hand: which of the trusted ones it is, is not known",
    );
  }
  for (const store of stores) {
    try {
      await addToNss(store, caPem, journal);
      say(`the CA is in the browsers' store ${store.path}`);
    } catch (error) {
      say(`the browsers' store ${store.path} does not hold the CA: ${messageOf(error)}`);
    }
  }
}

/** Changes what is installed; what goes wrong leaves it as it was. */
async function change(options: InstallOptions, checked: Checked, existing: AgentConfig): Promise<void> {
  const { say, self } = options;
  const { config, caPem, ownsCa } = checked;
  const before = {
    token: await readToken() ?? "",
    ca: await readIfThere(agentFiles().ca),
  };
  const write = async (wanted: AgentConfig, token: string, ca: string | undefined) => {
    if (ca !== undefined) await replaceFile(agentFiles().ca, ca, { mode: 0o644 });
    await writeToken(token);
    await writeConfig(wanted);
    // A running helper takes over what is in the files, but for where it asks for names.
    const isOtherService = config.dohUrl !== existing.dohUrl;
    if (isOtherService || !await isServiceRunning(wanted.service)) await startService(wanted.service, self);
  };
  try {
    await write(config, options.token, ownsCa ? caPem : before.ca);
    const journal = await Journal.open();
    await trust(journal, checked, say);
    await trustInBrowsers(journal, checked, say);
    await mustAnswer(config, options);
  } catch (error) {
    await write(existing, before.token, before.ca);
    throw error;
  }
}

/** Waits until the running helper answers, and asks it for a name all the way to the proxy. */
async function mustAnswer(config: AgentConfig, { say }: InstallOptions): Promise<void> {
  if (!await waitForHelper(config, 15_000)) {
    throw new ProxyError("agent.failed", "Cannot start the helper: it does not answer", {
      hint: logCommand(config.service),
    });
  }
  // A name that nobody has: the proxy says so, a helper without a way to the proxy says SERVFAIL. A helper that was running
  // takes a moment to see the new token.
  for (const end = performance.now() + TAKEN_OVER_MS; performance.now() < end;) {
    if (await askLocalDns(DNS_PLACE, CHECK_NAME)) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  if (config.dohUrl !== undefined) {
    say("names cannot be looked up yet: the client needs a rule for the host of --doh-url");
    return;
  }
  throw new ProxyError("agent.failed", "Cannot look up names through the helper: the proxy does not answer", {
    hint: logCommand(config.service),
  });
}

function environmentOf(
  proxy: HostPort,
  proxyPort: number,
  bundle: string | undefined,
  caFile: string = agentFiles().ca,
): EnvironmentOptions {
  return { proxyAddress: proxy.host, proxyPort, caFile, bundle };
}

async function wantsDocker(): Promise<boolean> {
  return await exists("/etc/docker") || await findProgram("dockerd") !== undefined;
}

function choosePorts(): Pick<AgentConfig, "httpPort" | "httpsPort" | "proxyPort"> {
  const choose = (port: number) => {
    if (isFree({ host: "127.0.0.1", port })) return port;
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    listener.close();
    return listener.addr.port;
  };
  return {
    httpPort: choose(PREFERRED_PORTS.httpPort),
    httpsPort: choose(PREFERRED_PORTS.httpsPort),
    proxyPort: choose(PREFERRED_PORTS.proxyPort),
  };
}
