/**
 * Heads as bytes: the exact inverse of `http1/head_reader.ts`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { HeaderField } from "../message/fields.ts";
import type { RequestHead, ResponseHead } from "../message/message.ts";

/** The bytes of a request head. */
export function formatRequestHead(head: RequestHead): Uint8Array {
  return formatHead(`${head.method} ${head.target} ${head.version}`, head.fields);
}

/** The bytes of a response head. */
export function formatResponseHead(head: ResponseHead): Uint8Array {
  return formatHead(`${head.version} ${head.status} ${head.reason}`, head.fields);
}

/** A head with the beginning of its body, as a copy. */
export function withBody(head: Uint8Array, first: Uint8Array): Uint8Array {
  if (first.length === 0) return head;
  const bytes = new Uint8Array(head.length + first.length);
  bytes.set(head);
  bytes.set(first, head.length);
  return bytes;
}

function formatHead(startLine: string, fields: readonly HeaderField[]): Uint8Array {
  let text = startLine + "\r\n";
  for (const field of fields) text += (field.line ?? `${field.name}: ${field.value}`) + "\r\n";
  return encodeLatin1(text + "\r\n");
}

const encoder = new TextEncoder();

/** One byte a character. Heads are nearly always ASCII, for which UTF-8 is the same and encoded natively. */
function encodeLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  const { read } = encoder.encodeInto(text, bytes);
  return read === text.length ? bytes : Buffer.from(text, "latin1");
}
