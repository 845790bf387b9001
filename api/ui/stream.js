/**
 * The audit stream as rows, newest first. What is kept and what is shown are bounded, however much arrives.
 *
 * @module
 */
import { button, byId, element } from "./dom.js";
import { explained, wordsOf } from "./tips.js";
import { formatBytes, formatDate, formatGrpcStatus, formatTook, shorten } from "./words.js";

/** @typedef {import("./filters.js").Filters} Filters */

/**
 * A line of the audit log in its JSON form.
 *
 * @typedef {object} AuditLine
 * @property {string} time
 * @property {"allow" | "deny" | "passthrough" | "change"} verdict
 * @property {string} client
 * @property {string} [auth]
 * @property {string} [rule_owner]
 * @property {string} [method]
 * @property {string} [scheme]
 * @property {string} [host]
 * @property {number} [port]
 * @property {string} [path]
 * @property {string} [query]
 * @property {string} [proto]
 * @property {number} [status]
 * @property {number} [grpc_status]
 * @property {string} [secret]
 * @property {string} [mode]
 * @property {string} [reason]
 * @property {number} [sent]
 * @property {number} [received]
 * @property {number} [duration_ms]
 * @property {number} [repeated]
 * @property {string} [src]
 * @property {number} [proxy_port]
 * @property {string} [tls]
 */

/** @typedef {AuditLine | { missed: number }} AuditEvent a line, or how many are missing */

const MAX_KEPT = 2_000;
export const MAX_ROWS = 500;
const MAX_SHOWN_PATH = 300;
/** What the proxy calls a name is shorter. */
const MAX_SHOWN_NAME = 80;

const VERDICTS = { allow: "✓ allow", deny: "✕ deny", passthrough: "⇄ pass", change: "⚙ change" };

/** The rows and the pause button of the page. */
export class Stream {
  #rows = byId("records", HTMLTableSectionElement);
  #none = byId("no-records", HTMLElement);
  #pause = byId("pause", HTMLButtonElement);
  #filters;
  #propose;
  /** @type {AuditEvent[]} newest last */
  #kept = [];
  /** @type {AuditEvent[]} arrived, not yet shown */
  #waiting = [];
  #isPaused = false;
  #isDrawing = false;

  /**
   * @param {Filters} filters
   * @param {(denied: AuditLine) => void} propose called when someone asks for a rule
   */
  constructor(filters, propose) {
    this.#filters = filters;
    this.#propose = propose;
    this.#pause.addEventListener("click", () => {
      this.#isPaused = !this.#isPaused;
      this.#pause.setAttribute("aria-pressed", String(this.#isPaused));
      this.#draw();
    });
  }

  /** @param {readonly AuditEvent[]} events oldest first */
  add(events) {
    this.#waiting.push(...events);
    if (this.#waiting.length > MAX_KEPT) this.#waiting.splice(0, this.#waiting.length - MAX_KEPT);
    if (this.#isDrawing) return;
    this.#isDrawing = true; // many lines that arrive together cost one drawing
    requestAnimationFrame(() => {
      this.#isDrawing = false;
      this.#draw();
    });
  }

  /** Shows what is kept anew, by the filters as they are now. */
  drawAll() {
    this.#rows.replaceChildren();
    this.#show(this.#kept);
  }

  #draw() {
    this.#pause.textContent = this.#isPaused ? `Resume (${this.#waiting.length} new)` : "Pause";
    if (this.#isPaused) return;
    const lines = this.#waiting.splice(0);
    this.#kept.push(...lines);
    if (this.#kept.length > MAX_KEPT) this.#kept.splice(0, this.#kept.length - MAX_KEPT);
    this.#show(lines);
  }

  /** @param {readonly AuditEvent[]} events */
  #show(events) {
    const isAskedFor = this.#filters.test();
    const shown = events.filter((event) => "missed" in event || isAskedFor(event)).slice(-MAX_ROWS).reverse();
    this.#rows.prepend(
      ...shown.map((event) => "missed" in event ? gapRow(event.missed) : this.#row(event)),
    );
    while (this.#rows.rows.length > MAX_ROWS) this.#rows.lastElementChild?.remove();
    this.#none.hidden = this.#rows.rows.length > 0;
    this.#none.textContent = this.#kept.length > 0
      ? "No record of those that are kept here matches."
      : "Nothing yet. What the clients ask for appears here at once.";
  }

  /** @param {AuditLine} line */
  #row(line) {
    const repeated = line.repeated ?? 1;
    return element(
      "tr",
      { class: line.verdict },
      timeCell(line),
      element(
        "td",
        {},
        element("span", { class: `verdict ${line.verdict}` }, VERDICTS[line.verdict]),
        ...(repeated > 1
          ? [" ", element("span", { class: "tag", title: "the same denial, so many times" }, `×${repeated}`)]
          : []),
      ),
      element(
        "td",
        { class: "client" },
        element("bdi", {}, shorten(line.client, MAX_SHOWN_NAME)),
        line.rule_owner ? ` by a rule of ${shorten(line.rule_owner, MAX_SHOWN_NAME)}` : "",
      ),
      sourceCell(line),
      element("td", { class: "request", title: shorten(requestOf(line), 2_000) }, ...requestParts(line)),
      element("td", {}, element("div", { class: "outcome" }, ...this.#outcome(line))),
      numberCell(...bytesOf(line)),
      numberCell(...(line.duration_ms === undefined ? [] : [formatTook(line.duration_ms)])),
    );
  }

  /** @param {AuditLine} line */
  #outcome(line) {
    const { reason, status, secret, proto, grpc_status: grpcStatus } = line;
    const parts = [
      reason === undefined ? String(status ?? "") : explained(shorten(reason, MAX_SHOWN_NAME)),
      ...(proto === "h2" ? [tag("h2", "over HTTP/2")] : []),
      ...(grpcStatus === undefined
        ? []
        : [tag(`gRPC ${formatGrpcStatus(grpcStatus)}`, "how the call ended")]),
      ...(secret === undefined
        ? []
        : [tag(`with ${shorten(secret, MAX_SHOWN_NAME)}`, "the secret that was injected")]),
    ];
    // Only where a rule is what is missing, and whose it would be is known.
    const canPropose = line.verdict === "deny" && line.reason === "no-rule" && line.client !== "-";
    const label = { "aria-label": `Propose a rule for ${shorten(requestOf(line), 100)}` };
    return [...parts, ...(canPropose ? [button("Propose a rule", () => this.#propose(line), label)] : [])];
  }
}

/**
 * A denial in a sentence, for a dialog: its reason with the words of the proxy's own table.
 *
 * @param {AuditLine} denied
 */
export function reasonOf({ reason }) {
  if (reason === undefined) return "";
  const words = wordsOf(reason);
  return words === undefined ? shorten(reason, MAX_SHOWN_NAME) : `${reason}: ${words}`;
}

/** @param {AuditLine} line */
function timeCell({ time }) {
  const at = new Date(time);
  return element(
    "td",
    { class: "time" },
    element(
      "time",
      { datetime: time, title: time },
      at.toLocaleTimeString([], CLOCK),
      element("small", {}, formatDate(at)),
    ),
  );
}

/** @param {AuditLine} line */
function sourceCell({ src, proxy_port: port, tls }) {
  if (src === undefined) return element("td", { class: "source" });
  const how = tls === undefined ? "clear" : `TLS ${tls}`;
  return element(
    "td",
    { class: "source" },
    element("bdi", {}, shorten(src, MAX_SHOWN_NAME)),
    element(
      "small",
      { title: "the proxy's port, and how the client speaks to it" },
      `→ ${port ?? "?"} ${how}`,
    ),
  );
}

/** @param {...string} lines */
function numberCell(...lines) {
  return element("td", { class: "number" }, ...lines.map((line) => element("span", {}, line)));
}

/**
 * @param {string} words
 * @param {string} title
 */
function tag(words, title) {
  return element("span", { class: "tag", title }, element("bdi", {}, words));
}

/** @param {number} missed */
function gapRow(missed) {
  const words = `${missed} more came too fast to be shown: slicer-proxy logs has them`;
  return element("tr", { class: "gap" }, element("td", { colspan: "8" }, words));
}

const CLOCK =
  /** @type {const} */ ({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/**
 * What was asked for, on one line.
 *
 * @param {AuditLine} line
 */
export function requestOf(line) {
  return [line.method, authorityOf(line) + (line.path ?? "") + (line.query ?? "")].filter((part) => part)
    .join(" ");
}

/** @param {AuditLine} line */
function requestParts(line) {
  return [
    ...(line.method === undefined ? [] : [element("b", {}, shorten(line.method, 20)), "\u00a0"]),
    element("bdi", { class: "host" }, shorten(authorityOf(line), MAX_SHOWN_PATH)),
    element("bdi", { class: "path" }, shorten((line.path ?? "") + (line.query ?? ""), MAX_SHOWN_PATH)),
  ];
}

/** @param {AuditLine} line */
function authorityOf({ scheme, host = "", port }) {
  const isUsual = port === undefined || port === (scheme === "http" ? 80 : 443);
  return isUsual ? host : `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** @param {AuditLine} line */
function bytesOf({ sent, received }) {
  return sent === undefined && received === undefined
    ? []
    : [`↑${formatBytes(sent ?? 0)}`, `↓${formatBytes(received ?? 0)}`];
}
