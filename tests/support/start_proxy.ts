/** The proxy in this process, on free loopback ports, with a policy in memory and its audit lines in an array. */
import { parseCidr } from "../../core/cidr.ts";
import { type Clock, systemClock } from "../../core/clock.ts";
import { Deadlines } from "../../core/deadlines.ts";
import { DEFAULT_LIMITS, type Limits } from "../../core/limits.ts";
import { hasNativeCalls } from "../../core/native.ts";
import { formatStored, type StoredRecord } from "../../policy/audit_record.ts";
import type { Asks } from "../../proxy/decide/asks.ts";
import { AuditLog } from "../../proxy/records/audit_log.ts";
import type { Certificates, CleartextSecrets, Explain } from "../../proxy/context.ts";
import type { OnEcho } from "../../proxy/echo/echo_guard.ts";
import type { Mode } from "../../policy/mode.ts";
import { type Listen, type LocalProxy, startProxy } from "../../proxy/server.ts";
import type { DialFrom } from "../../proxy/egress/connect/connector.ts";
import type { Resolve } from "../../proxy/egress/dialler.ts";
import type { ParentProxies } from "../../proxy/egress/parents/parents.ts";
import type { DeadChoice } from "../../proxy/egress/connect/race.ts";
import type { ResolveRecords } from "../../proxy/egress/names/record_lookup.ts";
import { proxyAuthority, upstreamAuthority } from "./test_authority.ts";
import type { PolicySource } from "../../proxy/policy_source.ts";
import type { Credentials } from "../../secrets/credentials.ts";
import { TestPolicy } from "./test_policy.ts";

// Opens the C library here: it stays open for the process, which the sanitizer would count against the first test.
hasNativeCalls();

export const TOKEN = "spi_test_token_of_client_one";

export interface TestProxyOptions {
  /** Default: two free ports of 127.0.0.1. */
  readonly listen?: readonly Listen[];
  readonly mode?: Mode;
  readonly limits?: Partial<Limits>;
  readonly clock?: Clock;
  /** Names and their addresses; anything else does not resolve. Default: every `*.test` name is 127.0.0.1. */
  readonly resolve?: Resolve;
  /** Default: nothing has records. */
  readonly resolveRecords?: ResolveRecords;
  readonly denyCidrs?: readonly string[];
  /** Default: loopback, so that test upstreams can be dialled. */
  readonly allowCidrs?: readonly string[];
  readonly ownPorts?: readonly number[];
  /** Trusted upstream. Default: the CA of the test upstreams. */
  readonly caCertsFor?: (host: string) => readonly string[];
  readonly parents?: ParentProxies;
  readonly dialFrom?: DialFrom;
  readonly onDeadChoice?: (dead: DeadChoice) => void;
  /** Where requests wait for a person. */
  readonly asks?: Asks;
  readonly logQuery?: boolean;
  readonly http2?: boolean;
  /** Real credentials, in place of those of the test policy. */
  readonly credentials?: Credentials;
  /** Tells of changes to their secrets. */
  readonly onSecretChange?: PolicySource["onChange"];
  /** While it is true, audit lines cannot be written. */
  readonly isDiskFull?: () => boolean;
  readonly socksAuth?: "optional" | "required";
  readonly cleartextSecrets?: CleartextSecrets;
  readonly explain?: Explain;
  readonly onEcho?: OnEcho;
  /** Default: a new leaf of the test CA for each call. */
  readonly certificates?: Partial<Certificates>;
}

export interface TestProxy extends AsyncDisposable {
  readonly server: LocalProxy;
  readonly audit: AuditLog;
  readonly policy: TestPolicy;
  readonly httpPort: number;
  readonly tlsPort: number;
  /** What clients trust. */
  readonly caPem: string;
  /** Audit records so far. */
  readonly records: readonly StoredRecord[];
  /** The lines of them, without where each came from: that is another port each time. */
  readonly lines: string[];
  /** What was reported as a bug; a test fails on dispose when there is any. */
  readonly bugs: unknown[];
  /** Waits for an audit line that matches. */
  waitLine(pattern: RegExp): Promise<string>;
}

/** Starts it, with the client `one` whose token is {@linkcode TOKEN}. */
export async function startTestProxy(options: TestProxyOptions = {}): Promise<TestProxy> {
  const policy = new TestPolicy();
  policy.addClient("one", TOKEN);
  const ca = await proxyAuthority();
  const upstreamCa = await upstreamAuthority();
  const stored: StoredRecord[] = [];
  const lines: string[] = [];
  const bugs: unknown[] = [];
  const waiting = new Set<() => void>();
  const clock = options.clock ?? systemClock();
  const audit = new AuditLog({
    now: () => clock.now(),
    deadlines: new Deadlines(),
    sink: {
      write: (records) => {
        if (options.isDiskFull?.()) return Promise.reject(new Error("no space left on device"));
        stored.push(...records);
        lines.push(...records.map((record) => formatStored({ ...record, origin: undefined }, "text")));
        for (const wake of waiting) wake();
        return Promise.resolve();
      },
    },
  });
  const server = startProxy({
    listen: options.listen ?? [
      { hostname: "127.0.0.1", port: 0 },
      { hostname: "127.0.0.1", port: 0 },
    ],
    policy: options.credentials
      ? withCredentials(policy, options.credentials, options.onSecretChange)
      : policy,
    certificates: {
      forHost: (host) => ca.issue([host]),
      isWarm: () => false,
      forProxy: () => ca.issue(["localhost", "127.0.0.1"]),
      forTrust: () => Promise.resolve(ca.caPem),
      ...options.certificates,
    },
    mode: options.mode ?? "strict",
    socksAuth: options.socksAuth ?? "optional",
    cleartextSecrets: options.cleartextSecrets ?? "private",
    explain: options.explain ?? "connect",
    onEcho: options.onEcho ?? "log",
    limits: { ...DEFAULT_LIMITS, lingerTimeoutMs: 200, drainTimeoutMs: 300, ...options.limits },
    clock,
    resolve: options.resolve ?? resolveTestNames,
    resolveRecords: options.resolveRecords ?? (() => Promise.resolve([])),
    denyCidrs: (options.denyCidrs ?? []).map(parseCidr),
    allowCidrs: (options.allowCidrs ?? ["127.0.0.0/8"]).map(parseCidr),
    caCertsFor: options.caCertsFor ?? (() => [upstreamCa.caPem]),
    ownPorts: () => options.ownPorts ?? [],
    ...(options.parents ? { parents: options.parents } : {}),
    ...(options.dialFrom ? { dialFrom: options.dialFrom } : {}),
    ...(options.onDeadChoice ? { onDeadChoice: options.onDeadChoice } : {}),
    ...(options.asks ? { asks: options.asks } : {}),
    audit,
    logQuery: options.logQuery ?? false,
    http2: options.http2 ?? true,
    reportBug: (error) => bugs.push(error),
  });
  const [http, tls] = server.addresses;
  return {
    server,
    audit,
    policy,
    httpPort: http?.port ?? 0,
    tlsPort: tls?.port ?? 0,
    caPem: ca.caPem,
    records: stored,
    lines,
    bugs,
    waitLine: async (pattern) => {
      for (;;) {
        const line = lines.find((line) => pattern.test(line));
        if (line !== undefined) return line;
        await new Promise<void>((resolve, reject) => {
          const timer = setTimeout(() => {
            waiting.delete(wake);
            reject(new Error(`no audit line matches ${pattern}; there are:\n${lines.join("\n")}`));
          }, 30_000);
          const wake = () => {
            clearTimeout(timer);
            waiting.delete(wake);
            resolve();
          };
          waiting.add(wake);
        });
      }
    },
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await audit[Symbol.asyncDispose]();
      if (bugs.length > 0) {
        throw new Error(`the proxy reported a bug: ${inspectError(bugs[0])}`, { cause: bugs[0] });
      }
    },
  };
}

/** Clients and rules of a test policy, with the program's own credentials. */
function withCredentials(
  policy: TestPolicy,
  credentials: Credentials,
  onSecretChange: PolicySource["onChange"] = () => () => {},
): PolicySource {
  return {
    clientByToken: (token) => policy.clientByToken(token),
    modeOf: (client) => policy.modeOf(client),
    clients: () => policy.clients(),
    clientsPassing: (host, port) => policy.clientsPassing(host, port),
    rulesFor: (client, host) => policy.rulesFor(client, host),
    rulesOf: (client) => policy.rulesOf(client),
    secretInfo: (secret) => credentials.secretInfo(secret),
    credential: (secret, request) => credentials.credential(secret, request),
    rejected: (credential, answer) => credentials.rejected(credential, answer),
    isTokenEndpoint: (place) => credentials.isTokenEndpoint(place),
    closedHosts: () => credentials.closedHosts(),
    isSuspended: (client) => policy.isSuspended(client),
    isLost: () => policy.isLost(),
    budgetOf: (client) => policy.budgetOf(client),
    isLive: ({ client, rule, credential }) =>
      policy.isLive({ client, ...(rule ? { rule } : {}) }) &&
      (!credential || credentials.secretInfo(credential.secret)?.version === credential.version),
    onChange: (listener) => {
      const stops = [policy.onChange(listener), onSecretChange(listener)];
      return () => stops.forEach((stop) => stop());
    },
  };
}

function inspectError(error: unknown): string {
  return error instanceof Error ? `${error.stack ?? error.message}` : String(error);
}

const resolveTestNames: Resolve = (host) =>
  host.endsWith(".test") ? Promise.resolve(["127.0.0.1"]) : Promise.reject(new Error("ENOTFOUND"));
