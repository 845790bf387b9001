/**
 * `mode`: what is done with what no rule allows, and for whom that is another for a while.
 *
 * @module
 */
import { formatDuration } from "../../core/duration.ts";
import { parseName } from "../../core/names.ts";
import { apiClient, type JsonObject } from "../api/client.ts";
import { cell, ttlSecondsOf } from "../api/values.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";

/** Switches to the mode that is named, for all or one client, or shows what is in force. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const mode = args.optionalArgument("MODE");
  const client = args.text("client");
  const api = await apiClient(args, io);
  if (mode === undefined) return show(await api.object("GET", "mode"), args, io);
  const ttlSeconds = ttlSecondsOf(args, "for");
  const after = await api.object("PUT", "mode", {
    ...(client === undefined ? {} : { client: parseName("client", client) }),
    mode,
    ...(ttlSeconds === undefined ? {} : { ttl_seconds: ttlSeconds }),
  });
  const who = client ?? "every client";
  const howLong = ttlSeconds === undefined
    ? "until the next switch, or start"
    : `for ${formatDuration(ttlSeconds * 1_000)}`;
  io.output.note(`${who} is in ${mode} mode ${howLong}`);
  if (args.has("json")) io.output.json(after);
}

function show(body: JsonObject, args: CommandArgs, io: Io): void {
  if (args.has("json")) return io.output.json(body);
  const switches = Array.isArray(body.switches) ? body.switches as JsonObject[] : [];
  const nowMs = io.clock.now();
  io.output.table(["CLIENT", "MODE", "ENDS"], [
    ["(all)", cell(body.mode), "-"],
    ...switches.map((each) => [cell(each.client ?? "(all, for now)"), cell(each.mode), endOf(each, nowMs)]),
  ]);
}

function endOf({ until }: JsonObject, nowMs: number): string {
  const atMs = typeof until === "string" ? Date.parse(until) : NaN;
  return Number.isNaN(atMs) ? "-" : `in ${formatDuration(Math.max(0, atMs - nowMs))}`;
}
