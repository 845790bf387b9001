/**
 * Heads as bytes: the exact inverse of `http1/head_reader.ts`. Memory for bytes costs several times what writing a head into
 * it does, so heads that are written to a connection take turns in some buffers.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { HeaderField } from "../message/fields.ts";
import type { RequestHead, ResponseHead } from "../message/message.ts";
import { type ByteStream, writeAll } from "../streams/byte_reader.ts";

type Output = Pick<ByteStream, "write">;

/** The bytes of a request head, with the beginning of its body. */
export function formatRequestHead(head: RequestHead, first = NOTHING): Uint8Array<ArrayBuffer> {
  return formatted(requestText(head), first);
}

/** The bytes of a response head, with the beginning of its body. */
export function formatResponseHead(head: ResponseHead, first = NOTHING): Uint8Array<ArrayBuffer> {
  return formatted(responseText(head), first);
}

/** Writes a request head, with the beginning of its body. */
export function writeRequestHead(stream: Output, head: RequestHead, first = NOTHING): Promise<void> {
  return write(stream, requestText(head), first);
}

/** Writes a response head, with the beginning of its body. */
export function writeResponseHead(stream: Output, head: ResponseHead, first = NOTHING): Promise<void> {
  return write(stream, responseText(head), first);
}

const NOTHING: Uint8Array = new Uint8Array(0);
const encoder = new TextEncoder();
/** Larger heads, and those with much of a body, get memory of their own. */
const SPARE_BYTES = 4_096;
/** Writes that wait for their receivers hold the buffers that they have. */
const MAX_SPARE = 64;
const spare: Uint8Array<ArrayBuffer>[] = [];

function write(stream: Output, text: string, first: Uint8Array): Promise<void> {
  const size = text.length + first.length;
  if (size > SPARE_BYTES) return writeAll(stream, formatted(text, first));
  const buffer = spare.pop() ?? new Uint8Array(SPARE_BYTES);
  print(text, first, buffer);
  return writeAll(stream, buffer.subarray(0, size), () => {
    if (spare.length < MAX_SPARE) spare.push(buffer);
  });
}

function formatted(text: string, first: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length + first.length);
  print(text, first, bytes);
  return bytes;
}

/** One byte a character. Heads are nearly always ASCII, for which UTF-8 is the same and encoded natively. */
function print(text: string, first: Uint8Array, into: Uint8Array<ArrayBuffer>): void {
  const { read, written } = encoder.encodeInto(text, into);
  if (read !== text.length || written !== text.length) Buffer.from(into.buffer).write(text, "latin1");
  into.set(first, text.length);
}

function requestText({ method, target, version, fields }: RequestHead): string {
  return headText(`${method} ${target} ${version}`, fields);
}

function responseText({ version, status, reason, fields }: ResponseHead): string {
  return headText(`${version} ${status} ${reason}`, fields);
}

function headText(startLine: string, fields: readonly HeaderField[]): string {
  let text = startLine + "\r\n";
  for (const field of fields) text += (field.line ?? `${field.name}: ${field.value}`) + "\r\n";
  return text + "\r\n";
}
