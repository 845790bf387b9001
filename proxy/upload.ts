/**
 * The request's body on its way upstream, beside whatever the upstream answers meanwhile.
 *
 * Not here: the head (`forward.ts`), the answer (`relay.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { clientGone, type Course } from "./course.ts";
import { type AdmittedExchange, responseTimeoutOf } from "./exchange.ts";
import { type MessageBody, takeFirst, type UpstreamLeg } from "./message/message.ts";
import type { SentBody } from "./message/sent_body.ts";

/** See the module. */
export class Upload {
  readonly #body: MessageBody;
  readonly #course: Course;
  readonly #exchange: AdmittedExchange;
  #waitsFor: "nobody" | "client" | "upstream" = "nobody";
  #sent = 0;
  /** Takes a copy of what is sent, while the request could be sent again. */
  kept: SentBody | undefined;

  constructor(exchange: AdmittedExchange, course: Course) {
    this.#body = exchange.request.body;
    this.#course = course;
    this.#exchange = exchange;
  }

  /** Bytes of the body that were sent. */
  get sent(): number {
    return this.#sent;
  }

  /** True while the client is the one who is waited for. */
  get waitsForClient(): boolean {
    return this.#waitsFor === "client";
  }

  /** What leaves in one write with the head. */
  first(): Uint8Array {
    const piece = takeFirst(this.#body);
    if (piece.length > 0) this.#note(piece);
    return piece;
  }

  /** Sends the rest, and calls `onSent` once all of it was. Failures go to the course. */
  start(leg: UpstreamLeg, onSent: () => void): void {
    this.#waitsFor = "client";
    this.#run(leg).then(onSent).catch((error) => this.#onError(error));
  }

  async #run(leg: UpstreamLeg): Promise<void> {
    const body = this.#body;
    const { bodyIdleTimeoutMs } = this.#exchange.session.context.limits;
    for (;;) {
      const piece = body.take();
      if (piece.length > 0) {
        this.#waitsFor = "upstream";
        await leg.write(piece);
        this.#note(piece);
        body.release();
      }
      if (body.done) break;
      this.#waitsFor = "client";
      this.#course.touch(bodyIdleTimeoutMs);
      if (piece.length === 0 && !await body.fill()) throw clientGone();
    }
    this.#waitsFor = "nobody";
    this.#course.touch(responseTimeoutOf(this.#exchange));
  }

  #note(piece: Uint8Array): void {
    this.#sent += piece.length;
    this.kept?.add(piece);
  }

  #onError(error: unknown): void {
    // The upstream may have answered early and closed: whoever reads its answer says what it is.
    if (error instanceof ProxyError) this.#course.fail(error);
    else if (this.#waitsFor === "client") this.#course.fail(clientGone());
  }
}
