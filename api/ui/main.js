/**
 * The page: begins with a session, keeps what is shown up to date, and says when it cannot.
 *
 * @module
 */
import { showTroubles } from "./attention.js";
import { drawChart } from "./chart.js";
import { Clients } from "./clients.js";
import { byId, element } from "./dom.js";
import { Filters } from "./filters.js";
import { showFleet } from "./fleet.js";
import { switchMode } from "./modes.js";
import { propose } from "./propose.js";
import { call, followAudit, hasKey, logOut, mayManage, Refused, SignedOut, takeKey } from "./session.js";
import { Stream } from "./stream.js";
import { STEP_MS, Tally } from "./tally.js";
import { loadReasons, watchTips } from "./tips.js";
import { showWaiting } from "./waiting.js";
import { formatBytes, formatSpan, visible } from "./words.js";

/** @typedef {import("./attention.js").Troubles} Troubles */
/** @typedef {import("./stream.js").AuditEvent} AuditEvent */

const REFRESH_MS = 5_000;
const RETRY_MS = 2_000;
/** Records of the past that the stream begins with. */
const HISTORY = 2_000;
/** Bars of the chart. */
const BARS = 60;

/** The proxy's clock less this machine's, when they differ by more than a call takes. */
let skewMs = 0;
const now = () => Date.now() + skewMs;

const life = new AbortController();
const tally = new Tally();
let isManaging = false;
const clients = new Clients(byId("client-list", HTMLElement), {
  now,
  mayManage: () => isManaging,
  switchMode: (client, mode, seconds) => {
    switchMode(client, mode, seconds).then(() => clients.refresh()).catch(report);
  },
  done: toast,
  signedOut: () => signOut("ended"),
});
const filters = new Filters(() => {
  stream.drawAll();
  draw();
});
const stream = new Stream(filters, (denied) =>
  propose(denied, {
    added: (client) => {
      toast(`Added: ${client} may do that now.`);
      clients.reveal(client).catch(report);
    },
    learning: (client) => {
      toast(`${client} learns for 15 minutes: run it again, then propose a rule for what it is denied.`);
      clients.refresh().catch(report);
    },
    signedOut: () => signOut("ended"),
  }));

start();

function start() {
  takeKey();
  byId("log-out", HTMLButtonElement).addEventListener("click", async () => {
    await logOut();
    signOut("left");
  });
  byId("window", HTMLSelectElement).addEventListener("input", draw);
  new ResizeObserver(draw).observe(byId("plot", HTMLElement)); // also when it begins to be shown
  if (!hasKey()) return signOut("none");
  watchTips();
  begin();
  setInterval(() => document.hidden || clients.tick(), 1_000);
  setInterval(() => document.hidden || draw(), STEP_MS);
}

/** What the page needs once, then all that goes on. Without either it is poorer, and says so itself where it matters. */
async function begin() {
  const asked = mayManage().then((may) => isManaging = may);
  await Promise.allSettled([asked, loadReasons()]);
  refresh();
  follow();
}

/** Status, clients and rules, again and again. */
async function refresh() {
  try {
    if (!document.hidden) {
      const status = /** @type {Status & Troubles} */ (await call("GET", "status"));
      showStatus(status);
      await showFleet(status, now);
      await showWaiting({ mayManage: isManaging, signedOut: () => signOut("ended") });
      await clients.refresh();
      filters.setClients(clients.names);
    }
  } catch (error) {
    report(error);
  }
  if (!life.signal.aborted) setTimeout(refresh, REFRESH_MS);
}

/** The audit stream, with what came while it was cut. */
async function follow() {
  let lastId = "";
  while (!life.signal.aborted) {
    try {
      for await (const piece of followAudit(HISTORY, lastId, life.signal)) {
        showConnection("live");
        lastId = piece.lastId;
        show(/** @type {AuditEvent[]} */ (piece.events));
      }
    } catch (error) {
      report(error);
    }
    if (life.signal.aborted) return;
    showConnection("lost");
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** @param {readonly AuditEvent[]} events */
function show(events) {
  for (const event of events) {
    if (!("missed" in event) && event.verdict !== "change") {
      tally.add(Date.parse(event.time), event.verdict, event.repeated ?? 1, event);
    }
  }
  stream.add(events);
  if (events.length > 0) requestAnimationFrame(draw);
}

function draw() {
  const windowMs = Number(byId("window", HTMLSelectElement).value);
  const intervals = tally.intervals(
    now(),
    windowMs,
    windowMs / BARS,
    filters.isSet ? filters.test() : undefined,
  );
  drawChart(byId("plot", HTMLElement), byId("legend", HTMLElement), intervals);
  const isPartial = filters.isSet && tally.filteredFromMs > now() - windowMs;
  byId("chart-note", HTMLElement).textContent = !filters.isSet
    ? ""
    : isPartial
    ? `filtered, whole since ${new Date(tally.filteredFromMs).toLocaleTimeString([], { hourCycle: "h23" })}`
    : "filtered";
}

/**
 * @typedef {object} Status
 * @property {string} version
 * @property {string} started_at
 * @property {number} uptime_seconds
 * @property {"strict" | "audit"} mode
 * @property {string} hostgroup
 * @property {number} clients
 * @property {number} rules
 * @property {number} secrets
 * @property {number} open_tunnels
 * @property {number} sent_bytes
 * @property {number} received_bytes
 * @property {readonly { hosts: string, url: string }[]} upstream_proxies
 * @property {readonly { place: string, address: string }[]} dead_addresses
 * @property {object} [fleet]
 */

/** @param {Status & Troubles} status */
function showStatus(status) {
  showTroubles(status);
  const difference = Date.parse(status.started_at) + status.uptime_seconds * 1_000 - Date.now();
  skewMs = Math.abs(difference) > 5_000 ? difference : 0;
  const errors = status.secret_errors.map(({ name, error }) => `${name}: ${error}`);
  const parents = status.upstream_proxies.map(({ hosts, url }) => `${url} for ${hosts}`);
  const dead = status.dead_addresses.map(({ place, address }) => `${address} of ${place}`);
  /** @type {readonly (readonly [string, string, string?])[]} */
  const rows = [
    ["mode", status.mode],
    [
      "up",
      formatSpan(status.uptime_seconds * 1_000),
      `since ${status.started_at}, version ${status.version}`,
    ],
    ["host group", status.hostgroup],
    ["clients", String(status.clients)],
    ["rules", String(status.rules)],
    [
      "secrets",
      `${status.secrets}${errors.length > 0 ? `, ${errors.length} unusable` : ""}`,
      errors.join("\n"),
    ],
    ["tunnels", String(status.open_tunnels)],
    ["bytes", `↑${formatBytes(status.sent_bytes)} ↓${formatBytes(status.received_bytes)}`],
    ["parent proxies", parents.length > 0 ? String(parents.length) : "", parents.join("\n")],
    ["dead addresses", dead.length > 0 ? String(dead.length) : "", dead.join("\n")],
  ];
  byId("status", HTMLElement).replaceChildren(
    ...rows.filter(([, value]) => value !== "").map(([name, value, title = ""]) =>
      element("div", title === "" ? {} : { title }, element("dt", {}, name), element("dd", {}, value))
    ),
  );
  byId("signed-in", HTMLElement).hidden = false;
}

/** @param {"live" | "lost"} state */
function showConnection(state) {
  const shown = byId("connection", HTMLElement);
  if (shown.className === state) return;
  shown.className = state;
  shown.textContent = state === "live" ? "live" : "connection lost, trying again";
}

/** @param {unknown} error */
function report(error) {
  if (error instanceof SignedOut) signOut("ended");
  else if (error instanceof Refused) toast(error.message);
  else if (!life.signal.aborted) showConnection("lost");
}

/** @param {"none" | "ended" | "left"} why */
function signOut(why) {
  life.abort();
  for (const id of ["proposal", "question"]) byId(id, HTMLDialogElement).close();
  byId("signed-in", HTMLElement).hidden = true;
  byId("signed-out", HTMLElement).hidden = false;
  byId("signed-out-why", HTMLElement).textContent = {
    none: "This page opens with a link.",
    ended: "Your session has ended: it lives for twelve hours at most, and never longer than the proxy.",
    left: "You have logged out.",
  }[why];
}

/** @param {string} words */
function toast(words) {
  const shown = byId("toast", HTMLElement);
  shown.textContent = visible(words);
  shown.hidden = false;
  setTimeout(() => shown.hidden = true, 6_000);
}
