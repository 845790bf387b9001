/**
 * What a GraphQL request over HTTP asks for (https://graphql.github.io/graphql-over-http): which operation runs, and its
 * top-level fields. Documents are read by the reference library, within bounds. A request that some server reads otherwise
 * is not read at all: parameters in the URL beside a body, unknown members, another media type.
 *
 * Not here: which operations a rule allows (`graphql_words.ts`).
 *
 * @module
 */
import { createHash } from "node:crypto";
import {
  type DocumentNode,
  type FragmentDefinitionNode,
  type OperationDefinitionNode,
  parse,
  type SelectionSetNode,
} from "graphql";
import { type BodyRead, isUnreadable, textOf, type Unreadable, unreadable } from "./body_text.ts";
import type { GraphqlOperation } from "./graphql_words.ts";
import { hasLookalike, isObject, type JsonObject, parseJson } from "./json.ts";
import { mediaTypeOf } from "./media_type.ts";
import { pairsOf, ParameterNames } from "./query.ts";

/** Requests of a batch. */
const MAX_BATCH = 50;
/** Tokens of a document; the largest of GitHub's own clients has some hundred. */
const MAX_TOKENS = 10_000;
/** Selections that its operations have together, fragments counted in each: as many as a document can have without them. */
const MAX_SELECTIONS = MAX_TOKENS;
/** Brackets within brackets: the library recurs. */
const MAX_DEPTH = 200;

/** Where servers look for a request, or for one that they keep. */
const MEMBERS = ["query", "operationName", "variables", "extensions"];
const IDS = ["documentId", "id", "doc_id", "queryId", "hash", "sha256Hash"];
const PARAMETERS = new ParameterNames([...MEMBERS, ...IDS]);

/** The operations that a request runs; none for what is no such request. */
export function readGraphql(
  { method, query, types, bytes }: BodyRead,
): readonly GraphqlOperation[] | Unreadable {
  if (method === "GET" || method === "HEAD") {
    return bytes.length > 0 ? unreadable("its body is none of GraphQL over HTTP") : readUrl(query);
  }
  if (method !== "POST") return [];
  // Servers differ in which of the two counts.
  if (PARAMETERS.areIn(query)) {
    return unreadable("its URL and its body both may be a request");
  }
  const type = mediaTypeOf(types);
  const text = textOf(bytes);
  if (isUnreadable(text)) return text;
  if (type === "application/graphql") return readRequest({ query: text });
  if (type !== "application/json") return unreadable("its Content-Type is not application/json");
  const json = parseJson(text, ["extensions", "persistedQuery"]);
  if (isUnreadable(json)) return json;
  const requests = Array.isArray(json.value) ? json.value : [json.value];
  if (requests.length === 0 || requests.length > MAX_BATCH) {
    return unreadable("its batch is empty or too long");
  }
  const operations: GraphqlOperation[] = [];
  for (const request of requests) {
    const read = isObject(request) ? readRequest(request) : unreadable("its body is no request of GraphQL");
    if (isUnreadable(read)) return read;
    operations.push(...read);
  }
  return operations;
}

function readUrl(query: string | undefined): readonly GraphqlOperation[] | Unreadable {
  if (query === undefined || !PARAMETERS.areIn(query)) return [];
  if (query.includes(";")) return unreadable("its URL can be read in two ways");
  const members: Record<string, unknown> = {};
  for (const { name, value } of pairsOf(query)) {
    const isMember = MEMBERS.includes(name) || IDS.includes(name);
    if (Object.hasOwn(members, name)) return unreadable("its URL has a parameter twice");
    if (!isMember && PARAMETERS.has(name)) {
      return unreadable("its URL has a parameter that could be taken for another");
    }
    if (!isMember) continue;
    const text = textOf(Uint8Array.from(value, (char) => char.charCodeAt(0)));
    if (isUnreadable(text)) return text;
    const json = name === "extensions" ? parseJson(text, ["persistedQuery"]) : { value: text };
    if (isUnreadable(json)) return json;
    members[name] = json.value;
  }
  return readRequest(members);
}

/** One request of a batch. */
function readRequest(request: JsonObject): readonly GraphqlOperation[] | Unreadable {
  const unknown = Object.keys(request).some((name) => !MEMBERS.includes(name) && !IDS.includes(name));
  if (unknown) return unreadable("it has members that GraphQL over HTTP does not know");
  const { query, operationName = null, extensions = null } = request;
  const kept = keptOperation(request, extensions);
  if (isUnreadable(kept)) return kept;
  if (query === undefined || query === null || query === "") {
    return kept === undefined ? unreadable("it has no document") : [{ hash: kept }];
  }
  if (typeof query !== "string" || (operationName !== null && typeof operationName !== "string")) {
    return unreadable("its document or the name of its operation is no text");
  }
  // Registers the document under its hash (Apollo): what is kept must be what was read.
  if (kept !== undefined && kept !== createHash("sha256").update(query).digest("hex")) {
    return unreadable("its document is not the one that its hash is for");
  }
  return readDocument(query, operationName ?? "");
}

/** The hash or id by which the server is to find a document that it has. */
function keptOperation(request: JsonObject, extensions: unknown): string | undefined | Unreadable {
  const ids: unknown[] = IDS.flatMap((name) =>
    request[name] === undefined || request[name] === null ? [] : [request[name]]
  );
  if (extensions !== null && !isObject(extensions)) return unreadable("its extensions are no object");
  if (extensions && hasLookalike(extensions, ["persistedQuery"])) {
    return unreadable("its extensions are unclear");
  }
  const persisted = extensions?.["persistedQuery"];
  if (persisted !== undefined && persisted !== null) {
    if (!isObject(persisted) || hasLookalike(persisted, ["sha256Hash"])) {
      return unreadable("its hash is unclear");
    }
    ids.push(persisted["sha256Hash"]);
  }
  const [id, ...more] = ids;
  if (more.length > 0 || (ids.length > 0 && typeof id !== "string")) {
    return unreadable("its hash or id is unclear");
  }
  return typeof id === "string" ? id : undefined;
}

/** The operation that runs: the named one, or all where none is named and servers may take any. */
function readDocument(text: string, name: string): readonly GraphqlOperation[] | Unreadable {
  if (isTooDeep(text)) return unreadable("its document is nested too deeply");
  let document: DocumentNode;
  try {
    document = parse(text, { noLocation: true, maxTokens: MAX_TOKENS });
  } catch {
    return unreadable("its document is no GraphQL, or too long");
  }
  const fragments = new Map<string, FragmentDefinitionNode>();
  const operations: OperationDefinitionNode[] = [];
  for (const definition of document.definitions) {
    if (definition.kind === "OperationDefinition") operations.push(definition);
    else if (definition.kind !== "FragmentDefinition") return unreadable("its document is none that runs");
    else if (fragments.has(definition.name.value)) return unreadable("its document has a fragment twice");
    else fragments.set(definition.name.value, definition);
  }
  const run = name === "" ? operations : operations.filter((each) => each.name?.value === name);
  if (run.length === 0 || (name !== "" && run.length > 1)) {
    return unreadable("its document has no such operation");
  }
  const read: GraphqlOperation[] = [];
  let room = MAX_SELECTIONS;
  for (const { operation, selectionSet } of run) {
    const selected = fieldsOf(selectionSet, fragments, room);
    if (isUnreadable(selected)) return selected;
    room -= selected.count;
    read.push({ type: operation, fields: selected.fields });
  }
  return read;
}

/** The fields of a selection and of all fragments in it, and how many selections were looked at: `room` at most. */
function fieldsOf(
  selection: SelectionSetNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  room: number,
): { readonly fields: readonly string[]; readonly count: number } | Unreadable {
  const fields = new Set<string>();
  const seen = new Set<string>();
  const open = [selection];
  let count = 0;
  for (let set = open.pop(); set; set = open.pop()) {
    count += set.selections.length;
    if (count > room) return unreadable("its operations have too many fields");
    for (const node of set.selections) {
      if (node.kind === "Field") fields.add(node.name.value);
      else if (node.kind === "InlineFragment") open.push(node.selectionSet);
      else if (!seen.has(node.name.value)) {
        seen.add(node.name.value);
        const fragment = fragments.get(node.name.value);
        if (!fragment) return unreadable("its document lacks a fragment");
        open.push(fragment.selectionSet);
      }
    }
  }
  return { fields: [...fields].sort(), count };
}

/** Counts brackets in texts and comments too: a document that has so many there is none of a client's. */
function isTooDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "{" || char === "[" || char === "(") depth++;
    else if (char === "}" || char === "]" || char === ")") depth = Math.max(0, depth - 1);
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}
