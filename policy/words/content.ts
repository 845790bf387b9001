/**
 * What a body says, read in the ways that rules want. Pure: the bytes come from elsewhere, and go upstream as they came.
 *
 * Not here: the readers of each kind, and which of them is wanted (`conditions.ts`).
 *
 * @module
 */
import { type BodyRead, isUnreadable, type Unreadable } from "./body_text.ts";
import type { Content, ContentKind } from "./conditions.ts";
import { readGraphql } from "./graphql.ts";
import { readLfs } from "./lfs.ts";
import { readMcp } from "./mcp.ts";

const READERS: { readonly [Kind in ContentKind]: (body: BodyRead) => Content[Kind] } = {
  lfs: ({ bytes }) => readLfs(bytes),
  graphql: readGraphql,
  mcp: readMcp,
};

/** Reads a body, or says of each kind why it cannot be read. */
export function readContent(kinds: readonly ContentKind[], body: BodyRead | Unreadable): Content {
  return Object.fromEntries(kinds.map((kind) => [kind, isUnreadable(body) ? body : READERS[kind](body)]));
}
