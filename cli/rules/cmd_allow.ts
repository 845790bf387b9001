/**
 * `allow`: adds a rule to a client.
 *
 * @module
 */
import { formatDuration } from "../../core/duration.ts";
import { parseName } from "../../core/names.ts";
import { apiClient } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { ruleBody, ruleOf, ttlSecondsOf } from "../api/values.ts";

/** Adds the rule that the flags describe, after the client's other rules. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const client = parseName("client", args.argument("CLIENT"));
  const rule = ruleOf(args);
  const ttlSeconds = ttlSecondsOf(args);
  const api = await apiClient(args, io);
  await api.call("POST", "allows", {
    ...ruleBody(client, rule),
    ...(ttlSeconds === undefined ? {} : { ttl_seconds: ttlSeconds }),
  });
  const howLong = ttlSeconds === undefined ? "" : ` for ${formatDuration(ttlSeconds * 1_000)}`;
  io.output.note(`allowed ${client} to reach ${rule.host}${howLong}`);
}
