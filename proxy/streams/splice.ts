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
  // Not `options` itself in any closure: the first bytes are not to be kept for as long as the splice.
  const { deadlines, afterATimeoutMs, afterBTimeoutMs, endByClosing = false } = options;
  const state = {
    bytesToB: 0,
    bytesToA: 0,
    timedOut: false,
    abort: () => {
      closeQuietly(a);
      closeQuietly(b);
    },
    expectEnd: (ms: number) => {
      if (!isOver) impatient(ms);
    },
    done: Promise.resolve(),
  };
  let isOver = false;
  let patienceMs = options.idleTimeoutMs;
  const onDue = () => {
    state.timedOut = true;
    state.abort();
  };
  let deadline: Deadline | undefined = patienceMs === undefined
    ? undefined
    : deadlines.start(patienceMs, onDue);
  const touch = () => {
    if (patienceMs !== undefined) deadline?.restart(patienceMs);
  };
  const impatient = (ms: number) => {
    patienceMs = Math.min(ms, patienceMs ?? ms);
    if (deadline) deadline.restart(patienceMs);
    else deadline = deadlines.start(patienceMs, onDue);
  };
  let ended = 0;
  const end = (to: ByteStream, ms: number) => {
    if (++ended === 2 && endByClosing) return; // both are closed right away
    return closeWriteQuietly(to).then(() => impatient(ms));
  };
  const toB = pump(a, b, options.firstToB, (count) => {
    state.bytesToB += count;
    touch();
  }).then(() => end(b, afterATimeoutMs));
  const toA = pump(b, a, options.firstToA, (count) => {
    state.bytesToA += count;
    touch();
  }).then(() => end(a, afterBTimeoutMs));
  state.done = Promise.all([toB, toA]).then(() => {
    isOver = true;
    deadline?.stop();
    state.abort();
  });
  return state;
}

/** 5,000 idle tunnels hold two such buffers each (LAB section 5). */
const SMALLEST_BUFFER = 2_048;
const LARGEST_BUFFER = 262_144;

/** Copies until `from` ends or either side fails. Never rejects. */
async function pump(
  from: ByteStream,
  to: ByteStream,
  first: Uint8Array | undefined,
  onBytes: (count: number) => void,
): Promise<void> {
  try {
    if (first && first.length > 0) {
      await writeAll(to, first);
      onBytes(first.length);
    }
    first = undefined; // it is not to be kept for as long as the splice
    let buffer = new Uint8Array(SMALLEST_BUFFER);
    for (;;) {
      const count = await from.read(buffer);
      if (count === null) break;
      const piece = count === buffer.length ? buffer : buffer.subarray(0, count);
      const written = await to.write(piece); // nearly always all of it
      if (written < count) await writeRest(to, piece, written);
      onBytes(count);
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
}
