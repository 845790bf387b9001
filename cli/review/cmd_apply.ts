/**
 * `apply`: makes clients and rules what a policy file says.
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { apiClient, isJsonObject, type JsonObject } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { readPolicyText } from "./policy_input.ts";
import { cell } from "../api/values.ts";
import { shownWords } from "../api/rule_words.ts";

const MARKS: Readonly<Record<string, string>> = {
  create: "+",
  add: "+",
  delete: "-",
  remove: "-",
  change: "~",
  expire: "~",
  move: "~",
};

/** Applies the file, shows the differences on stderr, and prints the tokens of created clients as `NAME TOKEN` lines. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const { name, text } = await readPolicyText(args.textOf("file"), io);
  const isDryRun = args.has("dry-run");
  const api = await apiClient(args, io);
  const answer = await api.object("POST", "policy/apply", {
    policy: text,
    name: name.slice(-255),
    dry_run: isDryRun,
    prune: args.has("prune"),
  });
  const changes = objectsOf(answer.changes);
  const created = objectsOf(answer.created);
  for (const line of diffLines(changes)) io.output.note(line);
  io.output.note(summary(changes, isDryRun));
  if (args.has("json")) return io.output.json(answer);
  if (created.length > 0) {
    io.output.data(created.map(({ name, token }) => `${cell(name)} ${cell(token)}`).join("\n"));
  }
}

/** The differences, client by client. The number is a rule's place in its client's list. */
function diffLines(changes: readonly JsonObject[]): string[] {
  return changes.flatMap(({ client, action, budget, rules }) => [
    `${markOf(action)} client ${cell(client)}`,
    ...(budget === undefined ? [] : [`    ~ budget ${cell(budget) || "none"}`]),
    ...objectsOf(rules).map((rule) =>
      `    ${markOf(rule.action)} ${cell(rule.place)}. ${describeRule(rule)}`
    ),
  ]);
}

function describeRule(rule: JsonObject): string {
  const parts = [
    cell(rule.host),
    ...(rule.passthrough === true ? ["passthrough"] : []),
    ...["methods", "paths", "ports", "secret"].flatMap((field) =>
      rule[field] === undefined ? [] : [`${field} ${cell(rule[field])}`]
    ),
    ...shownWords(rule),
    ...(rule.expires === undefined ? [] : [`expires ${cell(rule.expires)}`]),
    ...(rule.action === "expire" && rule.expires === undefined ? ["never expires"] : []),
    ...(rule.action === "move" ? ["(moved)"] : []),
  ];
  return parts.join("  ");
}

function summary(changes: readonly JsonObject[], isDryRun: boolean): string {
  if (changes.length === 0) return "nothing to change";
  const verbs = [["create", "created"], ["change", "changed"], ["delete", "deleted"]];
  const counts = verbs.flatMap(([action, done]) => {
    const count = changes.filter((change) => change.action === action).length;
    return count === 0 ? [] : [`${count} ${isDryRun ? `to ${action}` : done}`];
  });
  return `clients: ${counts.join(", ")}${isDryRun ? "; this was a dry run" : ""}`;
}

function markOf(action: unknown): string {
  return MARKS[cell(action)] ?? "?";
}

function objectsOf(value: unknown): readonly JsonObject[] {
  if (Array.isArray(value) && value.every(isJsonObject)) return value;
  throw new ProxyError("api.refused", "Cannot use the API's answer: it is not the proxy's");
}
