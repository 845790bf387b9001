/**
 * An HTTP/2 connection of either role (RFC 9113): reads frames, checks them against the state of the connection, hands them
 * to their streams, and ends in order. Everything that a peer can make us do for nothing has a budget.
 *
 * Not here: what a header list becomes in a role (`server.ts`, `client.ts`), windows (`flow.ts`), bytes out (`output.ts`).
 *
 * @module
 */
import type { Deadline } from "../../core/deadlines.ts";
import { closeQuietly, closeWriteQuietly } from "../streams/byte_reader.ts";
import { Budget } from "./budget.ts";
import { H2, Http2Error } from "./error.ts";
import { Fault } from "./fault.ts";
import { DataSender, type Outgoing, ReceiveWindow } from "./flow.ts";
import {
  checkFrame,
  contentOf,
  FLAG,
  FRAME,
  type Frame,
  FRAME_HEAD_BYTES,
  frameAt,
  MAX_FRAME_BYTES,
  payloadLength,
  readUint31,
  readUint32,
  writeUint32,
} from "./frames.ts";
import { type HeaderBlock, HeaderBlocks } from "./header_blocks.ts";
import { HeaderBlockWriter } from "./hpack_encoder.ts";
import { Output } from "./output.ts";
import { applySettings, formatSettings, INITIAL_PEER_SETTINGS, type PeerSettings } from "./settings.ts";
import type { StreamCore, StreamLink } from "./stream.ts";
import type { Http2Connection, Http2Counters, Http2Limits, Http2Options } from "./types.ts";

/** Streams that we have reset last: what their peers sent before they knew is ignored. */
const REMEMBERED_RESETS = 1_024;
/** What our PING holds, of which one at most is under way. */
const PING_PAYLOAD = new Uint8Array([0x73, 0x6c, 0x69, 0x63, 0x65, 0x72, 0x70, 0x78]);

/** One for all connections: a block is written and copied within one call. */
const block = new HeaderBlockWriter();

/** See the module. A subclass calls {@linkcode start} once it is made. */
export abstract class ConnectionCore implements Http2Connection, StreamLink {
  protected readonly limits: Http2Limits;
  protected readonly streams = new Map<number, StreamCore>();
  protected readonly peer: PeerSettings = { ...INITIAL_PEER_SETTINGS };
  protected readonly output: Output;
  readonly #options: Http2Options;
  readonly #side: "client" | "upstream";
  readonly #sender: DataSender;
  readonly #blocks: HeaderBlocks;
  readonly #window: ReceiveWindow;
  readonly #resets: Budget;
  readonly #control: Budget;
  readonly #resetIds = new Set<number>();
  readonly #counters = { bytesIn: 0, streams: 0, resetsIn: 0, resetsOut: 0 };
  readonly #closed = Promise.withResolvers<void>();
  /** From the beginning of what is not a body to its end (slowloris); at first, until the peer's SETTINGS came. */
  readonly #headDeadline: Deadline;
  #hasHeadDeadline = true;
  #hasSettings = false;
  #hasSentHeaders = false;
  /** Ends when the last stream is over. */
  #isFinishing = false;
  #isOver = false;
  #error: Http2Error | undefined;
  #onPong: (() => void) | undefined;
  #room: PromiseWithResolvers<void> | undefined;

  /** @param side who the peer is */
  constructor(options: Http2Options, side: "client" | "upstream") {
    const { limits, deadlines, stream } = options;
    this.#options = options;
    this.#side = side;
    this.limits = limits;
    this.#control = new Budget(limits.maxHttp2ControlFrames, limits.http2ControlFramesPerSecond);
    this.#resets = new Budget(limits.maxHttp2Resets, limits.http2ResetsPerSecond);
    this.#blocks = new HeaderBlocks(limits);
    this.#window = new ReceiveWindow(limits.http2ConnectionWindowBytes, 65_535);
    this.output = new Output(stream, {
      onRoom: () => this.#onRoom(),
      onError: (cause) => this.#end(this.#closedError("the socket failed", cause)),
    });
    this.#sender = new DataSender({
      output: this.output,
      deadlines,
      control: this.#control,
      maxBacklogBytes: limits.maxHttp2BacklogBytes,
      stallTimeoutMs: limits.bodyIdleTimeoutMs,
      minProgressBytes: limits.minHttp2ProgressBytes,
      onStall: (id) => this.#onStall(id),
    });
    this.#headDeadline = deadlines.start(limits.headTimeoutMs, () => this.#onTimeout());
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  get error(): Http2Error | undefined {
    return this.#error;
  }

  get activeStreams(): number {
    return this.streams.size;
  }

  get isDraining(): boolean {
    return this.#isOver || this.#isFinishing;
  }

  get counters(): Http2Counters {
    return { ...this.#counters, bytesOut: this.output.total };
  }

  abstract shutDown(): void;

  close(code: number = H2.NO_ERROR): void {
    this.#end(code === H2.NO_ERROR ? undefined : this.makeError(code, "it was closed from here"), code);
  }

  // What a role adds.

  /** A header block that came. @throws Fault */
  protected abstract onHeaders(block: HeaderBlock): void;
  /** True for a stream id that nobody has used yet. */
  protected abstract isIdle(id: number): boolean;
  /** The highest stream of the peer's that we have acted on. */
  protected abstract get lastPeerId(): number;
  protected abstract onGoAway(lastId: number, code: number): void;
  protected abstract onSettings(): void;
  /** A stream is over. */
  protected abstract onRemoved(): void;
  protected abstract onEnd(error: Http2Error): void;
  /** The preface of a client, which comes before all frames. @returns false while more bytes are needed */
  protected abstract readPreface(bytes: Uint8Array): number | undefined;

  /** Says hello and begins to read. */
  protected start(settings: readonly (readonly [id: number, value: number])[]): void {
    this.output.frame(FRAME.SETTINGS, 0, 0, formatSettings(settings));
    this.giveCredit(0);
    this.#run().catch((cause) => {
      const bug = new Http2Error(
        "internal",
        H2.INTERNAL_ERROR,
        "Cannot use the HTTP/2 stream: the codec failed",
        { cause },
      );
      this.#end(bug, H2.INTERNAL_ERROR);
    }).finally(() => this.#finish());
  }

  protected addStream(stream: StreamCore): void {
    this.streams.set(stream.id, stream);
    this.#counters.streams++;
  }

  /** What the streams' windows begin with. */
  protected windows(receive: number): { readonly receive: number; readonly send: number } {
    return { receive, send: this.peer.initialWindowSize };
  }

  /** Calls back when the peer has seen everything up to now. */
  protected ping(onPong: () => void): void {
    this.#onPong = onPong;
    this.output.frame(FRAME.PING, 0, 0, PING_PAYLOAD);
  }

  protected goAway(lastId: number, code: number): void {
    const payload = new Uint8Array(8);
    writeUint32(payload, 0, lastId);
    writeUint32(payload, 4, code);
    this.output.frame(FRAME.GOAWAY, 0, 0, payload);
  }

  /** Ends in order as soon as no stream is left. */
  protected finishWhenIdle(): void {
    this.#isFinishing = true;
    if (this.streams.size === 0) this.close();
  }

  /** The stream is none any more, and we have not reset it: what comes for it is an error (RFC 9113 §5.1). */
  protected checkClosedStream(id: number): void {
    if (this.isIdle(id)) throw new Fault("connection", H2.PROTOCOL_ERROR, "a frame on an idle stream");
    if (!this.#resetIds.has(id)) {
      throw new Fault("connection", H2.STREAM_CLOSED, "a frame on a closed stream");
    }
    this.#spendControl();
  }

  protected spendReset(): void {
    if (!this.#resets.take()) {
      throw new Fault("connection", H2.ENHANCE_YOUR_CALM, "streams that are reset without end", true);
    }
  }

  makeError(h2Code: number, what: string, isUnprocessed = false, cause?: unknown): Http2Error {
    return new Http2Error(`${this.#side}.closed`, h2Code, `Cannot use the HTTP/2 stream: ${what}`, {
      isUnprocessed,
      cause,
    });
  }

  /** A fault as its user sees it. */
  protected malformed({ isFlood, h2Code, message }: Fault): Http2Error {
    const code = isFlood ? "limit.reached" : `${this.#side}.malformed` as const;
    return new Http2Error(code, h2Code, `Cannot read the HTTP/2 stream: ${message}`);
  }

  // What streams need: see StreamLink.

  sendHeaders(id: number, write: (block: HeaderBlockWriter) => void, end: boolean): void {
    block.begin();
    if (!this.#hasSentHeaders) block.tableSize(0);
    write(block);
    this.#hasSentHeaders = true;
    this.output.headers(id, block.bytes, end);
  }

  sendData(out: Outgoing, bytes: Uint8Array, end: boolean): Promise<void> {
    return this.#sender.send(out, bytes, end);
  }

  dropData(out: Outgoing, error: Http2Error): void {
    this.#sender.drop(out, error);
  }

  sendReset(id: number, code: number): void {
    this.#counters.resetsOut++;
    this.#resetIds.add(id);
    if (this.#resetIds.size > REMEMBERED_RESETS) {
      for (const oldest of this.#resetIds) {
        this.#resetIds.delete(oldest);
        break;
      }
    }
    this.output.number(FRAME.RST_STREAM, id, code);
  }

  sendCredit(id: number, increment: number): void {
    this.output.number(FRAME.WINDOW_UPDATE, id, increment);
  }

  giveCredit(count: number): void {
    const increment = this.#window.give(count);
    if (increment > 0 && !this.#isOver) this.sendCredit(0, increment);
  }

  remove(id: number): void {
    if (!this.streams.delete(id) || this.#isOver) return;
    if (this.#isFinishing && this.streams.size === 0) this.close();
    else this.onRemoved();
  }

  // Reading.

  async #run(): Promise<void> {
    const { reader } = this.#options;
    await Promise.resolve(); // whoever made the connection has it before its first request
    for (;;) {
      this.#readFrames();
      if (!this.#isOver && this.#isCrowded) {
        await this.#waitForRoom();
        continue;
      }
      if (this.streams.size === 0) {
        reader.rest();
        this.output.rest();
      }
      if (!await this.#fill()) return;
    }
  }

  async #fill(): Promise<boolean> {
    const { reader } = this.#options;
    let cause: unknown;
    try {
      if (await reader.fill()) return true;
    } catch (error) {
      cause = error; // many end so without GOAWAY or close_notify
    }
    const isInOrder = this.streams.size === 0 && reader.size === 0;
    this.#end(isInOrder ? undefined : this.#closedError("the peer closed the connection", cause));
    return false;
  }

  /** A peer that does not read its answers is not read either, so that they do not pile up. */
  get #isCrowded(): boolean {
    return this.output.size > this.limits.maxHttp2BacklogBytes * 2;
  }

  async #waitForRoom(): Promise<void> {
    const deadline = this.#options.deadlines.start(this.limits.bodyIdleTimeoutMs, () => this.#onTimeout());
    this.#room = Promise.withResolvers<void>();
    await this.#room.promise;
    deadline.stop();
  }

  #onRoom(): void {
    this.#sender.resume();
    if (this.#room && (this.#isOver || !this.#isCrowded)) {
      this.#room.resolve();
      this.#room = undefined;
    }
  }

  #readFrames(): void {
    const { reader } = this.#options;
    const bytes = reader.available;
    if (this.#isOver) {
      // Only read so that the peer gets our last words.
      reader.consume(bytes.length);
      return;
    }
    let at = 0;
    try {
      const preface = this.readPreface(bytes);
      at = preface ?? bytes.length;
      while (!this.#isOver && bytes.length - at >= FRAME_HEAD_BYTES && !this.#isCrowded) {
        const length = payloadLength(bytes, at);
        if (length > MAX_FRAME_BYTES) {
          throw new Fault("connection", H2.FRAME_SIZE_ERROR, "a frame above SETTINGS_MAX_FRAME_SIZE");
        }
        if (bytes.length - at < FRAME_HEAD_BYTES + length) break;
        this.#onFrame(frameAt(bytes, at));
        at += FRAME_HEAD_BYTES + length;
      }
      if (preface === undefined) at = 0;
      else this.#watchHead(at < bytes.length && bytes[at + 3] !== FRAME.DATA);
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      this.#end(this.malformed(fault), fault.h2Code);
    }
    this.#counters.bytesIn += at;
    reader.consume(at);
  }

  /** Heads and control frames have to come in one go; bodies may take their time. */
  #watchHead(isPartial: boolean): void {
    const isDue = isPartial || this.#blocks.isOpen || !this.#hasSettings;
    if (isDue === this.#hasHeadDeadline || this.#isCrowded || this.#isOver) return;
    this.#hasHeadDeadline = isDue;
    if (isDue) this.#headDeadline.restart(this.limits.headTimeoutMs);
    else this.#headDeadline.stop();
  }

  #onFrame(frame: Frame): void {
    if (!this.#hasSettings && (frame.type !== FRAME.SETTINGS || (frame.flags & FLAG.ACK) !== 0)) {
      throw new Fault("connection", H2.PROTOCOL_ERROR, "a first frame other than SETTINGS (RFC 9113 §3.4)");
    }
    this.#blocks.admit(frame);
    try {
      checkFrame(frame);
      this.#handle(frame);
    } catch (fault) {
      if (!(fault instanceof Fault) || fault.scope === "connection") throw fault;
      // A peer must not make us reset without end either (CVE-2025-8671, "MadeYouReset").
      this.spendReset();
      const stream = this.streams.get(frame.id);
      this.sendReset(frame.id, fault.h2Code);
      stream?.fail(this.malformed(fault));
    }
  }

  /** @throws Fault */
  #handle(frame: Frame): void {
    switch (frame.type) {
      case FRAME.DATA:
        this.#onData(frame);
        return;
      case FRAME.HEADERS:
      case FRAME.CONTINUATION: {
        const whole = this.#blocks.add(frame);
        if (!whole) return;
        this.#control.give(1);
        this.onHeaders(whole);
        return;
      }
      case FRAME.RST_STREAM:
        this.#onReset(frame);
        return;
      case FRAME.WINDOW_UPDATE:
        this.#onWindowUpdate(frame);
        return;
      case FRAME.SETTINGS:
        this.#onSettings(frame);
        return;
      case FRAME.PING:
        this.#onPing(frame);
        return;
      case FRAME.GOAWAY:
        this.#spendControl();
        this.onGoAway(readUint31(frame.payload, 0), readUint32(frame.payload, 4));
        return;
      case FRAME.PUSH_PROMISE:
        throw new Fault("connection", H2.PROTOCOL_ERROR, "a push, which was switched off");
      default: // PRIORITY, which is of no use any more, and types that we do not know (RFC 9113 §5.5).
        this.#spendControl();
    }
  }

  #onData(frame: Frame): void {
    const { flags, id, payload } = frame;
    if (!this.#window.take(payload.length)) {
      throw new Fault("connection", H2.FLOW_CONTROL_ERROR, "DATA beyond the connection's window");
    }
    const content = contentOf(frame);
    const end = (flags & FLAG.END_STREAM) !== 0;
    if (content.length > 0) this.#control.give(1);
    else if (!end) this.#spendControl();
    const stream = this.streams.get(id);
    if (!stream) {
      this.checkClosedStream(id);
      this.giveCredit(payload.length);
      return;
    }
    let kept = 0;
    try {
      stream.receiveData(content, payload.length, end);
      kept = content.length;
    } finally {
      this.giveCredit(payload.length - kept);
    }
  }

  #onReset({ id, payload }: Frame): void {
    this.#counters.resetsIn++;
    if (this.isIdle(id)) throw new Fault("connection", H2.PROTOCOL_ERROR, "a reset of an idle stream");
    // Opening and resetting streams costs a peer less than us (CVE-2023-44487, "rapid reset").
    this.spendReset();
    this.streams.get(id)?.receiveReset(readUint32(payload, 0));
  }

  #onWindowUpdate({ id, payload }: Frame): void {
    this.#spendControl();
    const increment = readUint31(payload, 0);
    const stream = this.streams.get(id);
    if (id !== 0 && !stream && this.isIdle(id)) {
      throw new Fault("connection", H2.PROTOCOL_ERROR, "a WINDOW_UPDATE of an idle stream");
    }
    if (increment === 0) {
      const scope = id === 0 || !stream ? "connection" : "stream";
      throw new Fault(scope, H2.PROTOCOL_ERROR, "a WINDOW_UPDATE of nothing (RFC 9113 §6.9)");
    }
    if (id === 0) this.#sender.addWindow(increment);
    else if (stream) this.#sender.addStreamWindow(stream.outgoing, increment);
  }

  #onSettings({ flags, payload }: Frame): void {
    this.#spendControl();
    if ((flags & FLAG.ACK) !== 0) return;
    const before = this.peer.initialWindowSize;
    applySettings(this.peer, payload, this.#side === "upstream");
    this.#hasSettings = true;
    this.output.frame(FRAME.SETTINGS, FLAG.ACK, 0, NOTHING);
    const change = this.peer.initialWindowSize - before;
    if (change !== 0) {
      try {
        for (const stream of this.streams.values()) this.#sender.addStreamWindow(stream.outgoing, change);
      } catch {
        // RFC 9113 §6.9.2: caused by SETTINGS it is an error of the connection.
        throw new Fault("connection", H2.FLOW_CONTROL_ERROR, "SETTINGS that make a window too large");
      }
    }
    this.onSettings();
  }

  #onPing({ flags, payload }: Frame): void {
    if ((flags & FLAG.ACK) === 0) {
      this.#spendControl();
      this.output.frame(FRAME.PING, FLAG.ACK, 0, payload);
      return;
    }
    const onPong = this.#onPong;
    if (!onPong || !PING_PAYLOAD.every((byte, i) => byte === payload[i])) this.#spendControl();
    else {
      this.#onPong = undefined;
      onPong();
    }
  }

  #spendControl(): void {
    if (this.#control.take()) return;
    throw new Fault("connection", H2.ENHANCE_YOUR_CALM, "control frames without end", true);
  }

  // Ending.

  #onStall(id: number): void {
    const stream = this.streams.get(id);
    if (!stream) return;
    this.sendReset(id, H2.CANCEL);
    stream.fail(this.#timeoutError(H2.CANCEL, "the peer does not take what is sent"));
  }

  #onTimeout(): void {
    this.#end(this.#timeoutError(H2.ENHANCE_YOUR_CALM, "the peer is too slow"), H2.ENHANCE_YOUR_CALM);
  }

  #timeoutError(h2Code: number, what: string): Http2Error {
    return new Http2Error(`${this.#side}.timeout`, h2Code, `Cannot use the HTTP/2 stream: ${what}`);
  }

  #closedError(what: string, cause?: unknown): Http2Error {
    return this.makeError(H2.NO_ERROR, what, false, cause);
  }

  /** The end, once: our last words, every stream cut; the socket is closed when the peer has got them or takes too long. */
  #end(error: Http2Error | undefined, goAwayCode?: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#error = error;
    this.#headDeadline.stop();
    if (goAwayCode !== undefined) this.goAway(this.lastPeerId, goAwayCode);
    const reason = error ?? this.#closedError("the connection is over");
    for (const stream of [...this.streams.values()]) stream.fail(reason);
    this.onEnd(reason);
    this.#room?.resolve();
    const { stream, deadlines } = this.#options;
    const deadline = deadlines.start(this.limits.lingerTimeoutMs, () => closeQuietly(stream));
    this.closed.then(() => deadline.stop());
    this.output.flushed().then(() => closeWriteQuietly(stream));
  }

  /** Nothing more will be read. */
  async #finish(): Promise<void> {
    await this.output.flushed();
    this.output.stop();
    closeQuietly(this.#options.stream);
    this.#closed.resolve();
  }
}

const NOTHING = new Uint8Array(0);
