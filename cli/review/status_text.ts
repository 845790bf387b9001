/**
 * The status of the proxy as people read it: one aspect a line, and below them what asks for somebody's hand.
 *
 * Not here: asking for it (`cmd_status.ts`), and the fields (`api/schemas_status.ts`). A field that an older proxy does not
 * send leaves its line out.
 *
 * @module
 */
import { formatDuration } from "../../core/duration.ts";
import { escapeTerminal, quoteShell } from "../../core/escape.ts";
import { formatHostPort } from "../../core/host_port.ts";
import type { JsonObject } from "../api/client.ts";
import { cell } from "../api/values.ts";

/** Denial and failure reasons that are named; `--json` has all. */
const TOP_REASONS = 5;

/** The lines of a status. */
export function statusText(status: JsonObject): string {
  const lines = [
    `slicer-proxy ${text(status.version)}, up for ${uptime(number(status.uptime_seconds))}, ` +
    `since ${text(status.started_at)}`,
    "",
  ];
  const rows = aspects(status).filter(([, value]) => value !== "");
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) lines.push(`${name.padEnd(width)}   ${value}`);
  return [...lines, ...secretErrors(status)].join("\n");
}

/** In whole seconds, as it is told: no `0ms`, no `6.0s`. */
function uptime(seconds: number): string {
  return seconds < 60 ? `${seconds}s` : formatDuration(seconds * 1_000);
}

function aspects(status: JsonObject): readonly (readonly [string, string])[] {
  const requests = object(status.requests);
  const renewals = object(status.renewals);
  return [
    ["mode", text(status.mode)],
    ["host group", text(status.hostgroup)],
    ["listening", listeners(status)],
    ["policy", counts(status, [["clients", "client"], ["rules", "rule"], ["secrets", "secret"]])],
    ["suspended", suspended(status)],
    ["to look at", ruleWarnings(status)],
    ["open", open(status)],
    [
      "requests",
      counted(requests, [["allow", "allowed"], ["deny", "denied"], ["passthrough", "passed through"]]),
    ],
    ["denied", topReasons(status.denials)],
    ["failed", topReasons(status.failures)],
    ["bytes", `${bytes(status.sent_bytes)} from clients, ${bytes(status.received_bytes)} to clients`],
    ["echoes", echoes(status)],
    ["renewals", counted(renewals, ["renewed", "adopted", "failed", "refused"].map((key) => [key, key]))],
    ["names", names(status.names)],
    ["upstream CA", upstreamCas(status.upstream_cas)],
    ["parent proxy", parentProxies(status.upstream_proxies)],
    ["dead addresses", deadAddresses(status.dead_addresses)],
    ["audit log", auditLog(status.audit_log)],
    ["collector", collector(object(status.audit_log).otlp)],
    ["state", state(status.store)],
    ["fleet", fleet(status.fleet)],
    ["all its hosts", fleetSums(status.fleet)],
    ["workers", workers(status)],
    ["process", process(status.process)],
  ];
}

function echoes({ credential_echoes: found }: JsonObject): string {
  return number(found) === 0
    ? ""
    : `${plural(found, "credential")} in answers of upstreams: logs show them as echoed=…`;
}

function suspended({ suspended_clients: clients }: JsonObject): string {
  return number(clients) === 0 ? "" : `${plural(clients, "client")}: slicer-proxy client list says which`;
}

function ruleWarnings({ rules_with_warnings: rules }: JsonObject): string {
  if (number(rules) === 0) return "";
  return `${plural(rules, "rule")} cannot act as written: slicer-proxy rules CLIENT says why`;
}

function listeners(status: JsonObject): string {
  const binds = Array.isArray(status.binds) ? status.binds : [status.bind];
  return binds.map((bind) => {
    const at = (port: unknown) => formatHostPort({ host: text(bind), port: number(port) });
    return `${at(status.http_port)} (plain) and ${at(status.https_port)} (TLS)`;
  }).join(", ");
}

function open(status: JsonObject): string {
  const most = status.max_connections === undefined ? "" : ` (${digits(status.max_connections)} at most)`;
  const idle = status.idle_upstreams === undefined
    ? ""
    : `, ${plural(status.idle_upstreams, "idle upstream connection")}`;
  return `${plural(status.open_connections, "connection")}${most}, ${
    plural(status.open_tunnels, "tunnel")
  }${idle}`;
}

/** The most frequent first. */
function topReasons(value: unknown): string {
  const all = Object.entries(object(value)).sort(([, a], [, b]) => number(b) - number(a));
  const named = all.slice(0, TOP_REASONS).map(([reason, count]) =>
    `${escapeTerminal(reason)} ${digits(count)}`
  );
  const rest = all.slice(TOP_REASONS).reduce((sum, [, count]) => sum + number(count), 0);
  return [...named, ...(rest > 0 ? [`others ${digits(rest)}`] : [])].join(", ");
}

function names(value: unknown): string {
  if (value === undefined) return "";
  const { questions, cache_hits, failures, stale_answers } = object(value);
  const failed = number(failures) > 0 ? `, ${digits(failures)} without an answer` : "";
  const stale = number(stale_answers) > 0 ? `, ${digits(stale_answers)} used beyond their time` : "";
  return `${plural(questions, "question")}, ${digits(cache_hits)} from memory${failed}${stale}`;
}

function upstreamCas(value: unknown): string {
  const files = objects(value);
  if (files.length === 0) return "";
  const certificates = files.reduce((sum, file) => sum + number(file.certificates), 0);
  const errors = files.flatMap(({ error }) => error === undefined ? [] : [text(error)]);
  const unused = errors.length === 0 ? "" : `; CHANGED, AND NOT IN FORCE: ${errors.join("; ")}`;
  return `${plural(certificates, "certificate")} in ${plural(files.length, "file")}${unused}`;
}

/** `http://proxy.corp:3128, https://lab:3128 for *.lab.test`. */
function parentProxies(value: unknown): string {
  return objects(value).map(({ hosts, url }) => hosts === "*" ? text(url) : `${text(url)} for ${text(hosts)}`)
    .join(", ");
}

/** Upstreams that are named; `--json` has all. */
const TOP_DEAD = 3;

function deadAddresses(value: unknown): string {
  const all = objects(value);
  const named = all.slice(0, TOP_DEAD).map(({ place, address }) => `${text(address)} of ${text(place)}`);
  const rest = all.length - named.length;
  return [...named, ...(rest > 0 ? [`and ${digits(rest)} more`] : [])].join(", ");
}

function auditLog(value: unknown): string {
  if (value === undefined) return "";
  const log = object(value);
  const waiting = number(log.queued) > 0 ? `, ${plural(log.queued, "record")} waiting` : "";
  const failures = number(log.write_failures) > 0 ? `, ${plural(log.write_failures, "failed write")}` : "";
  return log.writable === true
    ? `ok${waiting}${failures}`
    : `CANNOT BE WRITTEN, so new requests are refused: make room on its disk, or make the file writable${waiting}`;
}

function collector(value: unknown): string {
  if (value === undefined) return "";
  const { sent, queued, dropped, failing } = object(value);
  const lost = number(dropped) > 0 ? `, ${plural(dropped, "record")} LOST to it: the log says why` : "";
  const health = failing === undefined ? "ok" : `TAKES NONE: ${text(failing)}`;
  return `${health}, ${digits(sent)} sent, ${digits(queued)} waiting${lost}`;
}

function state(value: unknown): string {
  if (value === undefined) return "";
  const store = object(value);
  const failures = number(store.write_failures) > 0 ? `, ${digits(store.write_failures)} of them failed` : "";
  const size = store.database_bytes === undefined ? "" : `, ${bytes(store.database_bytes)} on the disk`;
  return `${plural(store.writes, "write")}${failures}${size}`;
}

function fleet(value: unknown): string {
  if (value === undefined) return "";
  const { name, host, behind, store_away_since: away, hosts } = object(value);
  const counts = object(hosts);
  const others = [["late", "late"], ["denies", "out of reach and denying"]].flatMap(([key = "", words]) =>
    number(counts[key]) > 0 ? [`, ${digits(counts[key])} ${words}`] : []
  );
  const store = away === undefined
    ? ""
    : `; THE STORE IS AWAY since ${text(away)}: no change is taken, and the policy counts for --store-grace`;
  const who = others.length > 0 ? " (slicer-proxy fleet says which)" : "";
  const lag = number(behind) > 0 ? `, ${plural(behind, "change")} behind` : "";
  return `${text(name)}, this is ${text(host)}${lag}; ${digits(counts.live)} live${
    others.join("")
  }${who}${store}`;
}

/** Only this line is about more than the host that answers. */
function fleetSums(value: unknown): string {
  if (value === undefined) return "";
  const sums = object(value);
  const requests = counted(object(sums.requests), [["allow", "allowed"], ["deny", "denied"], [
    "passthrough",
    "passed through",
  ]]);
  return `${plural(sums.open_connections, "connection")}, ${
    plural(sums.open_tunnels, "tunnel")
  }; ${requests}`;
}

function workers({ workers, replaced_workers }: JsonObject): string {
  if (workers === undefined) return "";
  const replaced = number(replaced_workers);
  return `${digits(workers)}${replaced > 0 ? `, REPLACED ${digits(replaced)} times: the log says why` : ""}`;
}

function process(value: unknown): string {
  if (value === undefined) return "";
  const { resident_bytes, open_fds, max_fds } = object(value);
  const files = open_fds === undefined
    ? ""
    : `, ${digits(open_fds)}${max_fds === undefined ? "" : ` of ${digits(max_fds)}`} file descriptors`;
  return `${bytes(resident_bytes)} of memory${files}`;
}

/** Each with its reason, and what puts it right. */
function secretErrors(status: JsonObject): readonly string[] {
  const secrets = objects(status.secret_errors);
  if (secrets.length === 0) return [];
  return [
    "",
    "secrets that cannot be used:",
    ...secrets.flatMap(({ name, host, type, error }) => [
      `  ${text(name)}: ${text(error)}`,
      `    get a new login or key, then: slicer-proxy secret create ${quoteShell(cell(name))} --force ` +
      `--host ${quoteShell(cell(host))} --type ${quoteShell(cell(type))} --value-file FILE`,
    ]),
  ];
}

/** `1 client, 2 rules`. */
function counts(from: JsonObject, nouns: readonly (readonly [string, string])[]): string {
  return nouns.map(([key, noun]) => plural(from[key], noun)).join(", ");
}

/** `11 allowed, 12 denied`. */
function counted(from: JsonObject, words: readonly (readonly string[])[]): string {
  return words.map(([key = "", word]) => `${digits(from[key])} ${word}`).join(", ");
}

function plural(value: unknown, noun: string): string {
  return `${digits(value)} ${noun}${number(value) === 1 ? "" : "s"}`;
}

function digits(value: unknown): string {
  return number(value).toLocaleString("en");
}

function bytes(value: unknown): string {
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let rest = number(value);
  if (rest < 1_024) return plural(rest, "byte");
  let unit = -1;
  for (; rest >= 1_024 && unit < units.length - 1; unit++) rest /= 1_024;
  return `${rest.toFixed(1)} ${units[unit]}`;
}

function object(value: unknown): JsonObject {
  return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}

function objects(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.map(object) : [];
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

function text(value: unknown): string {
  return escapeTerminal(cell(value));
}
