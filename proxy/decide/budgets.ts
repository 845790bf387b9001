/**
 * Counting a request or tunnel against the budgets of its client and its rule. A request is counted when it is admitted, exactly;
 * bytes as they pass, piece by piece: what is open when a budget of bytes is used up ends with its next piece, so that
 * each open stream goes over it by one piece at most. Tokens of models are counted as an answer says them, and one that has
 * begun is let finish: they are paid for. At 80 % there is one line in the audit log.
 *
 * Not here: how a budget is written (`policy/budget.ts`), the counters (`records/meters.ts`), wrapping messages
 * and streams so that their bytes are counted (`forward/metered.ts`), reading answers for tokens (`forward/token_watch.ts`).
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ProxyError } from "../../core/errors.ts";
import {
  type Budget,
  type BudgetKind,
  formatBudget,
  freeAtMs,
  parseBudget,
  periodOf,
  WARN_AT,
} from "../../policy/budget.ts";
import { BYTES_PER_TOKEN } from "../../policy/tokens/estimate.ts";
import { type Rule, ruleKey } from "../../policy/rule.ts";
import type { ProxyContext } from "../context.ts";
import type { AuditRecord } from "../../policy/audit_record.ts";
import type { Client } from "../policy_source.ts";

/** A budget and the meter that counts it. */
export interface Account {
  readonly budget: Budget;
  /** Of the meter. It is the same whatever the limit, so that one that is changed goes on from what is used. */
  readonly key: bigint;
  /** The host of the rule whose budget it is; the client's own without. */
  readonly ruleHost?: string;
}

/** A request or tunnel that is counted. */
export interface Counted {
  readonly client: Client;
  readonly rule: Rule;
  /** For the line at 80 %. */
  readonly host: string;
}

/** The accounts of a client's own budgets. */
export function accountsOfClient(name: string, budgets: readonly string[]): readonly Account[] {
  return remembered(budgets, `client ${name}`, undefined);
}

/** The accounts of a rule's budgets. A rule that is revoked and added again goes on from what it had used. */
export function accountsOfRule(rule: Rule): readonly Account[] {
  return rule.budget ? remembered(rule.budget, `rule ${rule.client} ${ruleKey(rule)}`, rule.host) : [];
}

/** By the list that says them: it is read once. */
const REMEMBERED = new WeakMap<
  readonly string[],
  { readonly owner: string; readonly accounts: readonly Account[] }
>();

function remembered(
  budgets: readonly string[],
  owner: string,
  ruleHost: string | undefined,
): readonly Account[] {
  const known = REMEMBERED.get(budgets);
  if (known?.owner === owner) return known.accounts;
  const read = budgets.map(parseBudget);
  // Of two that one meter counts only the lower can be used up, and what both counted would count twice.
  const accounts = read.filter((budget) => !read.some((other) => isLower(other, budget)))
    .map((budget) => ({
      budget,
      key: meterKey(`${owner} ${budget.kind}/${budget.per}`),
      ...(ruleHost === undefined ? {} : { ruleHost }),
    }));
  REMEMBERED.set(budgets, { owner, accounts });
  return accounts;
}

function isLower(other: Budget, { kind, limit, per }: Budget): boolean {
  return other.kind === kind && other.per === per && other.limit < limit;
}

/** 64 bits that no two meters share, above the two that mean something else. */
function meterKey(text: string): bigint {
  return createHash("sha256").update(text).digest().readBigUInt64BE() | 2n;
}

/**
 * Counts a request or tunnel that is about to be let through.
 *
 * @returns what counts its bytes; undefined where there is no budget
 * @throws ProxyError `limit.reached` (reason `budget`) when one of its budgets is used up
 */
export function openMeter(context: ProxyContext, counted: Counted): Meter | undefined {
  const { client: { name }, rule } = counted;
  const budgets = context.policy.budgetOf(name);
  if (budgets === undefined && rule.budget === undefined) return undefined;
  const accounts = [...budgets ? accountsOfClient(name, budgets) : [], ...accountsOfRule(rule)];
  const meter = new Meter(context, counted, accounts);
  meter.begin();
  return meter;
}

/** What a meter needs of the proxy. */
type MeterContext = Pick<ProxyContext, "audit" | "clock" | "meters">;

/** Counts one request or tunnel. */
export class Meter {
  readonly #context: MeterContext;
  readonly #counted: Counted;
  readonly #accounts: readonly Account[];
  #onOver: (failure: ProxyError) => void = () => {};
  #tokens = 0;
  /** Bytes whose tokens nobody will say; undefined where an answer will. */
  #untoldBytes: number | undefined;

  constructor(context: MeterContext, counted: Counted, accounts: readonly Account[]) {
    this.#context = context;
    this.#counted = counted;
    this.#accounts = accounts;
  }

  /** True where its answer has to be read for tokens. */
  get countsTokens(): boolean {
    return this.#accounts.some(({ budget }) => budget.kind === "tokens");
  }

  /** Counts the request itself. @throws ProxyError `limit.reached` */
  begin(): void {
    const nowMs = this.#context.clock.now();
    const spent = this.#accounts.filter(({ key, budget }) =>
      this.#context.meters.used(key, periodOf(budget, nowMs)) >= budget.limit
    );
    // Of several it is free again when the last one is.
    const [last] = spent.sort((a, b) => freeAtMs(b.budget, nowMs) - freeAtMs(a.budget, nowMs));
    if (last) throw this.#usedUp(last);
    const over = this.#add("requests", 1);
    if (over) throw over;
  }

  /** Calls `onOver` once a budget of bytes is used up. */
  watch(onOver: (failure: ProxyError) => void): void {
    this.#onOver = onOver;
  }

  /** Counts bytes that the client has sent. */
  up(bytes: number): void {
    this.#pass("bytes-up", bytes);
  }

  /** Counts bytes that the client is sent. */
  down(bytes: number): void {
    this.#pass("bytes-down", bytes);
  }

  /** Counts the tokens of the request up to so many; nothing ends when a budget of them is used up. */
  tokens(total: number): ProxyError | undefined {
    if (total <= this.#tokens) return undefined;
    const more = total - this.#tokens;
    this.#tokens = total;
    return this.#add("tokens", more);
  }

  /** From now on bytes count as tokens too: messages of a socket, which last as long as a client likes. */
  estimateTokens(): void {
    if (this.countsTokens) this.#untoldBytes ??= 0;
  }

  #pass(kind: BudgetKind, bytes: number): void {
    if (bytes <= 0) return;
    const over = this.#add(kind, bytes);
    if (this.#untoldBytes !== undefined) this.#untoldBytes += bytes;
    const isOut = this.tokens(Math.ceil((this.#untoldBytes ?? 0) / BYTES_PER_TOKEN));
    const failure = over ?? isOut;
    if (failure) this.#onOver(failure);
  }

  #add(kind: BudgetKind, amount: number): ProxyError | undefined {
    const nowMs = this.#context.clock.now();
    let over: ProxyError | undefined;
    for (const account of this.#accounts) {
      const { budget, key } = account;
      if (budget.kind !== kind) continue;
      const { limit } = budget;
      const { before, isAdded } = this.#context.meters.add(key, amount, {
        period: periodOf(budget, nowMs),
        limit,
      });
      if (!isAdded) {
        over ??= this.#usedUp(account);
        // A request that is refused was none. What has passed has, for the other budgets too: an hour that is used up would
        // else hide from the day all that was under way.
        if (kind === "requests") break;
        continue;
      }
      const warnFrom = limit * WARN_AT;
      if (before < warnFrom && before + amount >= warnFrom) this.#warn(account);
    }
    return over;
  }

  /** Only one addition goes past the mark, whichever thread makes it: there is one line for each hour or day. */
  #warn({ budget, ruleHost }: Account): void {
    this.#context.audit.write(
      {
        ...{ verdict: "change", client: this.#counted.client.name, method: "BUDGET" },
        host: ruleHost ?? this.#counted.host,
        budget: formatBudget(budget),
      } satisfies AuditRecord,
    );
  }

  #usedUp({ budget, ruleHost }: Account): ProxyError {
    const nowMs = this.#context.clock.now();
    const free = freeAtMs(budget, nowMs);
    const whose = ruleHost === undefined ? "its budget" : `the budget of its rule for ${ruleHost}`;
    return new ProxyError(
      "limit.reached",
      `Cannot serve client "${this.#counted.client.name}": ${whose}, ${
        formatBudget(budget)
      }, is used up; it is free again at ${new Date(free).toISOString().slice(0, 19)}Z`,
      { reason: "budget", retryAfterSeconds: Math.max(1, Math.ceil((free - nowMs) / 1_000)) },
    );
  }
}
