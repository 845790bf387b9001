/**
 * The words of a rule as REST bodies have them: by their names, durations in seconds.
 *
 * @module
 */
import {
  type RuleWord,
  type RuleWords,
  type RuleWordsInput,
  WORD_ROWS,
  type WordValue,
} from "./rule_words.ts";

/** The field of a body for a word. */
export type JsonName<Row extends RuleWord = RuleWord> = Row["shape"] extends "duration"
  ? `${Row["name"]}_seconds`
  : Row["name"];

/** The field of a body for a word. */
export function jsonName({ name, shape }: Pick<typeof WORD_ROWS[number], "name" | "shape">): string {
  return shape === "duration" ? `${name}_seconds` : name;
}

/** The fields of a body. */
export function wordsToJson(words: RuleWords): Record<string, WordValue> {
  const said = WORD_ROWS.flatMap((row) => {
    const value = words[row.field];
    if (value === undefined) return [];
    return [[jsonName(row), typeof value === "number" ? value / 1_000 : value] as const];
  });
  return Object.fromEntries(said);
}

/** The words in a body whose schema was checked; `parseWords` checks the rest. */
export function wordsFromJson(body: Readonly<Record<string, unknown>>): RuleWordsInput {
  const said = WORD_ROWS.map((row) => {
    const value = body[jsonName(row)];
    return [row.field, typeof value === "number" ? value * 1_000 : value];
  });
  return Object.fromEntries(said);
}
