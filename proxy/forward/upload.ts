/**
 * The request's body on its way upstream, beside whatever the upstream answers meanwhile.
 *
 * Not here: the head (`forward.ts`), the answer (`relay.ts`).
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ProxyError } from "../../core/errors.ts";
import { GrowingBytes } from "../../core/growing_bytes.ts";
import { MAX_HASHED_BODY_BYTES } from "../../core/limits.ts";
import { clientGone, type Course } from "../course.ts";
import { type AdmittedExchange, idleTimeoutOf, responseTimeoutOf } from "../exchange.ts";
import { dechunk } from "../http1/body_text.ts";
import { valuesOf } from "../message/fields.ts";
import type { MessageBody, UpstreamLeg } from "../message/message.ts";
import type { KeptBytes, SentBody } from "../message/sent_body.ts";
import { turnAfter } from "../streams/turn_share.ts";

/** Changes a body on its way without changing its length. */
export interface BodyRewriter {
  /** What may leave after this piece. */
  push(piece: Uint8Array): Promise<Uint8Array>;
  /** The body has ended. @throws ProxyError when something is missing */
  end(): void;
  /** It goes no further. */
  drop(): void;
}

const NOTHING = new Uint8Array(0);

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
  /** What is sent in the place of the body, once the head says so. */
  rewriter: BodyRewriter | undefined;
  /** All of the body, which has to be known before its head. */
  #held: Uint8Array | undefined;
  #room: KeptBytes | undefined;
  #roomTaken = 0;

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
    if (this.rewriter) return NOTHING;
    if (this.#held) {
      this.#note(this.#held);
      return this.#held;
    }
    const piece = this.#body.takeFirst();
    if (piece.length > 0) this.#note(piece);
    return piece;
  }

  /**
   * Takes all of the body before anything of it is sent.
   *
   * @returns the SHA-256 of its content, in hex
   * @throws ProxyError `client.closed`, `client.malformed`, `limit.reached`, `policy.signature`
   */
  async hold(): Promise<string> {
    const { request: { head, body }, session: { context: { admission } }, client } = this.#exchange;
    const held = new GrowingBytes();
    const hash = createHash("sha256");
    const isChunked = head.version !== "HTTP/2" && valuesOf(head.fields, "transfer-encoding").length > 0;
    this.#room = admission.held(client.name);
    await this.#letContinue();
    this.#waitsFor = "client";
    for (;;) {
      if (this.#course.failure) throw this.#course.failure; // who waited has been told, and what was held is let go
      const piece = body.take();
      this.#reserve(piece.length);
      held.add(piece);
      if (!isChunked) hash.update(piece);
      body.release();
      if (body.done) break;
      this.#course.touch(idleTimeoutOf(this.#exchange));
      if (piece.length === 0 && !await body.fill()) throw clientGone();
    }
    this.#waitsFor = "nobody";
    this.#course.touch(responseTimeoutOf(this.#exchange));
    this.#held = held.bytes;
    if (isChunked) hash.update(dechunk(held.bytes));
    return hash.digest("hex");
  }

  /** Nothing more is sent of it. */
  drop(): void {
    this.rewriter?.drop();
    this.#held = undefined;
    this.#room?.give(this.#roomTaken);
    this.#roomTaken = 0;
  }

  /** Who waits for leave to send its body would wait for the upstream's, which gets the head last. */
  async #letContinue(): Promise<void> {
    const { request, request: { head, body } } = this.#exchange;
    if (body.done || valuesOf(head.fields, "expect").length === 0) return;
    await request.inform({ version: head.version, status: 100, reason: "Continue", fields: [] });
  }

  #reserve(bytes: number): void {
    if (this.#roomTaken + bytes > MAX_HASHED_BODY_BYTES) {
      throw new ProxyError(
        "policy.signature",
        `Cannot sign the request: its body has more than ${MAX_HASHED_BODY_BYTES} bytes, and its SDK does not say their ` +
          "hash (X-Amz-Content-Sha256)",
      );
    }
    if (!this.#room?.take(bytes)) {
      throw new ProxyError(
        "limit.reached",
        "Cannot sign the request: too many bodies are held to be signed",
        {
          reason: "quota",
        },
      );
    }
    this.#roomTaken += bytes;
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
        const out = this.rewriter ? await this.rewriter.push(piece) : piece;
        if (body.done) this.rewriter?.end();
        this.#waitsFor = "upstream";
        if (out.length > 0) await leg.write(out, body.done && body.trailers === undefined);
        this.#note(piece);
        body.release();
        const turn = turnAfter(piece.length);
        if (turn) await turn;
      }
      if (body.done) break;
      this.#waitsFor = "client";
      this.#course.touch(idleTimeoutMs);
      if (piece.length === 0 && !await body.fill()) throw clientGone();
    }
    this.rewriter?.end(); // its last piece may have been an empty one
    leg.end(body.trailers);
    this.#waitsFor = "nobody";
    this.#course.touch(responseTimeoutOf(this.#exchange));
  }

  #note(piece: Uint8Array): void {
    this.#hasBegun = true;
    this.#sent += piece.length;
    if (this.rewriter) this.kept?.drop(); // what was sent hangs on the head's signature
    else this.kept?.add(piece);
  }

  #onError(error: unknown): void {
    // The upstream may have answered early and closed: whoever reads its answer says what it is.
    if (this.#waitsFor !== "client") return;
    this.#course.fail(error instanceof ProxyError ? error : clientGone());
  }
}
