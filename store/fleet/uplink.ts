/**
 * A host's two connections to the store: one on which it makes changes, one on which it looks and is told. They come and go
 * together: while one of them is missing, the store is away.
 *
 * Not here: what is asked (`fleet.ts`).
 *
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import { ProxyError } from "../../core/errors.ts";
import type { LineLog } from "../../core/log.ts";
import { formatStoreHost, formatStoreHosts } from "../postgres/address.ts";
import { CHANNEL, type DatabaseOptions, PostgresDatabase } from "../postgres/database.ts";
import { storeError } from "../postgres/link.ts";
import type { SealKeys } from "./seal_keys.ts";

/** How the store is reached. */
export interface UplinkOptions extends Omit<DatabaseOptions, "onNotice" | "now"> {
  readonly clock: Clock;
  readonly seal: SealKeys;
  readonly log: LineLog;
}

/** The pause after the first failure; it doubles up to the longest. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

/** See the module. */
export class Uplink implements AsyncDisposable {
  readonly #options: UplinkOptions;
  #watch: PostgresDatabase | undefined;
  #changes: PostgresDatabase | undefined;
  #awaySince: number | undefined;
  /** Why it was given up last. */
  #trouble: ProxyError | undefined;
  #failures = 0;
  #isTold = false;
  #isClockTold = false;
  #wake = () => {};

  constructor(options: UplinkOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#watch !== undefined && this.#watch.link.isOpen && (this.#changes?.link.isOpen ?? false);
  }

  /** Since when the store is away, epoch milliseconds. */
  get awaySince(): number | undefined {
    return this.#awaySince;
  }

  /** Connects. @throws ProxyError `store.away`, `store.refused`, `state.newer`, `seal.key-wrong` */
  async open(): Promise<void> {
    this.#drop();
    const { clock, seal, fleet, log } = this.#options;
    const options = { ...this.#options, now: () => clock.now() };
    const onNotice = (told: string) => {
      if (told === fleet) this.wake();
    };
    const watch = this.#watch = await PostgresDatabase.open({ ...options, onNotice });
    await seal.proven(watch);
    await watch.link.query(`LISTEN ${CHANNEL}`);
    this.#changes = await this.#openBeside(watch, options);
    const { aheadMs } = watch;
    if (aheadMs !== 0 && !this.#isClockTold) {
      this.#isClockTold = true;
      const seconds = Math.abs(aheadMs) / 1_000;
      log.warn(`this host's clock is ${seconds} s ${aheadMs > 0 ? "behind" : "ahead of"} the store's`);
    }
  }

  /**
   * The second connection, to the same server. After a failover two may take changes for a moment, the address leading to this one
   * and that: what is changed on the one must not be looked for on the other.
   */
  async #openBeside(first: PostgresDatabase, options: DatabaseOptions): Promise<PostgresDatabase> {
    const { address } = options;
    const second = await PostgresDatabase.open({
      ...options,
      address: { ...address, hosts: [first.link.host] },
    });
    if (second.serverRun === first.serverRun) return second;
    second.link.destroy();
    throw new ProxyError(
      "store.away",
      `Cannot use the store at ${formatStoreHost(first.link.host)}: it leads to two servers`,
      { hint: "stop the one that was the primary before" },
    );
  }

  /** All that was missed is known: from here on the store counts as there. */
  settle(): void {
    const host = this.#watch?.link.host;
    if (this.#awaySince !== undefined && host) {
      this.#options.log.info(`the store is back: ${formatStoreHost(host)}`);
    }
    this.#awaySince = undefined;
    this.#trouble = undefined;
    this.#failures = 0;
  }

  /** Where it looks. @throws ProxyError `store.away` */
  watch(): PostgresDatabase {
    if (!this.isUp || !this.#watch) throw this.#away();
    return this.#watch;
  }

  /** Where it makes changes. @throws ProxyError `store.away` */
  changes(): PostgresDatabase {
    if (!this.isUp || !this.#changes) throw this.#away();
    return this.#changes;
  }

  /** Gives both connections up. What was wrong is said once. */
  lose(error: unknown): void {
    const { log, clock } = this.#options;
    this.#drop();
    this.#failures++;
    const before = this.#trouble;
    this.#trouble = storeError(error, this.#options);
    this.#awaySince ??= clock.now();
    // An answer says more than none did before.
    if (before && (before.code !== "store.away" || this.#trouble.code === "store.away")) return;
    const { code, message, hint } = this.#trouble;
    const state = code === "store.away" ? "is away" : "cannot be used";
    const whatToDo = code === "seal.key-wrong" ? `; ${hint}` : "";
    log.error(`the store ${state}, and no change is taken: ${message}${whatToDo}`);
  }

  /** Ends a rest. */
  wake(): void {
    this.#isTold = true;
    this.#wake();
  }

  /** Rests until somebody notifies, or for so long; for longer the more often the store was not there. */
  async rest(ms: number): Promise<void> {
    const pauseMs = this.#failures === 0
      ? ms
      : Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 1), LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2);
    if (!this.#isTold) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pauseMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#isTold = false;
    this.#wake = () => {};
  }

  #drop(): void {
    this.#watch?.link.destroy();
    this.#changes?.link.destroy();
    this.#watch = this.#changes = undefined;
  }

  #away(): ProxyError {
    const { clock, address } = this.#options;
    const { code = "store.away", message = "", hint } = this.#trouble ?? {};
    if (code !== "store.away") {
      return new ProxyError("store.refused", message, hint === undefined ? {} : { hint });
    }
    const since = this.#awaySince;
    const long = since === undefined ? "" : ` for ${Math.ceil((clock.now() - since) / 1_000)} s`;
    return new ProxyError(
      "store.away",
      `Cannot change anything: the store at ${formatStoreHosts(address)} is away${long}`,
      {
        hint: "nothing was changed; do it again when the store answers",
      },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch?.[Symbol.asyncDispose]();
    await this.#changes?.[Symbol.asyncDispose]();
    this.#watch = this.#changes = undefined;
  }
}
