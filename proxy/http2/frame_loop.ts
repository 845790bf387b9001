/**
 * Bytes in: cut into frames and handed on, one after the other, while the peer takes what we answer, and no slower than it
 * may be.
 *
 * Not here: what a frame does (`receiver.ts`).
 *
 * @module
 */
import { inLaterTurn } from "../../core/later_turn.ts";
import type { Deadline } from "../../core/deadlines.ts";
import { H2 } from "./error.ts";
import { Fault } from "./fault.ts";
import { FRAME, type Frame, FRAME_HEAD_BYTES, frameAt, MAX_FRAME_BYTES, payloadLength } from "./frames.ts";
import type { Output } from "./output.ts";
import type { Http2Options } from "./types.ts";

/** The connection, as its bytes drive it. */
export interface Driven {
  readonly output: Output;
  /** Nothing that comes counts any more: it is only read so that the peer gets our last words. */
  readonly isOver: boolean;
  /** No stream is open. */
  readonly isIdle: boolean;
  /** Inside something that has to come in one go. */
  readonly isExpecting: boolean;
  /** What comes before all frames. @returns undefined while more bytes are needed. @throws Fault */
  readPreface(bytes: Uint8Array): number | undefined;
  /** @throws Fault */
  onFrame(frame: Frame): void;
  /** Those of this turn were handled, and none of the next was. */
  onTurnOver(): void;
  onFault(fault: Fault): void;
  onTimeout(): void;
  /** The peer has ended its side, behind whole frames or not; many do so without GOAWAY or close_notify. */
  onPeerGone(isBetweenFrames: boolean, cause: unknown): void;
}

/** See the module. */
export class FrameLoop {
  readonly #options: Http2Options;
  readonly #to: Driven;
  /** From the beginning of what is not a body to its end (slowloris); at first, until the peer's SETTINGS came. */
  readonly #headDeadline: Deadline;
  #hasHeadDeadline = true;
  #room: PromiseWithResolvers<void> | undefined;
  #bytesIn = 0;
  /** Handled since it has left others their turn. A read of what is there already does not: it resolves at once. */
  #framesInTurn = 0;

  constructor(options: Http2Options, to: Driven) {
    this.#options = options;
    this.#to = to;
    this.#headDeadline = options.deadlines.start(options.limits.headTimeoutMs, () => to.onTimeout());
  }

  /** Bytes of frames. */
  get bytesIn(): number {
    return this.#bytesIn;
  }

  /** Reads until the peer has ended. */
  async run(): Promise<void> {
    const { reader } = this.#options;
    await Promise.resolve(); // whoever made the connection has it before its first request
    for (;;) {
      if (!this.#readFrames()) {
        await new Promise<void>(inLaterTurn);
        this.#framesInTurn = 0;
        continue;
      }
      if (!this.#to.isOver && this.#isCrowded) {
        await this.#waitForRoom();
        continue;
      }
      if (this.#to.isIdle) {
        reader.rest();
        this.#to.output.rest();
      }
      if (!await this.#fill()) return;
    }
  }

  /** The connection is over. */
  stop(): void {
    this.#headDeadline.stop();
    this.#room?.resolve();
  }

  /** The peer has taken something. */
  onRoom(): void {
    if (this.#room && (this.#to.isOver || !this.#isCrowded)) {
      this.#room.resolve();
      this.#room = undefined;
    }
  }

  async #fill(): Promise<boolean> {
    const { reader } = this.#options;
    let cause: unknown;
    try {
      if (await reader.fill()) return true;
    } catch (error) {
      cause = error;
    }
    this.#to.onPeerGone(reader.size === 0, cause);
    return false;
  }

  /** A peer that does not read its answers is not read either, so that they do not pile up. */
  get #isCrowded(): boolean {
    return this.#to.output.size > this.#options.limits.maxHttp2BacklogBytes * 2;
  }

  async #waitForRoom(): Promise<void> {
    const { deadlines, limits } = this.#options;
    const deadline = deadlines.start(limits.bodyIdleTimeoutMs, () => this.#to.onTimeout());
    this.#room = Promise.withResolvers<void>();
    await this.#room.promise;
    deadline.stop();
  }

  /** @returns false when there may be more frames here, which are for a later turn */
  #readFrames(): boolean {
    const { reader } = this.#options;
    const bytes = reader.available;
    if (this.#to.isOver) {
      reader.consume(bytes.length);
      return true;
    }
    let at = 0;
    let heads = 0;
    const { maxHttp2HeadsInTurn, maxHttp2FramesInTurn } = this.#options.limits;
    try {
      const preface = this.#to.readPreface(bytes);
      at = preface ?? bytes.length;
      while (
        !this.#to.isOver && bytes.length - at >= FRAME_HEAD_BYTES && !this.#isCrowded &&
        this.#framesInTurn < maxHttp2FramesInTurn
      ) {
        const length = payloadLength(bytes, at);
        if (length > MAX_FRAME_BYTES) {
          throw new Fault("connection", H2.FRAME_SIZE_ERROR, "a frame above SETTINGS_MAX_FRAME_SIZE");
        }
        if (bytes.length - at < FRAME_HEAD_BYTES + length) break;
        // The turn ends before a head, so that a reset behind the last one still belongs to it.
        if (bytes[at + 3] === FRAME.HEADERS && ++heads > maxHttp2HeadsInTurn) break;
        this.#framesInTurn++;
        this.#to.onFrame(frameAt(bytes, at));
        at += FRAME_HEAD_BYTES + length;
      }
      if (preface === undefined) at = 0;
      else this.#watchHead(at < bytes.length && bytes[at + 3] !== FRAME.DATA);
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      this.#to.onFault(fault);
    }
    this.#to.onTurnOver();
    this.#bytesIn += at;
    reader.consume(at);
    return heads <= maxHttp2HeadsInTurn && this.#framesInTurn < maxHttp2FramesInTurn;
  }

  /** Heads and control frames have to come in one go; bodies may take their time. */
  #watchHead(isPartial: boolean): void {
    const isDue = isPartial || this.#to.isExpecting;
    if (isDue === this.#hasHeadDeadline || this.#isCrowded || this.#to.isOver) return;
    this.#hasHeadDeadline = isDue;
    if (isDue) this.#headDeadline.restart(this.#options.limits.headTimeoutMs);
    else this.#headDeadline.stop();
  }
}
