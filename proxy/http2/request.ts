/**
 * A request on a stream of a client's HTTP/2 connection with the way back.
 *
 * Not here: frames and windows (`accept/connection.ts`), anything that decides.
 *
 * @module
 */
import type { Deadlines } from "../../core/deadlines.ts";
import type { ProxyError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import type { HeaderField } from "../message/fields.ts";
import type {
  IncomingRequest,
  MessageBody,
  RawEnd,
  RequestHead,
  ResponseHead,
  WholeAnswer,
} from "../message/message.ts";
import { Http2Body } from "./body.ts";
import { rawEndOf } from "./bytes.ts";
import { H2, Http2Error } from "./error.ts";
import type { Http2ServerStream } from "./types.ts";

const NOTHING = new Uint8Array(0);
/** Of a body: nothing comes behind what is here. */
const WHOLE = { done: true, trailers: undefined };

/** See the module. */
export class Http2Request implements IncomingRequest {
  readonly head: RequestHead;
  body: MessageBody;
  readonly #stream: Http2ServerStream;
  readonly #context: { readonly limits: Limits; readonly deadlines: Deadlines };

  constructor(
    stream: Http2ServerStream,
    context: { readonly limits: Limits; readonly deadlines: Deadlines },
  ) {
    const { method, scheme, authority, path, protocol, fields } = stream.head;
    this.#stream = stream;
    this.#context = context;
    this.body = new Http2Body(stream, stream.isBodyless);
    this.head = {
      // RFC 8441 §5: what HTTP/1.1 asks for by GET and Upgrade. Rules and logs speak of the same thing in the same words.
      method: protocol === undefined ? method : "GET",
      target: path ?? "",
      version: "HTTP/2",
      scheme,
      authority,
      protocol,
      fields,
    };
  }

  watch(onGone: (why: ProxyError) => void): void {
    if (this.#stream.error) onGone(this.#stream.error);
    else this.#stream.onReset = onGone;
  }

  async inform({ status, fields }: ResponseHead): Promise<void> {
    await this.#stream.respond({ status, fields });
  }

  async begin(
    { status, fields }: Pick<ResponseHead, "status" | "fields">,
    first: Uint8Array,
    body: Pick<MessageBody, "done" | "trailers">,
  ): Promise<void> {
    const isWhole = body.done && body.trailers === undefined;
    this.#stream.respond({ status, fields }, isWhole && first.length === 0);
    if (first.length > 0) await this.#stream.write(first, isWhole);
  }

  write(piece: Uint8Array, isLast: boolean): Promise<void> {
    return this.#stream.write(piece, isLast);
  }

  end(trailers: readonly HeaderField[] | undefined): void {
    this.#stream.end(trailers);
  }

  async answer({ status, fields, body }: WholeAnswer): Promise<void> {
    const { deadlines, limits } = this.#context;
    const deadline = deadlines.start(limits.headTimeoutMs, () => this.#stream.reset(H2.CANCEL));
    try {
      await this.begin({ status, fields }, this.head.method === "HEAD" ? NOTHING : body, WHOLE);
    } catch {
      // The client is gone.
    } finally {
      deadline.stop();
    }
  }

  // deno-lint-ignore require-await
  async switchProtocols({ status, fields }: ResponseHead): Promise<RawEnd> {
    this.#stream.respond({ status, fields });
    return rawEndOf(this.#stream);
  }

  cut(why?: unknown): void {
    this.#stream.reset(why instanceof Http2Error ? why.h2Code : H2.CANCEL);
  }
}
