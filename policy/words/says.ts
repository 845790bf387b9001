/**
 * What words of rules saw of a request, as the audit log keeps it (`says=…`): pieces between blanks, each with the kind of
 * it in front. It holds what a rule asked about and nothing else: of the query only parameters that a rule names, with
 * their values only where a rule has the same.
 *
 *     query:service=git-upload-pack   the parameter has this value
 *     query:page                      it has none
 *     query:page=*                    it has another one than rules name, or several (a star itself is %2A)
 *     lfs:download                    what a body says: see `CONTENT`
 *     lfs:!body-unreadable            why it could not be read
 *
 * Not here: how long it may be (`audit_record.ts`).
 *
 * @module
 */
import type { Rule } from "../rule.ts";
import { isReason, REASONS } from "../reason.ts";
import { isUnreadable, type Unreadable } from "./body_text.ts";
import { anyConditions } from "../rule_words.ts";
import { type Asked, asksOf, type Content, type ContentKind } from "./conditions.ts";
import { formatGraphql, parseGraphql } from "./graphql_words.ts";
import { formatMcp, parseMcp } from "./mcp.ts";
import { formatCondition, hasAny, hasOnly, readCondition } from "./query.ts";

/** What is known of a request from its record. */
export interface Said {
  /** Parameters by name: the value, `none`, or `other`. */
  readonly query: ReadonlyMap<string, { readonly value: string } | "none" | "other">;
  /** What its body said, as far as it was read. */
  readonly content: Content;
}

/** How what a kind of body says is written: a text without blanks; undefined for a text that is none. */
const CONTENT: { readonly [Kind in ContentKind]: Codec<Exclude<Content[Kind], Unreadable | undefined>> } = {
  lfs: {
    format: (operation) => operation,
    parse: (text) => text === "download" || text === "upload" ? text : undefined,
  },
  graphql: { format: formatGraphql, parse: parseGraphql },
  mcp: { format: formatMcp, parse: parseMcp },
};

interface Codec<T> {
  readonly format: (value: T) => string;
  readonly parse: (text: string) => T | undefined;
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
  if (!isGit && asked.content === undefined && !anyConditions(rules)) return undefined;
  const names = new Map<string, Set<string>>(isGit ? [["service", new Set(GIT_SERVICES)]] : []);
  for (const rule of rules) {
    for (const name of asksOf(rule, asked)) names.set(name, names.get(name) ?? new Set());
    for (const condition of rule.query ?? []) {
      const { name, value } = readCondition(condition);
      names.set(name, (names.get(name) ?? new Set()).add(value));
    }
  }
  const pieces = [
    ...[...names].map(([name, values]) => formatParameter(name, values, asked.query)),
    ...formatContent(asked.content ?? {}),
  ];
  return pieces.length === 0 ? undefined : pieces.join(" ");
}

function formatContent(content: Content): readonly string[] {
  return (Object.keys(CONTENT) as ContentKind[]).flatMap((kind) => {
    const said = content[kind];
    if (said === undefined) return [];
    // Each kind has a codec of its own type.
    const { format } = CONTENT[kind] as Codec<unknown>;
    return [`${kind}:${isUnreadable(said) ? `!${said.reason}` : format(said)}`];
  });
}

function parseContent(kind: ContentKind, text: string): Content[ContentKind] {
  const reason = text.slice(1);
  if (!text.startsWith("!")) return CONTENT[kind].parse(text);
  return isReason(reason) ? { reason, why: REASONS[reason] } : undefined;
}

function isKind(kind: string): kind is ContentKind {
  return Object.hasOwn(CONTENT, kind);
}

function formatParameter(name: string, values: ReadonlySet<string>, query: string | undefined): string {
  const value = [...values].find((value) => hasOnly(query, name, [value]));
  if (value === "*") return `query:${formatCondition({ name, value: "" })}%2A`;
  if (value !== undefined) return `query:${formatCondition({ name, value })}`;
  const text = `query:${formatCondition({ name, value: "" })}`;
  return hasAny(query, name) ? `${text}*` : text.slice(0, -1);
}

/** What a record says. Pieces of a kind that is not known are left out. */
export function parseSays(text: string): Said {
  const query = new Map<string, { readonly value: string } | "none" | "other">();
  const content: { -readonly [Kind in ContentKind]?: unknown } = {};
  for (const piece of text.split(" ")) {
    const colon = piece.indexOf(":");
    const rest = piece.slice(colon + 1);
    const kind = colon === -1 ? "" : piece.slice(0, colon);
    if (isKind(kind)) content[kind] = parseContent(kind, rest);
    else if (kind === "query") {
      const { name, value } = readCondition(rest);
      query.set(name, !rest.includes("=") ? "none" : rest.endsWith("=*") ? "other" : { value });
    }
  }
  return { query, content: content as Content };
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
