/**
 * Audit records as the body of an answer: as lines of JSON, or as server-sent events. Whoever reads slowly is waited for;
 * nothing but a chunk is held for them here.
 *
 * Not here: which records (`routes_audit.ts`), and what waits for a slow follower (`store/audit/feed.ts`).
 *
 * @module
 */
import { formatStored, isUnauthenticatedDenial, type StoredRecord } from "../policy/audit_record.ts";

/** A record, the number of those that a follower missed, or the end of what was stored. */
export type Item = StoredRecord | { readonly missed: number } | { readonly live: true };

/** One form of an answer. Made for one stream: it may count. */
export interface StreamForm<T = Item> {
  readonly type: string;
  /** Sent before all else, or "". */
  readonly opening: string;
  /** Sent when nothing else was for a while, so that either end notices that the other is gone. */
  readonly heartbeat: string;
  /** The text of an item; "" when it is left out. */
  format(item: T): string;
}

/**
 * A place in the stream of server-sent events: a time, and how many records of that very time there have been. Denials of the
 * unauthenticated are counted apart: they are stored apart, and come between the others in another order than they came live.
 */
export interface EventId {
  readonly timeMs: number;
  readonly count: number;
  readonly unauthenticated: number;
}

/** The place in a `Last-Event-ID` of ours; undefined for anything else. */
export function parseEventId(text: string): EventId | undefined {
  const [, timeMs, count, unauthenticated = "0"] = /^(\d{1,15})-(\d{1,9})(?:-(\d{1,9}))?$/.exec(text) ?? [];
  return timeMs === undefined
    ? undefined
    : { timeMs: Number(timeMs), count: Number(count), unauthenticated: Number(unauthenticated) };
}

function formatEventId({ timeMs, count, unauthenticated }: EventId): string {
  return `${timeMs}-${count}${unauthenticated > 0 ? `-${unauthenticated}` : ""}`;
}

/** One line per item. A heartbeat is an empty line. */
export function ndjsonForm(): StreamForm {
  return {
    type: "application/x-ndjson",
    opening: "",
    heartbeat: "\n",
    format: (item) => `${lineOf(item)}\n`,
  };
}

/**
 * One event per item, with an id from which another call can go on. A heartbeat is a comment.
 *
 * @param from where the stream begins. Records up to there are left out: the reader has them
 */
export function eventForm(from: EventId): StreamForm {
  let last: EventId = { timeMs: from.timeMs, count: 0, unauthenticated: 0 };
  return {
    type: "text/event-stream",
    // An id without data: a reader that is cut off before the first record knows where to go on too.
    opening: `id: ${formatEventId(from)}\n\n`,
    heartbeat: ": still here\n\n",
    format(item) {
      if ("live" in item) return `event: live\ndata: ${lineOf(item)}\n\n`;
      if ("missed" in item) return `event: missed\ndata: ${lineOf(item)}\n\n`;
      const which = isUnauthenticatedDenial(item) ? "unauthenticated" : "count";
      const before = item.timeMs === last.timeMs ? last : { count: 0, unauthenticated: 0 };
      last = { ...before, timeMs: item.timeMs, [which]: before[which] + 1 };
      if (last.timeMs === from.timeMs && last[which] <= from[which]) return "";
      return `id: ${formatEventId(last)}\ndata: ${lineOf(item)}\n\n`;
    },
  };
}

/** The characters after which a chunk goes out although more is at hand. */
const CHUNK_CHARS = 32_768;

/**
 * The items as bytes. `onEnd` is called once: when there are no more, when the reader is gone, when `stop` aborts, which
 * ends the stream as if there were no more, or when reading fails, which it is given.
 */
export function streamItems<T>(
  items: AsyncIterable<T>,
  form: StreamForm<T>,
  options: {
    readonly stop: AbortSignal;
    readonly heartbeatMs: number;
    readonly onEnd: (error?: unknown) => void;
  },
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const { stop, heartbeatMs, onEnd } = options;
  const iterator = items[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  let next: Promise<IteratorResult<T>> | undefined;
  let end = (_error?: unknown) => {};

  const nextChunk = async (): Promise<string | undefined> => {
    let text = "";
    let soon: Promise<undefined> | undefined;
    while (text.length < CHUNK_CHARS) {
      next ??= iterator.next();
      // What is at hand goes together; what is not is waited for only while there is nothing to send.
      const result = await (text === "" ? next : Promise.race([next, soon ??= nextTurn()]));
      if (result === undefined) break;
      if (result.done) return text === "" ? undefined : text;
      next = undefined;
      text += form.format(result.value);
    }
    return text;
  };

  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      const timer = setInterval(() => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(form.heartbeat));
      }, heartbeatMs);
      const close = () => {
        end();
        controller.close();
      };
      end = (error) => {
        end = () => {};
        clearInterval(timer);
        stop.removeEventListener("abort", close);
        onEnd(error);
        iterator.return?.().catch(() => {}); // what it failed with, it failed with in next()
      };
      if (form.opening !== "") controller.enqueue(encoder.encode(form.opening));
      if (stop.aborted) close();
      else stop.addEventListener("abort", close);
    },
    async pull(controller) {
      const isOver = end;
      try {
        const text = await nextChunk();
        if (end !== isOver) return; // it was ended meanwhile
        if (text !== undefined) return controller.enqueue(encoder.encode(text));
        end();
        controller.close();
      } catch (error) {
        if (end !== isOver) return;
        end(error);
        controller.error(error);
      }
    },
    cancel: () => end(),
  });
}

/** After whatever is ready now. */
function nextTurn(): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), 0));
}

function lineOf(item: Item): string {
  return "missed" in item || "live" in item ? JSON.stringify(item) : formatStored(item, "json");
}
