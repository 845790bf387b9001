/**
 * The data plane of `up`: in this thread, or with `--workers` on several.
 *
 * Not here: what else makes a proxy (`cmd_up.ts`).
 *
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import { logger } from "../../core/log.ts";
import type { AuditLog } from "../../proxy/records/audit_log.ts";
import type { Asks } from "../../proxy/decide/asks.ts";
import { Meters } from "../../proxy/records/meters.ts";
import type { Certificates } from "../../proxy/context.ts";
import type { PolicySource } from "../../proxy/policy_source.ts";
import { type ProxyServer, startProxy } from "../../proxy/server.ts";
import { type NameCounters, NO_NAMES } from "../../proxy/egress/names/asker.ts";
import type { Names } from "../../proxy/egress/names/names.ts";
import type { DeadChoices } from "../../proxy/egress/connect/dead_choices.ts";
import type { ParentProxies } from "../../proxy/egress/parents/parents.ts";
import { Trust, type TrustedFor } from "../../proxy/egress/tls/trust.ts";
import type { Credentials } from "../../secrets/credentials.ts";
import type { State } from "../../store/state.ts";
import type { WorkerConfig } from "../../workers/messages.ts";
import { startWorkers } from "../../workers/pool.ts";
import type { UpConfig } from "./config.ts";

/** What the data plane works with. */
export interface DataPlaneParts {
  readonly state: State;
  readonly credentials: Credentials;
  readonly certificates: Certificates;
  /** Whom to trust upstream at the start. */
  readonly trusted: readonly TrustedFor[];
  readonly parents: ParentProxies;
  /** Is told of upstreams whose preferred address does not answer. */
  readonly deadChoices: DeadChoices;
  readonly audit: AuditLog;
  readonly clock: Clock;
  /** The memory of `Meters`, for all threads. */
  readonly metersMemory: SharedArrayBuffer;
  /** Where requests wait for a person. */
  readonly asks: Asks;
  /** Of this thread. */
  readonly names: Pick<Names, "resolve" | "resolveRecords">;
  /** Takes lines of the operational log of other threads. */
  readonly note: (line: string) => void;
}

/** A running data plane. */
export interface DataPlane extends Pick<ProxyServer, "addresses" | "counters">, AsyncDisposable {
  /** Makes a port of this process one that no client reaches. */
  addOwnPort(port: number): void;
  /** Trusts exactly these upstream; resolves when every thread does. Connections of before are not used again where one has gone. */
  trust(trusted: readonly TrustedFor[]): Promise<void>;
  /** Another CA signs from now on. */
  retireCertificates(): void;
  /** The machine has slept: upstream connections of before are not used again. Workers notice that themselves. */
  woke(): void;
  /** Resolves when the audit log has the records of everything that was decided before. */
  flush(): Promise<void>;
  /** Workers that had to be replaced so far. */
  readonly replacedWorkers: number;
  /** What threads of its own have asked of name servers. */
  names(): NameCounters;
}

/**
 * Starts it.
 *
 * @throws ProxyError `listen.failed`
 */
export function startDataPlane(config: UpConfig, parts: DataPlaneParts): Promise<DataPlane> {
  const settings: WorkerConfig = {
    listen: config.binds.flatMap(({ address: hostname }) => [
      { hostname, port: config.httpPort },
      { hostname, port: config.httpsPort },
    ]),
    mode: config.mode,
    socksAuth: config.socksAuth,
    cleartextSecrets: config.cleartextSecrets,
    explain: config.explain,
    onEcho: config.onEcho,
    limits: config.limits,
    denyCidrs: config.denyCidrs,
    allowCidrs: config.allowCidrs,
    dns: config.dns,
    parents: parts.parents,
    dialFrom: config.dialFrom,
    logQuery: config.logQuery,
    http2: config.http2,
  };
  return config.workers === 1 ? startHere(settings, parts) : startThreads(config.workers, settings, parts);
}

// deno-lint-ignore require-await -- so that what it throws is a rejection, as from the other
async function startHere(
  settings: WorkerConfig,
  { state, credentials, certificates, audit, clock, metersMemory, asks, names, trusted, deadChoices }:
    DataPlaneParts,
): Promise<DataPlane> {
  const trust = new Trust(trusted);
  const ownPorts: number[] = [];
  const proxy = startProxy({
    ...settings,
    policy: policyOf(state, credentials),
    certificates,
    clock,
    onDeadChoice: (dead) => deadChoices.note(dead),
    resolve: names.resolve,
    resolveRecords: names.resolveRecords,
    caCertsFor: (host) => trust.certificatesFor(host),
    ownPorts: () => ownPorts,
    meters: new Meters(metersMemory),
    asks,
    audit,
    reportBug,
  });
  return {
    addresses: proxy.addresses,
    counters: () => proxy.counters(),
    addOwnPort: (port) => ownPorts.push(port),
    trust: (trusted) => {
      if (trust.replace(trusted)) proxy.retireUpstreams();
      return Promise.resolve();
    },
    retireCertificates: () => proxy.retireCertificates(),
    woke: () => proxy.retireUpstreams(),
    flush: () => Promise.resolve(), // it gets each at once
    replacedWorkers: 0,
    names: () => NO_NAMES, // they are this thread's
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

async function startThreads(
  count: number,
  settings: WorkerConfig,
  parts: DataPlaneParts,
): Promise<DataPlane> {
  const { state, credentials, certificates, audit, note } = parts;
  let { trusted } = parts;
  const workers = await startWorkers({
    count,
    module: Deno.mainModule,
    config: settings,
    tokenKey: state.tokenKey,
    snapshot: () => ({ changes: state.snapshot(), closed: credentials.closedEndpoints(), trusted }),
    follow: (replicate) =>
      state.keepCopies((changes) => {
        const hasSecrets = changes.some(({ kind }) => kind === "secret" || kind === "secret-gone");
        return replicate({ changes, ...(hasSecrets ? { closed: credentials.closedEndpoints() } : {}) });
      }),
    policy: policyOf(state, credentials),
    certificates,
    metersMemory: parts.metersMemory,
    asks: parts.asks,
    onDeadChoice: (dead) => parts.deadChoices.note(dead),
    audit,
    note,
    log: logger("workers"),
    reportBug,
  });
  return {
    addresses: workers.addresses,
    counters: () => workers.counters(),
    addOwnPort: (port) => workers.addOwnPort(port),
    trust: (now) => {
      trusted = now; // for a worker that starts later
      return workers.update({ changes: [], trusted });
    },
    retireCertificates: () => void workers.update({ changes: [], isOtherCa: true }),
    woke: () => {},
    flush: () => workers.flush(),
    get replacedWorkers() {
      return workers.replaced;
    },
    names: () => workers.names(),
    [Symbol.asyncDispose]: () => workers[Symbol.asyncDispose](),
  };
}

/** The state and its credentials as the data plane sees them. */
function policyOf(state: State, credentials: Credentials): PolicySource {
  return {
    clientByToken: (token) => state.clientByToken(token),
    modeOf: (client) => state.modeOf(client),
    clients: () => state.listClients(),
    clientsPassing: (host, port) => state.clientsPassing(host, port),
    rulesFor: (client, host) => state.rulesFor(client, host),
    rulesOf: (client) => state.rulesOf(client),
    secretInfo: (secret) => credentials.secretInfo(secret),
    credential: (secret, request) => credentials.credential(secret, request),
    rejected: (credential, answer) => credentials.rejected(credential, answer),
    isTokenEndpoint: (place) => credentials.isTokenEndpoint(place),
    closedHosts: () => credentials.closedHosts(),
    isSuspended: (client) => state.isSuspended(client),
    isLost: () => state.isLost(),
    budgetOf: (client) => state.getClient(client)?.budget,
    isLive: (grant) => state.isLive(grant),
    onChange: (listener) => state.onChange(listener),
  };
}

/** Never given anything that a client or upstream sent. */
function reportBug(error: unknown): void {
  logger("proxy").error(`unexpected: ${error instanceof Error ? error.stack ?? error.message : error}`);
}
