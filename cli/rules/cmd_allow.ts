/**
 * `allow` and `deny`: add a rule to a client.
 *
 * @module
 */
import { formatDuration } from "../../core/duration.ts";
import { parseName } from "../../core/names.ts";
import { apiClient } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import { placeOf } from "./place.ts";
import type { RuleSpec } from "../../policy/rule.ts";
import type { Io } from "../terminal/io.ts";
import { ruleBody, ruleOf, ttlSecondsOf, warningsOf } from "../api/values.ts";

/** Adds the rule that the flags describe, after the client's other rules or before one, and says what is wrong with it. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  await add(args, io, ruleOf(args));
}

/** `deny`: the same for a rule that denies. */
export async function deny(args: CommandArgs, io: Io): Promise<void> {
  await add(args, io, { ...ruleOf(args), deny: true });
}

async function add(args: CommandArgs, io: Io, rule: RuleSpec): Promise<void> {
  const client = parseName("client", args.argument("CLIENT"));
  const ttlSeconds = ttlSecondsOf(args);
  const place = wantedPlace(args);
  const api = await apiClient(args, io);
  const added = await api.call("POST", "allows", {
    ...ruleBody(client, rule),
    ...(place === undefined ? {} : { before: place }),
    ...(ttlSeconds === undefined ? {} : { ttl_seconds: ttlSeconds }),
  });
  const howLong = ttlSeconds === undefined ? "" : ` for ${formatDuration(ttlSeconds * 1_000)}`;
  io.output.note(
    rule.deny
      ? `denied ${client} to reach ${rule.host}${howLong}`
      : `allowed ${client} to reach ${rule.host}${howLong}`,
  );
  for (const warning of warningsOf(added)) io.output.note(`warning: ${warning}`);
}

/** The place before which the rule is put. @throws ProxyError `cli.usage` */
function wantedPlace(args: CommandArgs): number | undefined {
  const text = args.text("before");
  if (args.has("first")) {
    if (text !== undefined) throw usageError("Cannot use --first and --before together");
    return 1;
  }
  if (text === undefined) return undefined;
  return placeOf(text, "--before");
}
