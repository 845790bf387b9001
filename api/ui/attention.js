/**
 * What asks for somebody's hand, above everything else: logins and keys that cannot be used, rules whose secret is gone, and
 * an audit log that cannot be written.
 *
 * @module
 */
import { byId, element } from "./dom.js";
import { secretCommand } from "./words.js";

/**
 * The part of the status that is about it.
 *
 * @typedef {object} Troubles
 * @property {readonly { name: string, host: string, type: string, error: string }[]} secret_errors
 * @property {readonly { client: string, host: string, secret: string }[]} [rules_without_secret]
 * @property {{ writable: boolean }} [audit_log]
 */

/** More are counted. */
const MAX_SHOWN = 5;

let before = "";

/**
 * Shows it, or that there is nothing: then there is no such panel.
 *
 * @param {Troubles} status
 */
export function showTroubles({ secret_errors: errors, rules_without_secret: rules = [], audit_log: log }) {
  const now = JSON.stringify([errors, rules, log?.writable]);
  if (now === before) return; // nothing moves under a reader's eyes
  before = now;
  const items = [
    ...(log?.writable === false
      ? [item("The audit log cannot be written, so every new request is refused.", "Make room on its disk.")]
      : []),
    ...errors.map(({ name, host, type, error }) =>
      item(
        `${isLogin(type) ? "Login" : "Secret"} ${name} cannot be used: ${error}.`,
        `Get a new ${isLogin(type) ? "login" : "key"}, then`,
        secretCommand({ name, host, type }),
      )
    ),
    ...rules.map(({ client, host, secret }) =>
      item(
        `The rule of ${client} for ${host} denies what it matches: its secret ${secret} is gone.`,
        "Revoke the rule, or",
        secretCommand({ name: secret, host }),
      )
    ),
  ];
  const more = items.length - MAX_SHOWN;
  byId("attention-list", HTMLElement).replaceChildren(
    ...items.slice(0, MAX_SHOWN),
    ...(more > 0
      ? [element("li", {}, `and ${more} more: slicer-proxy status, slicer-proxy rules CLIENT`)]
      : []),
  );
  byId("attention", HTMLElement).hidden = items.length === 0;
}

/** @param {string} type */
function isLogin(type) {
  return type.startsWith("oauth-") || type.startsWith("github-app");
}

/**
 * @param {string} words
 * @param {string} advice
 * @param {string} [command]
 */
function item(words, advice, command) {
  return element(
    "li",
    {},
    element("b", {}, element("bdi", {}, words)),
    " ",
    element("span", { class: "hint" }, advice),
    ...(command === undefined ? [] : [" ", element("code", {}, command)]),
  );
}
