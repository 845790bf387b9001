/**
 * The words of a rule (`policy/rule_words.ts`) in the schemas of bodies.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { type RuleWord, type ValueOf, WORD_ROWS } from "../policy/rule_words.ts";
import { type JsonName, jsonName } from "../policy/rule_words_json.ts";

type JsonValue<Row extends RuleWord> = Row["shape"] extends "switch" ? boolean
  : ValueOf<Row> extends readonly (infer One)[] ? One[]
  : ValueOf<Row>;

/** The fields, all optional: which values they take, `parseRule` decides. */
export const wordFields = Object.fromEntries(
  WORD_ROWS.map((row) => [jsonName(row), schemaOf(row).optional().openapi({ description: sentence(row) })]),
) as unknown as { readonly [Row in RuleWord as JsonName<Row>]: z.ZodOptional<z.ZodType<JsonValue<Row>>> };

function schemaOf({ shape, choices, maxMs = 1_000 }: typeof WORD_ROWS[number]): z.ZodType {
  if (shape === "switch") return z.boolean();
  if (shape === "duration") return z.int().min(1).max(maxMs / 1_000);
  const one = choices ? z.enum(choices) : z.string().min(1, "must not be empty");
  return shape === "text" ? one : z.array(one);
}

function sentence({ description }: typeof WORD_ROWS[number]): string {
  return `${description.slice(0, 1).toUpperCase()}${description.slice(1)}`;
}
