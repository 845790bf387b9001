/**
 * The ports on which any thread of this process listens on loopback. No thread may dial them for a client: behind one of
 * them is another client's traffic in clear.
 *
 * @module
 */
import type { PortSet } from "../proxy/tls/loopback.ts";

/** One bit a port. */
const PLANE = 65_536 / 32;

/** Memory for the ports of `planes` threads. */
export function makePortsMemory(planes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(planes * PLANE * Int32Array.BYTES_PER_ELEMENT);
}

/** The ports as one thread sees them: it adds and deletes its own, and knows all. */
export class SharedPorts implements PortSet {
  readonly #bits: Int32Array;
  readonly #plane: number;
  readonly #planes: number;

  constructor(memory: SharedArrayBuffer, plane: number) {
    this.#bits = new Int32Array(memory);
    this.#plane = plane;
    this.#planes = this.#bits.length / PLANE;
  }

  has(port: number): boolean {
    for (let plane = 0; plane < this.#planes; plane++) {
      if (Atomics.load(this.#bits, plane * PLANE + (port >>> 5)) & (1 << (port & 31))) return true;
    }
    return false;
  }

  add(port: number): void {
    Atomics.or(this.#bits, this.#plane * PLANE + (port >>> 5), 1 << (port & 31));
  }

  delete(port: number): void {
    Atomics.and(this.#bits, this.#plane * PLANE + (port >>> 5), ~(1 << (port & 31)));
  }

  /** Forgets the ports of a thread. That thread must be gone, or given up: then nobody ends TLS behind them. */
  clear(plane: number): void {
    this.#bits.fill(0, plane * PLANE, (plane + 1) * PLANE);
  }
}
