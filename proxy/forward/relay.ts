/**
 * The answer on its way to the client: interim heads, the final one, and its body. A message that ends badly on one side
 * never ends well on the other.
 *
 * Not here: what follows a change of protocol (`upgrade.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { clientGone, type Course } from "../course.ts";
import type { CredentialUse } from "../inject/credential_use.ts";
import type { EchoGuard } from "../echo/echo_guard.ts";
import { type AdmittedExchange, idleTimeoutOf } from "../exchange.ts";
import { type HeaderField, listOf, removeHopByHop } from "../message/fields.ts";
import { grpcStatusIn } from "../message/grpc.ts";
import type { MessageBody, ResponseHead, UpstreamLeg } from "../message/message.ts";
import { turnAfter } from "../streams/turn_share.ts";
import type { TokenWatch } from "./token_watch.ts";
import { narrowAnswer } from "./narrowed_answer.ts";

/** How it went: all of it was passed on, the upstream switches protocols, or it is to be asked again. */
export type Relayed = "whole" | "refused" | { readonly switched: ResponseHead };

/** See the module. */
export class Relay {
  readonly #exchange: AdmittedExchange;
  readonly #course: Course;
  readonly #credential: CredentialUse;
  #status = 0;
  #received = 0;
  #wasEarly = false;
  #grpcStatus: number | undefined;
  #guard: EchoGuard | undefined;
  readonly #tokens: TokenWatch | undefined;
  #echoed = 0;

  constructor(
    exchange: AdmittedExchange,
    course: Course,
    parts: { readonly credential: CredentialUse; readonly tokens: TokenWatch | undefined },
  ) {
    this.#exchange = exchange;
    this.#course = course;
    this.#credential = parts.credential;
    this.#tokens = parts.tokens;
  }

  /** The status that the client was given, 0 before. */
  get status(): number {
    return this.#status;
  }

  /** Bytes of the body that the client was given. */
  get received(): number {
    return this.#received;
  }

  /** What a gRPC call ended with, once it did. */
  get grpcStatus(): number | undefined {
    return this.#grpcStatus;
  }

  /** How many times the credential was in an answer. */
  get echoed(): number {
    return this.#echoed + (this.#guard?.echoed ?? 0);
  }

  /** The watch over what the upstream sends. */
  get guard(): EchoGuard | undefined {
    return this.#guard;
  }

  /** True when the upstream answered before it was sent the whole request. */
  get wasEarly(): boolean {
    return this.#wasEarly;
  }

  /** @throws ProxyError `upstream.*`, `client.closed`, and whatever the upstream's connection throws */
  async run(leg: UpstreamLeg): Promise<Relayed> {
    const { session: { context: { limits } }, request, upgrade } = this.#exchange;
    this.#echoed = this.echoed;
    this.#guard = this.#credential.watch();
    for (let interim = 0;; interim++) {
      const head = await leg.readHead();
      const body = leg.bodyOf(head); // an interim response must not announce one
      if (head.status === 101) {
        if (!upgrade || listOf(head.fields, "upgrade").join() !== upgrade.protocol) {
          throw malformed("it switches to a protocol not asked for");
        }
        this.#status = 101;
        return { switched: head };
      }
      // RFC 8441 §5: what changes the protocol of a stream is a 2xx.
      if (upgrade && head.version === "HTTP/2" && head.status >= 200 && head.status < 300) {
        this.#status = head.status;
        return { switched: head };
      }
      if (head.status >= 200) {
        const refused = this.#final(leg, head);
        if (refused && await refused) return "refused";
        this.#credential.drop(); // an answer may take minutes, and what was kept is not needed any more
        if (this.#course.failure) throw this.#course.failure;
        await (this.#exchange.tools ? this.#passNarrowed(head, body) : this.#pass(head, body));
        return "whole";
      }
      if (interim >= limits.maxInterimResponses) throw malformed("too many interim responses");
      await request.inform(this.#clean(head)).catch(() => this.#throwGone());
    }
  }

  /** @returns whether the upstream refused the credential, where that has to be asked */
  #final(leg: UpstreamLeg, head: ResponseHead): Promise<boolean> | undefined {
    const { request } = this.#exchange;
    const { status } = head;
    if (status === 407) throw malformed("the upstream answered 407, as only a proxy may");
    this.#wasEarly = !request.body.isReleased;
    this.#credential.noteAnswer(head);
    return status >= 400 && status <= 403 ? this.#credential.isRefused(leg, head) : undefined;
  }

  async #passNarrowed(head: ResponseHead, body: MessageBody): Promise<void> {
    const narrowed = await narrowAnswer(this.#exchange, this.#course, { head, body });
    try {
      await this.#pass(narrowed.head, narrowed.body);
    } finally {
      narrowed.drop();
    }
  }

  /** Most answers are here whole, and leave in the one write of {@linkcode IncomingRequest.begin}. */
  #pass(head: ResponseHead, body: MessageBody): Promise<void> {
    const { request } = this.#exchange;
    // A body that is malformed from its start can still be answered: nothing of the response has left yet.
    const clean = this.#clean(head);
    const read = this.#tokens?.body(head, body) ?? body;
    const seen = this.#guard?.body(head, read) ?? read;
    const first = seen.takeFirst();
    this.#received += first.length;
    this.#status = head.status;
    this.#course.touch(idleTimeoutOf(this.#exchange));
    return request.begin(clean, first, seen).then(
      () => seen.done ? this.#end(head, seen) : this.#passRest(head, seen),
      () => this.#throwGone(),
    );
  }

  async #passRest(head: ResponseHead, seen: MessageBody): Promise<void> {
    const { request } = this.#exchange;
    const idleTimeoutMs = idleTimeoutOf(this.#exchange);
    while (!seen.done) {
      const piece = seen.take();
      if (piece.length > 0) {
        await request.write(piece, seen.done && seen.trailers === undefined).catch(() => this.#throwGone());
        seen.release();
        this.#received += piece.length;
        this.#course.touch(idleTimeoutMs);
        const turn = turnAfter(piece.length);
        if (turn) await turn;
      } else if (!seen.done && !await seen.fill()) {
        throw new ProxyError(
          "upstream.closed",
          "Cannot complete the response: upstream closed inside its body",
        );
      }
    }
    this.#end(head, seen);
  }

  #end(head: ResponseHead, seen: MessageBody): void {
    this.#exchange.request.end(seen.trailers && (this.#guard?.fields(seen.trailers) ?? seen.trailers));
    this.#grpcStatus = grpcStatusIn(seen.trailers ?? head.fields);
  }

  /** The head as the client may have it. @throws ProxyError `upstream.echo` */
  #clean(head: ResponseHead): ResponseHead {
    const clean = { ...head, fields: cleanFields(head) };
    return this.#guard?.head(clean) ?? clean;
  }

  /** A write to the client has failed. */
  #throwGone(): never {
    throw this.#course.failure ?? clientGone();
  }
}

/** The response fields for the client: not those of the hop, nor what only this proxy says, nor a framing of no body. */
export function cleanFields(head: ResponseHead): HeaderField[] {
  const hasNoBody = head.status === 204 || head.status === 304;
  return removeHopByHop(head).filter(({ key }) =>
    !key.startsWith("x-slicer-proxy-") && !(hasNoBody && key === "transfer-encoding")
  );
}

function malformed(what: string): ProxyError {
  return new ProxyError("upstream.malformed", `Cannot use the response: ${what}`);
}
