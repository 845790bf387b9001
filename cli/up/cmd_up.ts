/**
 * `up`: the composition root. The only file that knows which concrete parts make a proxy, and in which order they start
 * and stop.
 *
 * @module
 */
import { proxyPortNames } from "../../ca/leaf.ts";
import { type Api, startApi, type TcpOptions } from "../../api/server.ts";
import { Slicerd } from "../../api/slicerd.ts";
import type { ApiTls } from "../../api/tls_backs.ts";
import { loadApiToken } from "../../api/token_file.ts";
import type { Clock } from "../../core/clock.ts";
import { Deadlines } from "../../core/deadlines.ts";
import { ProxyError } from "../../core/errors.ts";
import { formatHostPort } from "../../core/host_port.ts";
import { formatDuration } from "../../core/duration.ts";
import { probeConnections } from "../../core/native.ts";
import { watchWakes } from "../../core/wake_watch.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { logger, startLog } from "../../core/log.ts";
import { Admission } from "../../proxy/accept/admission.ts";
import { makeMetersMemory, Meters } from "../../proxy/records/meters.ts";
import { AskBook } from "../../proxy/decide/ask_book.ts";
import { AuditLog } from "../../proxy/records/audit_log.ts";
import { providerCall } from "../../proxy/egress/provider_call.ts";
import { Dialler } from "../../proxy/egress/dialler.ts";
import { addNames } from "../../proxy/egress/names/asker.ts";
import { type Names, openNames } from "../../proxy/egress/names/names.ts";
import { testSecret } from "../../proxy/egress/secret_probe.ts";
import { DeadChoices } from "../../proxy/egress/connect/dead_choices.ts";
import type { ParentProxies } from "../../proxy/egress/parents/parents.ts";
import { Trust } from "../../proxy/egress/tls/trust.ts";
import { Credentials } from "../../secrets/credentials.ts";
import type { Fleet } from "../../store/fleet/fleet.ts";
import { State } from "../../store/state.ts";
import { openAuditPlaces } from "./audit_places.ts";
import { openOtlpExporter } from "./otlp_target.ts";
import { Approvals } from "./approvals.ts";
import { AskWebhook } from "./ask_webhook.ts";
import { BudgetKeeper } from "./budget_keeper.ts";
import { type BindAddress, ensureBindAddress } from "./bind_address.ts";
import { watchNetwork } from "./network_watch.ts";
import type { CommandArgs } from "../command/command.ts";
import { dropProgramRights, lockDownProcess } from "./environment.ts";
import { readFileBytes } from "../terminal/input_bytes.ts";
import type { Io } from "../terminal/io.ts";
import { startPolicy } from "./policy_reload.ts";
import { ProxyCaDesk } from "./ca_desk.ts";
import { ProxyCertificates } from "./certificates.ts";
import { readUpConfig, type UpConfig } from "./config.ts";
import { type DataPlane, startDataPlane } from "./data_plane.ts";
import { statusReport } from "./report.ts";
import { advertisedHost, fleetLogs, isLoopbackBind, ownWay } from "./fleet_logs.ts";
import { openFleetStore, warnOfUnusedState } from "./fleet_store.ts";
import { checkSources } from "./upstream_dial.ts";
import { loadParents } from "./upstream_proxy.ts";
import { UpstreamTrust } from "./upstream_trust.ts";

/** Runs the proxy until SIGINT or SIGTERM. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const config = readUpConfig(args);
  startLog((line) => io.output.note(line));
  const log = logger("up");
  if (!lockDownProcess(io.env)) log.warn("native calls are not available: SIGUSR1 would open a debugger");
  dropProgramRights();
  using _hangUps = surviveHangUps(config, log);
  const stopAsked = nextStopSignal();
  await using running = await start(config, io);
  log.info(`listening on ${running.where.join(" and ")}, ${config.mode} mode, API on ${config.apiSocket}`);
  for (const line of howVmsReachIt(config)) log.info(line);
  log.info(`stopping after ${await stopAsked}`);
}

/** What a VM is told, or that none gets here: the default binds loopback, which is each machine's own. */
function howVmsReachIt({ binds, httpPort, httpsPort, sans }: UpConfig): readonly string[] {
  const addresses = binds.map(({ address }) => address);
  const reachable = addresses.filter((address) => !address.startsWith("127.") && address !== "::1");
  if (reachable.length === 0) {
    const own = addresses.join(" and ");
    return [
      `VMs cannot reach it on ${own}, which is this machine's own: --bind 192.168.222.1 is what they reach`,
    ];
  }
  return reachable.map((address) => {
    const isAny = address === "0.0.0.0" || address === "::";
    const host = isAny ? sans[0] ?? "ADDRESS" : address;
    const at = (scheme: string, port: number) => `${scheme}://proxy:TOKEN@${formatHostPort({ host, port })}`;
    return `VMs reach it by HTTP_PROXY=${at("http", httpPort)} and HTTPS_PROXY=${at("https", httpsPort)}`;
  });
}

/** Everything that `up` started. Disposing it stops in the opposite order. */
interface Running extends AsyncDisposable {
  readonly where: readonly string[];
}

async function start(config: UpConfig, io: Io): Promise<Running> {
  const { clock } = io;
  const log = logger("up");
  const stack = new AsyncDisposableStack();
  try {
    const state = stack.use(
      await State.open({
        dir: config.stateDir,
        sealKeyFile: config.sealKeyFile,
        clock,
        fleet: config.store && await openFleetStore(config.store),
      }),
    );
    if (state.fleet) await warnOfUnusedState(config.stateDir);
    if (config.policyFile !== undefined) {
      stack.use(await startPolicy({ path: config.policyFile, state, io, log: logger("policy") }));
    }
    const certificates = stack.use(await openCertificates(config, state, clock));
    const upstreamTrust = stack.use(
      await UpstreamTrust.load({
        values: config.upstreamCas,
        ownCaPem: () => certificates.authority.certPem,
        log: logger("upstream-ca"),
      }),
    );
    const trust = new Trust(upstreamTrust.trusted);
    const madeHere = new Set<BindAddress>();
    for (const bind of config.binds) {
      const made = await ensureBindAddress(bind);
      if (!made) continue;
      stack.use(made);
      madeHere.add(bind);
      log.info(`made the address ${bind.address} on ${made.adapter}; it goes when the proxy stops`);
    }
    checkSources(config.dialFrom);
    const names = stack.use(openNames({
      servers: config.dns,
      limitMs: config.limits.resolveTimeoutMs,
      caCertsFor: (host) => trust.certificatesFor(host),
      log: logger("names"),
    }));
    const parents = await openParents(config, names, clock);
    const exporter = await openOtlpExporter(config, { resolve: names.resolve, trust, parents, clock });
    if (exporter) stack.use(exporter);
    const places = stack.use(await openAuditPlaces(config, io.output, exporter));
    const audit = stack.use(
      new AuditLog({ sink: places.sink, now: () => clock.now(), deadlines: new Deadlines() }),
    );
    state.onModeSwitch = ({ client, mode, ttlMs }) =>
      audit.write({ verdict: "change", client: client ?? "*", mode, durationMs: ttlMs });
    state.onSuspension = ({ client, isSuspended }) =>
      audit.write({ verdict: "change", client: client ?? "*", method: isSuspended ? "SUSPEND" : "RESUME" });
    const { credentials, dialler } = openCredentials(
      config,
      { state, clock, trust, parents, names },
      stack,
    );
    const startedAt = clock.now();
    const deadChoices = new DeadChoices(() => clock.monotonic());
    const note = (line: string) => io.output.note(line);
    const asks = new AskBook();
    const webhook = await openAskWebhook(config, dialler, clock);
    if (webhook) {
      stack.use(webhook);
      asks.onAsk = (ask) => webhook.tell(ask);
    }
    const metersMemory = makeMetersMemory();
    const budgets = stack.use(
      await BudgetKeeper.start({ state, meters: new Meters(metersMemory), clock, log: logger("budgets") }),
    );
    const proxy = stack.use(
      await startDataPlane(config, {
        ...{ state, credentials, certificates, parents, audit, clock },
        ...{ note, metersMemory, asks, names, deadChoices },
        trusted: upstreamTrust.trusted,
      }),
    );
    if (state.fleet) {
      state.fleet.figures = () => {
        const { connections, openTunnels: tunnels } = proxy.counters();
        const { allow: allowed, deny: denied, passthrough: passedThrough } = audit.totals;
        return { connections, tunnels, allowed, denied, passedThrough };
      };
    }
    certificates.onSwitch = () => proxy.retireCertificates();
    upstreamTrust.follow((trusted) => {
      trust.replace(trusted);
      return proxy.trust(trusted);
    });
    stack.use(readAtHangUp(upstreamTrust));
    stack.use(watchNetwork(config.binds, madeHere, logger("network")));
    stack.defer(watchWakes(clock, (sleptMs) => {
      log.info(
        `nothing ran here for ${seconds(sleptMs)}: connections and names of before are not used again`,
      );
      proxy.woke();
      names.forget();
      credentials.wake();
      probeConnections();
    }));
    const api = stack.use(
      await startApi({
        control: state,
        status: () =>
          statusReport(config, {
            ...{
              clock,
              startedAt,
              proxy,
              audit,
              leaves: certificates.leaves,
              credentials,
              state,
              places,
              upstreamTrust,
            },
            ...{ parents, deadChoices },
            names: () => addNames(names.counters, proxy.names()),
          }),
        audit: places.store,
        fleetLogs: state.fleet && fleetLogs(state.fleet),
        budgets,
        cas: new ProxyCaDesk({ ...config, state, certificates, clock }),
        requests: new Approvals({ book: asks, state, audit, clock }),
        secrets: {
          lastUse: (name) => audit.lastUse(name),
          test: (secret, url) =>
            testSecret(
              {
                dialler,
                limits: DEFAULT_LIMITS,
                cleartextSecrets: config.cleartextSecrets,
                credential: (name, request) => credentials.credential(name, request),
              },
              secret,
              url,
            ),
        },
        auditSettled: async () => {
          await proxy.flush();
          await audit.written();
        },
        log: { error: (line) => log.error(line) },
        socketPath: config.apiSocket,
        slicerd: await openSlicerd(config),
        ...(config.apiBind
          ? { tcp: await apiTcp(config, config.apiBind, { certificates, proxy, fleet: state.fleet }) }
          : {}),
      }),
    );
    for (const port of api.ports) proxy.addOwnPort(port);
    if (state.fleet) {
      tellFleet(config, {
        fleet: state.fleet,
        api,
        caPem: () => certificates.authority.certPem,
      });
    }
    credentials.start();
    const started = stack.move();
    return {
      where: proxy.addresses.map(({ hostname, port }) => formatHostPort({ host: hostname, port })),
      [Symbol.asyncDispose]: () => started.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

function openParents(
  { upstreamProxy, binds, httpPort, httpsPort }: UpConfig,
  { resolve }: Pick<Names, "resolve">,
  clock: Clock,
): Promise<ParentProxies> {
  const listeners = binds.flatMap(({ address: hostname }) =>
    [httpPort, httpsPort].map((port) => ({ hostname, port }))
  );
  return loadParents(upstreamProxy, { listeners, resolve, clock });
}

/** Credentials, whose renewals and tests go out as the data plane's requests do, and are counted apart from them. */
function openCredentials(
  config: UpConfig,
  { state, clock, trust, parents, names }: {
    readonly state: State;
    readonly clock: Clock;
    readonly trust: Trust;
    readonly names: Pick<Names, "resolve">;
    readonly parents: ParentProxies;
  },
  stack: AsyncDisposableStack,
): { readonly credentials: Credentials; readonly dialler: Dialler } {
  const log = logger("secrets");
  const dialler = new Dialler({
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
    admission: new Admission(DEFAULT_LIMITS),
    resolve: names.resolve,
    addresses: config,
    caCertsFor: (host) => trust.certificatesFor(host),
    parents,
    dialFrom: config.dialFrom,
    // Our own listeners show certificates of our own CA, which is never trusted upstream.
    ownAddresses: () => [],
  });
  const credentials = stack.use(
    new Credentials({
      source: state,
      call: providerCall(dialler, DEFAULT_LIMITS),
      clock,
      log: { warn: (line) => log.warn(line), error: (line) => log.error(line) },
      reportBug: (error) =>
        log.error(`unexpected: ${error instanceof Error ? error.stack ?? error.message : error}`),
    }),
  );
  return { credentials, dialler };
}

/** The CA and its certificates, and what the API says of them. */
async function openCertificates(config: UpConfig, state: State, clock: Clock): Promise<ProxyCertificates> {
  return await ProxyCertificates.open({
    hostgroup: config.hostgroup,
    caDir: config.caDir,
    names: proxyPortNames(config.binds.map(({ address }) => address), config.sans),
    clock,
    state,
    log: logger("ca"),
  });
}

async function apiTcp(
  config: UpConfig,
  where: { readonly host: string; readonly port: number },
  { certificates, proxy, fleet }: {
    readonly certificates: Pick<ProxyCertificates, "forApi">;
    readonly proxy: Pick<DataPlane, "addOwnPort">;
    readonly fleet: Fleet | undefined;
  },
): Promise<TcpOptions> {
  const token = await loadApiToken(config.apiTokenFile);
  const tcp = { hostname: where.host, port: where.port, token };
  if (isLoopbackBind(where.host)) return tcp;
  const issue = async (): Promise<ApiTls> => {
    const leaf = await certificates.forApi(apiNames(config));
    return {
      cert: leaf.certPem,
      key: leaf.keyPem,
      get renewAt() {
        return leaf.renewAt;
      },
      renew: issue,
    };
  };
  return {
    ...tcp,
    tls: await issue(),
    logToken: fleet && (() => fleet.logWays.token()),
    names: apiNames(config),
    onPort: (port) => proxy.addOwnPort(port),
  };
}

/** The other hosts learn how they read this one's audit log, which they may where the API has TLS. */
function tellFleet(
  config: UpConfig,
  { fleet, api, caPem }: { readonly fleet: Fleet; readonly api: Api; readonly caPem: () => string },
): void {
  const { tcpAddress } = api;
  if (!config.apiBind || !tcpAddress) return;
  const isTls = !isLoopbackBind(config.apiBind.host);
  fleet.logWays.own = () => ownWay(config, { isTls, port: tcpAddress.port, caPem: caPem() });
  if (isTls && !fleet.logWays.own()) {
    logger("up").warn(
      "other hosts are not told where this API is: --api-advertise HOST says how they reach it",
    );
  }
}

/** Who is told of requests that wait for a person. Its secret is read once, at the start. */
async function openAskWebhook(
  { askWebhook }: UpConfig,
  dialler: Dialler,
  clock: Clock,
): Promise<AskWebhook | undefined> {
  if (!askWebhook) return undefined;
  const bytes = await readFileBytes(askWebhook.secretFile, MAX_TOKEN_FILE_BYTES);
  return new AskWebhook({
    url: askWebhook.url,
    secret: new TextDecoder().decode(bytes).trim(),
    call: providerCall(dialler, DEFAULT_LIMITS),
    now: () => clock.now(),
    log: logger("ask-webhook"),
  });
}

/** The way to slicerd, when there is to be one. Its token is read once, at the start. */
async function openSlicerd({ slicerd: place, slicerdTokenFile }: UpConfig): Promise<Slicerd | undefined> {
  if (!place) return undefined;
  if (slicerdTokenFile === undefined) return new Slicerd({ place });
  const token = new TextDecoder().decode(await readFileBytes(slicerdTokenFile, MAX_TOKEN_FILE_BYTES)).trim();
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new ProxyError(
      "input.invalid",
      `Cannot use ${slicerdTokenFile} as slicerd's token: it holds no token`,
    );
  }
  return new Slicerd({ place, token });
}

const MAX_TOKEN_FILE_BYTES = 4_096;

/** Where the API is called: where it is bound, and where the proxy is. */
function apiNames(config: UpConfig): readonly string[] {
  const { binds, apiBind, sans } = config;
  const advertised = advertisedHost(config);
  return proxyPortNames(
    [...binds.map(({ address }) => address), ...(apiBind ? [apiBind.host] : [])],
    [...sans, ...(advertised === undefined ? [] : [advertised])],
  );
}

/**
 * SIGHUP ends a process that does not listen for it, and a service is told to reload by whoever does not know its flags. A
 * proxy that ends is no way out for any VM.
 */
function surviveHangUps({ policyFile, upstreamCas }: UpConfig, log: ReturnType<typeof logger>): Disposable {
  const onHangUp = () => {
    if (policyFile === undefined && upstreamCas.length === 0) {
      log.info("SIGHUP: there is no --policy to read again, going on");
    }
  };
  Deno.addSignalListener("SIGHUP", onHangUp);
  return { [Symbol.dispose]: () => Deno.removeSignalListener("SIGHUP", onHangUp) };
}

/** In whole seconds, as it is told: no `7.0s`. */
function seconds(ms: number): string {
  const whole = Math.round(ms / 1_000);
  return whole < 60 ? `${whole}s` : formatDuration(whole * 1_000);
}

/** SIGHUP has the files of `--upstream-ca` read again, as the policy. */
function readAtHangUp(trust: UpstreamTrust): Disposable {
  const onHangUp = () => void trust.readAgain();
  Deno.addSignalListener("SIGHUP", onHangUp);
  return { [Symbol.dispose]: () => Deno.removeSignalListener("SIGHUP", onHangUp) };
}

/** Resolves at the first signal that asks to stop. A second one ends the process at once, as the default does. */
function nextStopSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const signals = ["SIGINT", "SIGTERM"] as const;
  const listeners = signals.map((signal) => () => {
    for (const [i, each] of signals.entries()) {
      const listener = listeners[i];
      if (listener) Deno.removeSignalListener(each, listener);
    }
    resolve(signal);
  });
  for (const [i, signal] of signals.entries()) {
    const listener = listeners[i];
    if (listener) Deno.addSignalListener(signal, listener);
  }
  return promise;
}
