/**
 * The files of the web page, as text in the program: they need no build step, no disk and no network.
 *
 * Not here: how they are served (`ui_page.ts`).
 *
 * @module
 */
import { REASONS } from "../policy/reason.ts";
import ask from "./ui/ask.js" with { type: "text" };
import attention from "./ui/attention.js" with { type: "text" };
import chart from "./ui/chart.js" with { type: "text" };
import clients from "./ui/clients.js" with { type: "text" };
import dom from "./ui/dom.js" with { type: "text" };
import events from "./ui/events.js" with { type: "text" };
import filters from "./ui/filters.js" with { type: "text" };
import fleet from "./ui/fleet.js" with { type: "text" };
import icon from "./ui/icon.svg" with { type: "text" };
import main from "./ui/main.js" with { type: "text" };
import modes from "./ui/modes.js" with { type: "text" };
import frame from "./ui/page.css" with { type: "text" };
import page from "./ui/page.html" with { type: "text" };
import panels from "./ui/panels.css" with { type: "text" };
import propose from "./ui/propose.js" with { type: "text" };
import ruleCard from "./ui/rule_card.js" with { type: "text" };
import refused from "./ui/refused.html" with { type: "text" };
import session from "./ui/session.js" with { type: "text" };
import stream from "./ui/stream.js" with { type: "text" };
import tally from "./ui/tally.js" with { type: "text" };
import tips from "./ui/tips.js" with { type: "text" };
import waiting from "./ui/waiting.js" with { type: "text" };
import words from "./ui/words.js" with { type: "text" };

/** A file and its content type. */
export interface UiFile {
  readonly text: string;
  readonly type: string;
}

const MODULES = {
  ask,
  attention,
  chart,
  clients,
  dom,
  events,
  filters,
  fleet,
  main,
  modes,
  propose,
  rule_card: ruleCard,
  session,
  stream,
  tally,
  tips,
  waiting,
  words,
};

/** By path. The reasons are the product's own table, so that the page has no words for them beside it. */
export const UI_FILES: ReadonlyMap<string, UiFile> = new Map([
  ["/ui/", { text: page, type: "text/html; charset=utf-8" }],
  ["/ui/refused.html", { text: refused, type: "text/html; charset=utf-8" }],
  ["/ui/page.css", { text: frame, type: "text/css; charset=utf-8" }],
  ["/ui/panels.css", { text: panels, type: "text/css; charset=utf-8" }],
  ["/ui/icon.svg", { text: icon, type: "image/svg+xml" }],
  ["/ui/reasons.json", { text: JSON.stringify(REASONS), type: "application/json; charset=utf-8" }],
  ...Object.entries(MODULES).map(([name, text]) =>
    [`/ui/${name}.js`, { text, type: "text/javascript; charset=utf-8" }] as const
  ),
]);
