/**
 * What the page says, as text: pure, so that it is tested without a browser, against what the program itself would say.
 *
 * @module
 */

/**
 * A rule, as the API has it.
 *
 * @typedef {object} Rule
 * @property {string} host
 * @property {string} [secret]
 * @property {readonly string[]} [warnings]
 * @property {readonly string[]} [methods]
 * @property {readonly string[]} [paths]
 * @property {readonly number[]} [ports]
 * @property {string} [expires]
 * @property {boolean} [passthrough]
 * @property {boolean} [one_request_per_connection]
 * @property {number} [response_timeout_seconds]
 * @property {readonly string[]} [grpc]
 */

/** What could reorder, hide or end text, as in `core/escape.ts`. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * Text with everything invisible shown as `\u{…}`.
 *
 * @param {string} text
 */
export function visible(text) {
  return text.replace(UNSAFE, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`);
}

/**
 * Text cut to a length that a row can show.
 *
 * @param {string} text
 * @param {number} maxLength
 */
export function shorten(text, maxLength) {
  return text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
}

/**
 * The command that adds a rule, quoted for a POSIX shell.
 *
 * @param {string} client
 * @param {Rule} rule
 * @param {string} ttl a duration, or empty for none
 */
export function allowCommand(client, rule, ttl) {
  return [
    "slicer-proxy",
    "allow",
    client,
    ...["--host", rule.host],
    ...(rule.ports ?? []).flatMap((port) => ["--port", String(port)]),
    ...(rule.methods ?? []).flatMap((method) => ["--method", method]),
    ...(rule.paths ?? []).flatMap((path) => ["--path", path]),
    ...(rule.secret === undefined ? [] : ["--secret", rule.secret]),
    ...(rule.passthrough ? ["--passthrough"] : []),
    ...moreWords(rule).flatMap(([name, ...values]) =>
      values.length === 0 ? [`--${name}`] : values.flatMap((value) => [`--${name}`, value])
    ),
    ...(ttl === "" ? [] : ["--ttl", ttl]),
  ].map(quoteShell).join(" ");
}

/**
 * As `core/escape.ts` has it.
 *
 * @param {string} text
 */
function quoteShell(text) {
  const clean = text.replace(UNSAFE, "");
  return /^[A-Za-z0-9_./:@%+,-][A-Za-z0-9_./:@%+=,-]*$/.test(clean)
    ? clean
    : `'${clean.replaceAll("'", `'\\''`)}'`;
}

/**
 * What a rule lets through, beside its host, in the words of a list.
 *
 * @param {Rule} rule
 */
export function limitsOf(rule) {
  if (rule.passthrough) return `any bytes, port ${(rule.ports ?? [80, 443]).join(", ")}`;
  return [
    ...(rule.grpc ? [] : [rule.methods?.length ? rule.methods.join(", ") : "any method"]),
    ...(rule.grpc ? [] : [rule.paths?.length ? rule.paths.join(", ") : "any path"]),
    ...(rule.ports?.length ? [`port ${rule.ports.join(", ")}`] : []),
    ...moreTexts(rule),
  ].join(" · ");
}

/**
 * A rule in a line: where, and what.
 *
 * @param {Rule} rule
 */
export function titleOf(rule) {
  const { host, methods, paths, ports, grpc } = rule;
  const place = `${host}${ports?.length ? `:${ports.join(",")}` : ""}`;
  if (grpc) return `gRPC ${place} ${grpc.join(", ")}`;
  const path = paths?.join(", ").replace(/^\*$/, "any path");
  const more = moreTexts(rule);
  if (more.length === 0) return `${methods?.join(", ") || "any method"} ${place} ${path || "any path"}`;
  const limits = [methods?.join(", "), path === "any path" ? "" : path, ...more];
  return `${place} ${limits.filter(Boolean).join(" · ")}`;
}

/** @param {Rule} rule */
function moreTexts(rule) {
  return moreWords(rule).map(([name = "", ...values]) =>
    [name.replaceAll("-", " "), values.join(", ")].join(" ").trim()
  );
}

const KNOWN = new Set([
  ...["host", "secret", "methods", "paths", "ports", "passthrough", "expires", "warnings", "ttl_seconds"],
]);

/**
 * The other words of a rule as flags of `allow` without dashes, each with its values: none for a switch.
 *
 * @param {Rule} rule
 * @returns {readonly (readonly string[])[]}
 */
function moreWords(rule) {
  return Object.entries(rule).filter(([name]) => !KNOWN.has(name)).map(([name, value]) => {
    const flag = name.replace(/_seconds$/, "").replaceAll("_", "-");
    if (value === true) return [flag];
    return [flag, ...(typeof value === "number" ? [`${value}s`] : [value].flat().map(String))];
  });
}

/**
 * A time span in its two largest units: `14m 59s`, `6d 23h`.
 *
 * @param {number} ms
 */
export function formatSpan(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  /** @type {readonly (readonly [number, string])[]} */
  const parts = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0s";
  return parts.slice(first, first + 2).map(([count, unit]) => `${count}${unit}`).join(" ");
}

/**
 * How long something took: `34 ms`, `3.1 s`, `2m 5s`.
 *
 * @param {number} ms
 */
export function formatTook(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1_000).toFixed(1)} s` : formatSpan(ms);
}

/**
 * A number of bytes with three digits or so: `812`, `20.5k`, `3.2M`.
 *
 * @param {number} bytes
 */
export function formatBytes(bytes) {
  let [value, unit] = [bytes, ""];
  for (const next of ["k", "M", "G", "T"]) {
    if (value < 1_000) break;
    [value, unit] = [value / 1_000, next];
  }
  return `${unit === "" || value >= 100 ? Math.round(value) : value.toFixed(1)}${unit}`;
}

/**
 * The day of a time, as it is where the page is read: `2026-11-27`.
 *
 * @param {Date} at
 */
export function formatDate(at) {
  const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>. */
const GRPC_STATUSES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];

/**
 * A status of gRPC by its name, where it has one: `7 PERMISSION_DENIED`.
 *
 * @param {number} code
 */
export function formatGrpcStatus(code) {
  const name = GRPC_STATUSES[code];
  return name === undefined ? String(code) : `${code} ${name}`;
}

/**
 * The command that puts a secret in the place of one that cannot be used, or is gone.
 *
 * @param {{ name: string, host: string, type?: string }} secret
 */
export function secretCommand({ name, host, type }) {
  return [
    "slicer-proxy",
    "secret",
    "create",
    name,
    ...(type === undefined ? [] : ["--force"]),
    ...["--host", host],
    ...(type === undefined ? [] : ["--type", type]),
    ...["--value-file", "FILE"],
  ].map(quoteShell).join(" ");
}

/**
 * True when a secret that is bound to `secretHost` may be used by a rule for `ruleHost`: what the proxy itself would say.
 *
 * @param {string} secretHost a name, or `*.suffix`
 * @param {string} ruleHost
 */
export function isBoundTo(secretHost, ruleHost) {
  return secretHost === ruleHost ||
    (secretHost.startsWith("*.") && ruleHost.replace(/^\*/, "x").endsWith(secretHost.slice(1)));
}
