/**
 * What git-lfs asks for: its batch request says in its body whether objects are to be downloaded or uploaded
 * (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md).
 *
 * @module
 */
import { isUnreadable, textOf, type Unreadable, unreadable } from "./body_text.ts";
import { hasLookalike, isObject, parseJson } from "./json.ts";

/** The operations that exist. */
export type LfsOperation = "download" | "upload";

/** The operation of a batch request. */
export function readLfs(bytes: Uint8Array): LfsOperation | Unreadable {
  const text = textOf(bytes);
  const json = isUnreadable(text) ? text : parseJson(text);
  if (isUnreadable(json)) return json;
  const { value } = json;
  if (!isObject(value) || hasLookalike(value, ["operation"])) {
    return unreadable("its body is no request of git-lfs");
  }
  const { operation } = value;
  return operation === "download" || operation === "upload"
    ? operation
    : unreadable("its body is no request of git-lfs");
}
