/**
 * Budgets: how many requests, bytes in each direction, and tokens of models a client or a rule has in an hour or a day. Hours and days
 * are those of UTC, so that a budget is free again at a time that everybody can name.
 *
 * Not here: counting (`proxy/records/meters.ts`), and what happens when one is used up (`proxy/decide/budgets.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { quoteText } from "../core/escape.ts";

/**
 * What is counted. Bytes are those of bodies and tunnels, as `sent` and `received` of the audit log; tokens what models read
 * and write, together.
 */
export const BUDGET_KINDS = ["requests", "bytes-up", "bytes-down", "tokens"] as const;
/** What is counted. */
export type BudgetKind = typeof BUDGET_KINDS[number];

/** One budget. */
export interface Budget {
  readonly kind: BudgetKind;
  /** Whole, from 1. */
  readonly limit: number;
  readonly per: "h" | "d";
}

/** Part of a budget that is used when it is warned of. */
export const WARN_AT = 0.8;
/** Far above what anybody sends, and far below what a meter holds. */
const MAX_LIMIT = 1e14;
const UNITS = { "": 1, K: 1e3, M: 1e6, G: 1e9, T: 1e12 } as const;
const UNIT_NAMES = Object.keys(UNITS) as (keyof typeof UNITS)[];
const PERIOD_MS = { h: 3_600_000, d: 86_400_000 } as const;

/**
 * Reads `requests=1000/h`, `bytes-up=100M/d`, `bytes-down=1G/d` or `tokens=2M/d`. K, M, G and T are powers of 1,000.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseBudget(text: string): Budget {
  const [, kind, digits = "", unit = "", per] = /^([a-z-]{1,20})=(\d{1,15})([KMGT]?)\/([hd])$/i.exec(text) ??
    [];
  const found = BUDGET_KINDS.find((known) => known === kind);
  const limit = Number(digits) * UNITS[unit.toUpperCase() as keyof typeof UNITS];
  if (!found || !(limit >= 1 && limit <= MAX_LIMIT)) {
    throw new ProxyError("input.invalid", `Cannot use ${quoteText(text, 60)} as a budget`, {
      hint:
        "write requests=1000/h, bytes-up=100M/d, bytes-down=1G/d or tokens=2M/d: at least 1, for each hour (h) or day (d)",
    });
  }
  return { kind: found, limit, per: per === "h" || per === "H" ? "h" : "d" };
}

/** The one way to write a budget: the inverse of {@linkcode parseBudget}. */
export function formatBudget({ kind, limit, per }: Budget): string {
  const unit = UNIT_NAMES.findLast((each) => limit % UNITS[each] === 0) ?? "";
  return `${kind}=${limit / UNITS[unit]}${unit}/${per}`;
}

/** A budget in its one way to be written. @throws ProxyError `input.invalid` */
export function parseBudgetText(text: string): string {
  return formatBudget(parseBudget(text));
}

/** Budgets in the one way to write a list of them: sorted, none twice. @throws ProxyError `input.invalid` */
export function parseBudgets(texts: readonly string[]): readonly string[] {
  return [...new Set(texts.map(parseBudgetText))].sort();
}

/** The number of the hour or day that a time (epoch milliseconds) is in. */
export function periodOf({ per }: Pick<Budget, "per">, nowMs: number): number {
  return Math.floor(nowMs / PERIOD_MS[per]);
}

/** When that hour or day is over, and the budget free again, epoch milliseconds. */
export function freeAtMs({ per }: Pick<Budget, "per">, nowMs: number): number {
  return (Math.floor(nowMs / PERIOD_MS[per]) + 1) * PERIOD_MS[per];
}
