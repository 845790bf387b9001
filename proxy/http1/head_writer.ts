/**
 * Heads as bytes: the exact inverse of `http1/head_reader.ts`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { HeaderField } from "../message/fields.ts";
import type { RequestHead, ResponseHead } from "../message/message.ts";

/** The bytes of a request head, with the beginning of its body. */
export function formatRequestHead(head: RequestHead, first = NOTHING): Uint8Array<ArrayBuffer> {
  return formatHead(`${head.method} ${head.target} ${head.version}`, head.fields, first);
}

/** The bytes of a response head, with the beginning of its body. */
export function formatResponseHead(head: ResponseHead, first = NOTHING): Uint8Array<ArrayBuffer> {
  return formatHead(`${head.version} ${head.status} ${head.reason}`, head.fields, first);
}

const NOTHING: Uint8Array = new Uint8Array(0);
const encoder = new TextEncoder();

function formatHead(
  startLine: string,
  fields: readonly HeaderField[],
  first: Uint8Array,
): Uint8Array<ArrayBuffer> {
  let text = startLine + "\r\n";
  for (const field of fields) text += (field.line ?? `${field.name}: ${field.value}`) + "\r\n";
  text += "\r\n";
  const bytes = new Uint8Array(text.length + first.length);
  // One byte a character. Heads are nearly always ASCII, for which UTF-8 is the same and encoded natively.
  const { read, written } = encoder.encodeInto(text, bytes);
  if (read !== text.length || written !== text.length) Buffer.from(bytes.buffer).write(text, "latin1");
  bytes.set(first, text.length);
  return bytes;
}
