/**
 * `logs`: the audit log, as it is stored and as it goes on.
 *
 * Not here: the lines of the log (`policy/audit_record.ts`), and what a terminal is shown (`terminal/output.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { parsePort } from "../../core/host_port.ts";
import { parseName } from "../../core/names.ts";
import { formatStored, parseRecord, type StoredRecord } from "../../policy/audit_record.ts";
import { MAX_RECORDS, parseSince, parseSource } from "../../policy/record_filter.ts";
import { parseHostPattern } from "../../policy/rule.ts";
import { apiClient } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import { onInterrupt } from "../terminal/interrupt.ts";
import type { Io } from "../terminal/io.ts";
import { type Output, OutputClosed, type Span, type Style } from "../terminal/output.ts";
import { usageError } from "../command/parse.ts";

/** What `logs -f` begins with, to show that it works and what was last. */
const FIRST_RECORDS = "10";

const STYLES: Readonly<Record<StoredRecord["verdict"], Style>> = {
  allow: "green",
  deny: "red",
  passthrough: "cyan",
  change: "dim",
};

/** Prints records until there are no more; with `--follow` until it is interrupted or nobody reads any longer. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const query = queryOf(args, io.clock.now());
  const api = await apiClient(args, io);
  const show = args.has("json") ? showJson(io.output) : showText(io.output);
  using interrupt = onInterrupt(new DOMException("interrupted", "AbortError"));
  try {
    for await (const lines of api.lines(`audit?${query}`, interrupt.signal)) show(lines);
  } catch (error) {
    // Both are how one stops to read a log.
    if (error instanceof OutputClosed || interrupt.signal.aborted) return;
    throw error;
  }
  if (!args.has("follow") || interrupt.signal.aborted) return;
  throw new ProxyError("api.unreachable", "Cannot follow the audit log any longer: the proxy has stopped", {
    hint: "once it is up again, --since shows what was logged meanwhile",
  });
}

/** @throws ProxyError `input.invalid`, `cli.usage` */
function queryOf(args: CommandArgs, nowMs: number): URLSearchParams {
  const query = new URLSearchParams();
  const client = args.text("client");
  const host = args.text("host");
  const since = args.text("since");
  const limit = args.text("limit");
  const src = args.text("src");
  const port = args.text("proxy-port");
  const tls = args.text("tls");
  if (args.has("follow")) query.set("follow", "1");
  if (args.has("fleet")) query.set("fleet", "1");
  if (client !== undefined) query.set("client", client === "-" ? client : parseName("client", client));
  if (args.has("denied")) query.set("denied", "1");
  if (host !== undefined) query.set("host", parseHostPattern(host));
  if (since !== undefined) {
    parseSince(since, nowMs); // said here, before anybody is asked
    query.set("since", since);
  }
  if (src !== undefined) {
    parseSource(src);
    query.set("src", src);
  }
  if (port !== undefined) {
    if (parsePort(port) === undefined) {
      throw usageError("Cannot use --proxy-port with this value: it is no port");
    }
    query.set("proxy_port", port);
  }
  if (tls !== undefined) query.set("tls", tls);
  if (limit !== undefined) {
    if (!/^[1-9]\d{0,4}$/.test(limit) || Number(limit) > MAX_RECORDS) {
      throw usageError(`Cannot use --limit with this value: it is a number from 1 to ${MAX_RECORDS}`);
    }
    query.set("limit", limit);
  } else if (args.has("follow") && since === undefined) query.set("limit", FIRST_RECORDS);
  return query;
}

/** The lines as they came. What is said of hosts is for people too, who may see nothing of stdout. */
function showJson(output: Output): (lines: readonly string[]) => void {
  return (lines) => {
    output.jsonLines(lines);
    for (const line of lines) showNote(output, noteIn(line));
  };
}

/** The documented line, behind the time of its record, and its host where there are several. */
function showText(output: Output): (lines: readonly string[]) => void {
  return (lines) => {
    const shown: (readonly Span[])[] = [];
    const notes: Note[] = [];
    for (const line of lines) {
      const record = parseRecord(line);
      const note = record ? undefined : noteIn(line);
      if (note) notes.push(note);
      else shown.push(record ? spansOf(record, hostIn(line)) : [{ text: line }]); // what a later version logs
    }
    output.lines(shown);
    const missed = notes.reduce((sum, { missed = 0 }) => sum + missed, 0);
    if (missed > 0) output.warn(`${missed} records are not shown: they came faster than they were read`);
    for (const note of notes) showNote(output, note);
  };
}

function spansOf(record: StoredRecord, host: string | undefined): readonly Span[] {
  const text = formatStored(record, "text");
  return [
    { text: localTime(record.timeMs), style: "dim" },
    { text: host === undefined ? " " : ` ${host} ` },
    { text: record.verdict, style: STYLES[record.verdict] },
    { text: text.slice(record.verdict.length) },
  ];
}

/** What is no record: see `MissedRecords` and `AuditHostNote` of the API. */
interface Note {
  readonly missed?: number;
  readonly host?: string;
  readonly unanswered?: string;
}

function noteIn(line: string): Note | undefined {
  const { missed, fleet_host: host, unanswered, answers, v } = fieldsOf(line);
  if (v !== undefined) return undefined;
  if (typeof missed === "number") return { missed };
  if (typeof host !== "string") return undefined;
  if (answers === true) return { host };
  return typeof unanswered === "string" ? { host, unanswered } : undefined;
}

function showNote(output: Output, note: Note | undefined): void {
  if (note?.host === undefined) return;
  const { host } = note;
  if (note.unanswered === undefined) {
    return output.note(`${host} answers: its records are shown from here on`);
  }
  const why = note.unanswered;
  output.warn(note.host === "*" ? why : `${host} is missing from here on: ${why}`);
}

function hostIn(line: string): string | undefined {
  const { fleet_host: host } = fieldsOf(line);
  return typeof host === "string" ? host : undefined;
}

function fieldsOf(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

/** RFC 3339 in the zone of this machine, to the second: `--since` takes it. */
function localTime(timeMs: number): string {
  const minutes = -new Date(timeMs).getTimezoneOffset();
  const local = new Date(timeMs + minutes * 60_000).toISOString().slice(0, 19);
  if (minutes === 0) return `${local}Z`;
  const two = (value: number) => String(value).padStart(2, "0");
  const away = Math.abs(minutes);
  return `${local}${minutes < 0 ? "-" : "+"}${two(Math.floor(away / 60))}:${two(away % 60)}`;
}
