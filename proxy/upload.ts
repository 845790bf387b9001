/**
 * The request's body on its way upstream, beside whatever the upstream answers meanwhile.
 *
 * Not here: the head (`forward.ts`), the answer (`relay.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { clientGone, type Course } from "./course.ts";
import { type AdmittedExchange, idleTimeoutOf, responseTimeoutOf } from "./exchange.ts";
import type { MessageBody, UpstreamLeg } from "./message/message.ts";
import type { SentBody } from "./message/sent_body.ts";

/** See the module. */
export class Upload {
  readonly #body: MessageBody;
  readonly #course: Course;
  readonly #exchange: AdmittedExchange;
  #waitsFor: "nobody" | "client" | "upstream" = "nobody";
  #hasBegun = false;
  #sent = 0;
  /** Takes a copy of what is sent, while the request could be sent again. */
  kept: SentBody | undefined;

  constructor(exchange: AdmittedExchange, course: Course) {
    this.#body = exchange.request.body;
    this.#course = course;
    this.#exchange = exchange;
  }

  /** True once something of the body was taken, or may be any moment. */
  get hasBegun(): boolean {
    return this.#hasBegun;
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
    const piece = this.#body.takeFirst();
    if (piece.length > 0) this.#note(piece);
    return piece;
  }

  /** Sends the rest, and calls `onSent` once all of it was. Failures go to the course. */
  start(leg: UpstreamLeg, onSent: () => void): void {
    this.#hasBegun = true;
    this.#waitsFor = "client";
    this.#run(leg).then(onSent).catch((error) => this.#onError(error));
  }

  async #run(leg: UpstreamLeg): Promise<void> {
    const body = this.#body;
    const idleTimeoutMs = idleTimeoutOf(this.#exchange);
    for (;;) {
      const piece = body.take();
      if (piece.length > 0) {
        this.#waitsFor = "upstream";
        await leg.write(piece, body.done && body.trailers === undefined);
        this.#note(piece);
        body.release();
      }
      if (body.done) break;
      this.#waitsFor = "client";
      this.#course.touch(idleTimeoutMs);
      if (piece.length === 0 && !await body.fill()) throw clientGone();
    }
    leg.end(body.trailers);
    this.#waitsFor = "nobody";
    this.#course.touch(responseTimeoutOf(this.#exchange));
  }

  #note(piece: Uint8Array): void {
    this.#hasBegun = true;
    this.#sent += piece.length;
    this.kept?.add(piece);
  }

  #onError(error: unknown): void {
    // The upstream may have answered early and closed: whoever reads its answer says what it is.
    if (this.#waitsFor !== "client") return;
    this.#course.fail(error instanceof ProxyError ? error : clientGone());
  }
}
