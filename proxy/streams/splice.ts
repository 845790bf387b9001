/**
 * Two byte streams joined: what one sends the other gets, each direction on its own, half-close kept.
 *
 * Not here: who may be joined to whom (`tunnels/tunnel.ts`, `tls/loopback.ts`).
 *
 * @module
 */
import type { Deadline, Deadlines } from "../../core/deadlines.ts";
import { type ByteStream, closeQuietly, closeWriteQuietly, writeAll, writeRest } from "./byte_reader.ts";
import { turnAfter } from "./turn_share.ts";

export interface SpliceOptions {
  readonly deadlines: Deadlines;
  /** Bytes already read from `a`, for `b`. */
  readonly firstToB?: Uint8Array;
  /** Bytes already read from `b`, for `a`. */
  readonly firstToA?: Uint8Array;
  /** Without a byte in either direction for so long, both are closed. */
  readonly idleTimeoutMs?: number;
  /** The same, once `a` has ended. */
  readonly afterATimeoutMs: number;
  /** The same, once `b` has ended. */
  readonly afterBTimeoutMs: number;
  /** Closing either tells its peer as much as a half-close right before it: of TCP, or of TLS that says so when it is closed. */
  readonly endByClosing?: boolean;
}

/** A splice under way. It owns both streams and has closed them when `done` resolves; `done` never rejects. */
export interface Splice {
  readonly done: Promise<void>;
  /** Bytes from `a` to `b`, and back. */
  readonly bytesToB: number;
  readonly bytesToA: number;
  /** True once it was ended by a time-out. */
  readonly timedOut: boolean;
  /** From now on `ms` without a byte are enough to close both. */
  expectEnd(ms: number): void;
  /** Closes both at once. */
  abort(): void;
}

/** Joins `a` and `b`. */
export function splice(a: ByteStream, b: ByteStream, options: SpliceOptions): Splice {
  return new Joint(a, b, options);
}

/** Methods and not functions of its own: thousands of idle tunnels hold one each. */
class Joint implements Splice {
  readonly done: Promise<void>;
  bytesToB = 0;
  bytesToA = 0;
  timedOut = false;
  readonly #a: ByteStream;
  readonly #b: ByteStream;
  readonly #deadlines: Deadlines;
  readonly #endByClosing: boolean;
  #deadline: Deadline | undefined;
  #patienceMs: number | undefined;
  readonly #resolve: () => void;
  #ended = 0;
  /** Those that have ended and whose other side was told. */
  #over = 0;

  /** Does not keep `options`: the first bytes are not to be held for as long as the splice. */
  constructor(a: ByteStream, b: ByteStream, options: SpliceOptions) {
    this.#a = a;
    this.#b = b;
    this.#deadlines = options.deadlines;
    this.#endByClosing = options.endByClosing ?? false;
    if (options.idleTimeoutMs !== undefined) this.#wait(options.idleTimeoutMs);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.done = promise;
    this.#resolve = resolve;
    void this.#carry("toB", options.firstToB, options.afterATimeoutMs);
    void this.#carry("toA", options.firstToA, options.afterBTimeoutMs);
  }

  abort(): void {
    closeQuietly(this.#a);
    closeQuietly(this.#b);
  }

  expectEnd(ms: number): void {
    if (this.#over < 2) this.#wait(ms);
  }

  /** Copies until `from` ends or either side fails, then tells `to`. Never rejects. */
  async #carry(way: "toA" | "toB", first: Uint8Array | undefined, afterMs: number): Promise<void> {
    const [from, to] = way === "toB" ? [this.#a, this.#b] : [this.#b, this.#a];
    try {
      if (first && first.length > 0) {
        await writeAll(to, first);
        this.#passed(way, first.length);
      }
      first = undefined; // it is not to be kept for as long as the splice
      let buffer = new Uint8Array(SMALLEST_BUFFER);
      for (;;) {
        const count = await from.read(buffer);
        if (count === null) break;
        const piece = count === buffer.length ? buffer : buffer.subarray(0, count);
        const written = await to.write(piece);
        if (written < count) await writeRest(to, piece, written);
        this.#passed(way, count);
        const turn = turnAfter(count);
        if (turn) await turn;
        if (count === buffer.length) {
          if (count < LARGEST_BUFFER) {
            buffer = new Uint8Array(count * 4 > LARGEST_BUFFER ? LARGEST_BUFFER : count * 4);
          }
        } else if (count * 8 < buffer.length && buffer.length > SMALLEST_BUFFER) {
          buffer = new Uint8Array(Math.max(SMALLEST_BUFFER, buffer.length / 4));
        }
      }
    } catch {
      // Reset, broken pipe, or closed by us: in each case this direction is over. Deno cannot send a reset, so the
      // other side sees an end of stream.
    }
    // The last one with `endByClosing`: both are closed right away.
    if (++this.#ended < 2 || !this.#endByClosing) {
      await closeWriteQuietly(to);
      this.#wait(afterMs);
    }
    if (++this.#over < 2) return;
    this.#deadline?.stop();
    this.abort();
    this.#resolve();
  }

  #passed(way: "toA" | "toB", count: number): void {
    if (way === "toB") this.bytesToB += count;
    else this.bytesToA += count;
    if (this.#patienceMs !== undefined) this.#deadline?.restart(this.#patienceMs);
  }

  /** From now on no longer than that for a byte. */
  #wait(ms: number): void {
    this.#patienceMs = Math.min(ms, this.#patienceMs ?? ms);
    if (this.#deadline) this.#deadline.restart(this.#patienceMs);
    else this.#deadline = this.#deadlines.start(this.#patienceMs, () => this.#onDue());
  }

  #onDue(): void {
    this.timedOut = true;
    this.abort();
  }
}

/** 5,000 idle tunnels hold two such buffers each (LAB section 5). */
const SMALLEST_BUFFER = 2_048;
const LARGEST_BUFFER = 262_144;
