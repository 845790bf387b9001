/**
 * A proposed rule as a card: whether it is added at all, and each of its parts to choose and to write.
 *
 * @module
 */
import { button, element } from "./dom.js";
import { allowCommand, isBoundTo, shorten, titleOf } from "./words.js";

/** @typedef {import("./words.js").Rule} Rule */

/**
 * A path, or a gRPC call, that may become part of the rule.
 *
 * @typedef {object} PathOffer
 * @property {string} path
 * @property {boolean} isChosen
 * @property {readonly string[]} why
 */

/**
 * What a card begins with.
 *
 * @typedef {object} Offer
 * @property {Rule} rule what is not among the paths, calls and methods stays as it is
 * @property {boolean} isChosen
 * @property {readonly PathOffer[]} paths
 * @property {string} [note] what to think of before it is added
 */

/** @typedef {{ name: string, host: string, type: string }} Secret */

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/** More reasons of one path are counted. */
const MAX_WHY = 3;

/** One card. Its `element` tells of every change by `input` events. */
export class RuleCard {
  #client;
  #rule;
  #secret;
  #chosen = element("input", { type: "checkbox" });
  #title = element("bdi", {});
  #command = element("code", {});
  #problem = element("p", { class: "error" });
  #methods;
  #paths = element("ul", { class: "paths" });
  #all = element("input", { type: "checkbox" });

  /**
   * @param {string} client
   * @param {Offer} offer
   * @param {readonly Secret[]} secrets all that there are
   */
  constructor(client, { rule, isChosen, paths, note }, secrets) {
    this.#client = client;
    this.#rule = rule;
    this.#chosen.checked = isChosen;
    this.#methods = new Methods(rule.methods ?? []);
    const bound = secrets.filter(({ host }) => isBoundTo(host, rule.host));
    this.#secret = element(
      "select",
      {},
      element("option", { value: "" }, "none"),
      ...bound.map(({ name, type }) => element("option", { value: name }, `${name} (${type})`)),
    );
    for (const each of paths) this.#addPath(each);
    this.element = element(
      "fieldset",
      { class: "card" },
      element("legend", {}, element("label", {}, this.#chosen, this.#title)),
      ...(note === undefined ? [] : [element("p", { class: "warning" }, note)]),
      element("dl", { class: "fields" }, ...this.#fields()),
      element("pre", {}, this.#command),
      this.#problem,
    );
    this.#all.addEventListener("input", () => {
      for (const { box } of this.#pathRows()) box.checked = this.#all.checked;
    });
    this.show("");
  }

  /** True when the rule is to be added. */
  get isChosen() {
    return this.#chosen.checked;
  }

  set isChosen(isChosen) {
    this.#chosen.checked = isChosen;
  }

  /** Why it cannot be added as it is; empty when it can. */
  get problem() {
    const paths = this.#chosenPaths();
    if (this.#rule.grpc) {
      if (paths.length === 0) return "Choose a call.";
      return paths.includes("") ? "Write the call, or take its tick away." : "";
    }
    if (!this.#methods.isAny && this.#methods.chosen.length === 0) return "Choose a method, or any.";
    if (paths.length === 0) return "Choose a path. * is any path.";
    return paths.includes("") ? "Write the path, or take its tick away." : "";
  }

  /** The rule as it stands in the card. Only what has no {@linkcode problem} may be sent: no path would mean any. */
  get rule() {
    const { methods: _methods, paths: _paths, grpc, secret: _secret, ...rest } = this.#rule;
    const chosen = [...new Set(this.#chosenPaths())];
    return {
      ...rest,
      ...(grpc || this.#methods.isAny ? {} : { methods: this.#methods.chosen }),
      ...(grpc ? { grpc: chosen } : { paths: chosen }),
      ...(this.#secret.value === "" ? {} : { secret: this.#secret.value }),
    };
  }

  /**
   * Brings title, command and problem up to what is chosen.
   *
   * @param {string} ttl as the command takes it
   */
  show(ttl) {
    const { rule, problem } = this;
    this.element.classList.toggle("chosen", this.isChosen);
    this.#title.textContent = shorten(titleOf(rule), 100);
    this.#command.textContent = problem === "" ? allowCommand(this.#client, rule, ttl) : "";
    this.#problem.textContent = problem;
    const rows = this.#pathRows();
    const checked = rows.filter(({ box }) => box.checked).length;
    this.#all.checked = checked === rows.length;
    this.#all.indeterminate = checked > 0 && checked < rows.length;
  }

  #fields() {
    const { ports, passthrough, grpc } = this.#rule;
    const add = button(grpc ? "Add a call" : "Add a path", () => {
      this.#addPath({ path: grpc ? "" : "/", isChosen: true, why: [] }).focus();
      this.element.dispatchEvent(new Event("input", { bubbles: true }));
    });
    const isLong = this.#paths.childElementCount > 1;
    /** @type {readonly (readonly [string, ...Node[]])[]} */
    const rows = [
      ["Host", element("bdi", {}, this.#rule.host)],
      ["Ports", element("bdi", {}, ports?.length ? ports.join(", ") : "80, 443")],
      ...(grpc ? [] : [/** @type {const} */ (["Methods", this.#methods.element])]),
      [
        grpc ? "gRPC calls" : "Paths",
        ...(isLong
          ? [element("label", { class: "all" }, this.#all, `all ${this.#paths.childElementCount}`)]
          : []),
        this.#paths,
        add,
      ],
      [
        "Secret",
        element("label", { class: "secret" }, element("span", { class: "unseen" }, "Secret"), this.#secret),
      ],
      ...(passthrough
        ? [/** @type {const} */ (["Passthrough", element("span", {}, "bytes are not inspected")])]
        : []),
    ];
    return rows.flatMap(([name, ...values]) => [element("dt", {}, name), element("dd", {}, ...values)]);
  }

  /** @param {PathOffer} offer */
  #addPath({ path, isChosen, why }) {
    const label = this.#rule.grpc ? "Call" : "Path";
    const box = element("input", { type: "checkbox", "aria-label": `${label} ${shorten(path, 200)}` });
    box.checked = isChosen;
    const text = element("input", {
      type: "text",
      "aria-label": label,
      spellcheck: "false",
      autocomplete: "off",
    });
    text.value = path;
    text.addEventListener("input", () => {
      box.checked = true;
      box.setAttribute("aria-label", `${label} ${shorten(text.value, 200)}`);
    });
    const more = why.length - MAX_WHY;
    const words = [...why.slice(0, MAX_WHY), ...(more > 0 ? [`and ${more} more`] : [])];
    this.#paths.append(element(
      "li",
      {},
      box,
      text,
      ...words.map((each) => element("span", { class: "hint why" }, element("bdi", {}, each))),
    ));
    return text;
  }

  #pathRows() {
    return [...this.#paths.children].map((item) => {
      const [box, text] = item.querySelectorAll("input");
      if (!box || !text) throw new TypeError("a path has a box and a field");
      return { box, text };
    });
  }

  #chosenPaths() {
    return this.#pathRows().filter(({ box }) => box.checked).map(({ text }) => text.value.trim());
  }
}

/** Boxes for the usual methods, for those that were proposed, and for any. */
class Methods {
  #any = element("input", { type: "checkbox" });
  #boxes;

  /** @param {readonly string[]} proposed none for any */
  constructor(proposed) {
    this.#any.checked = proposed.length === 0;
    this.#boxes = [...new Set([...proposed, ...METHODS])].map((method) => {
      const box = element("input", { type: "checkbox" });
      box.checked = proposed.includes(method);
      return { method, box };
    });
    const limit = () => {
      for (const { box } of this.#boxes) box.disabled = this.#any.checked;
    };
    this.#any.addEventListener("input", limit);
    limit();
    this.element = element(
      "div",
      { class: "methods", role: "group", "aria-label": "Methods" },
      ...this.#boxes.map(({ method, box }) =>
        element("label", {}, box, element("bdi", {}, shorten(method, 40)))
      ),
      element("label", {}, this.#any, "any"),
    );
  }

  get isAny() {
    return this.#any.checked;
  }

  get chosen() {
    return this.#boxes.filter(({ box }) => box.checked).map(({ method }) => method);
  }
}
