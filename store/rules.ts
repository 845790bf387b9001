/**
 * Allow rules as rows.
 *
 *     ["rule", client id, sequence] → { id, host, methods, paths, ports, passthrough, secret?, expiresAt?, words of
 *                                       `policy/rule_words.ts`? }
 *
 * Key order is the order in which rules are tried: the sequence grows, and a rule that is put before another gets one between. Rules hang on the client's id, not on its name: what a
 * crash or a late sweep leaves behind of a deleted client belongs to nobody, and goes at the next start.
 *
 * Not here: which rules a client may add (`state.ts`), and finding the ones for a host (`view.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { quoteText } from "../core/escape.ts";
import type { Rule } from "../policy/rule.ts";
import { type RuleWords, WORD_ROWS, wordsOf, type WordValue } from "../policy/rule_words.ts";
import type { Mutation, Row } from "./engine.ts";
import { RowReader } from "./row.ts";

/** The prefix of all rule rows. */
export const RULE_PREFIX: Deno.KvKey = ["rule"];

/** A rule and its place. */
export interface StoredRule {
  readonly rule: Rule;
  readonly clientId: string;
  readonly sequence: number;
}

/**
 * Writes a rule's row. KV is told when the rule ends only so that it sweeps the row; `expiresAt` decides.
 *
 * @param nowMs the time that `expiresAt` is compared with, epoch milliseconds
 */
export function writeRule(stored: StoredRule, nowMs: number): Mutation {
  const { id, client: _, ...fields } = stored.rule;
  const mutation = { key: keyOf(stored), value: { id, ...fields } };
  return fields.expiresAt === undefined ? mutation : { ...mutation, expireInMs: fields.expiresAt - nowMs };
}

/** Removes a rule's row. */
export function removeRule(stored: StoredRule): Mutation {
  return { key: keyOf(stored) };
}

/** The id of the client that a row belongs to. */
export function ruleOwner({ key }: Row): string {
  return String(key[1]);
}

/** The inverse of {@linkcode writeRule}. @throws ProxyError `state.damaged`, `state.newer` */
export function readRule(row: Row, clientName: string): StoredRule {
  checkKnownFields(row, clientName);
  const fields = new RowReader(`a rule of client ${clientName}`, row.value);
  const secret = fields.optionalString("secret");
  const expiresAt = fields.optionalNumber("expiresAt");
  return {
    rule: {
      id: fields.string("id"),
      client: clientName,
      host: fields.string("host"),
      methods: fields.strings("methods"),
      paths: fields.strings("paths"),
      ports: fields.numbers("ports"),
      passthrough: fields.boolean("passthrough"),
      ...(secret === undefined ? {} : { secret }),
      ...readWords(fields),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    },
    clientId: ruleOwner(row),
    sequence: Number(row.key[2]),
  };
}

const KNOWN_FIELDS: ReadonlySet<string> = new Set([
  ...["id", "host", "methods", "paths", "ports", "passthrough", "secret", "expiresAt"],
  ...WORD_ROWS.map(({ field }) => field),
]);

/**
 * Refuses a rule with a word that this version does not know: read without it, an allow rule would be wider than it is.
 *
 * @throws ProxyError `state.newer`
 */
export function checkKnownFields({ value }: Row, clientName: string): void {
  if (typeof value !== "object" || value === null) return;
  const unknown = Object.keys(value).find((field) => !KNOWN_FIELDS.has(field));
  if (unknown === undefined) return;
  throw new ProxyError(
    "state.newer",
    `Cannot read a rule of client ${clientName}: a newer slicer-proxy wrote it, with ${
      quoteText(unknown, 40)
    }`,
    { hint: "run that version on this host too, or revoke the rule" },
  );
}

function readWords(fields: RowReader): RuleWords {
  const words: Partial<Record<keyof RuleWords, WordValue | undefined>> = {};
  for (const { field, shape } of WORD_ROWS) words[field] = WORD_READERS[shape](fields, field);
  return wordsOf(words as RuleWords);
}

const WORD_READERS = {
  switch: (fields: RowReader, field: string) => fields.optionalBoolean(field) ? true as const : undefined,
  duration: (fields: RowReader, field: string) => fields.optionalNumber(field),
  text: (fields: RowReader, field: string) => fields.optionalString(field),
  list: (fields: RowReader, field: string) => fields.optionalStrings(field),
};

function keyOf({ clientId, sequence }: StoredRule): Deno.KvKey {
  return [...RULE_PREFIX, clientId, sequence];
}
