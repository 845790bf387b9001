/**
 * Simulated time: events in their order, chance from a seed, and cores that are shared.
 *
 * Not here: what is simulated (`fleet_model.ts`).
 *
 * @module
 */

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** A clock that jumps from event to event. Times are milliseconds. */
export class Engine {
  #now = 0;
  #state: number;
  #orders = 0;
  readonly #events: Event[] = [];

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  get now(): number {
    return this.#now;
  }

  /** Runs something later. */
  after(ms: number, run: () => void): void {
    push(this.#events, { at: this.#now + ms, order: this.#orders++, run }, isEarlier);
  }

  /** Runs everything, and what it leads to. */
  drain(): void {
    for (let next = pop(this.#events, isEarlier); next; next = pop(this.#events, isEarlier)) {
      this.#now = next.at;
      next.run();
    }
  }

  /** 0 up to 1 (mulberry32). */
  random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** Of the standard normal distribution (Box and Muller). */
  gaussian(): number {
    return Math.sqrt(-2 * Math.log(1 - this.random())) * Math.cos(2 * Math.PI * this.random());
  }
}

interface Job {
  /** The work of one that shares all the while, at which this job is done. */
  readonly doneAt: number;
  readonly then: () => void;
}

/** Cores that all who want them share equally; nobody gets more than one. */
export class Pool {
  readonly #engine: Engine;
  readonly #cores: number;
  readonly #others: number;
  /** By what is left of them. */
  readonly #jobs: Job[] = [];
  /** What a job that began with the pool would have worked. */
  #worked = 0;
  #at = 0;
  #turn = 0;
  #workedMs = 0;

  /** @param others that want a core all the time */
  constructor(engine: Engine, cores: number, others: number) {
    this.#engine = engine;
    this.#cores = cores;
    this.#others = others;
  }

  /** All the work so far. */
  get workedMs(): number {
    return this.#workedMs;
  }

  /** Works for so long, and then goes on. */
  run(workMs: number, then: () => void): void {
    this.#workedMs += workMs;
    this.#advance();
    push(this.#jobs, { doneAt: this.#worked + workMs, then }, isDoneEarlier);
    this.#arm();
  }

  get #rate(): number {
    return Math.min(1, this.#cores / (this.#jobs.length + this.#others));
  }

  #advance(): void {
    this.#worked += (this.#engine.now - this.#at) * (this.#jobs.length > 0 ? this.#rate : 0);
    this.#at = this.#engine.now;
  }

  /** Wakes when the first is done, if nothing changes until then. */
  #arm(): void {
    const first = this.#jobs[0];
    if (!first) return;
    const turn = ++this.#turn;
    this.#engine.after(Math.max(0, first.doneAt - this.#worked) / this.#rate, () => {
      if (turn !== this.#turn) return;
      this.#advance();
      pop(this.#jobs, isDoneEarlier)?.then();
      this.#arm();
    });
  }
}

function isEarlier(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function isDoneEarlier(a: Job, b: Job): boolean {
  return a.doneAt < b.doneAt;
}

/** A heap whose first is the least. */
function push<T>(heap: T[], item: T, isLess: (a: T, b: T) => boolean): void {
  heap.push(item);
  for (let at = heap.length - 1; at > 0;) {
    const parent = (at - 1) >> 1;
    const [below, above] = [heap[at], heap[parent]];
    if (below === undefined || above === undefined || !isLess(below, above)) return;
    [heap[at], heap[parent]] = [above, below];
    at = parent;
  }
}

function pop<T>(heap: T[], isLess: (a: T, b: T) => boolean): T | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  heap[0] = last;
  for (let at = 0;;) {
    let least = at;
    for (const child of [2 * at + 1, 2 * at + 2]) {
      const [a, b] = [heap[child], heap[least]];
      if (a !== undefined && b !== undefined && isLess(a, b)) least = child;
    }
    if (least === at) return first;
    const [a, b] = [heap[at], heap[least]];
    if (a === undefined || b === undefined) return first;
    [heap[at], heap[least]] = [b, a];
    at = least;
  }
}
