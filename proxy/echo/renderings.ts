/**
 * How an answer may render a credential: as it is, percent-encoded, escaped as in JSON and HTML, and in base64, wherever in
 * a longer text it stood before it was encoded.
 *
 * Not here: what of a request was injected (`secrets/injected_forms.ts`); where it is looked for.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Shorter texts stand in any answer by chance: masking them would damage what has nothing to do with them. */
const SHORTEST = 6;

/** All renderings of all texts as Latin-1, each once. */
export function renderingsOf(injected: readonly string[]): readonly string[] {
  const forms = new Set(injected.flatMap(render));
  return [...forms].filter(({ length }) => length >= SHORTEST);
}

function render(text: string): readonly string[] {
  if (text.length < SHORTEST) return [];
  const json = JSON.stringify(text).slice(1, -1);
  const percent = encodeURIComponent(text);
  const texts = [
    text,
    percent,
    percent.replace(/%../g, (escape) => escape.toLowerCase()),
    percent.replaceAll("%20", "+"),
    percent.replaceAll("%2F", "/"), // Python's quote()
    encodeURI(text),
    percent.replace(/[!'()*]/g, percentOf), // RFC 3986 to the letter
    percent.replace(/[!'()*~]/g, percentOf).replaceAll("%20", "+"), // Java's and PHP's forms
    json,
    json.replaceAll("/", "\\/"),
    ...ESCAPED.flatMap((chars) => {
      const escaped = json.replace(chars, escapeUnit);
      return [escaped, escaped.replace(UNIT, (unit) => `\\u${unit.slice(2).toUpperCase()}`)];
    }),
    ...["&#39;", "&#x27;", "&#039;", "&apos;"].map((quote) => html(text, quote)),
  ];
  return [...texts.map((each) => Buffer.from(each, "utf8").toString("latin1")), ...base64Of(text)];
}

/** What is the same of its base64 at each of the three ways in which it can lie: the characters at the ends hold neighbours too. */
function base64Of(text: string): readonly string[] {
  const bytes = Buffer.from(text, "utf8");
  return [0, 1, 2].flatMap((before) => {
    const encoded = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64").replaceAll("=", "");
    const first = before === 0 ? 0 : before + 1; // 8 or 16 bits of what was before are in 2 or 3 characters
    const whole = Math.floor((before + bytes.length) / 3) * 4;
    const middle = encoded.slice(first, Math.max(whole, first));
    return [middle, middle.replaceAll("+", "-").replaceAll("/", "_")];
  });
}

/** What writers of JSON escape that need not be: Python; Go and Ruby; Gson; .NET; everything that is not plain. */
const ESCAPED = [
  /[^\x20-\x7e]/g,
  /[<>&]/g,
  /[<>&'=]/g,
  /[^\x20-\x7e]|[<>&'+`]/g,
  /[^\x20-\x7e]|[<>&'+=]/g,
];
const UNIT = /\\u[0-9a-f]{4}/g;

function percentOf(char: string): string {
  return `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
}

function html(text: string, quote: string): string {
  return text.replace(/[&<>"']/g, (char) => char === "'" ? quote : HTML[char] ?? char);
}

const HTML: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
};

function escapeUnit(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
