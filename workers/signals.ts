/**
 * What must be known in another thread at once, without waiting for a message: whether the audit log can be written, that
 * a worker is given up, that it lives, and what it holds.
 *
 * @module
 */

const BEATS = 0;
const IS_CONDEMNED = 1;
const IS_AUDIT_BROKEN = 2;
const OPEN_GRANTS = 3;
const TLS_LISTENERS = 4;
const CELLS = 5;

/** Figures of a worker that only it knows. */
export interface WorkerFigures {
  readonly openGrants: number;
  readonly tlsListeners: number;
}

/** Memory for the signals of one worker. */
export function makeSignalsMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(CELLS * Int32Array.BYTES_PER_ELEMENT);
}

/** The signals of one worker, for both sides. */
export class Signals {
  readonly #cells: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new Int32Array(memory);
  }

  /** The worker says that it lives, and what it holds. */
  beat({ openGrants, tlsListeners }: WorkerFigures): void {
    Atomics.store(this.#cells, OPEN_GRANTS, openGrants);
    Atomics.store(this.#cells, TLS_LISTENERS, tlsListeners);
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
    };
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
