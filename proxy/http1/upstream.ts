/**
 * An HTTP/1 connection to an upstream as one leg of a request: heads as bytes, and whether the connection can be used again.
 *
 * Not here: dialling and keeping connections (`egress/`), what may be sent.
 *
 * @module
 */
import type { Deadlines } from "../../core/deadlines.ts";
import { ProxyError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { listOf } from "../message/fields.ts";
import type { MessageBody, RawEnd, RequestHead, ResponseHead, UpstreamLeg } from "../message/message.ts";
import { type ByteReader, type ByteStream, closeQuietly, writeAll } from "../streams/byte_reader.ts";
import { isBodyless, responseBody } from "./body.ts";
import { readBodyStart } from "./body_text.ts";
import { readResponseHead } from "./head_reader.ts";
import { writeRequestHead } from "./head_writer.ts";
import { PulledBody } from "./pulled_body.ts";

export interface Http1LegOptions {
  readonly stream: ByteStream;
  readonly reader: ByteReader;
  /** Requests were sent on it before: the upstream may be closing it just now. */
  readonly isReused: boolean;
  readonly limits: Limits;
  /** Where the connection ends at another proxy: what heads are made of for it, and what its answers may be. */
  readonly hop?: Http1Hop | undefined;
  /** Takes the connection back when it can serve another request. The head is that of the answer. */
  readonly keep: (head: ResponseHead) => void;
}

/** A proxy between us and the upstream. */
export interface Http1Hop {
  /** The head as it takes it. */
  readonly outgoing: (head: RequestHead) => RequestHead;
  /** @throws ProxyError when the answer is its own, and not the upstream's */
  readonly incoming: (head: ResponseHead) => void;
}

/** See the module. */
export class Http1Leg implements UpstreamLeg {
  readonly #options: Http1LegOptions;
  #request: RequestHead | undefined;
  /** The head of an answer after which the connection can be used again. */
  #keptHead: ResponseHead | undefined;

  constructor(options: Http1LegOptions) {
    this.#options = options;
  }

  send(head: () => RequestHead, first: Uint8Array): Promise<void> {
    this.#request = head();
    const sent = this.#options.hop?.outgoing(this.#request) ?? this.#request;
    return writeRequestHead(this.#options.stream, sent, first);
  }

  write(piece: Uint8Array): Promise<void> {
    return writeAll(this.#options.stream, piece);
  }

  /** Trailers are among the body's bytes. */
  end(): void {}

  fateAfter(error: unknown): "unknown" | "seen" {
    const isBroken = !(error instanceof ProxyError) || error.code === "upstream.closed";
    return this.#options.isReused && isBroken ? "unknown" : "seen";
  }

  readHead(): Promise<ResponseHead> {
    const { reader, limits, hop } = this.#options;
    const reading = readResponseHead(reader, limits);
    return hop ? reading.then((head) => (hop.incoming(head), head)) : reading;
  }

  bodyOf(head: ResponseHead): MessageBody {
    const { reader, limits } = this.#options;
    const framing = responseBody(head, this.#request?.method ?? "", limits);
    const isPersistent = head.version === "HTTP/1.1" && this.#request?.version === "HTTP/1.1" &&
      !framing.closeDelimited && !isBodyless(head) && !listOf(head.fields, "connection").includes("close");
    this.#keptHead = isPersistent ? head : undefined;
    return new PulledBody(framing, reader);
  }

  peekBody(head: ResponseHead, deadlines: Pick<Deadlines, "start">): Promise<string> {
    const { reader, limits } = this.#options;
    return readBodyStart(reader, head, { method: this.#request?.method ?? "", limits, deadlines });
  }

  takeOver(): RawEnd {
    const { stream, reader } = this.#options;
    return { stream, first: reader.takeAll() };
  }

  release(): void {
    if (this.#keptHead) this.#options.keep(this.#keptHead);
    else this.close();
  }

  close(): void {
    closeQuietly(this.#options.stream);
  }
}
