/**
 * The addresses of this machine while the proxy runs. One that `--bind` names may go (an adapter that somebody deletes, a cable)
 * and come back: what the proxy had made is made again, and both are said. Connections from another address that has gone are
 * ended: nothing that is sent on them arrives, and nobody would say so.
 *
 * Not here: making an address (`bind_address.ts`).
 *
 * @module
 */
import { isProxyError, messageOf } from "../../core/errors.ts";
import type { LineLog } from "../../core/log.ts";
import { shutdownFrom } from "../../core/native.ts";
import { type BindAddress, canGo, ensureBindAddress, localAddresses } from "./bind_address.ts";

/** From one look to the next. */
const LOOK_MS = 2_000;

/** See each field. */
export interface NetworkWatchOptions {
  /** Those that have to be there: no wildcards, no loopback. */
  readonly binds: readonly BindAddress[];
  /** Every address of this machine, without zones. */
  readonly addresses: () => ReadonlySet<string>;
  /** Makes one that the proxy had made before. @throws ProxyError `listen.failed` */
  readonly make: (bind: BindAddress) => Promise<void>;
  /** Ends what is connected from these addresses. */
  readonly endFrom: (addresses: readonly string[]) => void;
  readonly log: LineLog;
}

/**
 * Begins to watch.
 *
 * @param made those that the proxy had made, and makes again
 */
export function watchNetwork(
  binds: readonly BindAddress[],
  made: ReadonlySet<BindAddress>,
  log: LineLog,
): NetworkWatch {
  return new NetworkWatch({
    binds: binds.filter(canGo),
    addresses: localAddresses,
    // It goes as the first one would have: both have the same name.
    make: async (bind) => void (made.has(bind) && await ensureBindAddress(bind)),
    endFrom: shutdownFrom,
    log,
  });
}

/** See the module. Looks until it is disposed. */
export class NetworkWatch implements AsyncDisposable {
  readonly #options: NetworkWatchOptions;
  readonly #bound: ReadonlySet<string>;
  readonly #gone = new Set<string>();
  /** At the last look, and those that were missing there for the first time. */
  #present: ReadonlySet<string>;
  #missing: ReadonlySet<string> = new Set();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: NetworkWatchOptions) {
    this.#options = options;
    this.#bound = new Set(options.binds.map(({ address }) => address));
    this.#present = options.addresses();
    this.#arm();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  /** One look. Never rejects. */
  async look(): Promise<void> {
    const { addresses, binds, endFrom, log } = this.#options;
    try {
      const now = addresses();
      for (const bind of binds) await this.#lookAt(bind, now);
      // Missing twice: one that is renewed may be away for a moment, and its connections go on.
      endFrom([...this.#missing].filter((each) => !now.has(each)));
      this.#missing = new Set([...this.#present].filter((each) => !now.has(each) && !this.#bound.has(each)));
      this.#present = now;
    } catch (error) {
      log.error(`this machine's addresses cannot be looked at: ${messageOf(error)}`);
    }
  }

  #arm(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.look().then(() => this.#arm());
    }, LOOK_MS);
  }

  async #lookAt(bind: BindAddress, now: ReadonlySet<string>): Promise<void> {
    const { log, make } = this.#options;
    const { address } = bind;
    if (now.has(address)) {
      if (this.#gone.delete(address)) log.info(`the address ${address} is back, and served again`);
      return;
    }
    const isNews = !this.#gone.has(address);
    this.#gone.add(address);
    if (isNews) log.warn(`the address ${address} has gone: no VM reaches the proxy there until it is back`);
    try {
      await make(bind); // the next look finds it
    } catch (error) {
      if (!isProxyError(error, "listen.failed")) throw error;
      if (isNews) log.warn(error.message);
    }
  }
}
