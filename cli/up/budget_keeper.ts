/**
 * Keeps what is used of budgets over restarts: the store has it once a minute, and when the proxy stops. It knows which budgets
 * are in force, too, and says how they stand.
 *
 * Not here: counting (`proxy/decide/budgets.ts`).
 *
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import { isProxyError, messageOf } from "../../core/errors.ts";
import { formatBudget, freeAtMs, periodOf } from "../../policy/budget.ts";
import { type Account, accountsOfClient, accountsOfRule } from "../../proxy/decide/budgets.ts";
import type { Meters } from "../../proxy/records/meters.ts";
import type { State } from "../../store/state.ts";
import type { SavedUse } from "../../store/used_budgets.ts";
import type { BudgetUse } from "../../api/control.ts";

/** What a crash may forget. */
const SAVE_MS = 60_000;

/** See the module. */
export interface BudgetKeeperParts {
  readonly state: Pick<State, "getClient" | "listClients" | "listRules" | "savedUse" | "saveUse">;
  readonly meters: Meters;
  readonly clock: Clock;
  readonly log: { warn(line: string): void };
}

/** See the module. Dispose it before the state, when nothing is counted any more. */
export class BudgetKeeper implements AsyncDisposable {
  readonly #parts: BudgetKeeperParts;
  readonly #timer: ReturnType<typeof setInterval>;
  /** By meter, so that only what has changed is written. */
  #saved = new Map<string, SavedUse>();
  /** The meters have what was saved: before that nothing is, or what was used before the start would be forgotten. */
  #isRead = false;

  private constructor(parts: BudgetKeeperParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.save(), SAVE_MS);
  }

  /**
   * Gives the meters what was saved. A host of a fleet that starts while the store is away adds it when that answers.
   *
   * @throws ProxyError `state.damaged`
   */
  static async start(parts: BudgetKeeperParts): Promise<BudgetKeeper> {
    const keeper = new BudgetKeeper(parts);
    try {
      await keeper.#read();
    } catch (error) {
      if (!isProxyError(error, "store.away", "store.refused")) {
        clearInterval(keeper.#timer);
        throw error;
      }
      parts.log.warn(`what was used of budgets is not known yet: ${messageOf(error)}`);
    }
    return keeper;
  }

  async #read(): Promise<void> {
    const { state, meters } = this.#parts;
    for (const { meter, period, used } of await state.savedUse()) {
      meters.add(BigInt(`0x${meter}`), used, { period, limit: Infinity });
    }
    this.#isRead = true;
  }

  /** How the budgets of a client stand, its own first, then those of its rules. */
  usesOf(client: string): readonly BudgetUse[] {
    const nowMs = this.#parts.clock.now();
    return this.#accountsOf(client).map(({ budget, key, ruleHost }) => ({
      budget: formatBudget(budget),
      ...(ruleHost === undefined ? {} : { ruleHost }),
      used: this.#parts.meters.used(key, periodOf(budget, nowMs)),
      freeAtMs: freeAtMs(budget, nowMs),
    }));
  }

  /** Saves what has changed, and lets go of the meters of budgets that are gone. Never rejects: the next one tries again. */
  async save(): Promise<void> {
    const { state, meters, clock, log } = this.#parts;
    try {
      if (!this.#isRead) await this.#read();
    } catch {
      return; // told at the start
    }
    const nowMs = clock.now();
    const accounts = state.listClients().flatMap(({ name }) => this.#accountsOf(name));
    meters.keepOnly(new Set(accounts.map(({ key }) => key)));
    const now = new Map(accounts.map(({ budget, key }) => {
      const period = periodOf(budget, nowMs);
      const use = { period, used: meters.used(key, period), untilMs: freeAtMs(budget, nowMs) };
      return [key.toString(16), { meter: key.toString(16), ...use }];
    }));
    const changed = [...now.values()].filter(({ meter, period, used }) => {
      const before = this.#saved.get(meter);
      return used !== (before?.period === period ? before.used : 0);
    });
    if (changed.length === 0) return;
    try {
      await state.saveUse(changed);
      this.#saved = now;
    } catch (error) {
      log.warn(`what is used of budgets could not be saved: ${messageOf(error)}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.save();
  }

  #accountsOf(client: string): readonly Account[] {
    const { state } = this.#parts;
    const own = state.getClient(client)?.budget;
    return [
      ...own ? accountsOfClient(client, own) : [],
      ...state.listRules(client).flatMap(accountsOfRule),
    ];
  }
}
