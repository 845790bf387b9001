/**
 * A request that we sent, and its answer.
 *
 * @module
 */
import { H2, type Http2Error } from "./error.ts";
import { Fault } from "./fault.ts";
import type { ReceivedField } from "./field.ts";
import { readResponseHead } from "./head.ts";
import { StreamCore, type StreamLink } from "./stream.ts";
import type { Http2ClientStream, Http2ReceivedResponse } from "./types.ts";

/** See {@linkcode Http2ClientStream}. */
export class ClientStream extends StreamCore implements Http2ClientStream {
  readonly #method: string;
  readonly #maxInterim: number;
  /** Heads that nobody has asked for yet. */
  readonly #heads: Http2ReceivedResponse[] = [];
  #interimCount = 0;
  #hasFinal = false;
  #reader: PromiseWithResolvers<Http2ReceivedResponse> | undefined;

  constructor(
    id: number,
    link: StreamLink,
    { windows, method, maxInterim, end }: {
      readonly windows: { readonly receive: number; readonly send: number };
      readonly method: string;
      readonly maxInterim: number;
      readonly end: boolean;
    },
  ) {
    super(id, link, windows);
    this.#method = method;
    this.#maxInterim = maxInterim;
    if (end) this.endSending();
  }

  response(): Promise<Http2ReceivedResponse> {
    const head = this.#heads.shift();
    if (head) return Promise.resolve(head);
    if (this.error) return Promise.reject(this.error);
    if (this.#hasFinal || this.#reader) {
      throw new TypeError("Cannot wait for a response head: the final one was taken, or a call waits");
    }
    this.#reader = Promise.withResolvers<Http2ReceivedResponse>();
    return this.#reader.promise;
  }

  override receiveHeaders(list: readonly ReceivedField[], end: boolean): void {
    if (this.#hasFinal) {
      this.receiveTrailers(list, end);
      return;
    }
    const { head, contentLength } = readResponseHead(list);
    if (head.status < 200) {
      if (end) throw new Fault("stream", H2.PROTOCOL_ERROR, "an interim response that ends the stream");
      if (++this.#interimCount > this.#maxInterim) {
        throw new Fault("stream", H2.ENHANCE_YOUR_CALM, "too many interim responses", true);
      }
    } else {
      this.#hasFinal = true;
      // RFC 9110 §6.4.1: these have no content, whatever they announce.
      this.expectBody(contentLength, this.#method === "HEAD" || head.status === 204 || head.status === 304);
    }
    if (end) this.receiveEnd();
    const received: Http2ReceivedResponse = { ...head, isBodyless: end };
    if (this.#reader) {
      this.#reader.resolve(received);
      this.#reader = undefined;
    } else this.#heads.push(received);
  }

  protected override get canWrite(): boolean {
    return this.isSending;
  }

  protected override get canReceiveBody(): boolean {
    return this.#hasFinal;
  }

  protected override get isAnswerWhole(): boolean {
    return this.#hasFinal;
  }

  protected override onCut(error: Http2Error): void {
    this.#heads.length = 0;
    if (!this.#reader) return;
    this.#reader.promise.catch(() => {}); // its user may have gone
    this.#reader.reject(error);
    this.#reader = undefined;
  }
}
