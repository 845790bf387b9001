/**
 * An HTTP/2 connection of either role (RFC 9113): its parts, what its streams may do with it, and how it ends.
 *
 * Not here: bytes in (`frame_loop.ts`), what frames do (`receiver.ts`), what a header list becomes in a role (`server.ts`,
 * `client.ts`), windows (`flow.ts`), bytes out (`output.ts`).
 *
 * @module
 */
import { closeQuietly, closeWriteQuietly } from "../streams/byte_reader.ts";
import { Budget } from "./budget.ts";
import { H2, Http2Error } from "./error.ts";
import type { Fault } from "./fault.ts";
import { DataSender, type Outgoing, ReceiveWindow } from "./flow.ts";
import { type Driven, FrameLoop } from "./frame_loop.ts";
import { FRAME, writeUint32 } from "./frames.ts";
import type { HeaderBlock } from "./header_blocks.ts";
import { HeaderBlockWriter } from "./hpack_encoder.ts";
import { Output } from "./output.ts";
import { Receiver } from "./receiver.ts";
import { formatSettings, INITIAL_PEER_SETTINGS, type PeerSettings } from "./settings.ts";
import type { StreamCore, StreamLink } from "./stream.ts";
import type { Http2Connection, Http2Counters, Http2Limits, Http2Options } from "./types.ts";

/** A window is too small for its path when half of it is consumed within so many of them; four streams may share one. */
const ROUND_TRIPS = 2;

/** One for all connections: a block is written and copied within one call. */
const block = new HeaderBlockWriter();

/** See the module. A subclass calls {@linkcode start} once it is made. */
export abstract class ConnectionCore implements Http2Connection, StreamLink {
  protected readonly limits: Http2Limits;
  protected readonly streams = new Map<number, StreamCore>();
  protected readonly peer: PeerSettings = { ...INITIAL_PEER_SETTINGS };
  protected readonly output: Output;
  readonly #options: Http2Options & { readonly resets?: Budget };
  readonly #side: "client" | "upstream";
  readonly #sender: DataSender;
  readonly #window: ReceiveWindow;
  readonly #receiver: Receiver;
  readonly #loop: FrameLoop;
  readonly #closed = Promise.withResolvers<void>();
  #streamCount = 0;
  #resetsOut = 0;
  #hasSentHeaders = false;
  readonly #startedAt = performance.now();
  /** From our SETTINGS to their acknowledgement: a round trip, or more of a peer that takes its time. */
  #roundTripMs = 0;
  /** Ends when the last stream is over. */
  #isFinishing = false;
  #isOver = false;
  #error: Http2Error | undefined;

  /** @param side who the peer is */
  constructor(options: Http2Options & { readonly resets?: Budget }, side: "client" | "upstream") {
    const { limits, deadlines, stream } = options;
    this.#options = options;
    this.#side = side;
    this.limits = limits;
    const control = new Budget(limits.maxHttp2ControlFrames, limits.http2ControlFramesPerSecond);
    this.#window = new ReceiveWindow(limits.http2ConnectionWindowBytes, 65_535);
    this.output = new Output(stream, {
      onRoom: () => this.#onRoom(),
      onError: (cause) => this.#end(this.#closedError("the socket failed", cause)),
    });
    this.#sender = new DataSender({
      output: this.output,
      deadlines,
      control,
      maxBacklogBytes: limits.maxHttp2BacklogBytes,
      stallTimeoutMs: limits.bodyIdleTimeoutMs,
      minProgressBytes: limits.minHttp2ProgressBytes,
      onStall: (id) => this.#onStall(id),
    });
    this.#receiver = this.#makeReceiver(control);
    this.#loop = new FrameLoop(options, this.#driven());
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
    return {
      bytesIn: this.#loop.bytesIn,
      bytesOut: this.output.total,
      streams: this.#streamCount,
      resetsIn: this.#receiver.resetsIn,
      resetsOut: this.#resetsOut,
    };
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
  /** See {@linkcode Driven.onTurnOver}. */
  protected abstract onTurnOver(): void;
  /** A stream is over. */
  protected abstract onRemoved(): void;
  protected abstract onEnd(error: Http2Error): void;
  /** The preface of a client, which comes before all frames. @returns undefined while more bytes are needed */
  protected abstract readPreface(bytes: Uint8Array): number | undefined;

  /** Says hello and begins to read. */
  protected start(settings: readonly (readonly [id: number, value: number])[]): void {
    this.output.frame(FRAME.SETTINGS, 0, 0, formatSettings(settings));
    this.giveCredit(0);
    this.#loop.run().catch((cause) => {
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
    this.#streamCount++;
  }

  /** What the streams' windows begin with. */
  protected windows(receive: number): { readonly receive: number; readonly send: number } {
    return { receive, send: this.peer.initialWindowSize };
  }

  /** Calls back when the peer has seen everything up to now. */
  protected ping(onPong: () => void): void {
    this.#receiver.ping(onPong);
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

  /** Begins or ends a request when its client's turn is there, or now. */
  protected inTurn(work: () => void): void {
    const { turns } = this.#options;
    if (turns) turns.run(work);
    else work();
  }

  /** See {@linkcode Receiver.checkClosedStream}. */
  protected checkClosedStream(id: number): void {
    this.#receiver.checkClosedStream(id);
  }

  /** See {@linkcode Receiver.spendReset}. */
  protected spendReset(): void {
    this.#receiver.spendReset();
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
    this.#resetsOut++;
    this.#receiver.rememberReset(id);
    this.output.number(FRAME.RST_STREAM, id, code);
  }

  sendCredit(id: number, increment: number): void {
    this.output.number(FRAME.WINDOW_UPDATE, id, increment);
  }

  growWindow(size: number, ms: number): number {
    const { limits, growth } = this.#options;
    const isFast = ms < ROUND_TRIPS * this.#roundTripMs;
    if (!growth || !isFast || 2 * size > limits.maxHttp2UpstreamWindowBytes || !growth.take(size)) return 0;
    this.#window.grow(size);
    this.giveCredit(0);
    return size;
  }

  shrinkWindow(count: number): void {
    this.#window.grow(-count);
    this.#options.growth?.give(count);
  }

  giveCredit(count: number): void {
    const increment = this.#window.give(count);
    if (increment !== 0 && !this.#isOver) this.sendCredit(0, increment);
  }

  remove(id: number): void {
    const stream = this.streams.get(id);
    if (!stream) return;
    this.streams.delete(id);
    if (this.#isOver) return;
    if (!stream.error) this.#receiver.onWhole();
    if (this.#isFinishing && this.streams.size === 0) this.close();
    else this.onRemoved();
  }

  // What the parts may do.

  #makeReceiver(control: Budget): Receiver {
    return new Receiver({
      limits: this.limits,
      isFromServer: this.#side === "upstream",
      streams: this.streams,
      peer: this.peer,
      output: this.output,
      sender: this.#sender,
      window: this.#window,
      control,
      peerResets: this.#options.resets,
      isIdle: (id) => this.isIdle(id),
      giveCredit: (count) => this.giveCredit(count),
      cut: (id, fault) => {
        const stream = this.streams.get(id);
        this.sendReset(id, fault.h2Code);
        stream?.fail(this.malformed(fault));
      },
      onHeaders: (whole) => this.onHeaders(whole),
      onGoAway: (lastId, code) => this.onGoAway(lastId, code),
      onSettings: () => this.onSettings(),
      onSettingsSeen: () => this.#roundTripMs ||= performance.now() - this.#startedAt,
    });
  }

  #driven(): Driven {
    const isOver = () => this.#isOver;
    const { streams, output } = this;
    const receiver = this.#receiver;
    return {
      output,
      get isOver() {
        return isOver();
      },
      get isIdle() {
        return streams.size === 0;
      },
      get isExpecting() {
        return receiver.isExpecting;
      },
      readPreface: (bytes) => this.readPreface(bytes),
      onFrame: (frame) => receiver.take(frame),
      onTurnOver: () => this.onTurnOver(),
      onFault: (fault) => this.#end(this.malformed(fault), fault.h2Code),
      onTimeout: () => this.#onTimeout(),
      onPeerGone: (isBetweenFrames, cause) =>
        this.#end(
          isBetweenFrames && streams.size === 0
            ? undefined
            : this.#closedError("the peer closed the connection", cause),
        ),
    };
  }

  #onRoom(): void {
    if (!this.#isOver) this.#sender.resume();
    this.#loop.onRoom();
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
    if (goAwayCode !== undefined) this.goAway(this.lastPeerId, goAwayCode);
    // Whoever leaves has given up what is under way, as if it had reset each.
    if (error) this.#options.resets?.charge(this.streams.size);
    const reason = error ?? this.#closedError("the connection is over");
    for (const stream of [...this.streams.values()]) stream.fail(reason, (tell) => this.inTurn(tell));
    this.onEnd(reason);
    this.#loop.stop();
    const { stream, deadlines } = this.#options;
    const deadline = deadlines.start(this.limits.lingerTimeoutMs, () => closeQuietly(stream));
    this.closed.then(() => deadline.stop());
    this.output.flushed().then(() => closeWriteQuietly(stream));
  }

  /** Nothing more will be read. */
  async #finish(): Promise<void> {
    await this.output.flushed();
    closeQuietly(this.#options.stream);
    this.#closed.resolve();
  }
}
