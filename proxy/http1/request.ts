/**
 * A request on a client's HTTP/1 connection with the way back: heads as bytes, and whether another request may follow.
 *
 * Not here: reading the head (`head_reader.ts`), anything that decides.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Deadlines } from "../../core/deadlines.ts";
import type { Limits } from "../../core/limits.ts";
import { listOf, makeField } from "../message/fields.ts";
import type {
  IncomingRequest,
  MessageBody,
  RawEnd,
  RequestHead,
  ResponseHead,
  WholeAnswer,
} from "../message/message.ts";
import { type ByteReader, type ByteStream, writeAll } from "../streams/byte_reader.ts";
import { requestBody } from "./body.ts";
import { formatResponseHead, writeResponseHead } from "./head_writer.ts";
import { PulledBody } from "./pulled_body.ts";

/** What becomes of the connection: `keep` reads another request, `taken` means that somebody else closes it. */
export type Next = "keep" | "close" | "taken";

/** The client's connection. */
export interface ClientConnection {
  readonly stream: ByteStream & { abort(): void };
  readonly reader: ByteReader;
  /** The stream is inside of TLS: its end is a close_notify, after which nobody waits for an answer. */
  readonly isTls?: boolean;
  /** No request is taken after this one. */
  readonly state: { readonly isStopping: boolean };
  readonly context: { readonly limits: Limits; readonly deadlines: Deadlines };
}

/** See the module. */
export class Http1Request implements IncomingRequest {
  readonly head: RequestHead;
  body: MessageBody;
  readonly #connection: ClientConnection;
  #next: Next = "keep";
  /** When the request was whole, as far as the client is watched. */
  #wholeAt: number | undefined;
  /** The client ended its side together with the request, and waits for the answer. */
  #isHalfClosed = false;

  /** @throws ProxyError `client.malformed` for a body that could be read in two ways */
  constructor(head: RequestHead, connection: ClientConnection) {
    this.head = head;
    this.body = new PulledBody(requestBody(head, connection.context.limits), connection.reader);
    this.#connection = connection;
  }

  /** What becomes of the connection once the answer is over. */
  get next(): Next {
    return this.#next;
  }

  watch(onGone: () => void, mayReadAhead = false): void {
    const { reader } = this.#connection;
    if (reader.size > 0 && !mayReadAhead) return;
    const { isTls, context: { limits } } = this.#connection;
    // Nobody half-closes and then waits for a person.
    const mayHalfClose = !isTls && !mayReadAhead;
    const wholeAt = isTls ? 0 : this.#wholeAt ??= performance.now();
    reader.readAhead((hasMore) => {
      if (hasMore || this.#isHalfClosed) return;
      this.#isHalfClosed = mayHalfClose && reader.ended &&
        performance.now() - wholeAt < limits.endWithRequestMs;
      if (this.#isHalfClosed) return;
      if (mayReadAhead || reader.ended || reader.size === 0) onGone();
    });
  }

  /**
   * The last bytes of the answer are about to be written. A client may close as soon as it has them, which we may learn before
   * our write resolves; and the read may go on for as long as a tunnel is idle, which is not to keep what has been answered.
   */
  #unwatch(): void {
    this.#connection.reader.tellNobody();
  }

  /** RFC 9110 §15.2: an HTTP/1.0 client must not get one. */
  inform(head: ResponseHead): Promise<void> {
    if (this.head.version === "HTTP/1.0") return Promise.resolve();
    return writeResponseHead(this.#connection.stream, { ...head, version: "HTTP/1.1" });
  }

  begin(head: ResponseHead, first: Uint8Array, body: MessageBody): Promise<void> {
    const { stream, state } = this.#connection;
    // An early answer to an unfinished upload: the rest of it belongs to nobody.
    const close = wantsClose(this.head) || body.closeDelimited || state.isStopping || !this.body.isReleased;
    if (close) this.#next = "close";
    const fields = close ? [...head.fields, makeField("Connection", "close")] : head.fields;
    if (body.done) this.#unwatch();
    return writeResponseHead(stream, { ...head, version: "HTTP/1.1", fields }, first);
  }

  write(piece: Uint8Array, isLast: boolean): Promise<void> {
    if (isLast) this.#unwatch();
    return writeAll(this.#connection.stream, piece);
  }

  /** Trailers are among the body's bytes. */
  end(): void {}

  async answer(whole: WholeAnswer): Promise<void> {
    this.#unwatch();
    const close = isFatal(whole.status) || !this.body.isReleased || wantsClose(this.head) ||
      this.#connection.state.isStopping;
    if (close) this.#next = "close";
    if (!await writeAnswer(this.#connection, whole, { isHead: this.head.method === "HEAD", close })) {
      this.#next = "close";
    }
  }

  async switchProtocols(head: ResponseHead): Promise<RawEnd> {
    const { stream, reader } = this.#connection;
    this.#next = "taken";
    await writeResponseHead(stream, { ...head, version: "HTTP/1.1" });
    return { stream, first: reader.takeAll() };
  }

  cut(): void {
    this.#next = "taken";
    this.#connection.stream.abort();
  }
}

/** What follows a request that could not be read whole is not known to be a request. */
function isFatal(status: number): boolean {
  return status === 400 || status === 431 || status === 408;
}

/** True when the client will not, or cannot, send another request on its connection (RFC 9112 §9.3). */
function wantsClose(head: RequestHead): boolean {
  return head.version === "HTTP/1.0" || listOf(head.fields, "connection").includes("close");
}

/**
 * Writes an answer of the proxy itself. A client that sends requests and reads no answers does not hold its connection for
 * ever.
 *
 * @returns false when the client is gone
 */
export async function writeAnswer(
  { stream, context: { deadlines, limits } }: ClientConnection,
  whole: WholeAnswer,
  framing: AnswerFraming,
): Promise<boolean> {
  const deadline = deadlines.start(limits.headTimeoutMs, () => stream.abort());
  try {
    await writeAll(stream, formatAnswer(whole, framing));
    return true;
  } catch {
    return false;
  } finally {
    deadline.stop();
  }
}

/** How an answer is framed. */
export interface AnswerFraming {
  /** No body follows, as after HEAD. */
  readonly isHead: boolean;
  /** The connection is closed after it. */
  readonly close: boolean;
}

/** The bytes of an answer of the proxy itself. */
export function formatAnswer(
  { status, phrase = "", fields, body }: WholeAnswer,
  { isHead, close }: AnswerFraming,
): Uint8Array {
  const head = formatResponseHead({
    version: "HTTP/1.1",
    status,
    reason: phrase,
    fields: close ? [...fields, makeField("Connection", "close")] : fields,
  });
  return isHead ? head : Buffer.concat([head, body]);
}
