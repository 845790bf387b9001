/**
 * A shared machine is not always quiet. Samples during which others used much CPU are taken again, as long as patience
 * lasts; what is kept is the quietest.
 *
 * @module
 */
import { machineUse } from "./process_stats.ts";

/** CPUs' worth of other processes above which a sample counts as disturbed. */
const NOISY = 0.25;
const TRIES = 3;

/** Takes samples, and remembers how disturbed they were. */
export class Sampler {
  #patienceMs: number;
  /** Other processes' use during each kept sample, in CPUs. */
  readonly noise: number[] = [];

  constructor(patienceSeconds: number) {
    this.#patienceMs = patienceSeconds * 1_000;
  }

  /** The result of `measure`, undisturbed if possible. */
  async take<T>(measure: () => Promise<T>): Promise<T> {
    let best = await this.#once(measure);
    for (let tries = 1; best.noise > NOISY && tries < TRIES && this.#patienceMs > 0; tries++) {
      const startedAt = performance.now();
      const again = await this.#once(measure);
      this.#patienceMs -= performance.now() - startedAt;
      if (again.noise < best.noise) best = again;
    }
    this.noise.push(best.noise);
    return best.value;
  }

  async #once<T>(measure: () => Promise<T>): Promise<{ readonly value: T; readonly noise: number }> {
    const [before, startedAt] = [machineUse(), performance.now()];
    const value = await measure();
    const otherMs = machineUse().otherMs - before.otherMs;
    return { value, noise: Math.max(0, otherMs / (performance.now() - startedAt)) };
  }
}
