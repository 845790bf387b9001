/**
 * Reading the body of a call: bounded in size and time, and JSON that can be read in only one way.
 *
 * Not here: which fields a call has (`schemas.ts`).
 *
 * @module
 */
import type { Context, MiddlewareHandler, Next } from "hono";
import { ProxyError } from "../core/errors.ts";
import { refuse } from "./errors.ts";

/** Bytes of a body. The largest value that the store takes is 48 KiB, which JSON may make six times as long. */
export const MAX_BODY_BYTES = 1_048_576;

/** From the head of a request to the end of its body: callers are on this machine or administer it. */
const BODY_TIMEOUT_MS = 15_000;

/** {@linkcode jsonBodyUpTo} of the usual length. */
export const jsonBody: MiddlewareHandler = jsonBodyUpTo(MAX_BODY_BYTES);

/**
 * Middleware that hands a checked JSON body on to the schema. `application/json` is accepted, and no content type at
 * all; any other is refused, because a browser sends forms and plain text anywhere without asking (CORS).
 */
export function jsonBodyUpTo(maxBytes: number): MiddlewareHandler {
  return (c, next) => handJson(c, next, maxBytes);
}

async function handJson(c: Context, next: Next, maxBytes: number): Promise<Response | void> {
  const mediaType = c.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (mediaType !== undefined && mediaType !== "application/json") {
    return refuse(415, "Cannot read the request: its content type is not application/json", {
      hint: "send Content-Type: application/json",
    });
  }
  const bytes = await readBody(c.req.raw, BODY_TIMEOUT_MS, maxBytes);
  if (bytes instanceof Response) return bytes;
  parseStrictJson(bytes);
  // The schema's validator reads this request: it asks for the content type, and its own parser is not strict.
  c.req.raw = new Request("http://localhost/", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: bytes,
  });
  return await next();
}

/** The body of a request, or the response that says why it cannot be had: 400, 408 or 413. */
export async function readBody(
  request: Request,
  timeoutMs: number,
  maxBytes: number = MAX_BODY_BYTES,
): Promise<Uint8Array<ArrayBuffer> | Response> {
  const tooLarge = () =>
    refuse(413, `Cannot read the request: its body is longer than ${maxBytes} bytes`, {
      headers: { connection: "close" },
    });
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) return tooLarge();
  if (!request.body) return new Uint8Array();
  const reader = request.body.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    reader.cancel().catch(() => {});
  }, timeoutMs);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      if (length > maxBytes) {
        await reader.cancel();
        return tooLarge();
      }
      chunks.push(value);
    }
  } catch {
    return refuse(400, "Cannot read the request: its body ended early");
  } finally {
    clearTimeout(timer);
  }
  if (isLate) {
    return refuse(408, "Cannot read the request: its body took too long", {
      headers: { connection: "close" },
    });
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/**
 * The value of a JSON text (RFC 8259) in UTF-8. Refused are invalid UTF-8 and a name that an object has twice, which
 * §4 leaves open: a checker in front of this API could have read the other one.
 *
 * @throws ProxyError `input.invalid`, without any of the text
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    // Without the cause: V8 quotes the text in it.
    throw new ProxyError("input.invalid", "Cannot read the request: its body is not JSON", {
      hint: 'send an object such as {"name": "ci-1"}',
    });
  }
  const twice = findRepeatedName(text);
  if (twice !== undefined) {
    const shown = JSON.stringify(twice.slice(0, 40));
    throw new ProxyError("input.invalid", `Cannot read the request: it has the field ${shown} twice`);
  }
  return value;
}

/** The first name that an object of a valid JSON text has twice, after unescaping. */
function findRepeatedName(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // one per open object, undefined per open array
  let isName = false;
  for (const token of tokensOf(text)) {
    const names = open.at(-1);
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(undefined);
    else if (token === "}" || token === "]") open.pop();
    else if (token.startsWith('"') && isName && names) {
      const name = JSON.parse(token) as string;
      if (names.has(name)) return name;
      names.add(name);
    }
    isName = token === "{" || token === ",";
  }
  return undefined;
}

/** The strings and the punctuation of a valid JSON text. */
function* tokensOf(text: string): Generator<string> {
  for (let at = 0; at < text.length; at++) {
    const start = at;
    if (text[at] === '"') {
      do at += text[at] === "\\" ? 2 : 1; while (at < text.length && text[at] !== '"');
      yield text.slice(start, at + 1);
    } else if ("{}[],:".includes(text[at] ?? "")) yield text.slice(start, at + 1);
  }
}
