/**
 * The clients and their rules, in the order in which they are tried, with what is left of each.
 *
 * @module
 */
import { element } from "./dom.js";
import { call } from "./session.js";
import { formatSpan, limitsOf } from "./words.js";

/** @typedef {import("./words.js").Rule} Rule */

/** So many clients are open at first: each one that is open costs a call whenever the list is fetched. */
const OPEN_AT_FIRST = 8;

/** The list in `container`. It is fetched again as often as {@linkcode Clients.refresh} is called. */
export class Clients {
  #container;
  #now;
  /** @type {Map<string, { details: HTMLDetailsElement, list: HTMLOListElement, shown: string }>} */
  #rows = new Map();

  /**
   * @param {HTMLElement} container
   * @param {() => number} now the proxy's clock
   */
  constructor(container, now) {
    this.#container = container;
    this.#now = now;
  }

  /** The clients' names, as they were last fetched. */
  get names() {
    return [...this.#rows.keys()];
  }

  /** Fetches the clients, and the rules of those that are open. */
  async refresh() {
    const names = namesIn(await call("GET", "clients"));
    for (const [name, { details }] of this.#rows) {
      if (names.includes(name)) continue;
      details.remove();
      this.#rows.delete(name);
    }
    for (const name of names) if (!this.#rows.has(name)) this.#add(name);
    if (names.length === 0) {
      this.#container.replaceChildren(
        element("p", { class: "empty" }, "No client yet: slicer-proxy client create NAME"),
      );
    } else this.#container.querySelector(":scope > p")?.remove();
    await Promise.all(
      [...this.#rows].filter(([, { details }]) => details.open).map(([name]) => this.#fetchRules(name)),
    );
  }

  /** Moves what is left of each rule on, and takes away those that have ended. */
  tick() {
    for (const time of this.#container.querySelectorAll("time")) {
      const leftMs = Date.parse(time.dateTime) - this.#now();
      if (leftMs <= 0) time.closest("li")?.remove();
      else {
        time.textContent = `${formatSpan(leftMs)} left`;
        time.classList.toggle("soon", leftMs < 60_000);
      }
    }
  }

  /**
   * Shows a client's rules, the last one of them marked: it has just been added.
   *
   * @param {string} name
   */
  async reveal(name) {
    const row = this.#rows.get(name);
    if (!row) return;
    row.details.open = true;
    await this.#fetchRules(name);
    row.list.lastElementChild?.classList.add("new");
    row.list.lastElementChild?.scrollIntoView({ block: "nearest" });
  }

  /** @param {string} name */
  #add(name) {
    const list = element("ol", {});
    const details = element("details", {}, element("summary", {}, element("bdi", {}, name)), list);
    details.open = this.#rows.size < OPEN_AT_FIRST;
    details.addEventListener("toggle", () => {
      if (details.open) this.#fetchRules(name).catch(() => {}); // the next refresh says what is wrong
    });
    this.#rows.set(name, { details, list, shown: "" });
    this.#container.append(details);
  }

  /** @param {string} name */
  async #fetchRules(name) {
    const rules = /** @type {readonly Rule[]} */ (await call("GET", `clients/${encodeURIComponent(name)}`));
    const row = this.#rows.get(name);
    const fetched = JSON.stringify(rules);
    if (!row || row.shown === fetched) return; // nothing moves under a reader's eyes
    row.shown = fetched;
    row.list.replaceChildren(...rules.map(ruleItem));
    const nothing = element("li", { class: "empty" }, "no rules: reaches nothing");
    if (rules.length === 0) row.list.append(nothing);
    this.tick();
  }
}

/** @param {Rule} rule */
function ruleItem(rule) {
  return element(
    "li",
    {},
    rule.expires === undefined
      ? ""
      : element("time", { datetime: rule.expires, title: `ends ${rule.expires}` }),
    element("bdi", { class: "host" }, rule.host),
    element("bdi", { class: "limits" }, limitsOf(rule)),
    rule.passthrough ? element("span", { class: "tag passthrough" }, "passthrough") : "",
    rule.secret === undefined
      ? ""
      : element("span", { class: "tag" }, "secret ", element("bdi", {}, rule.secret)),
    ...(rule.warnings ?? []).map((words) =>
      element("p", { class: "rule-warning" }, "⚠ ", element("bdi", {}, words))
    ),
  );
}

/** @param {unknown} answer */
function namesIn(answer) {
  return /** @type {readonly { name: string }[]} */ (answer).map(({ name }) => name);
}
