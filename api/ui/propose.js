/**
 * From a denial to a rule: what the proxy proposes is shown, as fields and as a command, before anything is added.
 *
 * @module
 */
import { button, byId, element } from "./dom.js";
import { call, Refused, SignedOut } from "./session.js";
import { requestOf } from "./stream.js";
import { allowCommand, shorten } from "./words.js";

/** @typedef {import("./stream.js").AuditLine} AuditLine */
/** @typedef {import("./words.js").Rule} Rule */

/**
 * @typedef {object} Proposal
 * @property {Rule} rule
 * @property {readonly { method: string, path: string, count: number }[]} because
 * @property {readonly { method: string, path: string, by: string }[]} [implied]
 * @property {readonly string[]} [other_secrets]
 */

/**
 * @typedef {object} Suggestions
 * @property {readonly Proposal[]} proposals
 * @property {readonly { host?: string, why: string }[]} skipped
 */

const MAX_OFFERS = 20;
const MAX_REASONS = 6;

/** What `ttl_seconds` may be here, with the duration that the command takes. */
const TTLS = /** @type {const} */ ([
  { seconds: 900, ttl: "15m", label: "15 minutes" },
  { seconds: 3_600, ttl: "1h", label: "1 hour" },
  { seconds: 86_400, ttl: "1d", label: "1 day" },
  { seconds: 604_800, ttl: "7d", label: "7 days" },
  { seconds: 0, ttl: "", label: "no end" },
]);

/**
 * Opens the dialog for a denial.
 *
 * @param {AuditLine} denied
 * @param {object} on
 * @param {(client: string) => void} on.added
 * @param {() => void} on.signedOut
 */
export async function propose(denied, { added, signedOut }) {
  const dialog = byId("proposal", HTMLDialogElement);
  const body = element(
    "div",
    { class: "body" },
    element("p", {}, "Asking the proxy for the narrowest rule…"),
  );
  dialog.replaceChildren(
    element("h2", { id: "proposal-heading" }, "A rule for ", element("bdi", {}, denied.client)),
    element(
      "p",
      { class: "denied" },
      element("span", { class: "verdict deny" }, "✕ denied"),
      " ",
      quoted(denied),
    ),
    body,
  );
  if (!dialog.open) dialog.showModal();
  try {
    const { proposals, skipped } = await suggestionsFor(denied.client);
    const offers = offersFor(proposals, denied);
    if (offers.length === 0) {
      const why = skipped.find(({ host }) => host === denied.host)?.why;
      body.replaceChildren(
        element("p", {}, `No rule is proposed for this${why ? `: ${why}.` : ". It may be allowed by now."}`),
        element("div", { class: "actions" }, button("Close", () => dialog.close())),
      );
    } else body.replaceChildren(choice(dialog, denied.client, offers, { added, signedOut }));
  } catch (error) {
    if (error instanceof SignedOut) return signedOut();
    body.replaceChildren(
      failure(error),
      element("div", { class: "actions" }, button("Close", () => dialog.close())),
    );
  }
}

/**
 * @param {string} client
 * @returns {Promise<Suggestions>}
 */
async function suggestionsFor(client) {
  const answer = await call("GET", `clients/${encodeURIComponent(client)}/suggestions`);
  return /** @type {Suggestions} */ (answer);
}

/**
 * What is offered for a denial: the rule that it is a reason for, what its program will ask for next, and then, not chosen
 * beforehand, what else was denied on this host.
 *
 * @param {readonly Proposal[]} proposals
 * @param {AuditLine} denied
 * @returns {{ proposal: Proposal, isChosen: boolean }[]}
 */
function offersFor(proposals, denied) {
  const askedHosts = proposals.filter(({ because }) => because.length > 0).map(({ rule }) => rule.host);
  const offers = proposals.map((proposal) => {
    const { rule, because } = proposal;
    const isHere = rule.host === denied.host;
    const isReason = isHere &&
      because.some(({ method, path }) => method === denied.method && path === denied.path);
    const isNext = because.length === 0 && (isHere || !askedHosts.includes(rule.host));
    const rank = isReason ? 0 : isHere ? (isNext ? 1 : 2) : isNext ? 3 : Infinity;
    return { proposal, isChosen: rank < 2, rank };
  });
  // Of other hosts only what a program asks for next, such as files that an index leads to.
  const offered = offers.filter(({ rank }) => rank < Infinity).sort((a, b) => a.rank - b.rank).slice(
    0,
    MAX_OFFERS,
  );
  return offered.some(({ proposal }) => proposal.rule.host === denied.host) ? offered : [];
}

/**
 * The form: which rules, for how long, and what they come to.
 *
 * @param {HTMLDialogElement} dialog
 * @param {string} client
 * @param {readonly { proposal: Proposal, isChosen: boolean }[]} offers
 * @param {{ added: (client: string) => void, signedOut: () => void }} on
 */
function choice(dialog, client, offers, { added, signedOut }) {
  const ttl = element(
    "select",
    {},
    ...TTLS.map(({ label }, i) => element("option", { value: String(i) }, label)),
  );
  ttl.value = "1";
  const problem = element("div", { role: "alert" });
  const add = element("button", { type: "submit", class: "primary" });
  const cards = offers.map(({ proposal, isChosen }) => {
    const chosen = element("input", { type: "checkbox" });
    chosen.checked = isChosen;
    const command = element("code", {});
    const shown = element(
      "fieldset",
      {},
      element(
        "legend",
        {},
        element("label", {}, chosen, element("bdi", {}, shorten(summary(proposal.rule), 100))),
      ),
      element("dl", { class: "fields" }, ...fieldsOf(client, proposal.rule)),
      ...reasonsOf(proposal),
      element("pre", {}, command),
    );
    return { rule: proposal.rule, chosen, command, shown };
  });
  const life = () => TTLS[Number(ttl.value)] ?? TTLS[0];
  const show = () => {
    const count = cards.filter(({ chosen }) => chosen.checked).length;
    add.textContent = count === 1 ? "Add this rule" : `Add ${count} rules`;
    add.disabled = count === 0;
    for (const { rule, chosen, command, shown } of cards) {
      command.textContent = allowCommand(client, rule, life().ttl);
      shown.classList.toggle("chosen", chosen.checked);
    }
  };
  const form = element(
    "form",
    {},
    ...cards.map(({ shown }) => shown),
    element("label", {}, "To live for", ttl),
    problem,
    element("div", { class: "actions" }, add, button("Cancel", () => dialog.close())),
  );
  form.addEventListener("input", show);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    add.disabled = true;
    try {
      for (const { rule, chosen } of cards) {
        if (!chosen.checked) continue;
        await call("POST", "allows", {
          client,
          ...rule,
          ...(life().seconds > 0 ? { ttl_seconds: life().seconds } : {}),
        });
        chosen.checked = false; // what is added is not added again when a later one is refused
      }
      dialog.close();
      added(client);
    } catch (error) {
      if (error instanceof SignedOut) return signedOut();
      show();
      problem.replaceChildren(failure(error));
    }
  });
  show();
  return form;
}

/**
 * The rule field by field, also those that it leaves open.
 *
 * @param {string} client
 * @param {Rule} rule
 */
function fieldsOf(client, rule) {
  /** @type {readonly (readonly [string, readonly string[]])[]} */
  const rows = [
    ["Client", [client]],
    ["Host", [rule.host]],
    ["Methods", rule.methods?.length ? rule.methods : ["any"]],
    ["Paths", rule.paths?.length ? rule.paths : ["any"]],
    ["Ports", rule.ports?.length ? rule.ports.map(String) : ["80, 443"]],
    ["Secret", [rule.secret ?? "none"]],
    ...(rule.passthrough ? [/** @type {const} */ (["Passthrough", ["yes: bytes are not inspected"]])] : []),
  ];
  return rows.flatMap(([name, values]) => [
    element("dt", {}, name),
    element("dd", {}, ...values.map((value) => element("bdi", {}, value))),
  ]);
}

/** @param {Proposal} proposal */
function reasonsOf({ because, implied = [], other_secrets: otherSecrets = [] }) {
  const asked = because.slice(0, MAX_REASONS).map(({ method, path, count }) =>
    element("li", {}, `${method} `, element("bdi", {}, shorten(path, 200)), count > 1 ? ` ×${count}` : "")
  );
  const next = implied.slice(0, MAX_REASONS).map(({ method, path, by }) =>
    element("li", {}, `${method} `, element("bdi", {}, shorten(path, 200)), ` — ${by} asks for it next`)
  );
  const more = because.length + implied.length - asked.length - next.length;
  const secrets = otherSecrets.length === 0 ? "" : element(
    "p",
    { class: "warning" },
    `Other rules for this host inject ${otherSecrets.join(", ")}; this one injects nothing.`,
  );
  return [
    element(
      "p",
      { class: "hint" },
      because.length > 0 ? "Because this was denied:" : "Nobody asked yet, but",
    ),
    element("ul", {}, ...asked, ...next, more > 0 ? element("li", {}, `and ${more} more`) : ""),
    secrets,
  ];
}

/** @param {Rule} rule */
function summary({ host, methods, paths, ports }) {
  const port = ports?.length ? `:${ports.join(",")}` : "";
  return `${methods?.join(", ") || "any method"} ${host}${port} ${paths?.join(", ") || "any path"}`;
}

/** @param {AuditLine} denied */
function quoted(denied) {
  return element("bdi", {}, shorten(requestOf(denied), 300));
}

/** @param {unknown} error */
function failure(error) {
  const words = error instanceof Refused ? error.message : "The proxy does not answer";
  const hint = error instanceof Refused ? error.hint : "is it running?";
  return element(
    "p",
    { class: "error" },
    words,
    hint === "" ? "" : element("span", { class: "hint" }, ` Hint: ${hint}`),
  );
}
