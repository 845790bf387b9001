/**
 * Questions before what cannot be taken back, and the words of a call that failed.
 *
 * @module
 */
import { button, byId, element } from "./dom.js";
import { Refused, SignedOut } from "./session.js";

/**
 * Asks, and does it when the answer is yes. The question stays open, with the reason, when it could not be done.
 *
 * @param {object} question
 * @param {string} question.heading
 * @param {readonly (Node | string)[]} question.about
 * @param {string} question.verb what the button says
 * @param {() => Promise<void>} question.act
 * @param {() => void} question.signedOut
 */
export function ask({ heading, about, verb, act, signedOut }) {
  const dialog = byId("question", HTMLDialogElement);
  const problem = element("div", { role: "alert" });
  const yes = button(verb, async () => {
    yes.disabled = true;
    try {
      await act();
      dialog.close();
    } catch (error) {
      yes.disabled = false;
      if (error instanceof SignedOut) return signedOut();
      problem.replaceChildren(failure(error));
    }
  }, { class: "danger" });
  const no = button("Cancel", () => dialog.close(), { autofocus: "" });
  dialog.replaceChildren(
    element("h2", { id: "question-heading" }, heading),
    element("div", { class: "body" }, ...about, problem, element("div", { class: "actions" }, yes, no)),
  );
  if (!dialog.open) dialog.showModal();
}

/**
 * What a call failed with, for people.
 *
 * @param {unknown} error
 */
export function failure(error) {
  const words = error instanceof Refused ? error.message : "The proxy does not answer";
  const hint = error instanceof Refused ? error.hint : "is it running?";
  return element(
    "p",
    { class: "error" },
    words,
    hint === "" ? "" : element("span", { class: "hint" }, ` Hint: ${hint}`),
  );
}
