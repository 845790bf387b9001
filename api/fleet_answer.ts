/**
 * A host's answer to another one that reads its audit log, line by line. The host may be somebody else's by now: what is no
 * record ends the reading, and so does more than there can be.
 *
 * Not here: the connection (`cli/up/fleet_call.ts`), and records of several hosts (`fleet_feed.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { RECORD_LIMITS } from "../core/limits.ts";
import { parseRecord, type RecordFilter, type StoredRecord } from "../policy/audit_record.ts";
import { matchesRecord } from "../policy/record_filter.ts";

/** What an answer holds, in its order. `chars` is what a record takes in memory. */
export type HostItem =
  | { readonly record: StoredRecord; readonly chars: number }
  | { readonly missed: number }
  | { readonly live: true };

/** What was asked for. */
export interface AskedFor {
  readonly filter: RecordFilter;
  readonly limit: number | undefined;
  readonly isFollowing: boolean;
}

type AnswerLimits = Readonly<Record<"maxLineChars" | "maxStoredChars", number>>;

/**
 * The items of an answer. Records that were not asked for are passed over.
 *
 * @throws ProxyError `api.refused` for what no host of ours answers; what `bytes` throws
 */
export async function* readAnswer(
  bytes: AsyncIterable<Uint8Array>,
  asked: AskedFor,
  limits: AnswerLimits,
): AsyncGenerator<HostItem> {
  let isLive = false;
  let storedChars = 0;
  let records = 0;
  for await (const line of linesOf(bytes, limits)) {
    if (!isLive && (storedChars += line.length + 1) > limits.maxStoredChars) {
      throw notALog("it is longer than a log can be");
    }
    if (line === "") continue; // so that both ends know that the other is there
    const item = itemOf(line);
    if ("live" in item) {
      if (!asked.isFollowing || isLive) throw notALog("it says that it goes on, and was not asked to");
      isLive = true;
    } else if ("record" in item) {
      if (!isLive && asked.limit !== undefined && ++records > asked.limit) {
        throw notALog("it has more records than were asked for");
      }
      if (!matchesRecord(item.record, asked.filter)) continue;
    }
    yield item;
  }
}

/** Lines without their ends. Every byte is looked at once, in however small pieces they come. */
async function* linesOf(
  bytes: AsyncIterable<Uint8Array>,
  { maxLineChars }: AnswerLimits,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let begun: string[] = [];
  let chars = 0;
  for await (const piece of bytes) {
    const texts = decoder.decode(piece, { stream: true }).split("\n");
    for (const [i, text] of texts.entries()) {
      if ((chars += text.length) > maxLineChars) throw notALog("a line of it is too long");
      begun.push(text);
      if (i === texts.length - 1) break;
      yield begun.join("");
      [begun, chars] = [[], 0];
    }
  }
  if (chars > 0) throw notALog("it broke off");
}

function itemOf(line: string): HostItem {
  const record = parseRecord(line);
  if (record && isOfOurs(record)) return { record, chars: Math.max(line.length, RECORD_LIMITS.baseBytes) };
  if (line === '{"live":true}') return { live: true };
  const missed = /^\{"missed":(\d{1,9})\}$/.exec(line)?.[1];
  if (missed !== undefined) return { missed: Number(missed) };
  throw notALog("a line of it is no record that this version knows");
}

/** The last millisecond of the year 9999: RFC 3339 has no later one. */
const LAST_MS = 253_402_300_799_999;
/** What stands behind a text that was cut. */
const CUT_CHARS = 64;

/** As this program would have written it: of bounded texts, at a time that can be shown. */
function isOfOurs({ timeMs, path, query, says, ...record }: StoredRecord): boolean {
  const { maxPathChars, maxTextChars } = RECORD_LIMITS;
  const { method, host, client, secret, ruleOwner, budget, origin } = record;
  return timeMs >= 0 && timeMs <= LAST_MS &&
    [path, query, says].every((text = "") => text.length <= maxPathChars + CUT_CHARS) &&
    [method, host, client, secret, ruleOwner, budget, origin?.src].every((text = "") =>
      text.length <= maxTextChars + CUT_CHARS
    );
}

function notALog(state: string): ProxyError {
  return new ProxyError("api.refused", `Cannot use the answer of a host: ${state}`);
}
