/**
 * The flags of `up` as one frozen configuration, everything checked before anything is opened.
 *
 * Not here: opening and starting (`cmd_up.ts`).
 *
 * @module
 */
import { join, resolve } from "node:path";
import { type Cidr, parseCidr, parseIp } from "../../core/cidr.ts";
import { ProxyError } from "../../core/errors.ts";
import { quoteText } from "../../core/escape.ts";
import { formatHostPort, type HostPort, parseAuthority } from "../../core/host_port.ts";
import { DEFAULT_LIMITS, type Limits } from "../../core/limits.ts";
import { CLEARTEXT_SECRETS, type CleartextSecrets, type Explain } from "../../proxy/context.ts";
import { ON_ECHO, type OnEcho } from "../../proxy/echo/echo_guard.ts";
import { parseDnsServers, type ServersOf } from "../../proxy/egress/names/name_server.ts";
import { type BindAddress, parseBindAddresses } from "./bind_address.ts";
import type { CommandArgs } from "../command/command.ts";
import { type ApiTarget, parseApiUrl } from "../api/url.ts";
import { portsOf, responseTimeoutOf } from "../api/values.ts";
import { type Advertised, checkAdvertised, parseAdvertised } from "./fleet_logs.ts";
import { type OtlpPlace, parseOtlpUrl } from "./otlp_place.ts";
import { usageError } from "../command/parse.ts";
import type { DialFrom } from "../../proxy/egress/connect/connector.ts";
import { readDialFrom } from "./upstream_dial.ts";
import { readUpstreamProxy, type UpstreamProxyFlags } from "./upstream_proxy.ts";
import { caFolderOf } from "../rules/ca_folder.ts";
import { type FleetStore, fleetStoreOf } from "../store/place.ts";

export interface UpConfig {
  readonly hostgroup: string;
  readonly caDir: string;
  /** At least one. */
  readonly binds: readonly BindAddress[];
  readonly httpPort: number;
  readonly httpsPort: number;
  readonly sans: readonly string[];
  readonly denyCidrs: readonly Cidr[];
  readonly allowCidrs: readonly Cidr[];
  readonly upstreamCas: readonly string[];
  /** Name servers by zone; none: the system's resolver. */
  readonly dns: readonly ServersOf[];
  readonly upstreamProxy: UpstreamProxyFlags;
  readonly dialFrom: DialFrom;
  readonly mode: "strict" | "audit";
  readonly policyFile: string | undefined;
  readonly socksAuth: "optional" | "required";
  readonly cleartextSecrets: CleartextSecrets;
  readonly explain: Explain;
  readonly onEcho: OnEcho;
  readonly stateDir: string;
  readonly sealKeyFile: string | undefined;
  /** The store of the fleet that this host is a part of. */
  readonly store: FleetStore | undefined;
  readonly apiSocket: string;
  readonly apiBind: HostPort | undefined;
  /** Where the other hosts of the fleet reach it. */
  readonly apiAdvertise: Advertised | undefined;
  readonly apiTokenFile: string;
  /** Where calls of the API go that are not ours. */
  readonly slicerd: ApiTarget | undefined;
  readonly slicerdTokenFile: string | undefined;
  /** Is told of requests that wait for a person, with signatures by the key in the file. */
  readonly askWebhook: { readonly url: string; readonly secretFile: string } | undefined;
  readonly logFormat: "text" | "json";
  readonly logFile: string;
  readonly logQuery: boolean;
  /** Where the audit log is sent as well. */
  readonly auditOtlp: OtlpPlace | undefined;
  /** False: HTTP/1.1 is all that is spoken. */
  readonly http2: boolean;
  readonly limits: Limits;
  /** Threads of the data plane. */
  readonly workers: number;
}

/**
 * Reads the flags.
 *
 * @throws ProxyError `input.invalid`, naming the flag's value
 */
export function readUpConfig(args: CommandArgs): UpConfig {
  const stateDir = args.textOf("state-dir");
  const { dir: caDir, hostgroup } = caFolderOf(args);
  const [httpPort = 0] = portsOf(args, "http-port");
  const [httpsPort = 0] = portsOf(args, "https-port");
  const apiSocket = args.text("api-socket") ?? join(stateDir, "api.sock");
  const apiBind = parseApiBind(args.text("api-bind"));
  const advertised = args.text("api-advertise");
  const apiAdvertise = advertised === undefined ? undefined : parseAdvertised(advertised);
  const store = fleetStoreOf(args);
  checkAdvertised({ apiAdvertise, apiBind, store });
  if (httpPort === httpsPort) {
    throw new ProxyError(
      "input.invalid",
      `Cannot use port ${httpPort} twice: --http-port and --https-port must differ`,
    );
  }
  return {
    hostgroup,
    caDir,
    binds: parseBindAddresses(args.has("bind") ? args.list("bind") : [args.textOf("bind")]),
    httpPort,
    httpsPort,
    sans: args.list("san"),
    denyCidrs: args.list("deny-cidr").map(parseCidr),
    allowCidrs: args.list("allow-cidr").map(parseCidr),
    upstreamCas: args.list("upstream-ca"),
    dns: parseDnsServers(args.list("dns")),
    upstreamProxy: readUpstreamProxy(args),
    dialFrom: readDialFrom(args),
    mode: args.textOf("mode") === "audit" ? "audit" : "strict",
    policyFile: args.text("policy"),
    socksAuth: args.textOf("socks-auth") === "required" ? "required" : "optional",
    cleartextSecrets: CLEARTEXT_SECRETS.find((each) => each === args.textOf("cleartext-secrets")) ??
      "private",
    onEcho: ON_ECHO.find((each) => each === args.textOf("on-echo")) ?? "mask",
    explain: args.textOf("explain") === "inside" ? "inside" : "connect",
    stateDir,
    sealKeyFile: args.text("seal-key-file"),
    store,
    apiSocket,
    apiBind,
    apiAdvertise,
    apiTokenFile: args.text("api-token-file") ?? join(stateDir, "api-token"),
    slicerd: parseSlicerd(args.text("slicerd"), { apiSocket, apiBind }),
    slicerdTokenFile: args.text("slicerd-token-file"),
    askWebhook: askWebhookOf(args),
    logFormat: args.textOf("log-format") === "json" ? "json" : "text",
    logFile: args.text("log-file") ?? join(stateDir, "audit.log"),
    logQuery: args.has("log-query"),
    auditOtlp: auditOtlpOf(args),
    http2: args.textOf("http2") !== "off",
    limits: readLimits(args),
    workers: parseWorkers(args.text("workers")),
  };
}

function readLimits(args: CommandArgs): Limits {
  return {
    ...DEFAULT_LIMITS,
    responseTimeoutMs: responseTimeoutOf(args) ?? DEFAULT_LIMITS.responseTimeoutMs,
    maxMintsPerClientPerMinute: newHostsOf(args.textOf("new-hosts-per-minute")),
  };
}

/** @throws ProxyError `cli.usage` for one of the two flags without the other */
function askWebhookOf(args: CommandArgs): UpConfig["askWebhook"] {
  const [url, secretFile] = [args.text("ask-webhook"), args.text("ask-webhook-secret-file")];
  if (url === undefined && secretFile === undefined) return undefined;
  if (url !== undefined && secretFile !== undefined) return { url, secretFile };
  throw usageError(
    "Cannot use one of --ask-webhook and --ask-webhook-secret-file alone",
    "openssl rand -hex 32 > FILE makes a secret",
  );
}

/** @throws ProxyError `input.invalid`, `cli.usage` for one of the other two flags alone */
function auditOtlpOf(args: CommandArgs): OtlpPlace | undefined {
  const url = args.text("audit-otlp");
  const [headersFile, caFile] = [args.text("audit-otlp-headers-file"), args.text("audit-otlp-ca")];
  if (url !== undefined) return { url: parseOtlpUrl(url), headersFile, caFile };
  if (headersFile === undefined && caFile === undefined) return undefined;
  throw usageError(
    "Cannot use --audit-otlp-headers-file or --audit-otlp-ca alone",
    "--audit-otlp URL says where the collector is",
  );
}

/** Making one takes four milliseconds: so many take a core for most of the minute. */
const MAX_NEW_HOSTS = 10_000;

function newHostsOf(text: string): number {
  const count = Number(text);
  if (/^\d{1,5}$/.test(text) && count >= 1 && count <= MAX_NEW_HOSTS) return count;
  throw new ProxyError("input.invalid", `Cannot allow ${quoteText(text, 20)} new hosts per minute`, {
    hint: `write --new-hosts-per-minute with a number from 1 to ${MAX_NEW_HOSTS}`,
  });
}

/** More than that many share the machine badly: each is a whole runtime, and keeps upstream connections of its own. */
const MAX_WORKERS = 64;
/** What a machine with many cores gets unless it is told otherwise. */
const DEFAULT_MAX_WORKERS = 16;

function parseWorkers(text: string | undefined): number {
  const isLinux = Deno.build.os === "linux";
  if (text === undefined) return isLinux ? Math.min(navigator.hardwareConcurrency, DEFAULT_MAX_WORKERS) : 1;
  const count = Number(text);
  if (!/^\d{1,3}$/.test(text) || count < 1 || count > MAX_WORKERS) {
    throw new ProxyError("input.invalid", `Cannot run ${quoteText(text, 20)} workers`, {
      hint: `write --workers with a number from 1 to ${MAX_WORKERS}`,
    });
  }
  if (count > 1 && !isLinux) {
    throw new ProxyError(
      "input.invalid",
      `Cannot run ${count} workers: only Linux shares a port among threads`,
      {
        hint: "leave --workers out",
      },
    );
  }
  return count;
}

/** @throws ProxyError `cli.usage`, also for our own socket, where a call would go round for ever */
function parseSlicerd(
  text: string | undefined,
  { apiSocket, apiBind }: { readonly apiSocket: string; readonly apiBind: HostPort | undefined },
): ApiTarget | undefined {
  if (text === undefined) return undefined;
  const target = parseApiUrl(text, undefined);
  const isOurs = target.kind === "unix"
    ? target.path === resolve(apiSocket)
    : apiBind !== undefined && target.base.host === formatHostPort(apiBind);
  if (isOurs) {
    throw usageError(
      "Cannot use this --slicerd: it is the proxy's own API",
      "write the socket of slicer up: --slicerd ./slicer.sock",
    );
  }
  return target;
}

function parseApiBind(text: string | undefined): HostPort | undefined {
  if (text === undefined) return undefined;
  const where = parseAuthority(text);
  if (!where || !(parseIp(where.host) || where.host === "localhost")) {
    throw new ProxyError("input.invalid", `Cannot bind the API to ${JSON.stringify(text.slice(0, 60))}`, {
      hint: "write --api-bind 127.0.0.1:8443",
    });
  }
  return where;
}
