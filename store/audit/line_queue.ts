/**
 * Lines that wait on the disk to be sent elsewhere: appended behind, taken in front, bounded. When they are too many the oldest
 * go, and are counted. Neither a restart nor `kill -9` loses one: what was sent and not marked so is given once more.
 *
 * Not here: its files (`line_segments.ts`), what a line says, and who sends it (`cli/up/otlp_exporter.ts`).
 *
 * @module
 */
import { messageOf, ProxyError } from "../../core/errors.ts";
import {
  type Front,
  linesIn,
  makeSegment,
  measureSegment,
  readFront,
  removeSegment,
  type Segment,
  segmentNumbers,
  writeFront,
} from "./line_segments.ts";

/** How much a queue holds, in bytes. What is dropped when it is full is a segment at a time. */
export interface QueueBounds {
  readonly maxBytes: number;
  readonly segmentBytes: number;
}

/** A line without its end. */
export interface QueuedLine {
  readonly text: string;
  /** The same each time that the line is given, and no other line's. */
  readonly uid: string;
}

/** Lines that were taken, until {@linkcode LineQueue.done} or {@linkcode LineQueue.release}. */
export interface TakenLines {
  readonly lines: readonly QueuedLine[];
  /** Where they end in their segment. */
  readonly end: number;
}

/** An open queue. One caller appends, and one takes: each waits for no more than what the other does to the disk. */
export class LineQueue implements AsyncDisposable {
  readonly #dir: string;
  readonly #bounds: QueueBounds;
  /** The oldest first; the last is the one that is written. */
  readonly #segments: Segment[];
  #out: Deno.FsFile;
  #front: Front;
  /** The first segment has lines that somebody is sending: it is not dropped meanwhile. */
  #isTaken = false;
  /** Half a line stands behind the whole ones of the last segment, and could not be cut off. */
  #isTorn = false;
  #dropped = 0;
  /** Ends with the last piece of work that was asked for; never rejects. */
  #lastWork: Promise<void> = Promise.resolve();

  private constructor(
    dir: string,
    bounds: QueueBounds,
    opened: { readonly segments: Segment[]; readonly out: Deno.FsFile; readonly front: Front },
  ) {
    this.#dir = dir;
    this.#bounds = bounds;
    this.#segments = opened.segments;
    this.#out = opened.out;
    this.#front = opened.front;
  }

  /**
   * Opens the queue of a folder, which is made when there is none, with what waited in it.
   *
   * @throws ProxyError `audit.write-failed`
   */
  static async open(dir: string, bounds: QueueBounds): Promise<LineQueue> {
    try {
      await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
      const left = await readFront(dir);
      const segments: Segment[] = [];
      for (const number of await segmentNumbers(dir)) {
        if (left && number < left.segment) await removeSegment(dir, number); // it was sent whole
        else segments.push(await measureSegment(dir, number, left?.segment === number ? left.offset : 0));
      }
      const next = Math.max(segments.at(-1)?.number ?? 0, left?.segment ?? 0) + 1;
      segments.push({ number: next, bytes: 0, lines: 0 });
      const { number: segment, bytes } = segments[0] ?? { number: next, bytes: 0 };
      const offset = segment === left?.segment ? Math.min(left.offset, bytes) : 0;
      const front = { id: left?.id ?? crypto.randomUUID(), segment, offset };
      await writeFront(dir, front);
      return new LineQueue(dir, bounds, { segments, out: await makeSegment(dir, next), front });
    } catch (cause) {
      throw new ProxyError("audit.write-failed", `Cannot open the queue ${dir}: ${messageOf(cause)}`, {
        cause,
        hint: "the state folder and what is in it must be writable for this user",
      });
    }
  }

  /** Of this queue, for as long as its folder is there. */
  get id(): string {
    return this.#front.id;
  }

  /** Lines that are not marked as sent. */
  get length(): number {
    return this.#segments.reduce((sum, { lines }) => sum + lines, 0);
  }

  /** Lines that had to go before they were sent, since it was opened. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Appends lines, each with its end. Rejects when they cannot be written, and none of them is in the queue then. */
  append(lines: readonly string[]): Promise<void> {
    return this.#inTurn(async () => {
      const bytes = new TextEncoder().encode(lines.join(""));
      const size = this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
      await this.#makeRoom(size + bytes.length - this.#bounds.maxBytes);
      let last = this.#last();
      const isFull = last.bytes > 0 && last.bytes + bytes.length > this.#bounds.segmentBytes;
      if (isFull || this.#isTorn) last = await this.#turnOver();
      try {
        for (let at = 0; at < bytes.length;) at += await this.#out.write(bytes.subarray(at));
      } catch (error) {
        await this.#out.truncate(last.bytes).catch(() => this.#isTorn = true);
        throw error;
      }
      last.bytes += bytes.length;
      last.lines += lines.length;
    });
  }

  /**
   * The oldest lines, up to so many and so many bytes (more than the longest line has); undefined when none waits. They stay
   * in the queue. Not to be called again before {@linkcode done} or {@linkcode release}.
   */
  take(most: { readonly lines: number; readonly bytes: number }): Promise<TakenLines | undefined> {
    return this.#inTurn(async () => {
      for (;;) {
        await this.#passEmpty();
        const [first] = this.#segments;
        if (!first || first.lines === 0) return undefined;
        const taken = await this.#read(first, most);
        this.#isTaken = taken.lines.length > 0;
        if (this.#isTaken) return taken;
        await this.#drop(0); // somebody has cut the file, or written into it: what is left of it is no line
      }
    });
  }

  /** Marks lines as sent: they are not given again. */
  done({ lines, end }: TakenLines): Promise<void> {
    return this.#inTurn(async () => {
      const [first] = this.#segments;
      this.#isTaken = false;
      if (!first) return;
      first.lines = Math.max(0, first.lines - lines.length);
      await this.#moveFront({ segment: first.number, offset: end });
    });
  }

  /** Gives lines back: they are taken again. */
  release(): void {
    this.#isTaken = false;
  }

  /** Closes it; what waits stays on the disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inTurn(() => Promise.resolve(this.#out.close()));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastWork.then(work);
    this.#lastWork = result.then(() => {}, () => {});
    return result;
  }

  #last(): Segment {
    const last = this.#segments.at(-1);
    if (!last) throw new TypeError("Cannot write: the queue has no segment");
    return last;
  }

  async #read(
    { number, bytes: whole }: Segment,
    most: { readonly lines: number; readonly bytes: number },
  ): Promise<TakenLines> {
    const { id, offset } = this.#front;
    const place = { number, offset, length: Math.min(whole - offset, most.bytes) };
    const lines: QueuedLine[] = [];
    let end = offset;
    for (const line of await linesIn(this.#dir, place)) {
      if (lines.length === most.lines) break;
      lines.push({ text: line.text, uid: `${id}-${number}-${end}` });
      end = line.end;
    }
    return { lines, end };
  }

  /** Removes segments in front that were sent whole, but not the one that is written. */
  async #passEmpty(): Promise<void> {
    while (this.#segments.length > 1 && this.#segments[0]?.lines === 0) await this.#drop(0);
  }

  /** Drops the oldest segments, but neither the one that is being sent nor the one that is written. */
  async #makeRoom(tooMuch: number): Promise<void> {
    if (tooMuch > 0 && this.#segments.length === 1) await this.#turnOver();
    for (let left = tooMuch; left > 0;) {
      const at = this.#isTaken ? 1 : 0;
      const oldest = this.#segments[at];
      if (!oldest || at >= this.#segments.length - 1) return;
      left -= oldest.bytes;
      await this.#drop(at);
    }
  }

  /** Removes a segment with what of it was not sent. The front is on the disk before: no file is missed after a crash. */
  async #drop(at: number): Promise<void> {
    if (at === this.#segments.length - 1) await this.#turnOver();
    const [gone, next] = this.#segments.slice(at, at + 2);
    if (!gone || !next) return;
    if (at === 0) await this.#moveFront({ segment: next.number, offset: 0 });
    this.#segments.splice(at, 1);
    this.#dropped += gone.lines;
    await removeSegment(this.#dir, gone.number);
  }

  async #moveFront(to: { readonly segment: number; readonly offset: number }): Promise<void> {
    const front = { id: this.#front.id, ...to };
    await writeFront(this.#dir, front);
    this.#front = front;
  }

  async #turnOver(): Promise<Segment> {
    const next = { number: this.#last().number + 1, bytes: 0, lines: 0 };
    const out = await makeSegment(this.#dir, next.number);
    this.#out.close();
    this.#out = out;
    this.#isTorn = false;
    this.#segments.push(next);
    return next;
  }
}
