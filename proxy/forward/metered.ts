/**
 * Messages and streams whose bytes are counted against budgets as they pass. Only what is under a budget is wrapped.
 *
 * @module
 */
import type { Meter } from "../decide/budgets.ts";
import { openMeter } from "../decide/budgets.ts";
import type { AdmittedExchange } from "../exchange.ts";
import type { HeaderField } from "../message/fields.ts";
import type { IncomingRequest, MessageBody, RawEnd, ResponseHead, WholeAnswer } from "../message/message.ts";
import type { ByteStream } from "../streams/byte_reader.ts";
import { isModel } from "./token_watch.ts";
import { WrappedStream } from "../streams/wrapped_stream.ts";

/**
 * The exchange, counted; the same one where there is no budget.
 *
 * @throws ProxyError `limit.reached` (reason `budget`)
 */
export function metered(exchange: AdmittedExchange): AdmittedExchange {
  const { session: { context }, client, rule, target: { host }, request } = exchange;
  const meter = openMeter(context, { client, rule, host });
  if (!meter) return exchange;
  const isUntold = meter.countsTokens && isModel(rule.budget, exchange.target.path);
  return { ...exchange, meter, request: new MeteredRequest(request, meter, isUntold) };
}

/** The stream of a client, counted. */
export function meteredStream(stream: ByteStream, meter: Meter | undefined): ByteStream {
  return meter ? new MeteredStream(stream, meter) : stream;
}

class MeteredRequest implements IncomingRequest {
  readonly head: IncomingRequest["head"];
  readonly body: MessageBody;
  readonly #inner: IncomingRequest;
  readonly #meter: Meter;
  /** A socket of its own says nothing of tokens. */
  readonly #isUntold: boolean;

  constructor(inner: IncomingRequest, meter: Meter, isUntold: boolean) {
    this.#inner = inner;
    this.#meter = meter;
    this.#isUntold = isUntold;
    this.head = inner.head;
    this.body = new MeteredBody(inner.body, meter);
  }

  watch(onGone: Parameters<IncomingRequest["watch"]>[0]): void {
    this.#inner.watch(onGone);
  }

  inform(head: ResponseHead): Promise<void> {
    return this.#inner.inform(head);
  }

  begin(head: ResponseHead, first: Uint8Array, body: MessageBody): Promise<void> {
    this.#meter.down(first.length);
    return this.#inner.begin(head, first, body);
  }

  write(piece: Uint8Array, isLast: boolean): Promise<void> {
    this.#meter.down(piece.length);
    return this.#inner.write(piece, isLast);
  }

  end(trailers: readonly HeaderField[] | undefined): void {
    this.#inner.end(trailers);
  }

  answer(whole: WholeAnswer): Promise<void> {
    return this.#inner.answer(whole);
  }

  async switchProtocols(head: ResponseHead): Promise<RawEnd> {
    const end = await this.#inner.switchProtocols(head);
    if (this.#isUntold) this.#meter.estimateTokens();
    this.#meter.up(end.first.length);
    return {
      stream: new MeteredStream(end.stream, this.#meter),
      first: end.first,
      ...(end.onCut ? { onCut: (listener: () => void) => end.onCut?.(listener) } : {}),
    };
  }

  cut(why?: unknown): void {
    this.#inner.cut(why);
  }
}

class MeteredBody implements MessageBody {
  readonly #inner: MessageBody;
  readonly #meter: Meter;

  constructor(inner: MessageBody, meter: Meter) {
    this.#inner = inner;
    this.#meter = meter;
  }

  get done(): boolean {
    return this.#inner.done;
  }

  get isReleased(): boolean {
    return this.#inner.isReleased;
  }

  get closeDelimited(): boolean {
    return this.#inner.closeDelimited;
  }

  get trailers(): readonly HeaderField[] | undefined {
    return this.#inner.trailers;
  }

  takeFirst(): Uint8Array {
    return this.#counted(this.#inner.takeFirst());
  }

  take(): Uint8Array {
    return this.#counted(this.#inner.take());
  }

  release(): void {
    this.#inner.release();
  }

  fill(): Promise<boolean> {
    return this.#inner.fill();
  }

  #counted(piece: Uint8Array): Uint8Array {
    this.#meter.up(piece.length);
    return piece;
  }
}

class MeteredStream extends WrappedStream {
  readonly #meter: Meter;

  constructor(inner: ByteStream, meter: Meter) {
    super(inner);
    this.#meter = meter;
  }

  override async read(into: Uint8Array): Promise<number | null> {
    const count = await super.read(into);
    this.#meter.up(count ?? 0);
    return count;
  }

  override async write(bytes: Uint8Array): Promise<number> {
    const count = await super.write(bytes);
    this.#meter.down(count);
    return count;
  }
}
