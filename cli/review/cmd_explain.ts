/**
 * `explain`: what would be decided about a request, by which rule, and why not by the others.
 *
 * @module
 */
import { parseName } from "../../core/names.ts";
import { apiClient, type JsonObject, segment } from "../api/client.ts";
import { cell } from "../api/values.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";

/** Asks the API. The exit code is 1 for a denial, so that scripts can test a policy. */
export async function run(args: CommandArgs, io: Io): Promise<number> {
  const client = parseName("client", args.argument("CLIENT"));
  const api = await apiClient(args, io);
  const answer = await api.object("POST", `clients/${segment(client)}/explain`, {
    method: args.argument("METHOD"),
    url: args.argument("URL"),
  });
  const exitCode = answer.verdict === "deny" ? 1 : 0;
  if (args.has("json")) {
    io.output.json(answer);
    return exitCode;
  }
  io.output.data(`${cell(answer.request)}: ${verdictWords(answer)}`);
  const rules = Array.isArray(answer.rules) ? answer.rules as JsonObject[] : [];
  if (rules.length > 0) {
    io.output.table(
      ["#", "HOST", "SECRET", "METHODS", "PATHS", ""],
      rules.map((rule, i) => [
        String(i + 1),
        cell(rule.host),
        cell(rule.secret),
        cell(rule.methods ?? "any"),
        cell(rule.paths ?? "any"),
        whyNot(rule, i + 1, answer),
      ]),
    );
  }
  if (typeof answer.words === "string") io.output.note(answer.words);
  if (typeof answer.command === "string") io.output.note(`to allow exactly this: ${answer.command}`);
  return exitCode;
}

function verdictWords({ verdict, reason, rule, asks }: JsonObject): string {
  const by = typeof rule === "number" ? ` by rule ${rule}` : "";
  if (verdict === "allow") return `allowed${by}${asks === true ? ", once a person has approved it" : ""}`;
  if (verdict === "passthrough") return `passed through uninspected${by}`;
  if (reason === "body-unreadable" && typeof rule === "number") {
    return `depends on its body, which rule ${rule} asks about`;
  }
  return `denied${by} (${cell(reason)})`;
}

function whyNot({ missed }: JsonObject, place: number, answer: JsonObject): string {
  if (place === answer.rule) return "decides";
  const dimensions = Array.isArray(missed) ? missed.filter((each) => typeof each === "string") : [];
  if (dimensions.length > 0) return `another ${dimensions.join(", ")}`;
  return typeof answer.rule === "number" && place > answer.rule
    ? `rule ${answer.rule} is before it`
    : "covers it";
}
