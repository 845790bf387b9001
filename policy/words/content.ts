/**
 * What a body says, read in the ways that rules want. Pure: the bytes come from elsewhere, and go upstream as they came.
 *
 * Not here: the readers of each kind, and which of them is wanted (`conditions.ts`).
 *
 * @module
 */
import { isUnreadable, type Unreadable } from "./body_text.ts";
import type { Content, ContentKind } from "./conditions.ts";
import { readGraphql } from "./graphql.ts";
import { readLfs } from "./lfs.ts";
import { readMcp } from "./mcp.ts";

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

const READERS: { readonly [Kind in ContentKind]: (body: BodyRead) => Content[Kind] } = {
  lfs: ({ bytes }) => readLfs(bytes),
  graphql: readGraphql,
  mcp: readMcp,
};

/** Reads a body, or says of each kind why it cannot be read. */
export function readContent(kinds: readonly ContentKind[], body: BodyRead | Unreadable): Content {
  return Object.fromEntries(kinds.map((kind) => [kind, isUnreadable(body) ? body : READERS[kind](body)]));
}
