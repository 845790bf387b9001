/**
 * Reasons, explained: the words come from the proxy's own table, and stand beside a reason when it is pointed at or has the
 * focus. They can be pointed at themselves, and Escape takes them away (WCAG 1.4.13).
 *
 * @module
 */
import { button, byId, element } from "./dom.js";

/** @type {Readonly<Record<string, string>>} */
let reasons = {};

/** @type {HTMLElement | undefined} the one that is shown */
let shown;

/** Fetches the table of reasons; until it is there, a reason is only its name. */
export async function loadReasons() {
  const response = await fetch("/ui/reasons.json", { cache: "no-store" });
  if (response.ok) reasons = await response.json();
}

/**
 * What the proxy's table says of a reason, as a sentence; undefined for one that it does not have.
 *
 * @param {string} reason
 * @returns {string | undefined}
 */
export function wordsOf(reason) {
  const words = Object.hasOwn(reasons, reason) ? reasons[reason] : undefined;
  return words && `${words.slice(0, 1).toUpperCase()}${words.slice(1)}.`;
}

/**
 * A reason, with its words beside it when somebody asks. One that is not in the table stays text.
 *
 * @param {string} reason
 * @returns {Node}
 */
export function explained(reason) {
  const words = wordsOf(reason);
  if (words === undefined) return element("bdi", {}, reason);
  const tip = tipOf(reason, words);
  const made = button(reason, () => show(tip, made), { class: "reason", "aria-describedby": tip.id });
  made.addEventListener("focus", () => show(tip, made));
  made.addEventListener("blur", hide);
  made.addEventListener("pointerenter", () => show(tip, made));
  made.addEventListener("pointerleave", (event) => {
    if (event.relatedTarget !== tip && document.activeElement !== made) hide();
  });
  return made;
}

/** Puts what is shown away by Escape, and when what it belongs to moves. */
export function watchTips() {
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
  addEventListener("scroll", hide, { capture: true, passive: true });
  addEventListener("resize", hide);
}

/**
 * @param {string} reason
 * @param {string} words
 */
function tipOf(reason, words) {
  const id = `why-${reason}`;
  const known = document.getElementById(id);
  if (known) return known;
  const made = element("div", { id, role: "tooltip" }, words);
  made.hidden = true;
  made.addEventListener("pointerleave", hide);
  byId("tips", HTMLElement).append(made);
  return made;
}

/**
 * @param {HTMLElement} tip
 * @param {HTMLElement} by
 */
function show(tip, by) {
  if (shown === tip && !tip.hidden) return;
  hide();
  shown = tip;
  tip.hidden = false;
  const { left, top, bottom } = by.getBoundingClientRect();
  const below = bottom + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${below ? bottom : top - tip.offsetHeight}px`; // it touches, so that the pointer can go there
}

function hide() {
  if (shown) shown.hidden = true;
  shown = undefined;
}
