/**
 * Messages on their way through the proxy, whatever version of HTTP carries them: a head, a body that is pulled, and one
 * answer to each request. `http1/` makes them from bytes and back; no version is ever made from another.
 *
 * Not here: what a request is allowed to do, and anything that reads bytes.
 *
 * @module
 */
import type { Deadlines } from "../../core/deadlines.ts";
import type { ProxyError } from "../../core/errors.ts";
import type { ByteStream } from "../streams/byte_reader.ts";
import type { HeaderField } from "./fields.ts";

export type HttpVersion = "HTTP/1.0" | "HTTP/1.1" | "HTTP/2";

/** What a request says before its body, as sent. */
export interface RequestHead {
  /** As sent; `GET` for an Extended CONNECT, which is HTTP/2's form of an upgrade (RFC 8441). */
  readonly method: string;
  /** HTTP/1: as on the request line. HTTP/2: `:path`. */
  readonly target: string;
  /** The target holds a credential (RFC 7541 §7.1.3). */
  readonly isTargetSensitive?: boolean;
  readonly version: HttpVersion;
  /** `:scheme`, `:authority` and `:protocol` of HTTP/2; HTTP/1 says them in its target and fields. */
  readonly scheme?: string | undefined;
  readonly authority?: string | undefined;
  readonly protocol?: string | undefined;
  readonly fields: readonly HeaderField[];
}

/** What a response says before its body, as sent. */
export interface ResponseHead {
  readonly version: HttpVersion;
  readonly status: number;
  /** May be empty. */
  readonly reason: string;
  readonly fields: readonly HeaderField[];
}

/**
 * A body, pulled piece by piece: {@linkcode take} one, deliver it, {@linkcode release} it; where none is here,
 * {@linkcode fill}. What is taken and not released is held, so a slow receiver slows the sender down.
 */
export interface MessageBody {
  /** True once its last byte was taken. */
  readonly done: boolean;
  /** True once its last byte was taken and released: what comes next on its connection belongs to another message. */
  readonly isReleased: boolean;
  /** True when the end of the connection is the end of the body. */
  readonly closeDelimited: boolean;
  /** The fields behind it, once it is done; HTTP/1 has them among its bytes. */
  readonly trailers: readonly HeaderField[] | undefined;
  /** Where there is framing among the bytes: from now on {@linkcode content} says where the content of what was taken lies. */
  recordContent?(): void;
  /** In what was taken last, the bytes that are not framing; undefined when all of them are. */
  readonly content?:
    | readonly { readonly start: number; readonly end: number; readonly isTrailer?: boolean }[]
    | undefined;
  /**
   * What is here and should leave in one write with the head; it is released already. HTTP/2 puts frames together itself.
   *
   * @throws ProxyError as {@linkcode take}
   */
  takeFirst(): Uint8Array;
  /**
   * The next piece, which may be empty: a view until the next {@linkcode fill}.
   *
   * @throws ProxyError `client.malformed`, `upstream.malformed`
   */
  take(): Uint8Array;
  /** The piece has been delivered. */
  release(): void;
  /**
   * Waits for more.
   *
   * @returns false when its sender has gone inside the body
   */
  fill(): Promise<boolean>;
}

/** An answer that the proxy gives in its own name, as a whole. */
export interface WholeAnswer {
  readonly status: number;
  /** The words of an HTTP/1 status line, ASCII (RFC 9112 §4). Later versions have none. */
  readonly phrase?: string;
  readonly fields: readonly HeaderField[];
  readonly body: Uint8Array;
}

/** A connection after a change of protocol: what was read ahead, and the bytes that follow. */
export interface RawEnd {
  readonly stream: ByteStream;
  readonly first: Uint8Array;
  /** Where a cut can be told from an end: `listener` is called at the peer's, instead of all others. */
  onCut?(listener: () => void): void;
}

/** A request that a client has sent, and the one answer to it. Writes reject once the client is gone. */
export interface IncomingRequest {
  readonly head: RequestHead;
  /** Replaced by one that gives the same bytes once more where they had to be read before anything was decided. */
  body: MessageBody;
  /**
   * Calls `onGone` when the client goes away before the last byte of its answer was on its way; with the reason, where it
   * has given one. Over HTTP/1.1 only behind the whole body, unless `mayReadAhead`: then one more piece of the body may be
   * read before it is asked for, and nothing is noticed behind that.
   */
  watch(onGone: (why?: ProxyError) => void, mayReadAhead?: boolean): void;
  /** Passes an interim response (1xx) on, to clients that may get one. */
  inform(head: ResponseHead): Promise<void>;
  /** Begins the answer. `first` is what was taken of `body` already. */
  begin(head: ResponseHead, first: Uint8Array, body: MessageBody): Promise<void>;
  /** The next piece of the answer. After the last one nothing follows, no trailers either. */
  write(piece: Uint8Array, isLast: boolean): Promise<void>;
  /** The answer is over. Nothing when its last piece has said so. */
  end(trailers: readonly HeaderField[] | undefined): void;
  /** The answer of the proxy itself. Never rejects, and never takes long. */
  answer(whole: WholeAnswer): Promise<void>;
  /** Answers with a head that changes the protocol, and hands over what follows: the connection, or the stream of HTTP/2. */
  switchProtocols(head: ResponseHead): Promise<RawEnd>;
  /** Ends the answer so that the client sees that it is not whole. `why` may say it in the protocol's own words. */
  cut(why?: unknown): void;
}

/** A connection to an upstream, for one request at a time. */
export interface UpstreamLeg {
  /**
   * Sends the head with what is here of the body.
   *
   * @param head called right before the head is written, with nothing awaited in between; when it throws, nothing is sent
   * @param isWhole nothing follows `first`, no trailers either
   */
  send(head: () => RequestHead, first: Uint8Array, isWhole: boolean): Promise<void>;
  /** The next piece of the body. After the last one nothing follows, no trailers either. */
  write(piece: Uint8Array, isLast: boolean): Promise<void>;
  /** The body is over. Nothing when its last piece has said so. */
  end(trailers: readonly HeaderField[] | undefined): void;
  /**
   * What an error of this leg says about the request: `unseen` when the upstream has not acted on it, `unknown` when a kept
   * connection may have been dead from the start, `misplaced` when it takes it over HTTP/1.1 only.
   */
  fateAfter(error: unknown): "unseen" | "unknown" | "seen" | "misplaced";
  /**
   * The next response head, interim ones included.
   *
   * @throws ProxyError `upstream.malformed`, `upstream.closed`
   */
  readHead(): Promise<ResponseHead>;
  /**
   * The body that follows the head.
   *
   * @throws ProxyError `upstream.malformed`
   */
  bodyOf(head: ResponseHead): MessageBody;
  /** The beginning of the body as text, where it can be had soon. The body can be pulled as a whole after that. */
  peekBody(head: ResponseHead, deadlines: Pick<Deadlines, "start">): Promise<string>;
  /** What follows a head that changes the protocol: the connection, or the stream of HTTP/2. */
  takeOver(): RawEnd;
  /** The whole answer was pulled: the connection may be kept for another request. */
  release(): void;
  /** Ends the connection, in any state. */
  close(): void;
}
