/**
 * What becomes of an answer that holds the credential which its request was sent with: an upstream that echoes requests, an
 * error page, a redirect. Heads and plain bodies are masked; of a compressed body the end is cut off.
 *
 * Not here: what is looked for (`renderings.ts`); credentials that an upstream changed, or spread over several answers.
 *
 * @module
 */
import type { Deadlines } from "../../core/deadlines.ts";
import { ProxyError } from "../../core/errors.ts";
import { type HeaderField, listOf, makeField } from "../message/fields.ts";
import type { MessageBody, ResponseHead } from "../message/message.ts";
import { decoderOf } from "./decoder.ts";
import type { ByteStream } from "../streams/byte_reader.ts";
import { maskedSocket } from "./masked_socket.ts";
import { MaskedBody } from "./masked_body.ts";
import type { Needles } from "./needles.ts";
import { WatchedBody } from "./watched_body.ts";

/** `mask`: stars in its place where that can be, else as `cut`; `cut`: the answer ends before it; `log`: it is only counted. */
export const ON_ECHO = ["mask", "cut", "log"] as const;
/** One of {@linkcode ON_ECHO}. */
export type OnEcho = typeof ON_ECHO[number];

/** See the module. One for each answer. */
export class EchoGuard {
  readonly #needles: Needles;
  readonly #onEcho: OnEcho;
  readonly #deadlines: Pick<Deadlines, "start">;
  #echoed = 0;
  #watched: WatchedBody | undefined;

  constructor(needles: Needles, onEcho: OnEcho, deadlines: Pick<Deadlines, "start">) {
    this.#needles = needles;
    this.#onEcho = onEcho;
    this.#deadlines = deadlines;
  }

  /** How many were found so far. */
  get echoed(): number {
    return this.#echoed;
  }

  /** The head as the client may have it. @throws ProxyError `upstream.echo` */
  head(head: ResponseHead): ResponseHead {
    return { ...head, reason: this.#text(head.reason), fields: this.fields(head.fields) };
  }

  /** Fields as the client may have them: the very same when nothing is in them. @throws ProxyError `upstream.echo` */
  fields(fields: readonly HeaderField[]): readonly HeaderField[] {
    const isClean = fields.every(({ name, value }) =>
      !this.#needles.isIn(value) && !this.#needles.isIn(name)
    );
    if (isClean) return fields;
    return fields.map((field) => {
      const [name, value] = [this.#text(field.name), this.#text(field.value)];
      return name === field.name && value === field.value ? field : makeField(name, value);
    });
  }

  /** The body of an answer as the client may have it. */
  body({ status, fields }: ResponseHead, body: MessageBody): MessageBody {
    if (body.done) return body;
    const parts = { needles: this.#needles, deadlines: this.#deadlines };
    const codings = listOf(fields, "content-encoding").filter((coding) => coding !== "identity");
    const makeDecoder = codings.length === 1 ? decoderOf(codings[0] ?? "") : undefined;
    if (!makeDecoder) return new MaskedBody(body, { ...parts, onEcho: (count) => this.#found(count, true) });
    const isPart = status === 206 || this.#onEcho === "log";
    return this.#watched = new WatchedBody(body, makeDecoder, {
      ...parts,
      isPart,
      onEcho: (count) => this.#found(count, false),
    });
  }

  /** The answer is over, however it ended. */
  drop(): void {
    this.#watched?.drop();
  }

  /** What an upstream sends after a change of protocol, as the client may have it. */
  socket(
    stream: ByteStream,
    { first, isWebSocket }: { readonly first: Uint8Array; readonly isWebSocket: boolean },
  ) {
    const onEcho = (count: number) => this.#found(count, true);
    const parts = { needles: this.#needles, deadlines: this.#deadlines, onEcho };
    return maskedSocket(stream, { ...parts, first, isWebSocket });
  }

  #text(text: string): string {
    const { length } = this.#needles.find(text);
    return length > 0 && this.#found(length, true) ? this.#needles.mask(text) : text;
  }

  /** Counts. @returns whether to mask */
  #found(count: number, canMask: boolean): boolean {
    this.#echoed += count;
    if (this.#onEcho === "log") return false;
    if (this.#onEcho === "mask" && canMask) return true;
    throw new ProxyError(
      "upstream.echo",
      "Cannot pass the response on: it holds the credential of the request",
    );
  }
}
