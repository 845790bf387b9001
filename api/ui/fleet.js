/**
 * The hosts that share the policy, where there are such: how each of them is. A host alone has no such panel.
 *
 * @module
 */
import { byId, element } from "./dom.js";
import { call } from "./session.js";
import { formatSpan, shorten } from "./words.js";

/**
 * A host, as it says itself.
 *
 * @typedef {object} Host
 * @property {string} name
 * @property {boolean} is_this
 * @property {"live" | "late" | "denies"} state
 * @property {string} version
 * @property {string} last_seen
 * @property {number} behind
 * @property {number} behind_seconds
 * @property {number} open_tunnels
 * @property {{ deny: number }} requests
 */

/** More are counted: those that need somebody come first. */
const MAX_SHOWN = 24;
const MAX_NAME = 64;
const ORDER = ["denies", "late", "live"];

/**
 * Asks who is there, and shows it.
 *
 * @param {{ fleet?: object }} status
 * @param {() => number} now by the proxy's clock
 */
export async function showFleet({ fleet }, now) {
  byId("fleet", HTMLElement).hidden = fleet === undefined;
  if (fleet === undefined) return;
  const { name, hosts, store_away_since: away } =
    /** @type {{ name: string, hosts: Host[], store_away_since?: string }} */ (await call("GET", "fleet"));
  const ordered = hosts.toSorted((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  const more = hosts.length - MAX_SHOWN;
  byId("fleet-heading", HTMLElement).textContent = `Fleet ${shorten(name, MAX_NAME)}`;
  byId("fleet-note", HTMLElement).textContent = away === undefined
    ? ""
    : `its store is away for ${formatSpan(now() - Date.parse(away))}: no change is taken`;
  byId("fleet-list", HTMLElement).replaceChildren(
    ...ordered.slice(0, MAX_SHOWN).map((host) => item(host, now())),
    ...(more > 0 ? [element("li", {}, `and ${more} more: slicer-proxy fleet`)] : []),
  );
}

/**
 * @param {Host} host
 * @param {number} nowMs
 */
function item(host, nowMs) {
  const seen = formatSpan(Math.max(0, nowMs - Date.parse(host.last_seen)));
  const words = {
    live: host.behind > 0 ? `${host.behind} behind` : "live",
    late: host.behind > 0
      ? `${host.behind} behind for ${formatSpan(host.behind_seconds * 1_000)}`
      : `silent for ${seen}`,
    denies: `silent for ${seen}, denies`,
  };
  return element(
    "li",
    { class: host.state, title: `version ${shorten(host.version, MAX_NAME)}, last seen ${seen} ago` },
    element("b", {}, element("bdi", {}, shorten(host.name, MAX_NAME))),
    ` ${host.is_this ? "(this) " : ""}`,
    element("span", { class: "state" }, words[host.state]),
    ` · ${host.open_tunnels} tunnels · ${host.requests.deny} denied`,
  );
}
