/**
 * A stream of either role (RFC 9113 §5.1). The states of the standard, as two sides that are open or not:
 *
 *     idle                   no object; ids above the last one
 *     reserved               never: push is switched off
 *     open                   both sides open
 *     half-closed (local)    we have sent END_STREAM; the peer may still send
 *     half-closed (remote)   the peer has sent END_STREAM; we may still send
 *     closed                 both sides ended, or cut by RST_STREAM from either, or with the connection
 *
 * Moves: END_STREAM closes a side; RST_STREAM, an error of the peer's and the connection's end close both. Nothing opens one.
 *
 * Not here: frames (`receiver.ts`), windows (`flow.ts`), heads of a role (`server.ts`, `client.ts`).
 *
 * @module
 */
import { BodyQueue } from "./body_queue.ts";
import { H2, type Http2Error } from "./error.ts";
import { Fault } from "./fault.ts";
import type { ReceivedField } from "./field.ts";
import { Outgoing, ReceiveWindow } from "./flow.ts";
import { readTrailers } from "./head.ts";
import type { HeaderBlockWriter } from "./hpack_encoder.ts";
import type { Http2Field, Http2Stream, SendableField } from "./types.ts";

/** What a stream needs of its connection. */
export interface StreamLink {
  /** Sends a header block that `write` fills. */
  sendHeaders(id: number, write: (block: HeaderBlockWriter) => void, end: boolean): void;
  sendData(out: Outgoing, bytes: Uint8Array, end: boolean): Promise<void>;
  /** Rejects a write that waits. */
  dropData(out: Outgoing, error: Http2Error): void;
  sendReset(id: number, code: number): void;
  /** Gives window credit of the stream to the peer. */
  sendCredit(id: number, increment: number): void;
  /** By how many bytes a window of `size`, half of which was consumed in `ms`, grows. They are given back when they are free. */
  growWindow(size: number, ms: number): number;
  shrinkWindow(count: number): void;
  /** Says that so many body bytes were consumed or dropped, for the connection's window. */
  giveCredit(count: number): void;
  /** The stream is closed. */
  remove(id: number): void;
  /** An error of this role. */
  makeError(h2Code: number, what: string, isUnprocessed?: boolean): Http2Error;
}

/** What both roles have in common; see {@linkcode Http2Stream} for what users may do. */
export abstract class StreamCore implements Http2Stream {
  readonly id: number;
  onReset: ((error: Http2Error) => void) | undefined;
  protected readonly link: StreamLink;
  readonly #queue = new BodyQueue();
  readonly #window: ReceiveWindow;
  readonly #out: Outgoing;
  #isReceiving = true;
  #isSending = true;
  #error: Http2Error | undefined;
  /** The peer wants no more of our body, though the stream was no failure: the end of its own side was here before. */
  #sendError: Http2Error | undefined;
  #trailers: readonly Http2Field[] | undefined;
  /** Of the body that the head announced, what has not come yet; "nothing" where the head forbids one. */
  #expected: number | "nothing" | undefined;
  #reader: PromiseWithResolvers<boolean> | undefined;
  /** How many unread bytes the reader waits for. */
  #wanted = Infinity;
  /** By how much the window is larger than it was. */
  #grown = 0;
  /** When credit was sent last. */
  #creditedAt = performance.now();

  /** @param windows what the peer may send on this stream, and what we may */
  constructor(id: number, link: StreamLink, windows: { readonly receive: number; readonly send: number }) {
    this.id = id;
    this.link = link;
    this.#window = new ReceiveWindow(windows.receive);
    this.#out = new Outgoing(id, windows.send);
  }

  get available(): Uint8Array {
    return this.#queue.first;
  }

  get isLast(): boolean {
    // A cut is no end: what it has dropped would be missing from what is sent on as whole.
    return !this.#isReceiving && !this.#error && this.#trailers === undefined && this.#queue.isOneChunk;
  }

  get trailers(): readonly Http2Field[] | undefined {
    return this.#trailers;
  }

  get error(): Http2Error | undefined {
    return this.#error;
  }

  /** What may still be sent under the windows: for the connection, which changes them. */
  get outgoing(): Outgoing {
    return this.#out;
  }

  /** True while our side is open. */
  protected get isSending(): boolean {
    return this.#isSending;
  }

  peek(count: number): Uint8Array {
    return this.#queue.peek(count);
  }

  consume(count: number): void {
    if (this.#error) return; // dropped and returned already
    this.#queue.consume(count);
    this.#credit(count);
    this.link.giveCredit(count);
    this.#shrinkIfRead();
  }

  fill(count = 1): Promise<boolean> {
    if (this.#queue.size >= count) return YES;
    if (this.#error) return Promise.reject(this.#error);
    if (!this.#isReceiving) return this.#queue.size > 0 ? YES : NO;
    this.#wanted = count;
    this.#reader ??= Promise.withResolvers<boolean>();
    return this.#reader.promise;
  }

  write(bytes: Uint8Array, end = false): Promise<void> {
    const error = this.#error ?? this.#sendError;
    if (error) return Promise.reject(error);
    if (!this.canWrite || this.#out.waiting) {
      throw new TypeError("Cannot write to the stream: its head was not sent, its end was, or a write waits");
    }
    if (bytes.length === 0 && !end) return DONE;
    const sent = this.link.sendData(this.#out, bytes, end);
    if (!end) return sent;
    if (this.#out.waiting) return sent.then(() => this.#endSending());
    this.#endSending();
    return sent;
  }

  end(trailers?: readonly SendableField[]): void {
    if (!this.#isSending) return;
    if (!this.canWrite || this.#out.waiting) {
      throw new TypeError("Cannot end the stream: its head was not sent, or a write waits");
    }
    if (trailers && trailers.length > 0) {
      this.link.sendHeaders(this.id, (block) => {
        for (const field of trailers) block.field(field);
      }, true);
    } else void this.link.sendData(this.#out, NOTHING, true);
    this.#endSending();
  }

  reset(code: number): void {
    if (!this.#isReceiving && !this.#isSending) {
      // Over: nobody will read what lies here.
      this.link.giveCredit(this.#queue.clear());
      this.#shrinkIfRead();
      return;
    }
    this.link.sendReset(this.id, code);
    const error = this.link.makeError(code, "the stream was reset from here");
    this.#close(error);
    this.#letGo(error);
  }

  /** True once a body may follow what was sent. */
  protected abstract get canWrite(): boolean;

  /** A header list that came, as a head or a trailer section. @throws Fault */
  abstract receiveHeaders(list: readonly ReceivedField[], end: boolean): void;

  /**
   * DATA that came. The connection's window is the connection's business. Throws before it takes anything.
   *
   * @param flowBytes how much it counts, with its padding
   * @throws Fault for the stream
   */
  receiveData(content: Uint8Array, flowBytes: number, end: boolean): void {
    if (!this.#isReceiving) throw new Fault("stream", H2.STREAM_CLOSED, "DATA behind END_STREAM");
    if (!this.#window.take(flowBytes)) {
      throw new Fault("stream", H2.FLOW_CONTROL_ERROR, "DATA beyond the stream's window");
    }
    if (typeof this.#expected === "number") {
      this.#expected -= content.length;
      if (this.#expected < 0 || (end && this.#expected > 0)) throw wrongLength();
    }
    if (!this.canReceiveBody || (this.#expected === "nothing" && content.length > 0)) {
      throw new Fault("stream", H2.PROTOCOL_ERROR, "a body where none may be");
    }
    this.#queue.add(content, end);
    this.#credit(flowBytes - content.length); // padding is nobody's to consume
    if (end) this.receiveEnd();
    else if (this.#queue.size >= this.#wanted) this.#wakeReader(true);
  }

  /** True once a head came that a body may follow. */
  protected abstract get canReceiveBody(): boolean;

  /** What the head says about the body. */
  protected expectBody(contentLength: number | undefined, isForbidden: boolean): void {
    this.#expected = isForbidden ? "nothing" : contentLength;
  }

  /** The peer's side ends. @throws Fault for the stream when the body was shorter than announced */
  protected receiveEnd(): void {
    if (typeof this.#expected === "number" && this.#expected > 0) throw wrongLength();
    this.#isReceiving = false;
    this.#shrinkIfRead();
    this.#wakeReader(this.#queue.size > 0);
    this.#removeIfClosed();
  }

  /** A header list behind the body. @throws Fault */
  protected receiveTrailers(list: readonly ReceivedField[], end: boolean): void {
    if (!this.#isReceiving) throw new Fault("stream", H2.STREAM_CLOSED, "HEADERS behind END_STREAM");
    if (!end) throw new Fault("stream", H2.PROTOCOL_ERROR, "trailers without END_STREAM (RFC 9113 §8.1)");
    this.#trailers = readTrailers(list);
    this.receiveEnd();
  }

  /** The peer's RST_STREAM. */
  receiveReset(code: number): void {
    const error = this.link.makeError(code, "the peer reset the stream", code === H2.REFUSED_STREAM);
    if (this.#isReceiving || !this.isAnswerWhole) {
      this.fail(error);
      return;
    }
    // RFC 9113 §8.1: a server that has answered wants no more of the request; its answer stays good.
    this.#sendError = error;
    this.link.dropData(this.#out, error);
    this.#isSending = false;
    this.link.remove(this.id);
  }

  /** The peer's side having ended makes the exchange whole, whatever it says about ours. */
  protected abstract get isAnswerWhole(): boolean;

  /**
   * Cuts it, and says so to its user: at once, or where many end together when `inTurn` gets to it. Whatever its user calls
   * meanwhile finds it cut.
   */
  fail(error: Http2Error, inTurn: (tell: () => void) => void = (tell) => tell()): void {
    if (this.#error) return;
    this.#close(error);
    inTurn(() => {
      this.#letGo(error);
      this.onReset?.(error);
    });
  }

  /** A head was sent that ends our side. */
  protected endSending(): void {
    this.#endSending();
  }

  /** Rejects what waits; called once, last. */
  protected onCut(_error: Http2Error): void {}

  #endSending(): void {
    this.#isSending = false;
    this.#removeIfClosed();
  }

  #close(error: Http2Error): void {
    this.#error = error;
    this.#isReceiving = this.#isSending = false;
    this.link.giveCredit(this.#queue.clear());
    this.#shrinkIfRead();
  }

  /** Everything that waits for it. */
  #letGo(error: Http2Error): void {
    this.link.dropData(this.#out, error);
    this.link.remove(this.id);
    if (this.#reader) {
      this.#reader.promise.catch(() => {}); // its user may have gone
      this.#reader.reject(error);
      this.#reader = undefined;
    }
    this.onCut(error);
  }

  #removeIfClosed(): void {
    if (!this.#isReceiving && !this.#isSending) this.link.remove(this.id);
  }

  #credit(count: number): void {
    const increment = this.#window.give(count);
    if (increment === 0 || !this.#isReceiving) return;
    const now = performance.now();
    const growth = this.link.growWindow(this.#window.size, now - this.#creditedAt);
    this.#creditedAt = now;
    this.#grown += growth;
    this.#window.grow(growth);
    this.link.sendCredit(this.id, increment + this.#window.give(0));
  }

  /** Not before nothing of it lies here any more: what ended unread would else make room for more of its kind. */
  #shrinkIfRead(): void {
    if (this.#grown === 0 || this.#isReceiving || this.#queue.size > 0) return;
    this.link.shrinkWindow(this.#grown);
    this.#grown = 0;
  }

  #wakeReader(hasBytes: boolean): void {
    this.#reader?.resolve(hasBytes);
    this.#reader = undefined;
  }
}

/** RFC 9113 §8.1.1. */
function wrongLength(): Fault {
  return new Fault("stream", H2.PROTOCOL_ERROR, "a body that is not as long as its content-length says");
}

const YES = Promise.resolve(true);
const NO = Promise.resolve(false);
const DONE = Promise.resolve();
const NOTHING = new Uint8Array(0);
