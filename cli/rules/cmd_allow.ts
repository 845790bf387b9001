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
import { addProfile } from "./cmd_profiles.ts";
import { wantedPlace } from "./place.ts";
import type { RuleSpec } from "../../policy/rule.ts";
import type { Io } from "../terminal/io.ts";
import { ruleBody, ruleOf, ttlSecondsOf, warningsOf } from "../api/values.ts";

/**
 * Adds the rule that the flags describe, after the client's other rules or before one, and says what is wrong with it; or
 * the rules of a profile.
 */
export async function run(args: CommandArgs, io: Io): Promise<number | void> {
  if (args.has("profile")) return await addProfile(args, io);
  for (const flag of ["yes", "dry-run"]) {
    if (args.has(flag)) throw usageError(`Cannot use --${flag} without --profile`);
  }
  if (!args.has("host")) {
    throw usageError(
      'Cannot run "allow": --host is missing',
      "usage: slicer-proxy allow CLIENT --host HOST [flags], or allow CLIENT --profile PROFILE",
    );
  }
  if (args.list("secret").length > 1) {
    throw usageError("Cannot use --secret more than once without --profile", "a rule injects one secret");
  }
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
