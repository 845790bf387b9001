/**
 * What must be known in another thread at once, without waiting for a message: whether the audit log can be written, that
 * a worker is given up, that it lives, and what it holds.
 *
 * @module
 */
import type { NameCounters } from "../proxy/egress/names/asker.ts";

const BEATS = 0;
const IS_CONDEMNED = 1;
const IS_AUDIT_BROKEN = 2;
const OPEN_GRANTS = 3;
const TLS_LISTENERS = 4;
const CELLS = 6; // even, for what follows
/** Sums, which outgrow 32 bits. */
const NAME_SUMS = [
  "questions",
  "failures",
  "cacheHits",
  "stale",
] as const satisfies readonly (keyof NameCounters)[];

/** Figures of a worker that only it knows. */
export interface WorkerFigures {
  readonly openGrants: number;
  readonly tlsListeners: number;
  readonly names: Readonly<NameCounters>;
}

/** Memory for the signals of one worker. */
export function makeSignalsMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(
    CELLS * Int32Array.BYTES_PER_ELEMENT + NAME_SUMS.length * BigInt64Array.BYTES_PER_ELEMENT,
  );
}

/** The signals of one worker, for both sides. */
export class Signals {
  readonly #cells: Int32Array;
  readonly #names: BigInt64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new Int32Array(memory, 0, CELLS);
    this.#names = new BigInt64Array(memory, CELLS * Int32Array.BYTES_PER_ELEMENT);
  }

  /** The worker says that it lives, and what it holds. */
  beat({ openGrants, tlsListeners, names }: WorkerFigures): void {
    Atomics.store(this.#cells, OPEN_GRANTS, openGrants);
    Atomics.store(this.#cells, TLS_LISTENERS, tlsListeners);
    for (const [at, key] of NAME_SUMS.entries()) Atomics.store(this.#names, at, BigInt(names[key]));
    Atomics.add(this.#cells, BEATS, 1);
  }

  /** Changes with every beat. */
  get beats(): number {
    return Atomics.load(this.#cells, BEATS);
  }

  get figures(): WorkerFigures {
    return {
      openGrants: Atomics.load(this.#cells, OPEN_GRANTS),
      tlsListeners: Atomics.load(this.#cells, TLS_LISTENERS),
      names: {
        questions: this.#nameSum("questions"),
        failures: this.#nameSum("failures"),
        cacheHits: this.#nameSum("cacheHits"),
        stale: this.#nameSum("stale"),
      },
    };
  }

  #nameSum(key: typeof NAME_SUMS[number]): number {
    return Number(Atomics.load(this.#names, NAME_SUMS.indexOf(key)));
  }

  /** From now on the worker admits nothing: it may not know the policy. */
  condemn(): void {
    Atomics.store(this.#cells, IS_CONDEMNED, 1);
  }

  get isCondemned(): boolean {
    return Atomics.load(this.#cells, IS_CONDEMNED) !== 0;
  }

  /** Whether the main thread can write the audit log. */
  set isAuditWritable(isWritable: boolean) {
    Atomics.store(this.#cells, IS_AUDIT_BROKEN, isWritable ? 0 : 1);
  }

  get isAuditWritable(): boolean {
    return Atomics.load(this.#cells, IS_AUDIT_BROKEN) === 0;
  }
}
