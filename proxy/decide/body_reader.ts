/**
 * The body of a request whose rule has to know what it says: read whole, within bounds, before anything is decided, and put
 * back so that it goes upstream byte for byte. Requests under other rules never come here.
 *
 * Not here: what it says (`policy/words/content.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib";
import { ProxyError } from "../../core/errors.ts";
import {
  type BodyRead,
  isUnreadable,
  MAX_BODY_BYTES,
  textOf,
  type Unreadable,
  unreadable,
} from "../../policy/words/body_text.ts";
import { clientGone } from "../course.ts";
import type { Exchange } from "../exchange.ts";
import { dechunk } from "../http1/body_text.ts";
import { foldName, type HeaderField, listOf } from "../message/fields.ts";
import type { MessageBody } from "../message/message.ts";
import { SentBody } from "../message/sent_body.ts";
import { turnAfter } from "../streams/turn_share.ts";

const TOO_LARGE: Unreadable = { reason: "body-too-large", why: "its body is larger than 1 MiB" };
const CODED: Unreadable = {
  reason: "body-encoding",
  why: "its body is compressed in a way that is not read, or unfolds to more than 1 MiB",
};

/** A body that was read, and how to give back the room that it takes once the request is over. */
export interface ReadRequest {
  readonly body: BodyRead | Unreadable;
  drop(): void;
}

/**
 * Reads it.
 *
 * @throws ProxyError `client.malformed`, `client.closed`, `client.timeout`, `limit.reached`
 */
export async function readRequestBody(
  exchange: Exchange,
  client: string,
  query: string | undefined,
): Promise<ReadRequest> {
  const { request, session: { context } } = exchange;
  const { head } = request;
  const kept = new SentBody(context.admission.held(client));
  const raw = request.body.done ? new Uint8Array(0) : await takeBody(exchange, kept);
  const drop = () => kept.drop();
  if (isUnreadable(raw)) return { body: raw, drop };
  const codings = foldedValues(head.fields, "content-encoding");
  // To undo its coding and to read it takes longer than to pass it on: no more than one large body in a turn.
  const turn = turnAfter(codings.length > 0 ? MAX_BODY_BYTES : raw.length);
  if (turn) await turn;
  const isChunked = head.version !== "HTTP/2" && listOf(head.fields, "transfer-encoding").length > 0;
  const bytes = unfold(
    isChunked ? dechunk(Buffer.from(raw)) : raw,
    codings,
  );
  if (isUnreadable(bytes)) return { body: bytes, drop };
  return {
    body: { method: head.method, query, types: foldedValues(head.fields, "content-type"), bytes },
    drop,
  };
}

/** All of the body's bytes, framing included; the request's body gives them once more. */
async function takeBody({ request, session }: Exchange, kept: SentBody): Promise<Uint8Array | Unreadable> {
  const { deadlines, limits } = session.context;
  const { head, body } = request;
  if (Number(foldedValues(head.fields, "content-length")[0]) > MAX_BODY_BYTES) return TOO_LARGE;
  // RFC 9110 §10.1.1: who waits for a 100 sends nothing before it.
  if (listOf(head.fields, "expect").includes("100-continue")) {
    await request.inform({ version: head.version, status: 100, reason: "Continue", fields: [] });
  }
  let isLate = false;
  let giveUp = () => {};
  const deadline = deadlines.start(limits.bodyReadTimeoutMs, () => {
    isLate = true;
    giveUp();
  });
  let size = 0;
  try {
    for (;;) {
      if (isLate) throw tooLate();
      const piece = body.take();
      size += piece.length;
      if (size > MAX_BODY_BYTES) return TOO_LARGE;
      kept.add(piece);
      body.release();
      if (!kept.isWhole) throw full();
      if (body.done) break;
      if (piece.length > 0) continue;
      // Made for each wait: one for all would keep something of every race, and a body may come byte by byte.
      const late = Promise.withResolvers<never>();
      giveUp = () => late.reject(tooLate());
      if (!await Promise.race([body.fill(), late.promise])) throw clientGone();
    }
  } catch (error) {
    kept.drop();
    throw error;
  } finally {
    deadline.stop();
  }
  const bytes = kept.join();
  request.body = new ReadBody(bytes, body);
  return bytes;
}

/** A body that was read, from its beginning. */
export class ReadBody implements MessageBody {
  readonly closeDelimited = false;
  readonly #bytes: Uint8Array;
  readonly #body: MessageBody;
  #isTaken = false;

  constructor(bytes: Uint8Array, body: MessageBody) {
    this.#bytes = bytes;
    this.#body = body;
  }

  get done(): boolean {
    return this.#isTaken;
  }

  /** Nothing of it is left on the connection. */
  get isReleased(): boolean {
    return true;
  }

  get trailers(): readonly HeaderField[] | undefined {
    return this.#body.trailers;
  }

  takeFirst(): Uint8Array {
    return this.take();
  }

  take(): Uint8Array {
    if (this.#isTaken) return new Uint8Array(0);
    this.#isTaken = true;
    return this.#bytes;
  }

  release(): void {}

  fill(): Promise<boolean> {
    return Promise.resolve(true);
  }
}

/**
 * The content without its coding (RFC 9110 §8.4), whole. Few servers undo codings of requests: bytes that are text as they
 * are, and something else when undone (Brotli has no mark at its beginning), would be read in two ways.
 */
export function unfold(bytes: Uint8Array, values: readonly string[]): Uint8Array | Unreadable {
  const [coding = "identity", ...more] = values.map((value) => value.trim().toLowerCase());
  if (coding === "identity" && more.length === 0) return bytes;
  if (more.length > 0) return CODED;
  const text = textOf(bytes);
  // deno-lint-ignore no-control-regex
  if (!isUnreadable(text) && !/[\x00-\x08\x0e-\x1f]/.test(text)) {
    return unreadable("its body is text, and says that it is compressed");
  }
  const limit = { maxOutputLength: MAX_BODY_BYTES };
  try {
    switch (coding) {
      case "gzip":
      case "x-gzip":
        return gunzipSync(bytes, limit);
      case "deflate":
        return inflateSync(bytes, limit);
      case "br":
        return brotliDecompressSync(bytes, limit);
      default:
        return CODED;
    }
  } catch {
    return CODED; // damaged, cut short, or too large
  }
}

/** Values under every spelling of a name that some server takes for it. */
function foldedValues(fields: readonly HeaderField[], name: string): readonly string[] {
  return fields.flatMap(({ key, value }) => foldName(key) === name ? [value] : []);
}

function tooLate(): ProxyError {
  return new ProxyError("client.timeout", "Cannot read the request: its body took too long");
}

function full(): ProxyError {
  return new ProxyError("limit.reached", "Cannot read the request's body: too many are held at once", {
    reason: "overload",
  });
}
