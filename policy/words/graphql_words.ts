/**
 * Conditions about GraphQL: types of operations, top-level fields, and hashes of operations that the server keeps.
 *
 * Not here: reading a request (`graphql.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { quoteText } from "../../core/escape.ts";
import { decodeName, encodeName } from "./name_text.ts";

/** The types of operations. */
export const OPERATIONS = ["query", "mutation", "subscription"] as const;

/** One of {@linkcode OPERATIONS}. */
export type OperationType = typeof OPERATIONS[number];

/** What a request asks to be done, once for each operation of a batch. */
export type GraphqlOperation =
  | {
    readonly type: OperationType; /** Top-level ones, aliases resolved, sorted. */
    readonly fields: readonly string[];
  }
  /** An operation that only the server has. */
  | { readonly hash: string };

/** What a rule says of GraphQL. */
export interface GraphqlLimits {
  readonly graphql?: readonly OperationType[];
  readonly graphqlField?: readonly string[];
  readonly graphqlHash?: readonly string[];
}

/** It tells a server nothing, and clients add it everywhere. */
const FREE_FIELD = "__typename";

/** @throws ProxyError `input.invalid` */
export function parseFieldName(text: string): string {
  if (/^[_A-Za-z][_0-9A-Za-z]{0,127}$/.test(text)) return text;
  throw new ProxyError("input.invalid", `Cannot use ${quoteText(text, 80)} as a field of GraphQL`, {
    hint: "write the name of a top-level field, such as viewer; not its alias",
  });
}

/** @throws ProxyError `input.invalid` */
export function parseDocumentHash(text: string): string {
  if (/^[\x21-\x7e]{8,256}$/.test(text) && !/[\s,:]/.test(text)) return text;
  throw new ProxyError("input.invalid", `Cannot use ${quoteText(text, 80)} as the hash of an operation`, {
    hint: "write what the client sends as sha256Hash, documentId or id: 8 to 256 characters",
  });
}

/** True when every operation is one that a rule allows. */
export function coversGraphql(limits: GraphqlLimits, operations: readonly GraphqlOperation[]): boolean {
  const { graphql = [], graphqlField, graphqlHash = [] } = limits;
  return operations.length > 0 &&
    operations.every((operation) =>
      "hash" in operation
        ? graphqlHash.includes(operation.hash)
        : graphql.includes(operation.type) && (graphqlField === undefined ||
          operation.fields.every((field) => field === FREE_FIELD || graphqlField.includes(field)))
    );
}

/** True when any operation may be one that a rule names: for rules that deny. What only the server has may be any. */
export function touchesGraphql(limits: GraphqlLimits, operations: readonly GraphqlOperation[]): boolean {
  const { graphql = [], graphqlField } = limits;
  return operations.some((operation) =>
    "hash" in operation || (graphql.includes(operation.type) && (graphqlField === undefined ||
      operation.fields.some((field) => graphqlField.includes(field))))
  );
}

/** The words for just these operations. */
export function narrowGraphql(operations: readonly GraphqlOperation[]): GraphqlLimits | undefined {
  const known = operations.flatMap((operation) => "hash" in operation ? [] : [operation]);
  if (known.length === 0) return undefined;
  const fields = new Set(known.flatMap(({ fields }) => fields).filter((field) => field !== FREE_FIELD));
  const hashes = operations.flatMap((operation) => "hash" in operation ? [operation.hash] : []);
  return {
    graphql: [...new Set(known.map(({ type }) => type))],
    ...(fields.size === 0 ? {} : { graphqlField: [...fields] }),
    ...(hashes.length === 0 ? {} : { graphqlHash: hashes }),
  };
}

/** Operations as text without blanks: `query(a,b)+mutation(c)+hash(x)`. */
export function formatGraphql(operations: readonly GraphqlOperation[]): string {
  return operations.map((operation) =>
    "hash" in operation
      ? `hash(${encodeName(operation.hash)})`
      : `${operation.type}(${operation.fields.join(",")})`
  ).join("+");
}

/** The inverse; undefined for a text that is none. */
export function parseGraphql(text: string): readonly GraphqlOperation[] | undefined {
  if (text === "") return [];
  const operations = text.split("+").map((piece): GraphqlOperation | undefined => {
    const [, kind = "", inside = ""] = /^([a-z]+)\(([^()]*)\)$/.exec(piece) ?? [];
    if (kind === "hash") return /%(?![0-9A-F]{2})/.test(inside) ? undefined : { hash: decodeName(inside) };
    const type = OPERATIONS.find((each) => each === kind);
    return type && { type, fields: inside === "" ? [] : inside.split(",") };
  });
  return operations.every((each) => each !== undefined) ? operations : undefined;
}
