/**
 * The audit stream as rows, newest first. What is kept and what is shown are bounded, however much arrives.
 *
 * @module
 */
import { button, byId, element } from "./dom.js";
import { formatBytes, formatTook, shorten } from "./words.js";

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
 * @property {number} [status]
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

/** The rows, their filters and the pause button of the page. */
export class Stream {
  #rows = byId("records", HTMLTableSectionElement);
  #none = byId("no-records", HTMLElement);
  #client = byId("filter-client", HTMLSelectElement);
  #host = byId("filter-host", HTMLInputElement);
  #denied = byId("filter-denied", HTMLInputElement);
  #source = byId("filter-source", HTMLInputElement);
  #port = byId("filter-port", HTMLInputElement);
  #tls = byId("filter-tls", HTMLSelectElement);
  #pause = byId("pause", HTMLButtonElement);
  #propose;
  /** @type {AuditEvent[]} newest last */
  #kept = [];
  /** @type {AuditEvent[]} arrived, not yet shown */
  #waiting = [];
  #isPaused = false;
  #isDrawing = false;

  /** @param {(denied: AuditLine) => void} propose called when someone asks for a rule */
  constructor(propose) {
    this.#propose = propose;
    for (const filter of [this.#client, this.#host, this.#denied, this.#source, this.#port, this.#tls]) {
      filter.addEventListener("input", () => this.#drawAll());
    }
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

  /** @param {readonly string[]} names the clients to choose from */
  setClients(names) {
    const chosen = this.#client.value;
    const options = ["", ...names].map((name) =>
      new Option(name === "" ? "all" : name, name, false, name === chosen)
    );
    this.#client.replaceChildren(...options);
  }

  #draw() {
    this.#pause.textContent = this.#isPaused ? `Resume (${this.#waiting.length} new)` : "Pause";
    if (this.#isPaused) return;
    const lines = this.#waiting.splice(0);
    this.#kept.push(...lines);
    if (this.#kept.length > MAX_KEPT) this.#kept.splice(0, this.#kept.length - MAX_KEPT);
    this.#show(lines);
  }

  #drawAll() {
    this.#rows.replaceChildren();
    this.#show(this.#kept);
  }

  /** @param {AuditEvent} event */
  #isShown(event) {
    if ("missed" in event) return true;
    const host = this.#host.value.trim().toLowerCase();
    const source = this.#source.value.trim().toLowerCase();
    const port = this.#port.value.trim();
    const tls = this.#tls.value;
    return (this.#client.value === "" || event.client === this.#client.value) &&
      (!this.#denied.checked || event.verdict === "deny") &&
      (host === "" || (event.host ?? "").includes(host)) &&
      (source === "" || (event.src ?? "").includes(source)) &&
      (port === "" || String(event.proxy_port ?? "") === port) &&
      (tls === "" || (event.src !== undefined && (event.tls ?? "none") === tls));
  }

  /** @param {readonly AuditEvent[]} events */
  #show(events) {
    const shown = events.filter((event) => this.#isShown(event)).slice(-MAX_ROWS).reverse();
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
    const at = new Date(line.time);
    const repeated = line.repeated ?? 1;
    return element(
      "tr",
      { class: line.verdict },
      element(
        "td",
        {},
        element("time", { datetime: line.time, title: line.time }, at.toLocaleTimeString([], CLOCK)),
      ),
      element(
        "td",
        {},
        element("span", { class: `verdict ${line.verdict}` }, VERDICTS[line.verdict]),
        repeated > 1
          ? element("span", { class: "tag", title: "the same denial, so many times" }, `×${repeated}`)
          : "",
      ),
      element(
        "td",
        { class: "client" },
        element("bdi", {}, shorten(line.client, MAX_SHOWN_NAME)),
        line.rule_owner ? ` by a rule of ${shorten(line.rule_owner, MAX_SHOWN_NAME)}` : "",
        line.src === undefined ? "" : element(
          "small",
          {
            title: `to port ${line.proxy_port ?? "?"}, ${
              line.tls === undefined ? "in clear" : `TLS ${line.tls}`
            }`,
          },
          shorten(line.src, MAX_SHOWN_NAME),
        ),
      ),
      element("td", { class: "request", title: shorten(requestOf(line), 2_000) }, ...requestParts(line)),
      element("td", { class: "outcome" }, ...this.#outcome(line)),
      element("td", { class: "number" }, bytesOf(line)),
      element("td", { class: "number" }, line.duration_ms === undefined ? "" : formatTook(line.duration_ms)),
    );
  }

  /** @param {AuditLine} line */
  #outcome(line) {
    const parts = [shorten(line.reason ?? String(line.status ?? ""), MAX_SHOWN_NAME)];
    const secret = line.secret === undefined ? "" : element(
      "span",
      { class: "tag", title: "the secret that was injected" },
      "with ",
      element("bdi", {}, shorten(line.secret, MAX_SHOWN_NAME)),
    );
    // Only where a rule is what is missing, and whose it would be is known.
    const canPropose = line.verdict === "deny" && line.reason === "no-rule" && line.client !== "-";
    const label = { "aria-label": `Propose a rule for ${shorten(requestOf(line), 100)}` };
    return [...parts, secret, canPropose ? button("Propose a rule", () => this.#propose(line), label) : ""];
  }
}

/** @param {number} missed */
function gapRow(missed) {
  const words = `${missed} more came too fast to be shown: slicer-proxy logs has them`;
  return element("tr", { class: "gap" }, element("td", { colspan: "7" }, words));
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
    ? ""
    : `↑${formatBytes(sent ?? 0)} ↓${formatBytes(received ?? 0)}`;
}
