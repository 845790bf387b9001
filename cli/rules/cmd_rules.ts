/**
 * `rules`: a client's rules.
 *
 * @module
 */
import { formatDuration } from "../../core/duration.ts";
import { parseName } from "../../core/names.ts";
import { apiClient, type JsonObject, segment } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { cell, warningsOf } from "../api/values.ts";
import { shownWords } from "../api/rule_words.ts";

/** Lists the rules in the order in which they are tried, with what is left of each TTL, below what is wrong with them. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const client = parseName("client", args.argument("CLIENT"));
  const api = await apiClient(args, io);
  const rules = await api.list(`clients/${segment(client)}`);
  if (args.has("json")) return io.output.json(rules);
  if (rules.length === 0) return io.output.note(`${client} has no rules and reaches nothing`);
  for (const [i, rule] of rules.entries()) {
    for (const warning of warningsOf(rule)) io.output.note(`warning: rule ${i + 1}: ${warning}`);
  }
  const nowMs = io.clock.now();
  io.output.table(
    ["HOST", "SECRET", "MODE", "METHODS", "PORTS", "PATHS", "EXPIRES", "#"],
    rules.map((rule, i) => [
      cell(rule.host),
      cell(rule.secret),
      [rule.passthrough === true ? "passthrough" : "mitm", ...shownWords(rule)].join(", "),
      listOr(rule.methods, "any"),
      listOr(rule.ports, "80,443"),
      listOr(rule.paths, "any"),
      timeLeft(rule, nowMs),
      String(i + 1),
    ]),
  );
}

function listOr(value: unknown, whenEmpty: string): string {
  return Array.isArray(value) && value.length > 0 ? cell(value) : whenEmpty;
}

function timeLeft(rule: JsonObject, nowMs: number): string {
  if (typeof rule.expires !== "string") return "never";
  const atMs = Date.parse(rule.expires);
  return Number.isNaN(atMs) ? rule.expires : `in ${formatDuration(atMs - nowMs)}`;
}
