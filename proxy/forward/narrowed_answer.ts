/**
 * An answer that must not name every tool of an MCP server: read whole, within bounds, narrowed, and written anew. What
 * cannot be read is refused: passed on as it is, it would show what the rule hides.
 *
 * Not here: what is taken out (`policy/words/mcp_list.ts`), and answers to other requests, which pass as they come.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../../core/errors.ts";
import { isUnreadable, MAX_BODY_BYTES, textOf, type Unreadable } from "../../policy/words/body_text.ts";
import { narrowEvents, narrowJson } from "../../policy/words/mcp_list.ts";
import { mediaTypeOf } from "../../policy/words/media_type.ts";
import { ReadBody, unfold } from "../decide/body_reader.ts";
import type { Course } from "../course.ts";
import { type AdmittedExchange, idleTimeoutOf } from "../exchange.ts";
import { dechunk } from "../http1/body_text.ts";
import { listOf, makeField, valuesOf } from "../message/fields.ts";
import type { MessageBody, ResponseHead } from "../message/message.ts";
import { SentBody } from "../message/sent_body.ts";

interface Answer {
  readonly head: ResponseHead;
  readonly body: MessageBody;
}

/** Fields about bytes that the client does not get. */
const OF_THE_BYTES = new Set([
  ...["content-length", "transfer-encoding", "content-encoding", "trailer", "etag"],
  ...["content-md5", "digest", "content-digest", "repr-digest"],
]);

/**
 * Narrows it. Its room is given back by `drop`.
 *
 * @throws ProxyError `upstream.malformed` for what cannot be read or is larger than 1 MiB, `upstream.closed`, `limit.reached`
 */
export async function narrowAnswer(
  exchange: AdmittedExchange,
  course: Course,
  answer: Answer,
): Promise<Answer & { drop(): void }> {
  const { session: { context }, client, tools = [] } = exchange;
  const { head, body } = answer;
  const form = formOf(head);
  if (body.done || form === undefined) return { ...answer, drop: () => {} };
  const kept = new SentBody(context.admission.held(client.name));
  try {
    const raw = await takeAll(body, kept, () => course.touch(idleTimeoutOf(exchange)));
    const isChunked = head.version !== "HTTP/2" && listOf(head.fields, "transfer-encoding").length > 0;
    const codings = listOf(head.fields, "content-encoding");
    const bytes = readable(unfold(isChunked ? dechunk(Buffer.from(raw)) : raw, codings));
    const narrow = form === "events" ? narrowEvents : narrowJson;
    const narrowed = new TextEncoder().encode(readable(narrow(tools, readable(textOf(bytes)))));
    const fields = [
      ...head.fields.filter(({ key }) => !OF_THE_BYTES.has(key)),
      makeField(head.version === "HTTP/2" ? "content-length" : "Content-Length", String(narrowed.length)),
    ];
    return { head: { ...head, fields }, body: new ReadBody(narrowed, body), drop: () => kept.drop() };
  } catch (error) {
    kept.drop();
    throw error;
  }
}

/** What clients of MCP read a list from (streamable HTTP); undefined for errors and for 202, which answers nothing yet. */
function formOf({ status, fields }: ResponseHead): "json" | "events" | undefined {
  if (status < 200 || status === 202 || status > 299) return undefined;
  return mediaTypeOf(valuesOf(fields, "content-type")) === "text/event-stream" ? "events" : "json";
}

/** All bytes of a body, framing included. */
async function takeAll(body: MessageBody, kept: SentBody, onPiece: () => void): Promise<Uint8Array> {
  let size = 0;
  for (;;) {
    const piece = body.take();
    size += piece.length;
    if (size > MAX_BODY_BYTES) throw refused("it is larger than 1 MiB");
    if (piece.length > 0) {
      kept.add(piece);
      onPiece();
    }
    body.release();
    if (!kept.isWhole) {
      throw new ProxyError("limit.reached", "Cannot read the response: too many bodies are held at once", {
        reason: "overload",
      });
    }
    if (body.done) return kept.join();
    if (piece.length === 0 && !await body.fill()) {
      throw new ProxyError(
        "upstream.closed",
        "Cannot complete the response: upstream closed inside its body",
      );
    }
  }
}

function readable<T extends object | string>(read: T | Unreadable): T {
  if (isUnreadable(read)) throw refused(read.why);
  return read;
}

function refused(why: string): ProxyError {
  return new ProxyError(
    "upstream.malformed",
    `Cannot take tools out of the response as the rule says: ${why}`,
  );
}
