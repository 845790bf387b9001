/**
 * The client role: requests are opened while the peer has room for them, wait for it otherwise, and are told apart by
 * whether the peer may have acted on them.
 *
 * @module
 */
import { ClientStream } from "./client_stream.ts";
import { ConnectionCore } from "./connection.ts";
import { H2, type Http2Error } from "./error.ts";
import { Fault } from "./fault.ts";
import { MAX_31_BITS, PREFACE } from "./frames.ts";
import { writeRequestHead } from "./head.ts";
import type { HeaderBlock } from "./header_blocks.ts";
import { SETTING } from "./settings.ts";
import type {
  Http2ClientConnection,
  Http2ClientStream,
  Http2Options,
  Http2RequestHead,
  SendableField,
} from "./types.ts";

/** Begins a connection that we have opened, by its preface. It is over when `closed` resolves. */
export function startHttp2Client(options: Http2Options): Http2ClientConnection {
  return new ClientConnection(options);
}

type MakeHead = () => Http2RequestHead<SendableField>;

/** A request that waits for a place. */
interface Waiting {
  readonly head: MakeHead;
  readonly end: boolean;
  readonly opened: PromiseWithResolvers<Http2ClientStream>;
}

class ClientConnection extends ConnectionCore implements Http2ClientConnection {
  readonly #ready = Promise.withResolvers<void>();
  /** In the order in which they came. */
  readonly #waiting = new Set<Waiting>();
  #nextId = 1;
  #goAwayCode: number | undefined;

  constructor(options: Http2Options) {
    super(options, "upstream");
    this.#ready.promise.catch(() => {}); // not everybody asks
    this.output.raw(PREFACE);
    this.start([
      [SETTING.ENABLE_PUSH, 0],
      [SETTING.INITIAL_WINDOW_SIZE, options.limits.http2UpstreamWindowBytes],
      [SETTING.MAX_HEADER_LIST_SIZE, options.limits.maxHeadBytes],
    ]);
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  get hasExtendedConnect(): boolean {
    return this.peer.hasExtendedConnect;
  }

  get goAwayCode(): number | undefined {
    return this.#goAwayCode;
  }

  /** Where the peer has said why it goes away, that is why. */
  override makeError(h2Code: number, what: string, isUnprocessed?: boolean, cause?: unknown): Http2Error {
    const code = h2Code === H2.NO_ERROR ? this.#goAwayCode ?? h2Code : h2Code;
    return super.makeError(code, what, isUnprocessed, cause);
  }

  override get isDraining(): boolean {
    return this.#goAwayCode !== undefined || super.isDraining;
  }

  get maxStreams(): number {
    return Math.min(this.peer.maxConcurrentStreams, this.limits.maxHttp2Streams);
  }

  openStream(
    head: MakeHead,
    { end = false, signal }: { readonly end?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<Http2ClientStream> {
    if (this.isDraining) return Promise.reject(this.#unprocessed());
    if (signal?.aborted) return Promise.reject(signal.reason);
    const waiting: Waiting = { head, end, opened: Promise.withResolvers() };
    this.#waiting.add(waiting);
    this.#openWaiting();
    if (signal && this.#waiting.has(waiting)) {
      const onAbort = () => {
        if (this.#waiting.delete(waiting)) waiting.opened.reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort);
      waiting.opened.promise.catch(() => {}).finally(() => signal.removeEventListener("abort", onAbort));
    }
    return waiting.opened.promise;
  }

  shutDown(): void {
    this.#rejectWaiting(this.#unprocessed());
    this.finishWhenIdle();
  }

  #openWaiting(): void {
    for (const waiting of this.#waiting) {
      if (this.streams.size >= this.maxStreams) return;
      this.#waiting.delete(waiting);
      try {
        waiting.opened.resolve(this.#open(waiting));
      } catch (error) {
        waiting.opened.reject(error);
      }
    }
  }

  /** Everything up to the header block in the way out happens in one turn. */
  #open({ head: makeHead, end }: Waiting): ClientStream {
    const head = makeHead();
    const id = this.#nextId;
    this.sendHeaders(id, (block) => writeRequestHead(block, head), end);
    this.#nextId += 2;
    const stream = new ClientStream(id, this, {
      windows: this.windows(this.limits.http2UpstreamWindowBytes),
      method: head.method,
      maxInterim: this.limits.maxInterimResponses,
      end,
    });
    this.addStream(stream);
    // RFC 9113 §5.1.1: ids cannot be used again.
    if (this.#nextId > MAX_31_BITS) this.shutDown();
    return stream;
  }

  #rejectWaiting(error: Http2Error): void {
    const all = [...this.#waiting];
    this.#waiting.clear();
    for (const { opened } of all) opened.reject(error);
  }

  #unprocessed(code: number = H2.REFUSED_STREAM): Http2Error {
    return this.makeError(code, "the peer takes no more requests on this connection", true);
  }

  protected override readPreface(): number {
    return 0;
  }

  protected override onHeaders({ id, end, list }: HeaderBlock): void {
    const stream = this.streams.get(id);
    if (!stream) this.checkClosedStream(id);
    else if (list) stream.receiveHeaders(list, end);
    else throw new Fault("stream", H2.ENHANCE_YOUR_CALM, `a head above ${this.limits.maxHeadBytes} bytes`);
  }

  protected override isIdle(id: number): boolean {
    return id % 2 === 0 || id >= this.#nextId;
  }

  protected override get lastPeerId(): number {
    return 0;
  }

  protected override onGoAway(lastId: number, code: number): void {
    this.#goAwayCode = code;
    this.#rejectWaiting(this.#unprocessed(code === H2.NO_ERROR ? H2.REFUSED_STREAM : code));
    for (const [id, stream] of [...this.streams]) {
      if (id <= lastId) continue;
      this.streams.delete(id);
      stream.fail(this.#unprocessed(code), (tell) => this.inTurn(tell));
    }
    this.finishWhenIdle();
  }

  protected override onSettings(): void {
    this.#ready.resolve();
    this.#openWaiting();
  }

  protected override onTurnOver(): void {}

  protected override onRemoved(): void {
    this.#openWaiting();
  }

  protected override onEnd(error: Http2Error): void {
    this.#ready.reject(error);
    this.#rejectWaiting(this.makeError(error.h2Code, "the connection is over", true));
  }
}
