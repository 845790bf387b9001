/**
 * `profiles`: named sets of rules, and `allow --profile`, which adds those of one.
 *
 * Not here: what they say (`policy/profiles/`). The proxy is asked, for it may be of another version.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { AddedBody, ProfileBody } from "../../api/schemas_profiles.ts";
import { ruleInput } from "../../api/schemas.ts";
import { formatDuration } from "../../core/duration.ts";
import { quoteShell, quoteText } from "../../core/escape.ts";
import { parseName } from "../../core/names.ts";
import { nearest } from "../../core/nearest.ts";
import { allowArguments } from "../../policy/allow_command.ts";
import { formatPolicyRule } from "../../policy/policy_file.ts";
import { parseRule } from "../../policy/rule.ts";
import { type ApiClient, apiClient } from "../api/client.ts";
import { ttlSecondsOf } from "../api/values.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import { checkedAnswer } from "../review/checked_answer.ts";
import type { Io } from "../terminal/io.ts";
import { confirm } from "../terminal/prompt.ts";
import { wantedPlace } from "./place.ts";

type ShownProfile = z.infer<typeof ProfileBody>;
type ShownRule = ShownProfile["rules"][number];

/** What may stand beside `--profile`: the rest says what a rule is, and the profile has said that. */
const BESIDE: ReadonlySet<string> = new Set([
  ...["profile", "secret", "ttl", "first", "before", "yes", "dry-run", "url"],
]);

/** Lists all profiles with what they are for. */
export async function list(args: CommandArgs, io: Io): Promise<void> {
  const profiles = await askProfiles(await apiClient(args, io));
  if (args.has("json")) {
    io.output.json(profiles);
    return;
  }
  io.output.table(
    ["PROFILE", "RULES", "SECRET FOR", ""],
    profiles.map(({ profile, rules, summary }) => [
      profile,
      String(rules.length),
      [...new Set(rules.flatMap((rule) => rule.takes_secret ? [rule.host] : []))].join(", ") || "-",
      summary,
    ]),
  );
}

/** Shows one: its sources, and its rules as a policy file has them. */
export async function show(args: CommandArgs, io: Io): Promise<void> {
  const wanted = args.argument("PROFILE");
  const profiles = await askProfiles(await apiClient(args, io));
  const found = profiles.findLast(({ name, profile }) => wanted === name || wanted === profile);
  if (!found) throw unknownProfile(wanted, profiles);
  if (args.has("json")) {
    io.output.json(found);
    return;
  }
  const { profile, summary, sources, rules } = found;
  io.output.data([
    `# ${profile}: ${summary}`,
    ...sources.map((source) => `# from ${source}`),
    ...rules.flatMap((
      rule,
    ) => [...noteOf(rule), ...formatPolicyRule(parseRule(ruleInput(fieldsOf(rule)))).split("\n")]),
  ].join("\n"));
}

/** Shows the rules of a profile and adds them, all or none; on a terminal only after a yes. 1 when the answer is no. */
export async function addProfile(args: CommandArgs, io: Io): Promise<number> {
  const unfit = args.spec.flags?.find(({ name }) => args.has(name) && !BESIDE.has(name));
  if (unfit) {
    throw usageError(
      `Cannot use --${unfit.name} with --profile: the profile says it`,
      "leave it out, or add a rule of your own by another allow",
    );
  }
  const client = parseName("client", args.argument("CLIENT"));
  const ttlSeconds = ttlSecondsOf(args);
  const place = wantedPlace(args);
  const api = await apiClient(args, io);
  const call = async (profile: string, isDryRun: boolean) =>
    checkedAnswer(
      AddedBody,
      await api.call("POST", "allows/profile", {
        ...{ client, profile },
        ...(args.has("secret") ? { secrets: args.list("secret") } : {}),
        ...(ttlSeconds === undefined ? {} : { ttl_seconds: ttlSeconds }),
        ...(place === undefined ? {} : { before: place }),
        ...(isDryRun ? { dry_run: true } : {}),
      }),
    );
  // Asked for by its version from here on: what is added is what was shown.
  const { profile, rules } = await call(args.textOf("profile"), true);
  for (const rule of rules) {
    io.output.note(allowArguments(client, parseRule(ruleInput(fieldsOf(rule)))).map(quoteShell).join(" "));
  }
  const what = `${rules.length === 1 ? "1 rule" : `${rules.length} rules`} of ${profile}`;
  const howLong = ttlSeconds === undefined ? "" : ` for ${formatDuration(ttlSeconds * 1_000)}`;
  if (args.has("dry-run")) {
    io.output.note(`would add ${what} to ${client}${howLong}`);
    return 0;
  }
  const isAsked = io.input.isTerminal() && !args.has("yes");
  if (isAsked && !await confirm(`add ${what} to ${client}${howLong}?`, io)) {
    io.output.note("nothing was added");
    return 1;
  }
  const added = await call(profile, false);
  io.output.note(`added ${what} to ${client}${howLong}`);
  for (const warning of new Set(added.rules.flatMap(({ warnings = [] }) => warnings))) {
    io.output.note(`warning: ${warning}`);
  }
  return 0;
}

async function askProfiles(api: ApiClient): Promise<readonly ShownProfile[]> {
  return checkedAnswer(z.array(ProfileBody), await api.call("GET", "profiles"));
}

function unknownProfile(wanted: string, profiles: readonly ShownProfile[]): Error {
  const names = [...new Set(profiles.map(({ name }) => name))];
  const [name = ""] = wanted.split("@");
  const versions = profiles.filter((each) => each.name === name).map(({ profile }) => profile);
  const meant = nearest(name, names);
  return usageError(
    `Cannot show ${quoteText(wanted, 80)}: there is no such profile`,
    versions.length > 0
      ? `there is ${versions.join(", ")}`
      : meant === undefined
      ? `there are ${names.join(", ")}`
      : `did you mean ${meant}?`,
  );
}

function noteOf({ takes_secret: takes, host }: ShownRule): readonly string[] {
  if (takes === undefined) return [];
  return [takes === "may" ? `# takes a secret for ${host}` : `# only with a secret for ${host}`];
}

/** The fields that make a rule. */
function fieldsOf<Rule extends Partial<ShownRule>>(
  rule: Rule,
): Omit<Rule, "takes_secret" | "warnings" | "expires"> {
  const { takes_secret: _takes, warnings: _warnings, expires: _expires, ...fields } = rule;
  return fields;
}
