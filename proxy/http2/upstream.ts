/**
 * A stream of an HTTP/2 connection to an upstream as one leg of a request.
 *
 * Not here: dialling and keeping connections (`egress/`), what may be sent.
 *
 * @module
 */
import type { Deadlines } from "../../core/deadlines.ts";
import { START_BYTES, START_WAIT_MS, textOf } from "../message/body_start.ts";
import type { HeaderField } from "../message/fields.ts";
import type { MessageBody, RawEnd, RequestHead, ResponseHead, UpstreamLeg } from "../message/message.ts";
import { Http2Body } from "./body.ts";
import { rawEndOf } from "./bytes.ts";
import { H2, Http2Error } from "./error.ts";
import type { Http2ClientConnection, Http2ClientStream, Http2RequestHead, SendableField } from "./types.ts";

/** See the module. */
export class Http2Leg implements UpstreamLeg {
  readonly #connection: Http2ClientConnection;
  readonly #signal = new AbortController();
  readonly #isReused: boolean;
  readonly #onOver: () => void;
  #stream: Http2ClientStream | undefined;
  /** What left with the head is on its way. */
  #first: Promise<void> | undefined;
  #isBodyless = false;
  #isOver = false;

  /** @param options.onOver the stream needs the connection no more; called once */
  constructor(
    connection: Http2ClientConnection,
    options: { readonly isReused: boolean; readonly onOver: () => void },
  ) {
    this.#connection = connection;
    this.#isReused = options.isReused;
    this.#onOver = options.onOver;
  }

  async send(head: () => RequestHead, first: Uint8Array, isWhole: boolean): Promise<void> {
    const end = isWhole && first.length === 0;
    this.#stream = await this.#connection.openStream(() => toHttp2(head()), {
      end,
      signal: this.#signal.signal,
    });
    // Not waited for: the answer may come before the upstream takes it, and says then what became of it.
    if (first.length > 0) this.#first = this.#stream.write(first, isWhole).catch(() => {});
  }

  async write(piece: Uint8Array, isLast: boolean): Promise<void> {
    await this.#stream?.write(piece, isLast);
  }

  end(trailers: readonly HeaderField[] | undefined): void {
    const stream = this.#stream;
    if (this.#first) void this.#first.then(() => stream?.end(trailers));
    else stream?.end(trailers);
  }

  fateAfter(error: unknown): "unseen" | "unknown" | "seen" | "misplaced" {
    if (!(error instanceof Http2Error)) return "seen";
    if (error.h2Code === H2.HTTP_1_1_REQUIRED) return "misplaced";
    if (error.isUnprocessed) return "unseen";
    return this.#isReused && error.code === "upstream.closed" && this.#connection.isDraining
      ? "unknown"
      : "seen";
  }

  async readHead(): Promise<ResponseHead> {
    if (!this.#stream) throw new TypeError("Cannot read a response: nothing was sent");
    const { status, fields, isBodyless } = await this.#stream.response();
    this.#isBodyless = isBodyless;
    return { version: "HTTP/2", status, reason: "", fields };
  }

  bodyOf(head: ResponseHead): MessageBody {
    if (!this.#stream) throw new TypeError("Cannot read a response: nothing was sent");
    return new Http2Body(this.#stream, this.#isBodyless || head.status < 200);
  }

  async peekBody(head: ResponseHead, deadlines: Pick<Deadlines, "start">): Promise<string> {
    const stream = this.#stream;
    if (!stream || this.#isBodyless) return "";
    const late = Promise.withResolvers<void>();
    const deadline = deadlines.start(START_WAIT_MS, late.resolve);
    try {
      await Promise.race([stream.fill(START_BYTES), late.promise]);
      return textOf(head, stream.peek(START_BYTES));
    } finally {
      deadline.stop();
    }
  }

  takeOver(): RawEnd {
    if (!this.#stream) throw new TypeError("Cannot take the stream over: nothing was sent");
    return rawEndOf(this.#stream);
  }

  release(): void {
    this.#finish();
  }

  close(): void {
    this.#signal.abort(
      new Http2Error("upstream.closed", H2.CANCEL, "Cannot go on: the request was given up"),
    );
    this.#stream?.reset(H2.CANCEL);
    this.#finish();
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onOver();
  }
}

function toHttp2(head: RequestHead): Http2RequestHead<SendableField> {
  const { method, scheme, authority, target, isTargetSensitive = false, protocol, fields } = head;
  return {
    method: protocol === undefined ? method : "CONNECT",
    scheme,
    authority,
    path: target,
    isPathSensitive: isTargetSensitive,
    protocol,
    fields,
  };
}
