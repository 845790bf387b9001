/**
 * From a denial to a rule: what the proxy proposes is shown, part by part and as a command, before anything is added. Where
 * only a host is known, since strict mode refused the tunnel, that is what is offered, or to learn more first.
 *
 * @module
 */
import { failure } from "./ask.js";
import { button, byId, element } from "./dom.js";
import { LEARN_SECONDS, modeIn, switchMode } from "./modes.js";
import { RuleCard } from "./rule_card.js";
import { call, SignedOut } from "./session.js";
import { reasonOf, requestOf } from "./stream.js";
import { formatSpan, shorten } from "./words.js";

/** @typedef {import("./modes.js").Modes} Modes */
/** @typedef {import("./rule_card.js").Offer} Offer */
/** @typedef {import("./rule_card.js").PathOffer} PathOffer */
/** @typedef {import("./rule_card.js").Secret} Secret */
/** @typedef {import("./stream.js").AuditLine} AuditLine */
/** @typedef {import("./words.js").Rule} Rule */

/**
 * @typedef {object} Proposal
 * @property {Rule} rule
 * @property {readonly { method: string, path: string, count: number, pattern: string }[]} because
 * @property {readonly { method: string, path: string, by: string, after: string }[]} implied
 * @property {readonly string[]} other_secrets
 */

/**
 * @typedef {object} Suggestions
 * @property {readonly Proposal[]} proposals
 * @property {readonly { host?: string, why: string }[]} skipped
 * @property {readonly { host: string, words: string }[]} passes
 */

/**
 * @typedef {object} Reactions
 * @property {(client: string) => void} added
 * @property {(client: string) => void} learning
 * @property {() => void} signedOut
 */

const MAX_OFFERS = 20;

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
 * @param {Reactions} on
 */
export async function propose(denied, on) {
  const dialog = byId("proposal", HTMLDialogElement);
  const body = element(
    "div",
    { class: "body" },
    element("p", {}, "Asking the proxy for the narrowest rule…"),
  );
  dialog.replaceChildren(
    element("h2", { id: "proposal-heading" }, "A rule for ", element("bdi", {}, shorten(denied.client, 80))),
    element(
      "p",
      { class: "denied" },
      element("span", { class: "verdict deny" }, "✕ denied"),
      " ",
      element("bdi", {}, shorten(requestOf(denied), 300)),
      element("span", { class: "hint" }, reasonOf(denied)),
    ),
    body,
  );
  if (!dialog.open) dialog.showModal();
  await offer(dialog, body, { denied, isExact: false }, on);
}

/**
 * Asks for proposals, and shows them.
 *
 * @param {HTMLDialogElement} dialog
 * @param {HTMLElement} body
 * @param {{ denied: AuditLine, isExact: boolean }} wanted
 * @param {Reactions} on
 */
async function offer(dialog, body, { denied, isExact }, on) {
  const { client, host, path } = denied;
  try {
    const [suggestions, secrets, modes] = await Promise.all([
      call("GET", `clients/${encodeURIComponent(client)}/suggestions${isExact ? "?exact=1" : ""}`),
      call("GET", "secrets"),
      call("GET", "mode"),
    ]);
    const { proposals, skipped, passes } = /** @type {Suggestions} */ (suggestions);
    const offers = offersFor(proposals, denied);
    if (offers.length === 0) {
      const why = skipped.find((each) => each.host === host)?.why;
      body.replaceChildren(
        element("p", {}, `No rule is proposed for this${why ? `: ${why}.` : ". It may be allowed by now."}`),
        element("div", { class: "actions" }, button("Close", () => dialog.close())),
      );
      return;
    }
    const here = proposals.filter(({ rule }) => rule.host === host);
    const isTunnel = path === undefined;
    const known = { secrets: /** @type {readonly Secret[]} */ (secrets), offers };
    const exact = element("input", { type: "checkbox" });
    exact.checked = isExact;
    exact.addEventListener("input", () => offer(dialog, body, { denied, isExact: exact.checked }, on));
    body.replaceChildren(
      ...(isTunnel ? [learn(dialog, client, /** @type {Modes} */ (modes), on)] : []),
      ...(isExact || here.some(isWide)
        ? [element("label", {}, exact, "only the paths that were asked for")]
        : []),
      ...passes.filter((each) => each.host === host).map(({ words }) =>
        element("p", { class: "hint" }, `${words.slice(0, 1).toUpperCase()}${words.slice(1)}.`)
      ),
      choice(dialog, client, known, on),
    );
    if (isExact) exact.focus();
  } catch (error) {
    if (error instanceof SignedOut) return on.signedOut();
    body.replaceChildren(
      failure(error),
      element("div", { class: "actions" }, button("Close", () => dialog.close())),
    );
  }
}

/**
 * True for a proposal that lets through more than what was asked for.
 *
 * @param {Proposal} proposal
 */
function isWide({ rule, implied }) {
  return implied.length > 0 || (rule.paths ?? []).some((path) => path.endsWith("*"));
}

/**
 * What is offered for a denial: the rule that it is a reason for, with its own path and what its program will ask for next;
 * then, not chosen beforehand, what else was denied on this host. For a tunnel, which says no more than its host, what is
 * known of that host.
 *
 * @param {readonly Proposal[]} proposals
 * @param {AuditLine} denied
 * @returns {Offer[]}
 */
function offersFor(proposals, denied) {
  const { host, port, path } = denied;
  const isTunnel = path === undefined;
  const askedHosts = proposals.filter(({ because }) => because.length > 0).map(({ rule }) => rule.host);
  const ranked = proposals.map((proposal) => {
    const { rule, because, implied } = proposal;
    const isHere = rule.host === host;
    const isReason = isHere && because.some((each) => each.method === denied.method && each.path === path);
    const isNext = because.length === 0 && (isHere || !askedHosts.includes(rule.host));
    const follows = isNext && isHere && implied.some(({ after }) => after === path);
    const rank = isReason ? 0 : isHere ? (follows || isTunnel ? 1 : 2) : isNext ? 3 : Infinity;
    return { rank, offer: offerOf(proposal, denied, rank) };
  });
  // Of other hosts only what a program asks for next, such as files that an index leads to.
  const offers = ranked.filter(({ rank }) => rank < Infinity).sort((a, b) => a.rank - b.rank)
    .slice(0, MAX_OFFERS).map(({ offer }) => offer);
  if (offers.some(({ rule }) => rule.host === host)) return offers;
  return isTunnel && host !== undefined && !isAddress(host) ? [hostOffer(host, port)] : [];
}

/**
 * @param {Proposal} proposal
 * @param {AuditLine} denied
 * @param {number} rank 0 for the rule that it is a reason for, 1 for what belongs to it
 * @returns {Offer}
 */
function offerOf({ rule, because, implied, other_secrets: secrets }, denied, rank) {
  // A rule in words of a protocol has none of its own.
  const paths = (rule.grpc?.map((call) => `/${call}`) ?? rule.paths ?? ["*"]).map((pattern) => {
    const asked = because.filter((each) => each.pattern === pattern);
    const next = implied.filter(({ path }) => path === pattern);
    const isOwn = asked.some(({ method, path }) => method === denied.method && path === denied.path) ||
      next.some(({ after }) => after === denied.path);
    return {
      path: rule.grpc ? pattern.slice(1) : pattern,
      // A card that is not chosen has all, for whoever chooses it.
      isChosen: rank > 1 || denied.path === undefined || isOwn,
      why: [
        ...asked.map(({ method, path, count }) =>
          `${method}${path === pattern ? "" : ` ${shorten(path, 100)}`} was denied${
            count > 1 ? ` ×${count}` : ""
          }`
        ),
        ...next.map(({ method, by }) => `${method}: ${by} asks for it next`),
      ],
    };
  });
  return {
    rule,
    isChosen: rank < 2,
    paths,
    ...(secrets.length === 0 ? {} : {
      note: `Other rules for this host inject ${
        secrets.join(", ")
      }; this one injects nothing, unless you choose it.`,
    }),
  };
}

/**
 * @param {string} host
 * @param {number | undefined} port
 * @returns {Offer}
 */
function hostOffer(host, port) {
  return {
    rule: { host, ...(port === undefined || port === 80 || port === 443 ? {} : { ports: [port] }) },
    isChosen: false,
    paths: [{ path: "*", isChosen: true, why: ["any path"] }],
    note: "Only the host is known: as it stands, this allows every method and every path of it.",
  };
}

/**
 * The way to know more: a while in which the client is asked what it wants before it is refused.
 *
 * @param {HTMLDialogElement} dialog
 * @param {string} client
 * @param {Modes} modes
 * @param {Reactions} on
 */
function learn(dialog, client, modes, { learning, signedOut }) {
  const { mode, until } = modeIn(modes, client);
  const words =
    "The tunnel was refused before anything was asked in it. While a client learns, what it asks for is " +
    "logged before it is denied, and exact paths can be proposed.";
  if (mode === "audit") {
    const left = until === undefined ? "" : ` for another ${formatSpan(Date.parse(until) - Date.now())}`;
    return element("p", { class: "learn" }, `${words} ${client} is learning${left}: run it again.`);
  }
  const problem = element("div", { role: "alert" });
  const start = button("Learn for 15 minutes", async () => {
    start.disabled = true;
    try {
      await switchMode(client, "audit", LEARN_SECONDS);
      dialog.close();
      learning(client);
    } catch (error) {
      start.disabled = false;
      if (error instanceof SignedOut) return signedOut();
      problem.replaceChildren(failure(error));
    }
  }, { class: "primary" });
  return element("div", { class: "learn" }, element("p", {}, words), start, problem);
}

/**
 * The form: which rules, for how long, and what they come to.
 *
 * @param {HTMLDialogElement} dialog
 * @param {string} client
 * @param {{ offers: readonly Offer[], secrets: readonly Secret[] }} known
 * @param {Reactions} on
 */
function choice(dialog, client, { offers, secrets }, { added, signedOut }) {
  const ttl = element(
    "select",
    {},
    ...TTLS.map(({ label }, i) => element("option", { value: String(i) }, label)),
  );
  ttl.value = "1";
  const problem = element("div", { role: "alert" });
  const add = element("button", { type: "submit", class: "primary" });
  const cards = offers.map((offer) => new RuleCard(client, offer, secrets));
  const life = () => TTLS[Number(ttl.value)] ?? TTLS[0];
  const show = () => {
    for (const card of cards) card.show(life().ttl);
    const chosen = cards.filter(({ isChosen }) => isChosen);
    add.textContent = chosen.length > 1 ? `Add ${chosen.length} rules` : "Add this rule";
    add.disabled = chosen.length === 0 || chosen.some((card) => card.problem !== "");
  };
  const form = element(
    "form",
    {},
    ...cards.map(({ element }) => element),
    element("label", { class: "life" }, "To live for", ttl),
    problem,
    element("div", { class: "actions" }, add, button("Cancel", () => dialog.close())),
  );
  form.addEventListener("input", show);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    add.disabled = true;
    try {
      for (const card of cards) {
        if (!card.isChosen) continue;
        await call("POST", "allows", {
          client,
          ...card.rule,
          ...(life().seconds > 0 ? { ttl_seconds: life().seconds } : {}),
        });
        card.isChosen = false; // what is added is not added again when a later one is refused
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

/** @param {string} host */
function isAddress(host) {
  return host.includes(":") || /^[\d.]+$/.test(host);
}
