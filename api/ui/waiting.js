/**
 * Requests that wait for a person, above everything else: what is asked, and in a session that may manage the answers.
 *
 * @module
 */
import { ask, failure } from "./ask.js";
import { button, byId, element } from "./dom.js";
import { call, SignedOut } from "./session.js";
import { shorten } from "./words.js";

/** What a VM has chosen to ask for may be 2,048 characters of path, and as many of query. */
const MAX_SHOWN = 300;

/**
 * What waits.
 *
 * @typedef {object} Waiting
 * @property {string} id
 * @property {string} client
 * @property {string} method
 * @property {string} scheme
 * @property {string} host
 * @property {number} port
 * @property {string} path
 * @property {string} [query]
 * @property {string} [reason] of a client that asks for a rule
 */

let before = "";

/**
 * Asks what waits, and shows it. What stands there stays as it is while the same waits: nothing moves under a click.
 *
 * @param {object} options
 * @param {boolean} options.mayManage
 * @param {() => void} options.signedOut
 */
export async function showWaiting({ mayManage, signedOut }) {
  const waiting = /** @type {Waiting[]} */ (await call("GET", "requests"));
  const now = JSON.stringify([waiting.map(({ id }) => id), mayManage]);
  if (now === before) return;
  before = now;
  byId("waiting-list", HTMLElement).replaceChildren(
    ...waiting.map((one) => item(one, mayManage, signedOut)),
  );
  byId("waiting", HTMLElement).hidden = waiting.length === 0;
}

/**
 * @param {Waiting} one
 * @param {boolean} mayManage
 * @param {() => void} signedOut
 */
function item({ id, client, method, scheme, host, port, path, query, reason }, mayManage, signedOut) {
  const place = `${scheme}://${host}:${port}`;
  const shown = shorten(`${method} ${place}${path}${query === undefined ? "" : `?${query}`}`, MAX_SHOWN);
  const problem = element("span", { role: "alert" });
  /** @param {string} what @param {object} [body] */
  const decide = async (what, body) => {
    await call("POST", `requests/${encodeURIComponent(id)}/${what}`, body);
    before = "";
    await showWaiting({ mayManage, signedOut });
  };
  /** @param {string} verb @param {string} what @param {object} [body] */
  const choice = (verb, what, body) =>
    button(verb, async () => {
      try {
        await decide(what, body);
      } catch (error) {
        if (error instanceof SignedOut) return signedOut();
        problem.replaceChildren(failure(error));
      }
    }, { "aria-label": `${verb}: ${client} ${shown}` });
  const always = () =>
    button(
      "Approve always",
      () =>
        ask({
          heading: `Approve this of ${client} for good?`,
          about: [
            element("p", { class: "asked" }, element("bdi", {}, `${method} ${place}${path}`)),
            element(
              "p",
              {},
              "A rule for exactly this method, host, port and path stays until it is revoked.",
            ),
          ],
          verb: "Approve",
          act: () => decide("approve", { always: true }),
          signedOut,
        }),
      { "aria-label": `Approve always: ${client} ${shown}` },
    );
  const what = reason === undefined ? "wants to send" : "asks for a rule for";
  return element(
    "li",
    {},
    element("b", {}, element("bdi", {}, client)),
    ` ${what} `,
    element("code", {}, element("bdi", {}, shown)),
    ...(reason === undefined ? [] : [" It says: ", element("q", {}, element("bdi", {}, reason))]),
    " ",
    ...(mayManage
      ? [
        ...(reason === undefined ? [choice("Approve once", "approve", {}), " "] : []),
        ...[choice("Approve for 15 minutes", "approve", { for_seconds: 900 }), " "],
        ...[always(), " ", choice("Deny", "deny"), problem],
      ]
      : [element("span", { class: "hint" }, `slicer-proxy requests approve ${id}, or deny`)]),
  );
}
