/**
 * The server role: requests that come become streams with a head, within the limits of how many at once and how fast.
 *
 * @module
 */
import type { Deadline } from "../../core/deadlines.ts";
import { ConnectionCore } from "./connection.ts";
import { H2, Http2Error } from "./error.ts";
import { Fault } from "./fault.ts";
import { FRAME, MAX_31_BITS, PREFACE } from "./frames.ts";
import { readRequestHead } from "./head.ts";
import type { HeaderBlock } from "./header_blocks.ts";
import { ServerStream } from "./server_stream.ts";
import { formatSettings, SETTING } from "./settings.ts";
import type { Http2ServerConnection, Http2ServerOptions } from "./types.ts";

/** Serves a connection that was opened to us. It is over when `closed` resolves. */
export function startHttp2Server(options: Http2ServerOptions): Http2ServerConnection {
  return new ServerConnection(options);
}

class ServerConnection extends ConnectionCore implements Http2ServerConnection {
  readonly #options: Http2ServerOptions;
  #hasPreface = false;
  #lastId = 0;
  #hasExtendedConnect: boolean;
  /** Streams of this turn: what is reset within a read costs a head, and nothing upstream (CVE-2023-44487). */
  #begun: ServerStream[] = [];
  #hasToldSpent = false;
  /** Handlers that have not settled: a reset frees a stream's place, but not what it made us begin. */
  #running = 0;
  /** How far the end in order is: the first GOAWAY was said, then the second. */
  #leaving: "no" | "announced" | "said" = "no";
  #leaveDeadline: Deadline | undefined;

  constructor(options: Http2ServerOptions) {
    super(options, "client");
    this.#options = options;
    const { limits, hasExtendedConnect = false } = options;
    this.#hasExtendedConnect = hasExtendedConnect;
    this.start([
      [SETTING.MAX_CONCURRENT_STREAMS, limits.maxHttp2Streams],
      [SETTING.INITIAL_WINDOW_SIZE, limits.http2StreamWindowBytes],
      [SETTING.MAX_HEADER_LIST_SIZE, limits.maxHeadBytes],
      ...(hasExtendedConnect ? [[SETTING.ENABLE_CONNECT_PROTOCOL, 1] as const] : []),
    ]);
  }

  override get isDraining(): boolean {
    return this.#leaving !== "no" || super.isDraining;
  }

  announceExtendedConnect(): void {
    if (this.#hasExtendedConnect || this.isDraining) return;
    this.#hasExtendedConnect = true;
    this.output.frame(FRAME.SETTINGS, 0, 0, formatSettings([[SETTING.ENABLE_CONNECT_PROTOCOL, 1]]));
  }

  shutDown(): void {
    if (this.isDraining) return;
    this.#leaving = "announced";
    // RFC 9113 §6.8: requests that are on their way while we say this are still served.
    this.goAway(MAX_31_BITS, H2.NO_ERROR);
    this.#leaveDeadline = this.#options.deadlines.start(this.limits.lingerTimeoutMs, () => this.#sayGoAway());
    this.ping(() => this.#sayGoAway());
  }

  #sayGoAway(): void {
    if (this.#leaving !== "announced") return;
    this.#leaving = "said";
    this.#leaveDeadline?.stop();
    this.goAway(this.#lastId, H2.NO_ERROR);
    this.finishWhenIdle();
  }

  protected override readPreface(bytes: Uint8Array): number | undefined {
    if (this.#hasPreface) return 0;
    for (const [i, byte] of PREFACE.entries()) {
      if (i === bytes.length) return undefined;
      if (bytes[i] !== byte) throw new Fault("connection", H2.PROTOCOL_ERROR, "a preface that is none");
    }
    this.#hasPreface = true;
    return PREFACE.length;
  }

  protected override onHeaders({ id, end, list }: HeaderBlock): void {
    const known = this.streams.get(id);
    if (known) {
      if (!list) throw new Fault("stream", H2.ENHANCE_YOUR_CALM, "a trailer section that is too large");
      known.receiveHeaders(list, end);
      return;
    }
    // RFC 9113 §5.1.1: a client's ids are odd and go up.
    if (id <= this.#lastId || id % 2 === 0) {
      this.checkClosedStream(id);
      return;
    }
    this.#lastId = id;
    if (
      this.#leaving === "said" || this.streams.size >= this.limits.maxHttp2Streams ||
      this.#running >= this.limits.maxHttp2Streams * 2
    ) {
      throw new Fault("stream", H2.REFUSED_STREAM, "more streams than were allowed");
    }
    if (this.#options.resets?.isSpent) this.#refuseSpent();
    if (list) this.#begin({ id, end, list });
    else this.#refuseLarge(id, end);
  }

  #begin({ id, end, list }: HeaderBlock & { readonly list: NonNullable<HeaderBlock["list"]> }): void {
    let stream: ServerStream;
    try {
      stream = new ServerStream(id, this, {
        windows: this.windows(this.limits.http2StreamWindowBytes),
        request: readRequestHead(list, this.#hasExtendedConnect),
        isBodyless: end,
      });
    } catch (fault) {
      if (fault instanceof Fault) this.#options.onRefused?.(this.malformed(fault));
      throw fault;
    }
    this.addStream(stream);
    this.#begun.push(stream);
  }

  protected override onTurnOver(): void {
    const begun = this.#begun;
    this.#begun = [];
    for (const stream of begun) {
      if (stream.error) continue;
      this.#running++;
      this.inTurn(() => void this.#serve(stream));
    }
  }

  /** Told once for each connection, so that a flood of them is no flood of records. */
  #refuseSpent(): never {
    if (!this.#hasToldSpent) {
      this.#hasToldSpent = true;
      const message = "Cannot take the request: this client has given up too many";
      this.#options.onRefused?.(
        new Http2Error("limit.reached", H2.REFUSED_STREAM, message, { reason: "quota" }),
      );
    }
    throw new Fault("stream", H2.REFUSED_STREAM, "more requests are given up than may be");
  }

  async #serve(stream: ServerStream): Promise<void> {
    try {
      // Reset while it waited for its turn, it is never begun either.
      if (!stream.error) await this.#options.onRequest(stream);
    } catch {
      // Its user has reported what failed; the stream is closed below.
    }
    this.#running--;
    stream.release();
  }

  /** RFC 9113 §10.5.1: such a head gets an answer, so that its sender knows what to change. */
  #refuseLarge(id: number, end: boolean): void {
    this.spendReset();
    const fault = new Fault("stream", H2.NO_ERROR, `a head above ${this.limits.maxHeadBytes} bytes`);
    this.#options.onRefused?.(this.malformed(fault));
    this.sendHeaders(id, (block) => block.pair(":status", "431"), true);
    if (!end) this.sendReset(id, H2.NO_ERROR);
  }

  protected override isIdle(id: number): boolean {
    return id % 2 === 0 || id > this.#lastId;
  }

  protected override get lastPeerId(): number {
    return this.#lastId;
  }

  /** The client opens no more streams; those under way go on. */
  protected override onGoAway(): void {
    this.finishWhenIdle();
  }

  protected override onSettings(): void {}

  protected override onRemoved(): void {
    if (this.streams.size === 0) this.#options.onIdle?.();
  }

  protected override onEnd(): void {
    this.#leaveDeadline?.stop();
  }
}
