/**
 * What was used of budgets, as rows, so that a restart gives nobody a new hour. Written from time to time, all at once, and
 * never on a request's way.
 *
 *     ["used", meter] → { period, used, untilMs }
 *
 * Not here: counting (`proxy/records/meters.ts`), and when it is saved (`cli/up/budget_keeper.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import type { Mutation } from "./engine.ts";
import { SWEEP_BATCH } from "./limits.ts";
import { RowReader } from "./row.ts";
import type { Writer } from "./writer.ts";

/** The prefix of all rows of budgets; in a fleet each host has its own. */
export const USED_PREFIX: Deno.KvKey = ["used"];
/** 64 bits. */
const METER = /^[0-9a-f]{1,16}$/;

/** What was used of one budget. */
export interface SavedUse {
  /** The key of its meter, as hex. */
  readonly meter: string;
  /** The number of the hour or day. */
  readonly period: number;
  readonly used: number;
  /** When that hour or day is over, epoch milliseconds. */
  readonly untilMs: number;
}

/** See `State.savedUse`. */
export async function readUse(writer: Writer): Promise<readonly SavedUse[]> {
  const saved: SavedUse[] = [];
  const nowMs = writer.clock.now();
  for await (const { key, value } of writer.rows(USED_PREFIX)) {
    const row = new RowReader("a used budget", value);
    const [period, used, untilMs] = [row.number("period"), row.number("used"), row.number("untilMs")];
    const meter = String(key[1]);
    if (!METER.test(meter) || !isWhole(period) || !isWhole(used)) {
      throw new ProxyError(
        "state.damaged",
        "Cannot read the state: what was used of a budget is no whole number",
      );
    }
    if (nowMs < untilMs) saved.push({ meter, period, used, untilMs });
  }
  return saved;
}

function isWhole(number: number): boolean {
  return Number.isSafeInteger(number) && number >= 0;
}

/** See `State.saveUse`. KV sweeps a row when its hour or day is over. */
export async function writeUse(writer: Writer, used: readonly SavedUse[]): Promise<void> {
  const nowMs = writer.clock.now();
  for (let at = 0; at < used.length; at += SWEEP_BATCH) {
    const rows = used.slice(at, at + SWEEP_BATCH).map(({ meter, ...value }): Mutation => ({
      key: [...USED_PREFIX, meter],
      value: { ...value },
      expireInMs: Math.max(1, value.untilMs - nowMs),
    }));
    await writer.commitRows(rows);
  }
}
