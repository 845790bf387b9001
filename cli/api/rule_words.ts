/**
 * The words of a rule (`policy/rule_words.ts`) as flags of `allow`, and as the API takes and gives them.
 *
 * @module
 */
import {
  flagOf,
  parseWords,
  readWordTexts,
  type RuleWords,
  WORD_ROWS,
  wordTexts,
} from "../../policy/rule_words.ts";
import { wordsFromJson } from "../../policy/rule_words_json.ts";
import { type CommandArgs, type FlagSpec, splitCommas } from "../command/command.ts";
import type { JsonObject } from "./client.ts";

/** The flags, in the order of the table. */
export const WORD_FLAGS: readonly FlagSpec[] = WORD_ROWS.map(flagFor);

/** Those of them that say what a rule matches. */
export const CONDITION_FLAGS: readonly FlagSpec[] = WORD_ROWS.filter(({ isCondition }) => isCondition).map(
  flagFor,
);

function flagFor(row: typeof WORD_ROWS[number]): FlagSpec {
  return {
    name: flagOf(row.name).slice(2),
    description: row.description,
    ...(row.shape === "switch"
      ? {}
      : { placeholder: row.placeholder ?? (row.shape === "duration" ? "DURATION" : "TEXT") }),
    ...(row.shape === "list" ? { isRepeatable: true, split: splitCommas } : {}),
    ...(row.choices && row.shape === "text" ? { choices: row.choices } : {}),
  };
}

/** The words that flags of `allow` say. @throws ProxyError `input.invalid` */
export function wordsOfFlags(args: CommandArgs): RuleWords {
  const said = WORD_ROWS.flatMap((row) => {
    const flag = flagOf(row.name).slice(2);
    return args.declares(flag) && args.has(flag) ? [[row.field, readWordTexts(row, args.list(flag))]] : [];
  });
  return parseWords(Object.fromEntries(said));
}

/** The words of a rule in an API answer, as `allow` takes them but without dashes. */
export function shownWords(rule: JsonObject): readonly string[] {
  const words = parseWords(wordsFromJson(rule));
  return WORD_ROWS.flatMap(({ field, name }) => {
    const value = words[field];
    return value === undefined
      ? []
      : [[flagOf(name).slice(2), wordTexts(value).join(",")].filter(Boolean).join(" ")];
  });
}
