/**
 * Elements, made so that nothing from outside becomes markup: text is text, and what a reader could not see is shown.
 *
 * @module
 */
import { visible } from "./words.js";

/**
 * An element. Strings among the children become text, through {@linkcode visible}; nothing is ever parsed. Attribute names
 * and tags are this page's own, and no value that a browser would load or run comes from outside.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Readonly<Record<string, string>>} attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * An SVG element, made in the same way.
 *
 * @param {string} tag
 * @param {Readonly<Record<string, string | number>>} attributes
 * @param {...(Node | string)} children
 * @returns {SVGElement}
 */
export function drawing(tag, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/**
 * The element of the page with this id.
 *
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new TypeError(`page.html has no ${kind.name} #${id}`);
  return found;
}

/**
 * A button that does something.
 *
 * @param {string} label
 * @param {() => void} onClick
 * @param {Readonly<Record<string, string>>} [attributes]
 */
export function button(label, onClick, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", onClick);
  return made;
}

/**
 * @template {Element} Kind
 * @param {Kind} made
 * @param {Readonly<Record<string, string | number>>} attributes
 * @param {readonly (Node | string)[]} children
 * @returns {Kind}
 */
function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, visible(String(value)));
  made.append(...children.map((child) => typeof child === "string" ? visible(child) : child));
  return made;
}
