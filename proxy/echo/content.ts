/**
 * Where the content of a message lies in bytes that have framing among them.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Bytes of content; the end is behind them. */
export interface Span {
  readonly start: number;
  readonly end: number;
  /** Fields behind a body: in no content coding. */
  readonly isTrailer?: boolean;
}

/** All of it. */
export function wholeOf(piece: Uint8Array): readonly Span[] {
  return piece.length === 0 ? [] : [{ start: 0, end: piece.length }];
}

/** The same spans behind so many more bytes. */
export function movedBy(spans: readonly Span[], count: number): readonly Span[] {
  return spans.map(({ start, end }) => ({ start: start + count, end: end + count }));
}

/** The content as one text, a character for each byte, and the place of each character among the bytes. */
export function contentText(
  bytes: Uint8Array,
  spans: readonly Span[],
): { readonly text: string; readonly at: (index: number) => number } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const [only] = spans;
  if (only && spans.length === 1) {
    return { text: buffer.toString("latin1", only.start, only.end), at: (index) => only.start + index };
  }
  const text = spans.map(({ start, end }) => buffer.toString("latin1", start, end)).join("");
  const ends: number[] = [];
  let sum = 0;
  for (const { start, end } of spans) ends.push(sum += end - start);
  return {
    text,
    at: (index) => {
      const which = firstAbove(ends, index);
      const span = spans[which];
      return span ? span.end - ((ends[which] ?? 0) - index) : bytes.length;
    },
  };
}

/** The spans behind `cut`, counted from there. */
export function spansBehind(spans: readonly Span[], cut: number): readonly Span[] {
  return spans.filter(({ end }) => end > cut).map(({ start, end }) => ({
    start: Math.max(0, start - cut),
    end: end - cut,
  }));
}

/** The longest framing between chunks that says nothing else: CRLF, a size, CRLF. */
const PLAIN_GAP = 16;

/** What of the framing may hold a text: chunk extensions (RFC 9112 §7.1.1). */
export function extensionsAmong(length: number, spans: readonly Span[]): readonly Span[] {
  const gaps: Span[] = [];
  let start = 0;
  for (const span of [...spans, { start: length, end: length }]) {
    if (span.start - start > PLAIN_GAP) gaps.push({ start, end: span.start });
    start = span.end;
  }
  return gaps;
}

/** The first place of a number above `least` in a rising list. */
function firstAbove(rising: readonly number[], least: number): number {
  let [low, high] = [0, rising.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rising[middle] ?? 0) > least) high = middle;
    else low = middle + 1;
  }
  return low;
}
