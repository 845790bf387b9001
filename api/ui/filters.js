/**
 * Which records are shown: the fields above the table, which count for the chart as well.
 *
 * @module
 */
import { button, byId } from "./dom.js";

/**
 * What a record has that a filter looks at.
 *
 * @typedef {object} Filtered
 * @property {"allow" | "deny" | "passthrough" | "change"} verdict
 * @property {string} client
 * @property {string} [host]
 * @property {string} [src]
 * @property {number} [proxy_port]
 * @property {string} [tls]
 */

/** The fields of the page. */
export class Filters {
  #client = byId("filter-client", HTMLSelectElement);
  #host = byId("filter-host", HTMLInputElement);
  #denied = byId("filter-denied", HTMLInputElement);
  #source = byId("filter-source", HTMLInputElement);
  #port = byId("filter-port", HTMLInputElement);
  #tls = byId("filter-tls", HTMLSelectElement);
  #texts = [this.#client, this.#host, this.#source, this.#port, this.#tls];
  #clear;

  /** @param {() => void} onChange */
  constructor(onChange) {
    const change = () => {
      this.#clear.hidden = !this.isSet;
      onChange();
    };
    this.#clear = button("Clear", () => {
      for (const field of this.#texts) field.value = "";
      this.#denied.checked = false;
      this.#host.focus(); // the button goes
      change();
    }, { id: "clear-filters" });
    this.#clear.hidden = true;
    byId("pause", HTMLButtonElement).before(this.#clear);
    for (const field of [...this.#texts, this.#denied]) field.addEventListener("input", change);
  }

  /** True when some records are left out. */
  get isSet() {
    return this.#denied.checked || this.#texts.some(({ value }) => value.trim() !== "");
  }

  /** @param {readonly string[]} names the clients to choose from */
  setClients(names) {
    const chosen = this.#client.value;
    // One that is gone stays while it is looked at: nothing is shown that nobody asked for.
    const all = chosen === "" || names.includes(chosen) ? names : [...names, chosen];
    if (
      this.#client.options.length === all.length + 1 &&
      all.every((name, i) => this.#client.options[i + 1]?.value === name)
    ) return;
    const options = ["", ...all].map((name) =>
      new Option(name === "" ? "all" : name, name, false, name === chosen)
    );
    this.#client.replaceChildren(...options);
  }

  /**
   * Says of a record whether it is asked for, by the fields as they are now.
   *
   * @returns {(line: Filtered) => boolean}
   */
  test() {
    const client = this.#client.value;
    const host = this.#host.value.trim().toLowerCase();
    const source = this.#source.value.trim().toLowerCase();
    const port = this.#port.value.trim();
    const tls = this.#tls.value;
    const isDenied = this.#denied.checked;
    return (line) =>
      (client === "" || line.client === client) &&
      (!isDenied || line.verdict === "deny") &&
      (host === "" || (line.host ?? "").includes(host)) &&
      (source === "" || (line.src ?? "").includes(source)) &&
      (port === "" || String(line.proxy_port ?? "") === port) &&
      (tls === "" || (line.src !== undefined && (line.tls ?? "none") === tls));
  }
}
