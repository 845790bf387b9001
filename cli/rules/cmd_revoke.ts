/**
 * `revoke`: removes rules of a client.
 *
 * @module
 */
import { parseName } from "../../core/names.ts";
import { apiClient, segment } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { WORD_FLAGS } from "../api/rule_words.ts";
import { ruleBody, ruleOf } from "../api/values.ts";

const NARROWING = [
  ...["method", "path", "port", "secret", "passthrough", "ttl"],
  ...WORD_FLAGS.map(({ name }) => name),
];

/**
 * With only `--host` every rule of that host; with any further flag exactly the one rule that they describe: a line of
 * `allow` revokes what it had added. Secret, TTL and how requests are sent are no part of what a rule is.
 */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const client = parseName("client", args.argument("CLIENT"));
  const rule = ruleOf(args);
  const api = await apiClient(args, io);
  if (NARROWING.some((flag) => args.has(flag))) {
    await api.call("POST", "allows/revoke", ruleBody(client, rule));
    io.output.note(`revoked one rule of ${client} for ${rule.host}`);
  } else {
    await api.call("DELETE", `allows/${segment(client)}/${segment(rule.host)}`);
    io.output.note(`revoked every rule of ${client} for ${rule.host}`);
  }
}
