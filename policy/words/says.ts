/**
 * What words of rules saw of a request, as the audit log keeps it (`says=…`): pieces between blanks, each with the kind of
 * it in front. It holds what a rule asked about and nothing else: of the query only parameters that a rule names, with
 * their values only where a rule has the same.
 *
 *     query:service=git-upload-pack   the parameter has this value
 *     query:page                      it has none
 *     query:page=*                    it has another one than rules name, or several
 *
 * Not here: how long it may be (`audit_record.ts`).
 *
 * @module
 */
import type { Rule } from "../rule.ts";
import { type Asked, asksOf, mayAsk } from "./conditions.ts";
import { formatCondition, hasAny, hasOnly, readCondition } from "./query.ts";

/** What is known of a request from its record. */
export interface Said {
  /** Parameters by name: the value, `none`, or `other`. */
  readonly query: ReadonlyMap<string, { readonly value: string } | "none" | "other">;
}

/** What git asks for before it reads or writes; not secret, so it is kept for whoever has no rule about it yet. */
const GIT_SERVICES = ["git-upload-pack", "git-receive-pack"];

/**
 * The text for a record, or undefined when there is nothing to say.
 *
 * @param rules those for the host of the client that asks
 */
export function formatSays(rules: readonly Rule[], asked: Asked): string | undefined {
  const isGit = asked.path.endsWith("/info/refs");
  if (!isGit && asked.content === undefined && !rules.some(mayAsk)) return undefined;
  const names = new Map<string, Set<string>>(isGit ? [["service", new Set(GIT_SERVICES)]] : []);
  for (const rule of rules) {
    for (const name of asksOf(rule, asked)) names.set(name, names.get(name) ?? new Set());
    for (const condition of rule.query ?? []) {
      const { name, value } = readCondition(condition);
      names.set(name, (names.get(name) ?? new Set()).add(value));
    }
  }
  const pieces = [...names].map(([name, values]) => formatParameter(name, values, asked.query));
  return pieces.length === 0 ? undefined : pieces.join(" ");
}

function formatParameter(name: string, values: ReadonlySet<string>, query: string | undefined): string {
  const value = [...values].find((value) => hasOnly(query, name, [value]));
  if (value !== undefined) return `query:${formatCondition({ name, value })}`;
  const text = `query:${formatCondition({ name, value: "" })}`;
  return hasAny(query, name) ? `${text}*` : text.slice(0, -1);
}

/** What a record says. Pieces of a kind that is not known are left out. */
export function parseSays(text: string): Said {
  const query = new Map<string, { readonly value: string } | "none" | "other">();
  for (const piece of text.split(" ")) {
    const colon = piece.indexOf(":");
    const rest = piece.slice(colon + 1);
    if (piece.slice(0, Math.max(colon, 0)) === "query") {
      const { name, value } = readCondition(rest);
      query.set(name, !rest.includes("=") ? "none" : rest.endsWith("=*") ? "other" : { value });
    }
  }
  return { query };
}

/**
 * A query that conditions take as the one that the record was about, or undefined when the record does not say enough for
 * those of `names`.
 */
export function queryOf(
  { query }: Said,
  names: readonly string[],
): { readonly query: string | undefined } | undefined {
  if (names.some((name) => !query.has(name))) return undefined;
  const pairs = [...query].flatMap(([name, value]) =>
    value === "none" ? [] : [formatCondition({ name, value: value === "other" ? "\0" : value.value })]
  );
  return { query: pairs.length === 0 ? undefined : pairs.join("&") };
}
