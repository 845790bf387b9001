/**
 * Bodies as text, where a rule has to know what they say. What two readers could take for different things is not read: bytes
 * that are no UTF-8.
 *
 * Not here: the bytes (`proxy/decide/body_reader.ts`), their JSON (`json.ts`), and what it means.
 *
 * @module
 */
import type { Reason } from "../reason.ts";

/** A body that could not be read: the request is denied, whatever rules stand behind. */
export interface Unreadable {
  readonly reason: Reason;
  /** One clause of ours, lower case, no full stop. */
  readonly why: string;
}

/** A request with its body, codings undone. */
export interface BodyRead {
  /** As sent, in any case. */
  readonly method: string;
  /** As sent, without the `?`. */
  readonly query: string | undefined;
  /** The values of all its Content-Type fields. */
  readonly types: readonly string[];
  /** At most `MAX_BODY_BYTES`. */
  readonly bytes: Uint8Array;
}

/** Bytes of a body, before and after its coding is undone, that are read for a rule: what API clients send is far below. */
export const MAX_BODY_BYTES = 1_048_576;

/** What is wrong with a body. */
export function unreadable(why: string): Unreadable {
  return { reason: "body-unreadable", why };
}

/** True for what {@linkcode unreadable} and its like made. */
export function isUnreadable(value: unknown): value is Unreadable {
  return typeof value === "object" && value !== null && "reason" in value && "why" in value;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** The text of a body; a byte order mark at its beginning is dropped, as servers do. */
export function textOf(bytes: Uint8Array): string | Unreadable {
  try {
    return UTF8.decode(bytes);
  } catch {
    return unreadable("its body is not UTF-8");
  }
}
