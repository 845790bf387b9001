/**
 * `allow`: adds a rule to a client.
 *
 * @module
 */
import { formatDuration } from "../../core/duration.ts";
import { parseName } from "../../core/names.ts";
import { apiClient } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import type { Io } from "../terminal/io.ts";
import { ruleBody, ruleOf, ttlSecondsOf, warningsOf } from "../api/values.ts";

/** Adds the rule that the flags describe, after the client's other rules or before one, and says what is wrong with it. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const client = parseName("client", args.argument("CLIENT"));
  const rule = ruleOf(args);
  const ttlSeconds = ttlSecondsOf(args);
  const place = placeOf(args);
  const api = await apiClient(args, io);
  const added = await api.call("POST", "allows", {
    ...ruleBody(client, rule),
    ...(place === undefined ? {} : { before: place }),
    ...(ttlSeconds === undefined ? {} : { ttl_seconds: ttlSeconds }),
  });
  const howLong = ttlSeconds === undefined ? "" : ` for ${formatDuration(ttlSeconds * 1_000)}`;
  io.output.note(`allowed ${client} to reach ${rule.host}${howLong}`);
  for (const warning of warningsOf(added)) io.output.note(`warning: ${warning}`);
}

/** The place before which the rule is put. @throws ProxyError `cli.usage` */
function placeOf(args: CommandArgs): number | undefined {
  const text = args.text("before");
  if (args.has("first")) {
    if (text !== undefined) throw usageError("Cannot use --first and --before together");
    return 1;
  }
  if (text === undefined) return undefined;
  if (!/^[1-9][0-9]{0,5}$/.test(text)) {
    throw usageError(
      "Cannot use --before with this value",
      "it takes a rule's number, as slicer-proxy rules lists them",
    );
  }
  return Number(text);
}
