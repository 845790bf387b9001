/**
 * `rules`: a client's rules, and their order.
 *
 * @module
 */
import { formatDuration } from "../../core/duration.ts";
import { parseName } from "../../core/names.ts";
import { apiClient, type JsonObject, segment } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import { placeOf } from "./place.ts";
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
      modeOf(rule),
      rule.grpc === undefined ? listOr(rule.methods, "any") : "grpc",
      listOr(rule.ports, "80,443"),
      listOr(rule.grpc ?? rule.paths, "any"),
      timeLeft(rule, nowMs),
      String(i + 1),
    ]),
  );
}

/** Puts a rule at another place. What it has admitted goes on. */
export async function move(args: CommandArgs, io: Io): Promise<void> {
  const client = parseName("client", args.argument("CLIENT"));
  const from = placeOf(args.argument("N"), "N");
  const wanted = ["before", "first", "last"].filter((flag) => args.has(flag));
  if (wanted.length !== 1) {
    throw usageError(
      "Cannot move the rule: it is unclear where to",
      "give one of --before M, --first and --last",
    );
  }
  const before = args.has("first") ? 1 : placeOf(args.text("before"), "--before");
  const api = await apiClient(args, io);
  await api.call("POST", "allows/move", { client, from, ...(args.has("last") ? {} : { before }) });
  io.output.note(`moved rule ${from} of ${client}; slicer-proxy rules ${client} shows the order`);
}

function modeOf(rule: JsonObject): string {
  const { grpc: _inOtherColumns, ...rest } = rule;
  const words = shownWords(rest).filter((word) => word !== "deny");
  return [rule.deny === true ? "deny" : rule.passthrough === true ? "passthrough" : "mitm", ...words].join(
    ", ",
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
