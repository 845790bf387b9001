/**
 * Counting the tokens of one request against its budgets: the answer passes as it is, and is read beside for what it says it
 * took; gzip, deflate, Brotli and zstd are undone within the bounds of `echo/decoder.ts`. What was said is counted as it
 * passes, the rest when the request is over. Requests under no budget of tokens never come here.
 *
 * Not here: what an answer says, and what counts where it says nothing (`policy/tokens/`).
 *
 * @module
 */
import type { RecordedTokens } from "../../policy/audit_record.ts";
import { mediaTypeOf } from "../../policy/words/media_type.ts";
import {
  BYTES_PER_TOKEN,
  CODED_BYTES_PER_TOKEN,
  isModelPath,
  tokensOf,
} from "../../policy/tokens/estimate.ts";
import { type Tokens, UsageReader } from "../../policy/tokens/usage_reader.ts";
import type { Meter } from "../decide/budgets.ts";
import { contentText, wholeOf } from "../echo/content.ts";
import { Decoder, decoderOf } from "../echo/decoder.ts";
import type { AdmittedExchange } from "../exchange.ts";
import { type HeaderField, listOf, valuesOf } from "../message/fields.ts";
import type { MessageBody, ResponseHead } from "../message/message.ts";

/** How a request went. Bytes are those of its body, or of what it was upgraded to. */
export interface Ended {
  /** 0 when it had no answer. */
  readonly status: number;
  /** All of the answer was passed on. */
  readonly isWhole: boolean;
  readonly sent: number;
  readonly received: number;
}

/** The watch over one request; undefined where no tokens are counted. */
export function tokenWatch(exchange: AdmittedExchange): TokenWatch | undefined {
  const { meter } = exchange;
  return meter?.countsTokens ? new TokenWatch(exchange, meter) : undefined;
}

/** See the module. */
export class TokenWatch {
  readonly #exchange: AdmittedExchange;
  readonly #meter: Meter;
  #body: ReadAlong | undefined;

  constructor(exchange: AdmittedExchange, meter: Meter) {
    this.#exchange = exchange;
    this.#meter = meter;
  }

  /** The body of an answer, read as it passes. */
  body(head: ResponseHead, body: MessageBody): MessageBody {
    if (body.done) return body;
    return this.#body = new ReadAlong(head, body, ({ input, output }) => this.#meter.tokens(input + output));
  }

  /** The request is over, however it ended: counts what is left to count. Never rejects. */
  async end({ status, isWhole, sent, received }: Ended): Promise<RecordedTokens | undefined> {
    await this.#body?.end();
    const { request: { head: { method, fields } }, rule, target, upgrade } = this.#exchange;
    const isUpgraded = upgrade !== undefined && !this.#body &&
      (status === 101 || status >= 200 && status < 300);
    const seen = !isUpgraded && this.#body?.seen ||
      { said: undefined, isFinal: false, bytes: received, bytesPerToken: BYTES_PER_TOKEN };
    const sentPerToken = bytesPerToken(fields);
    const tokens = tokensOf(
      { method, isUpgraded, isModel: isModel(rule.budget, target.path), status, isWhole, sent, sentPerToken },
      seen,
    );
    if (tokens) this.#meter.tokens(tokens.input + tokens.output);
    return tokens;
  }
}

/** What says no usage is estimated under a rule with a budget of tokens, and at the paths by which models are asked. */
export function isModel(budget: readonly string[] | undefined, path: string): boolean {
  return budget?.some((text) => text.startsWith("tokens=")) === true || isModelPath(path);
}

/** Fields that say that a body is compressed, or the messages in it: of HTTP, of gRPC and gRPC-Web, of Connect's streams. */
const CODINGS = ["content-encoding", "grpc-encoding", "connect-content-encoding"];

/** How many bytes of a body with these fields are about a token, unless it is read. */
function bytesPerToken(fields: readonly HeaderField[]): number {
  const isCoded = CODINGS.some((key) => listOf(fields, key).some((coding) => coding !== "identity"));
  return isCoded ? CODED_BYTES_PER_TOKEN : BYTES_PER_TOKEN;
}

/** A body that is read along. */
class ReadAlong implements MessageBody {
  readonly #inner: MessageBody;
  readonly #onSaid: (said: Tokens) => void;
  readonly #reader: UsageReader | undefined;
  readonly #isEvents: boolean;
  readonly #decoder: Decoder | undefined;
  readonly #bytesPerToken: number;
  #bytes = 0;
  /** Pieces are decoded one after the other; `fill` waits for them, so that no more than one is held. */
  #reading: Promise<void> | undefined;
  #isBroken = false;
  /** Something was decoded. A decoder makes nothing of what is not in its coding, and says nothing of it. */
  #hasText = false;

  constructor({ fields }: ResponseHead, inner: MessageBody, onSaid: (said: Tokens) => void) {
    this.#inner = inner;
    this.#onSaid = onSaid;
    const type = mediaTypeOf(valuesOf(fields, "content-type"));
    const codings = listOf(fields, "content-encoding").filter((coding) => coding !== "identity");
    const makeDecoder = codings.length === 1 ? decoderOf(codings[0] ?? "") : undefined;
    this.#bytesPerToken = bytesPerToken(fields);
    this.#isEvents = type === "text/event-stream";
    const isRead = this.#isEvents || /[/+](json|json-seq|x-ndjson|jsonl)$/.test(type ?? "");
    const reader = isRead && (makeDecoder || codings.length === 0)
      ? new UsageReader(this.#isEvents ? "events" : "json")
      : undefined;
    this.#reader = reader;
    if (reader && makeDecoder) {
      this.#decoder = new Decoder(makeDecoder, (text) => {
        this.#hasText = true;
        reader.read(text);
      });
    }
    inner.recordContent?.();
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

  get trailers() {
    return this.#inner.trailers;
  }

  get content() {
    return this.#inner.content;
  }

  /** What was seen so far. */
  get seen() {
    const isUnread = this.#decoder && (!this.#hasText || this.#decoder.isBroken);
    const reader = this.#isBroken || isUnread ? undefined : this.#reader;
    const isText = reader !== undefined && this.#isEvents;
    return {
      said: this.#reader?.said,
      isFinal: this.#reader?.isFinal === true && reader !== undefined,
      bytes: isText ? reader.textBytes : this.#bytes,
      bytesPerToken: isText ? BYTES_PER_TOKEN : this.#bytesPerToken,
    };
  }

  takeFirst(): Uint8Array {
    return this.#read(this.#inner.takeFirst());
  }

  take(): Uint8Array {
    return this.#read(this.#inner.take());
  }

  release(): void {
    this.#inner.release();
  }

  async fill(): Promise<boolean> {
    await this.#reading;
    return await this.#inner.fill();
  }

  recordContent(): void {
    // Asked for already.
  }

  /** Nothing more comes. What decodes it holds memory of its own. */
  async end(): Promise<void> {
    await this.#reading;
    this.#decoder?.close();
  }

  #read(piece: Uint8Array): Uint8Array {
    if (piece.length === 0) return piece;
    const spans = (this.#inner.content ?? wholeOf(piece)).filter(({ isTrailer }) => !isTrailer);
    for (const { start, end } of spans) this.#bytes += end - start;
    // A copy: the connection may have another answer before the last piece of this one was decoded.
    const parts = () => spans.map(({ start, end }) => Uint8Array.from(piece.subarray(start, end)));
    if (this.#decoder && !this.#isBroken) this.#reading = this.#decode(this.#decoder, parts());
    else if (this.#reader && !this.#decoder && spans.length > 0) {
      this.#reader.read(contentText(piece, spans).text);
      this.#tell();
    }
    return piece;
  }

  async #decode(decoder: Decoder, parts: readonly Uint8Array[]): Promise<void> {
    await this.#reading;
    try {
      for (const part of parts) await decoder.write(part);
      this.#tell();
    } catch {
      this.#isBroken = true; // it decodes to too much: all that can be said of it is how long it is
      decoder.close();
    }
  }

  #tell(): void {
    const said = this.#reader?.said;
    if (said) this.#onSaid(said);
  }
}
