/**
 * Flow control (RFC 9113 §5.2, §6.9): what of our DATA may leave now, in fair turns; and what the peer may still send us.
 *
 * @module
 */
import type { Deadline, Deadlines } from "../../core/deadlines.ts";
import type { Budget } from "./budget.ts";
import { H2 } from "./error.ts";
import { Fault } from "./fault.ts";
import { FLAG, FRAME, MAX_31_BITS, MAX_FRAME_BYTES } from "./frames.ts";
import type { Output } from "./output.ts";

/** What the peer may still send, on a stream or on the connection. */
export class ReceiveWindow {
  #size: number;
  #left: number;
  /** Taken by the reader, and not yet returned to the sender. */
  #credit: number;

  /** @param left what is open from the beginning, which for the connection is not our choice (RFC 9113 §6.9.2) */
  constructor(size: number, left: number = size) {
    this.#size = size;
    this.#left = left;
    this.#credit = size - left;
  }

  get size(): number {
    return this.#size;
  }

  /** Makes it larger, or smaller by a negative number: the peer is told with credit that falls due, or misses such. */
  grow(count: number): void {
    this.#size += count;
    this.#credit += count;
  }

  /** @returns false when the peer sends more than it may */
  take(count: number): boolean {
    this.#left -= count;
    return this.#left >= 0;
  }

  /** @returns the increment that is to be sent now; 0 while it is not worth a frame */
  give(count: number): number {
    this.#credit += count;
    if (this.#credit * 2 < this.#size) return 0;
    const increment = this.#credit;
    this.#left += increment;
    this.#credit = 0;
    return increment;
  }
}

/** A stream's side of the sender. */
export class Outgoing {
  readonly id: number;
  /** What the peer lets this stream send; SETTINGS can make it negative (RFC 9113 §6.9.2). */
  window: number;
  /** A write that waits for room. */
  waiting: WaitingWrite | undefined;

  constructor(id: number, window: number) {
    this.id = id;
    this.window = window;
  }
}

interface WaitingWrite {
  readonly out: Outgoing;
  readonly bytes: Uint8Array;
  readonly end: boolean;
  readonly done: PromiseWithResolvers<void>;
  readonly deadline: Deadline;
  /** Of `bytes`, what has left. */
  at: number;
  /** What had left when the deadline was moved last. */
  movedAt: number;
}

export interface DataSenderOptions {
  readonly output: Output;
  readonly deadlines: Deadlines;
  /** Given back to for every frame that is not a crumb: a peer that receives must answer with WINDOW_UPDATEs. */
  readonly control: Budget;
  /** Nothing is put behind so many bytes that the socket has not taken. */
  readonly maxBacklogBytes: number;
  /** A write that waits must get on by `minProgressBytes` in this time: windows of one byte are no progress. */
  readonly stallTimeoutMs: number;
  readonly minProgressBytes: number;
  readonly onStall: (id: number) => void;
}

/** WINDOW_UPDATEs that a frame of ours may cause: one for the stream and one for the connection. */
const UPDATES_PER_FRAME = 2;
/** A smaller part of a write is what a window of bytes lets through: its updates are flood (CVE-2019-9511). */
const MIN_PART = 64;
const DONE: Promise<void> = Promise.resolve();

/** Sends DATA of all streams of a connection. */
export class DataSender {
  readonly #options: DataSenderOptions;
  /** Writes that wait, in the order of their turns. One whose own window is shut is not among them after the next turn. */
  readonly #ready = new Set<WaitingWrite>();
  #window = 65_535;

  constructor(options: DataSenderOptions) {
    this.#options = options;
  }

  /** Sends bytes now or when there is room. Resolves when they are in the way out; rejects by {@linkcode drop}. */
  send(out: Outgoing, bytes: Uint8Array, end: boolean): Promise<void> {
    const { deadlines, stallTimeoutMs, onStall } = this.#options;
    // It overtakes nobody: where others wait there is no room.
    const at = this.#push(out, bytes, 0, end, Infinity);
    if (at === bytes.length) return DONE;
    const done = Promise.withResolvers<void>();
    const deadline = deadlines.start(stallTimeoutMs, () => onStall(out.id));
    out.waiting = { out, bytes, end, done, deadline, at, movedAt: at };
    this.#ready.add(out.waiting);
    return done.promise;
  }

  /** Ends a waiting write. */
  drop(out: Outgoing, error: Error): void {
    const { waiting } = out;
    if (!waiting) return;
    this.#ready.delete(waiting);
    out.waiting = undefined;
    waiting.deadline.stop();
    waiting.done.reject(error);
  }

  /** @throws Fault FLOW_CONTROL_ERROR for the connection (RFC 9113 §6.9.1) */
  addWindow(increment: number): void {
    this.#window += increment;
    if (this.#window > MAX_31_BITS) throw overflow("connection");
    this.resume();
  }

  /**
   * A stream's window changes: by WINDOW_UPDATE or, up and down, by SETTINGS.
   *
   * @throws Fault FLOW_CONTROL_ERROR for the stream
   */
  addStreamWindow(out: Outgoing, increment: number): void {
    out.window += increment;
    if (out.window > MAX_31_BITS) throw overflow("stream");
    if (!out.waiting) return;
    this.#ready.add(out.waiting);
    this.resume();
  }

  /** Sends what waits, one frame of each in turn, as far as there is room. */
  resume(): void {
    for (const waiting of this.#ready) {
      const { out, bytes, end } = waiting;
      const at = this.#push(out, bytes, waiting.at, end, 1);
      if (at === waiting.at && out.window > 0) return; // the connection has no room
      this.#ready.delete(waiting);
      this.#advance(waiting, at);
      // To the end of the line, which this loop comes to yet.
      if (out.waiting && out.window > 0) this.#ready.add(waiting);
    }
  }

  #advance(waiting: WaitingWrite, at: number): void {
    const { stallTimeoutMs, minProgressBytes } = this.#options;
    waiting.at = at;
    if (at === waiting.bytes.length) {
      waiting.out.waiting = undefined;
      waiting.deadline.stop();
      waiting.done.resolve();
    } else if (at - waiting.movedAt >= minProgressBytes) {
      waiting.movedAt = at;
      waiting.deadline.restart(stallTimeoutMs);
    }
  }

  /** Puts at most `maxFrames` frames of `bytes[at…]` into the way out. @returns the new `at` */
  #push(out: Outgoing, bytes: Uint8Array, at: number, end: boolean, maxFrames: number): number {
    const { output, maxBacklogBytes, control } = this.#options;
    if (bytes.length === 0) {
      if (end) output.frame(FRAME.DATA, FLAG.END_STREAM, out.id, bytes);
      return 0;
    }
    let next = at;
    for (let frames = 0; frames < maxFrames && output.size < maxBacklogBytes; frames++) {
      const count = Math.min(bytes.length - next, out.window, this.#window, MAX_FRAME_BYTES);
      if (count <= 0) break;
      const isEnd = end && next + count === bytes.length;
      const part = count === bytes.length ? bytes : bytes.subarray(next, next + count);
      output.frame(FRAME.DATA, isEnd ? FLAG.END_STREAM : 0, out.id, part);
      next += count;
      out.window -= count;
      this.#window -= count;
      if (count >= MIN_PART || next === bytes.length) control.give(UPDATES_PER_FRAME);
    }
    return next;
  }
}

function overflow(scope: "stream" | "connection"): Fault {
  return new Fault(scope, H2.FLOW_CONTROL_ERROR, "a window beyond 2^31-1 (RFC 9113 §6.9.1)");
}
