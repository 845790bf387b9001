/**
 * `suggest`: rules for what was denied, shown with the requests behind each, and added when asked to.
 *
 * Not here: how rules are found (`policy/suggest.ts`).
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import { ruleInput } from "../../api/schemas.ts";
import { SuggestionBody } from "../../api/schemas_suggest.ts";
import { isProxyError } from "../../core/errors.ts";
import { escapeTerminal, quoteShell } from "../../core/escape.ts";
import { formatHost } from "../../core/host_port.ts";
import { parseName } from "../../core/names.ts";
import { allowArguments } from "../../policy/allow_command.ts";
import { formatPolicyRule } from "../../policy/policy_file.ts";
import { parseSince } from "../../policy/record_filter.ts";
import { parseRule, type RuleSpec } from "../../policy/rule.ts";
import { type ApiClient, apiClient, segment } from "../api/client.ts";
import { checkedAnswer } from "./checked_answer.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import type { Output } from "../terminal/output.ts";
import { usageError } from "../command/parse.ts";
import { ruleBody, ttlSecondsOf } from "../api/values.ts";

type Proposal = z.infer<typeof SuggestionBody>["proposals"][number];
type Skipped = z.infer<typeof SuggestionBody>["skipped"][number];

/** Requests shown under one rule, and hosts shown as skipped; `--json` has them all. */
const MAX_SHOWN = 12;

/** Shows what would allow the denied requests; with `--apply` adds it. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const client = parseName("client", args.argument("CLIENT"));
  const ttlSeconds = ttlSecondsOf(args);
  const ttl = args.text("ttl"); // shown as it was typed
  if (args.has("json") && args.has("format")) throw usageError("Cannot use --json and --format together");
  const query = new URLSearchParams(args.has("exact") ? { exact: "1" } : {});
  const since = args.text("since");
  if (since !== undefined) query.set("since", new Date(parseSince(since, io.clock.now())).toISOString());
  const api = await apiClient(args, io);
  const answer = await api.call("GET", `clients/${segment(client)}/suggestions?${query}`);
  const suggestion = checkedAnswer(SuggestionBody, answer);
  const isYaml = args.text("format") === "yaml";
  if (args.has("json")) io.output.json(suggestion);
  else if (isYaml && suggestion.proposals.length > 0) {
    io.output.data(`# clients: ${client}: allow:`);
  }
  let added = 0;
  for (const proposal of suggestion.proposals) {
    const rule = parseRule(ruleInput(proposal.rule));
    if (args.has("apply") && await add(api, client, { rule, ttlSeconds })) added++;
    if (args.has("json")) continue;
    const lines = isYaml ? yamlOf(rule, ttl) : [commandOf(client, rule, ttl)];
    const reasons = reasonsOf(client, proposal).map((line) => `#   ${escapeTerminal(line)}`);
    io.output.data([...lines, ...reasons.map((line) => isYaml ? `      ${line}` : line)].join("\n"));
  }
  showSkipped(suggestion.skipped, io.output);
  if (suggestion.forgotten > 0) {
    io.output.warn(`${suggestion.forgotten} denied requests were too many to be looked at; the latest were`);
  }
  for (const { words } of suggestion.passes) io.output.note(words);
  io.output.note(summaryOf(client, suggestion, args.has("apply") ? added : undefined));
}

/** True when the rule was added, false when somebody had done so already. */
async function add(
  api: ApiClient,
  client: string,
  { rule, ttlSeconds }: { readonly rule: RuleSpec; readonly ttlSeconds: number | undefined },
): Promise<boolean> {
  try {
    await api.call("POST", "allows", {
      ...ruleBody(client, rule),
      ...(ttlSeconds === undefined ? {} : { ttl_seconds: ttlSeconds }),
    });
    return true;
  } catch (error) {
    if (isProxyError(error, "api.refused") && /has this rule already/.test(error.message)) return false;
    throw error;
  }
}

/** A line for a POSIX shell. Every word of it was read back by `parseRule`. */
function commandOf(client: string, rule: RuleSpec, ttl: string | undefined): string {
  const words = allowArguments(client, rule);
  if (ttl !== undefined) words.push("--ttl", ttl);
  return words.map(quoteShell).join(" ");
}

/** An item of the client's `allow` in a policy file, indented as it is there. */
function yamlOf(rule: RuleSpec, ttl: string | undefined): readonly string[] {
  return [
    ...formatPolicyRule(rule).split("\n"),
    ...(ttl === undefined ? [] : [`  ttl: ${ttl}`]),
  ].map((line) => `      ${line}`);
}

/** Quoted too: pasted into zsh, which takes `#` for a command there, `# GET /$(x)` would run x. */
function requestOf(method: string, path: string): string {
  return [method, path].map((word) => quoteShell(escapeTerminal(word))).join(" ");
}

function reasonsOf(
  client: string,
  { because, implied, other_secrets: secrets }: Proposal,
): readonly string[] {
  const seen = because.map(({ method, path, count }) => `${requestOf(method, path)}, ${times(count)}`);
  return [
    ...seen.slice(0, MAX_SHOWN),
    ...(seen.length > MAX_SHOWN ? [`and ${seen.length - MAX_SHOWN} more`] : []),
    ...implied.map(({ method, path, by }) => `${requestOf(method, path)}, implied by ${by}`),
    ...(secrets.length === 0
      ? []
      : [`without a credential: other rules of ${client} for this host inject ${secrets.join(", ")}`]),
  ];
}

function showSkipped(skipped: readonly Skipped[], output: Output): void {
  for (const { host, port, why, count } of skipped.slice(0, MAX_SHOWN)) {
    const where = host === undefined ? "" : `${formatHost(host)}${port === undefined ? "" : `:${port}`}: `;
    output.note(`skipped: ${where}${why} (${times(count)})`);
  }
  if (skipped.length > MAX_SHOWN) {
    output.note(`skipped: ${skipped.length - MAX_SHOWN} more; --json lists them`);
  }
}

function summaryOf(
  client: string,
  { proposals, skipped }: z.infer<typeof SuggestionBody>,
  added: number | undefined,
): string {
  const proposed = proposals.length;
  if (proposed === 0 && skipped.length > 0) return `nothing to suggest for ${client} beyond what was skipped`;
  if (proposed === 0) {
    return `nothing to suggest: ${client} was denied nothing that a rule could allow and does not allow by now`;
  }
  if (added === undefined) return `--apply adds ${rules(proposed)} to ${client}`;
  return `added ${rules(added)} to ${client}${
    added < proposed ? `; ${proposed - added} had been added meanwhile` : ""
  }. ` +
    "Run what was denied once more: what it asks for next may be denied in its turn, then suggest again";
}

function rules(count: number): string {
  return count === 1 ? "1 rule" : `${count} rules`;
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}
