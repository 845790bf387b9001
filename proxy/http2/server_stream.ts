/**
 * A request that came, and its answer.
 *
 * @module
 */
import { H2 } from "./error.ts";
import type { ReceivedField } from "./field.ts";
import { type Announced, writeResponseHead } from "./head.ts";
import { StreamCore, type StreamLink } from "./stream.ts";
import type { Http2RequestHead, Http2ResponseHead, Http2ServerStream, SendableField } from "./types.ts";

/** See {@linkcode Http2ServerStream}. */
export class ServerStream extends StreamCore implements Http2ServerStream {
  readonly head: Http2RequestHead;
  readonly isBodyless: boolean;
  #hasAnswered = false;

  /** @throws Fault for the stream when the head announces a body that does not follow */
  constructor(
    id: number,
    link: StreamLink,
    { windows, request: { head, contentLength }, isBodyless }: {
      readonly windows: { readonly receive: number; readonly send: number };
      readonly request: Announced<Http2RequestHead>;
      readonly isBodyless: boolean;
    },
  ) {
    super(id, link, windows);
    this.head = head;
    this.isBodyless = isBodyless;
    this.expectBody(contentLength, false);
    if (isBodyless) this.receiveEnd();
  }

  respond(head: Http2ResponseHead<SendableField>, end = false): void {
    if (this.error) throw this.error;
    const isInterim = head.status < 200;
    if (this.#hasAnswered || (isInterim && end)) {
      throw new TypeError(
        "Cannot respond: the final head was sent already, or an interim one would end the stream",
      );
    }
    this.#hasAnswered = !isInterim;
    this.link.sendHeaders(this.id, (block) => writeResponseHead(block, head), end);
    if (end) this.endSending();
  }

  /** Its user has done with it: what is still open is closed, and nobody will read what lies here. */
  release(): void {
    // RFC 9113 §8.1: an answer that is whole may come before the end of the request, which is not needed any more.
    this.reset(this.isSending ? H2.INTERNAL_ERROR : H2.NO_ERROR);
  }

  override receiveHeaders(list: readonly ReceivedField[], end: boolean): void {
    this.receiveTrailers(list, end);
  }

  protected override get canWrite(): boolean {
    return this.#hasAnswered && this.isSending;
  }

  protected override get canReceiveBody(): boolean {
    return true;
  }

  protected override get isAnswerWhole(): boolean {
    return false; // a client that resets wants nothing any more
  }
}
