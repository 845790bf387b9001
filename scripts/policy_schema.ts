/**
 * Writes the words of rules (`policy/rule_words.ts`) into `docs/policy.schema.json`: `deno run -A scripts/policy_schema.ts`.
 * The rest of that file is written by hand.
 *
 * @module
 */
import { WORD_ROWS } from "../policy/rule_words.ts";

const FILE = new URL("../docs/policy.schema.json", import.meta.url);
const DURATION = "^([0-9]{1,10}(ms|s|m|h|d))+$";
/** Behind the words, as in a file. */
const LAST = ["ttl", "expires"];

/** The schema of each word, by its name. */
export function wordSchemas(): Record<string, object> {
  return Object.fromEntries(
    WORD_ROWS.map((row) => [row.name, {
      description: `${row.description.slice(0, 1).toUpperCase()}${
        row.description.slice(1)
      }; not with passthrough.`,
      ...schemaOf(row),
    }]),
  );
}

function schemaOf({ shape, choices }: typeof WORD_ROWS[number]): object {
  if (shape === "switch") return { type: "boolean" };
  if (shape === "duration") return { type: "string", pattern: DURATION };
  const one = choices ? { enum: choices } : { type: "string", minLength: 1 };
  return shape === "text" ? one : { type: "array", items: one, minItems: 1 };
}

if (import.meta.main) {
  const schema = JSON.parse(await Deno.readTextFile(FILE));
  const { properties } = schema.$defs.rule;
  const last = Object.fromEntries(LAST.map((name) => [name, properties[name]]));
  for (const name of [...LAST, ...WORD_ROWS.map(({ name }) => name)]) delete properties[name];
  Object.assign(properties, wordSchemas(), last);
  await Deno.writeTextFile(FILE, `${JSON.stringify(schema, undefined, 2)}\n`);
  await new Deno.Command(Deno.execPath(), { args: ["fmt", FILE.pathname] }).output();
}
