/**
 * What the HTTP/2 codec (RFC 9113) gives and takes: heads, streams and connections, of both roles. The server role faces
 * the client, the client role the upstream. Nothing here knows of policy.
 *
 * Not here: how it is done (`accept/connection.ts`, `stream.ts`, `frames.ts`, `hpack.ts`).
 *
 * @module
 */
import type { Deadlines } from "../../core/deadlines.ts";
import type { Limits } from "../../core/limits.ts";
import type { ByteReader, ByteStream } from "../streams/byte_reader.ts";
import type { KeptBytes } from "../message/sent_body.ts";
import type { Budget } from "./budget.ts";
import type { Http2Error } from "./error.ts";
import type { Turns } from "../../core/turns.ts";

/**
 * One field of a head or a trailer section. What is received was checked: the name is a lower-case token (so `name` and
 * `key` are one text), the value has no CR, LF or NUL and no space around it, connection-specific fields are absent.
 */
export interface Http2Field {
  readonly name: string;
  /** The name in lower case; the only one that is sent. */
  readonly key: string;
  /** One character a byte. */
  readonly value: string;
  /**
   * The sender forbids every hop to put it into a compression table (RFC 7541 §7.1.3); we do the same when it is sent on.
   * Fields that are known to carry a credential are always sent so.
   */
  readonly isSensitive?: boolean;
}

/** What may be sent: {@linkcode Http2Field} or an HTTP/1.1 field; only these members are read. */
export type SendableField = Pick<Http2Field, "key" | "value" | "isSensitive">;

/** A request's head without its pseudo-header fields among the fields (RFC 9113 §8.3.1). */
export interface Http2RequestHead<Field extends SendableField = Http2Field> {
  readonly method: string;
  /** Absent in a CONNECT without `protocol`. */
  readonly scheme: string | undefined;
  /** `:authority` as sent, not checked to be a host; a `host` field stays among the fields. One of the two is there. */
  readonly authority: string | undefined;
  /** Absent in a CONNECT without `protocol`; else `*` or it begins with `/`. */
  readonly path: string | undefined;
  /** It is sent like a field that `isSensitive`. */
  readonly isPathSensitive?: boolean;
  /** `:protocol` of an Extended CONNECT (RFC 8441), only where we have announced that. */
  readonly protocol: string | undefined;
  readonly fields: readonly Field[];
}

/** A response's head; 1xx ones are interim. There is no 101 in HTTP/2. */
export interface Http2ResponseHead<Field extends SendableField = Http2Field> {
  readonly status: number;
  readonly fields: readonly Field[];
}

/**
 * What both roles do with a stream. Once it was cut (peer's RST_STREAM, the connection's end, an error of the peer's, or
 * our own {@linkcode reset}), everything that waits and everything that is called later rejects or throws with one
 * {@linkcode Http2Error}.
 */
export interface Http2Stream {
  readonly id: number;

  /** Received body bytes, as a view that stays as it is until they are consumed. Not all that is here, when more came. */
  readonly available: Uint8Array;
  /**
   * Says that the other side has taken so many of the bytes: only now the sender gets window credit for them. A body
   * that nobody consumes stops after one window.
   */
  consume(count: number): void;
  /** A copy of the first `count` received bytes, or of all that are here; they stay. */
  peek(count: number): Uint8Array;
  /**
   * Waits for `count` bytes (default 1) to be here, or for the end of the body; at once when they are. More than a window
   * never are. What waits is one call: the last one's count is the one that counts.
   *
   * @returns false when the body is over and nothing of it is left; then `trailers` is known
   * @throws Http2Error
   */
  fill(count?: number): Promise<boolean>;
  /** The peer has ended its side, and `available` is the last of its body; it has no trailers if that holds bytes. */
  readonly isLast: boolean;
  /** Once the body is over: its trailer section, undefined without one. */
  readonly trailers: readonly Http2Field[] | undefined;

  /**
   * Sends body bytes, waiting for both windows and for room on the way out. The bytes are the caller's again when it
   * resolves. `end` marks the last of them.
   *
   * @throws Http2Error
   */
  write(bytes: Uint8Array, end?: boolean): Promise<void>;
  /** Ends our side, after everything that was written: with END_STREAM, or with a trailer section. */
  end(trailers?: readonly SendableField[]): void;

  /** Sends RST_STREAM, drops what is queued in both directions and returns its credit. Nothing when it is over already. */
  reset(code: number): void;
  /**
   * Called once when the stream is cut by anything but our own {@linkcode reset}: in the same turn, or with `turns`, when its
   * connection ends, in its turn.
   */
  onReset: ((error: Http2Error) => void) | undefined;
  /** Set once the stream was cut. */
  readonly error: Http2Error | undefined;
}

/** A request that came. */
export interface Http2ServerStream extends Http2Stream {
  readonly head: Http2RequestHead;
  /** The head has END_STREAM: there is no body. */
  readonly isBodyless: boolean;
  /**
   * Sends a response head: interim ones (1xx, never with `end`), then a final one. `end` puts END_STREAM on it: no body,
   * no trailers (gRPC's Trailers-Only).
   *
   * @throws Http2Error when the stream was cut
   */
  respond(head: Http2ResponseHead<SendableField>, end?: boolean): void;
}

/** A request that we sent. */
export interface Http2ClientStream extends Http2Stream {
  /**
   * The next response head: interim ones in order, and at last the final one. At most one call is under way.
   *
   * @throws Http2Error
   */
  response(): Promise<Http2ReceivedResponse>;
}

/** A response head with whether anything follows. */
export interface Http2ReceivedResponse extends Http2ResponseHead {
  /** The head has END_STREAM: no body, no trailers. To be kept when it is sent on (gRPC's Trailers-Only). */
  readonly isBodyless: boolean;
}

/** Both roles of a connection. */
export interface Http2Connection {
  /** Resolves when the connection is over and its socket closed. Never rejects. */
  readonly closed: Promise<void>;
  /** Why it ended, unless it ended in order. */
  readonly error: Http2Error | undefined;
  /** Streams that are open or half-closed. */
  readonly activeStreams: number;
  /** No new stream will be admitted or can be opened: GOAWAY was sent or received, or the connection is over. */
  readonly isDraining: boolean;
  readonly counters: Readonly<Http2Counters>;
  /**
   * Ends in order: no new streams, those under way go on, then the socket is closed. A server says GOAWAY twice, with a
   * round trip between, so that requests under way are not lost (RFC 9113 §6.8). Bound it with {@linkcode close}.
   */
  shutDown(): void;
  /** Ends at once: GOAWAY with `code` (default NO_ERROR), every stream is cut. */
  close(code?: number): void;
}

/** Sums over a connection's life. */
export interface Http2Counters {
  /** Bytes of frames. */
  bytesIn: number;
  bytesOut: number;
  /** Streams that were opened, by either side. */
  streams: number;
  /** Streams that the peer reset, and that we reset. */
  resetsIn: number;
  resetsOut: number;
}

/** The client role. */
export interface Http2ClientConnection extends Http2Connection {
  /**
   * Opens a stream and sends a request's head; waits while the peer's MAX_CONCURRENT_STREAMS are in use.
   *
   * @param head called right before the head is written, with nothing awaited in between; when it throws, nothing is
   *   sent, and the promise rejects with that
   * @throws Http2Error with `isUnprocessed` when the peer has not seen the request or has refused to act on it
   *   (draining, GOAWAY, REFUSED_STREAM): it may be sent again elsewhere
   */
  openStream(
    head: () => Http2RequestHead<SendableField>,
    options?: { readonly end?: boolean; readonly signal?: AbortSignal },
  ): Promise<Http2ClientStream>;
  /** How many streams may be open at once; beyond, requests wait. */
  readonly maxStreams: number;
  /** Resolves when the peer's first SETTINGS came; rejects when the connection ended before. */
  readonly ready: Promise<void>;
  /** The peer has announced Extended CONNECT (RFC 8441 §3). Known once `ready`. */
  readonly hasExtendedConnect: boolean;
  /** The code of the last GOAWAY that came; undefined without one. */
  readonly goAwayCode: number | undefined;
}

/** The server role. */
export interface Http2ServerConnection extends Http2Connection {
  /** Announces Extended CONNECT (RFC 8441 §3); it cannot be taken back. Before, `:protocol` is refused. */
  announceExtendedConnect(): void;
}

/** The limits that the codec keeps. */
export type Http2Limits = Pick<
  Limits,
  | "maxHeadBytes"
  | "maxHeaderCount"
  | "maxInterimResponses"
  | "maxHttp2Streams"
  | "maxHttp2Continuations"
  | "maxHttp2HeadsInTurn"
  | "maxHttp2FramesInTurn"
  | "maxHttp2RememberedResets"
  | "http2StreamWindowBytes"
  | "http2UpstreamWindowBytes"
  | "maxHttp2UpstreamWindowBytes"
  | "http2ConnectionWindowBytes"
  | "maxHttp2BacklogBytes"
  | "minHttp2ProgressBytes"
  | "maxHttp2Resets"
  | "maxHttp2ClientResets"
  | "http2ResetsPerSecond"
  | "maxHttp2ControlFrames"
  | "http2ControlFramesPerSecond"
  | "headTimeoutMs"
  | "bodyIdleTimeoutMs"
  | "lingerTimeoutMs"
>;

/** What both roles need. The connection owns the stream from now on and closes it. */
export interface Http2Options {
  readonly stream: ByteStream;
  /** Reads from `stream`; may hold bytes of it already. */
  readonly reader: ByteReader;
  readonly limits: Http2Limits;
  readonly deadlines: Deadlines;
  /** Of the client that it is for: requests begin in them, and those that the end of the connection cuts end in them. */
  readonly turns?: Turns;
  /** Room by which the windows of its streams may grow, all together, where a round trip takes long. Without it they do not. */
  readonly growth?: KeptBytes;
}

/** What a server needs. */
export interface Http2ServerOptions extends Http2Options {
  /**
   * Called for every request that its peer has not reset within the same read, or before its turn. When what it returns settles, the request is over: what is still open of the stream is
   * reset (NO_ERROR when only the request's body was left, else INTERNAL_ERROR). It counts as running until then.
   */
  onRequest(stream: Http2ServerStream): Promise<void>;
  /**
   * Called for a request that was refused before it became one: a head that cannot be read in exactly one way (reset
   * with PROTOCOL_ERROR), or is too large (answered with 431); and for the first stream of a connection that is refused because
   * `resets` is spent. Streams above the limit and floods are not told.
   */
  onRefused?(error: Http2Error): void;
  /** How many requests the client behind it may give up, over all its connections; while it is spent, streams are refused. */
  readonly resets?: Budget;
  /** Extended CONNECT is announced from the beginning (RFC 8441 §3). */
  readonly hasExtendedConnect?: boolean;
  /** Called whenever the last stream is over. */
  onIdle?(): void;
}
