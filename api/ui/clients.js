/**
 * The clients: whether they learn, and their rules in the order in which they are tried, with what is left of each.
 *
 * @module
 */
import { ask } from "./ask.js";
import { button, element } from "./dom.js";
import { LEARN_SECONDS, modeIn } from "./modes.js";
import { call } from "./session.js";
import { formatSpan, limitsOf } from "./words.js";

/** @typedef {import("./words.js").Rule} Rule */
/** @typedef {import("./modes.js").Modes} Modes */

/**
 * What the list does besides showing.
 *
 * @typedef {object} ClientActions
 * @property {() => number} now the proxy's clock
 * @property {() => boolean} mayManage whether the session may revoke
 * @property {(client: string, mode: "strict" | "audit", seconds: number) => void} switchMode
 * @property {(words: string) => void} done tells people
 * @property {() => void} signedOut
 */

/**
 * @typedef {object} Row
 * @property {HTMLDetailsElement} details
 * @property {HTMLElement} badge
 * @property {HTMLElement} mode
 * @property {HTMLOListElement} list
 * @property {string} shown the rules that are shown
 * @property {string} shownMode
 */

/** A rule that ends sooner is told of in another colour. */
const SOON_MS = 60_000;

/** So many clients are open at first: each one that is open costs a call whenever the list is fetched. */
const OPEN_AT_FIRST = 8;

/** The list in `container`. It is fetched again as often as {@linkcode Clients.refresh} is called. */
export class Clients {
  #container;
  #on;
  /** @type {Map<string, Row>} */
  #rows = new Map();

  /**
   * @param {HTMLElement} container
   * @param {ClientActions} on
   */
  constructor(container, on) {
    this.#container = container;
    this.#on = on;
  }

  /** The clients' names, as they were last fetched. */
  get names() {
    return [...this.#rows.keys()];
  }

  /** Fetches the clients, their modes, and the rules of those that are open. */
  async refresh() {
    const [clients, modes] = await Promise.all([call("GET", "clients"), call("GET", "mode")]);
    const names = namesIn(clients);
    const suspended = suspendedIn(clients);
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
    for (const [name, row] of this.#rows) {
      this.#showMode(name, row, /** @type {Modes} */ (modes), suspended.has(name));
    }
    await Promise.all(
      [...this.#rows].filter(([, { details }]) => details.open).map(([name]) => this.#fetchRules(name)),
    );
  }

  /** Moves what is left of each rule and mode on, and takes away rules that have ended. */
  tick() {
    for (const time of this.#container.querySelectorAll("time")) {
      const leftMs = Date.parse(time.dateTime) - this.#on.now();
      if (leftMs <= 0) time.closest("li")?.remove();
      time.textContent = `${formatSpan(leftMs)} left`;
      time.classList.toggle("soon", leftMs < SOON_MS);
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
    const badge = element("span", { class: "tag learning" });
    const mode = element("p", { class: "mode" });
    badge.hidden = true;
    const details = element(
      "details",
      {},
      element("summary", {}, element("bdi", {}, name), " ", badge),
      mode,
      list,
    );
    details.open = this.#rows.size < OPEN_AT_FIRST;
    details.addEventListener("toggle", () => {
      if (details.open) this.#fetchRules(name).catch(() => {}); // the next refresh says what is wrong
    });
    this.#rows.set(name, { details, badge, mode, list, shown: "", shownMode: "" });
    this.#container.append(details);
  }

  /**
   * @param {string} name
   * @param {Row} row
   * @param {Modes} modes
   * @param {boolean} isSuspended
   */
  #showMode(name, row, modes, isSuspended) {
    const { mode, until } = modeIn(modes, name);
    const shown = JSON.stringify([mode, until, isSuspended, this.#on.mayManage()]);
    if (row.shownMode === shown) return; // the focus stays where it is
    row.shownMode = shown;
    row.badge.hidden = mode === "strict" && !isSuspended;
    row.badge.textContent = isSuspended ? "suspended" : "learning";
    const isFocused = row.mode.contains(document.activeElement);
    const change = mode === "audit"
      ? button("Back to strict", () => this.#on.switchMode(name, "strict", 0), {
        "aria-label": `Put ${name} back to strict`,
      })
      : button("Learn 15 minutes", () => this.#on.switchMode(name, "audit", LEARN_SECONDS), {
        "aria-label": `Let ${name} learn for 15 minutes`,
        title: "What it asks of unknown hosts is logged before it is denied, so that rules can be proposed",
      });
    row.mode.replaceChildren(
      mode === "audit" ? "Learning" : "Strict",
      ...(until === undefined ? [] : [", ", element("time", { datetime: until, title: `ends ${until}` })]),
      change,
      ...(this.#on.mayManage() ? [this.#stop(name, isSuspended)] : []),
    );
    if (isFocused) change.focus();
    this.tick();
  }

  /**
   * The button that suspends a client, or lets it go on.
   *
   * @param {string} name
   * @param {boolean} isSuspended
   */
  #stop(name, isSuspended) {
    const [verb, path] = isSuspended
      ? /** @type {const} */ (["Resume", "resume"])
      : /** @type {const} */ (["Suspend", "suspend"]);
    const about = isSuspended
      ? "It may do again what its rules allow."
      : "All that it has open ends at once, and it is refused everything until it is resumed.";
    return button(verb, () =>
      ask({
        heading: `${verb} ${name}?`,
        about: [element("p", {}, about)],
        verb,
        act: async () => {
          await call("POST", `clients/${encodeURIComponent(name)}/${path}`);
          this.#on.done(isSuspended ? `${name} may go on.` : `${name} is suspended.`);
          await this.refresh().catch(() => {}); // it is done; the next refresh shows it
        },
        signedOut: this.#on.signedOut,
      }), { "aria-label": `${verb} ${name}` });
  }

  /** @param {string} name */
  async #fetchRules(name) {
    const rules = /** @type {readonly Rule[]} */ (await call("GET", `clients/${encodeURIComponent(name)}`))
      .map(withoutCountdown);
    const row = this.#rows.get(name);
    const fetched = JSON.stringify([rules, this.#on.mayManage()]);
    if (!row || row.shown === fetched) return; // nothing moves under a reader's eyes
    row.shown = fetched;
    row.list.replaceChildren(...rules.map((rule) => this.#item(name, rule)));
    const nothing = element("li", { class: "empty" }, "no rules: reaches nothing");
    if (rules.length === 0) row.list.append(nothing);
    this.tick();
  }

  /**
   * @param {string} client
   * @param {Rule} rule
   */
  #item(client, rule) {
    const revoke = this.#on.mayManage()
      ? button("Revoke", () => this.#revoke(client, rule), {
        class: "revoke",
        "aria-label": `Revoke the rule of ${client} for ${rule.host}: ${limitsOf(rule)}`,
      })
      : "";
    return element(
      "li",
      {},
      rule.expires === undefined
        ? ""
        : element("time", { datetime: rule.expires, title: `ends ${rule.expires}` }),
      ...ruleWords(rule),
      revoke,
      ...(rule.warnings ?? []).map((words) =>
        element("p", { class: "rule-warning" }, "⚠ ", element("bdi", {}, words))
      ),
    );
  }

  /**
   * @param {string} client
   * @param {Rule} rule
   */
  #revoke(client, rule) {
    const { expires: _expires, warnings: _warnings, ...fields } = rule;
    ask({
      heading: `Revoke this rule of ${client}?`,
      about: [
        element("p", { class: "asked" }, ...ruleWords(rule)),
        element("p", {}, "What is open under it ends at once."),
      ],
      verb: "Revoke",
      act: async () => {
        await call("POST", "allows/revoke", { client, ...fields });
        this.#on.done(`Revoked: ${client} may not do that any more.`);
        await this.#fetchRules(client).catch(() => {}); // it is revoked; the next refresh shows it
      },
      signedOut: this.#on.signedOut,
    });
  }
}

/** @param {Rule} rule */
function ruleWords(rule) {
  return [
    element("bdi", { class: "host" }, rule.host),
    element("bdi", { class: "limits" }, limitsOf(rule)),
    ...(rule.passthrough ? [" ", element("span", { class: "tag passthrough" }, "passthrough")] : []),
    ...(rule.secret === undefined
      ? []
      : [" ", element("span", { class: "tag" }, "secret ", element("bdi", {}, rule.secret))]),
  ];
}

/**
 * A warning that a rule ends soon says another time at each call, and the list counts down itself.
 *
 * @param {Rule} rule
 * @returns {Rule}
 */
function withoutCountdown({ warnings = [], ...rule }) {
  const lasting = warnings.filter((words) => !words.startsWith("it ends in "));
  return lasting.length === 0 ? rule : { ...rule, warnings: lasting };
}

/** @param {unknown} answer */
function suspendedIn(answer) {
  const clients = /** @type {readonly { name: string, suspended_since?: string }[]} */ (answer);
  return new Set(clients.flatMap(({ name, suspended_since: since }) => since === undefined ? [] : [name]));
}

/** @param {unknown} answer */
function namesIn(answer) {
  return /** @type {readonly { name: string }[]} */ (answer).map(({ name }) => name);
}
