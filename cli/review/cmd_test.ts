/**
 * `test`: what would have been decided otherwise, had a policy file been in force, by an audit log in a file or by the
 * running proxy's own.
 *
 * Not here: how records are judged (`policy/replay.ts`).
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import { ReplayBody, replayBody } from "../../api/schemas_suggest.ts";
import { ProxyError } from "../../core/errors.ts";
import { formatHost } from "../../core/host_port.ts";
import { parseRecord } from "../../policy/audit_record.ts";
import { parsePolicyFile, type PolicyFile } from "../../policy/policy_file.ts";
import { parseSince } from "../../policy/record_filter.ts";
import { type ChangeKind, Replayer, rulesToReplay } from "../../policy/replay.ts";
import { apiClient } from "../api/client.ts";
import { checkedAnswer } from "./checked_answer.ts";
import type { CommandArgs } from "../command/command.ts";
import { readLines } from "../terminal/input_lines.ts";
import type { Io } from "../terminal/io.ts";
import { usageError } from "../command/parse.ts";
import { type PolicyText, readPolicyText } from "./policy_input.ts";

type Result = z.infer<typeof ReplayBody>;
type Change = Result["changes"][number];

const WORDS: Readonly<Record<ChangeKind, string>> = {
  denied: "now denied",
  inspected: "now inspected",
  passthrough: "now passed through",
  credential: "other secret",
  allowed: "now allowed",
};

/** How many clients a note names. */
const MAX_NAMES = 10;

/** Shows the changes. Exit code 1 when something that was allowed would be denied. */
export async function run(args: CommandArgs, io: Io): Promise<number> {
  const source = args.textOf("file");
  const against = args.text("against");
  if (source === "-" && against === "-") throw usageError("Cannot read both files from standard input");
  const since = args.text("since");
  const sinceMs = since === undefined ? undefined : parseSince(since, io.clock.now());
  const file = await readPolicyText(source, io);
  const policy = parsePolicyFile(file.text, file.name);
  const result = against === undefined
    ? await askProxy(args, io, { file, sinceMs })
    : await replayFile(against, io, { policy, sinceMs });
  if (args.has("json")) io.output.json(result);
  else if (result.changes.length > 0) {
    io.output.table(
      ["CHANGE", "CLIENT", "METHOD", "TARGET", "WHY", "COUNT"],
      result.changes.map((change) => [
        WORDS[change.kind],
        change.client ?? "-",
        change.method ?? "-",
        targetOf(change),
        whyOf(change),
        String(change.count),
      ]),
    );
  }
  if (result.unlisted > 0) io.output.warn(`${result.unlisted} more changes are counted and not listed`);
  if ([...policy.clients.values()].flat().some((rule) => "ttlMs" in rule || "expiresAt" in rule)) {
    io.output.note("ttl and expires do not count here: every rule is taken as just made");
  }
  const strangers = deniedStrangers(result, policy);
  if (strangers.length > 0) {
    io.output.note(
      `not in ${file.name}, so taken to reach nothing: ${strangers.slice(0, MAX_NAMES).join(", ")}` +
        `${strangers.length > MAX_NAMES ? ` and ${strangers.length - MAX_NAMES} more` : ""}` +
        "; apply without --prune leaves clients that it does not name as they are",
    );
  }
  io.output.note(summaryOf(result));
  return result.denied > 0 ? 1 : 0;
}

async function askProxy(
  args: CommandArgs,
  io: Io,
  { file, sinceMs }: { readonly file: PolicyText; readonly sinceMs: number | undefined },
): Promise<Result> {
  const api = await apiClient(args, io);
  const answer = await api.call("POST", "policy/test", {
    policy: file.text,
    name: file.name.slice(-255),
    ...(sinceMs === undefined ? {} : { since: new Date(sinceMs).toISOString() }),
  });
  return checkedAnswer(ReplayBody, answer);
}

/** @throws ProxyError `input.invalid` when no line is a record */
async function replayFile(
  source: string,
  io: Io,
  { policy, sinceMs = -Infinity }: { readonly policy: PolicyFile; readonly sinceMs: number | undefined },
): Promise<Result> {
  const replayer = new Replayer(rulesToReplay(policy));
  let records = 0;
  let unreadable = 0;
  for await (const line of readLines(source, io)) {
    const record = parseRecord(line);
    if (record) {
      records++;
      if (record.timeMs >= sinceMs) replayer.add(record);
    } else if (line.trim() !== "") unreadable++;
  }
  const name = source === "-" ? "standard input" : source;
  if (records === 0) {
    throw new ProxyError("input.invalid", `Cannot test against ${name}: it holds no audit record in JSON`, {
      hint: "the proxy keeps them in its state folder as audit.jsonl, and writes them with --log-format=json",
    });
  }
  if (unreadable > 0) {
    const what = unreadable === 1 ? "1 line" : `${unreadable} lines`;
    io.output.warn(`left out ${what} of ${name}: not an audit record in JSON`);
  }
  return replayBody(replayer.result());
}

/** Clients that would be denied something because the file does not name them; they may be long gone. */
function deniedStrangers({ changes }: Result, { clients }: PolicyFile): readonly string[] {
  const denied = changes.filter(({ kind }) => kind === "denied").flatMap(({ client }) => client ?? []);
  return [...new Set(denied)].filter((client) => !clients.has(client));
}

function targetOf({ host, port, path }: Change): string {
  return `${formatHost(host)}${port === undefined || port === 443 ? "" : `:${port}`}${path ?? ""}`;
}

function whyOf({ kind, reason, from, to }: Change): string {
  if (kind === "credential") return `${from ?? "none"} to ${to ?? "none"}`;
  if (reason === undefined) return "-";
  return kind === "allowed" ? `was ${reason}` : reason;
}

function summaryOf(result: Result): string {
  const parts = (Object.keys(WORDS) as ChangeKind[]).filter((kind) => result[kind] > 0).map((kind) =>
    `${result[kind]} ${WORDS[kind]}`
  );
  const rest = [`${result.unchanged} as before`];
  if (result.not_judged > 0) rest.push(`${result.not_judged} that rules do not decide`);
  return [...(parts.length === 0 ? ["nothing changes"] : parts), ...rest].join(", ");
}
