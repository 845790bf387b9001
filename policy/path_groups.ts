/**
 * Paths that were asked for as the patterns of a rule: each path as it is, or `<prefix>/*` where what varies below the
 * prefix is an identifier, or simply much.
 *
 * Escapes are written in upper case. npm's `/@scope%2Fname` is taken as `/@scope/name`, which covers both.
 *
 * Not here: what a pattern covers (`path.ts`).
 *
 * @module
 */
import { splitScopes, upperEscapes } from "./path.ts";

/** Two identifiers in the same place show that it is the place of an identifier; one shows nothing. */
const MIN_IDS = 2;

/** So many different names in the same place are a list that goes on. */
const MIN_SIBLINGS = 8;

/** `/*` is a whole host, so its first segment has to vary more than any other, and identifiers alone do not do. */
const MIN_ROOT_SIBLINGS = 16;

/** Deeper paths stay as they are: a node for each segment of a thousand long ones took half a gigabyte (measured). */
const MAX_SEGMENTS = 32;

interface Node {
  readonly children: Map<string, Node>;
  /** This very path was asked for. */
  isPath: boolean;
  /** Everything below is a pattern already. */
  isPrefix: boolean;
}

/**
 * Patterns that cover all of `paths` and `more`, sorted: none covers a path that shares no parent with one of them.
 *
 * @param paths as sent; each begins with `/` and has no dot segments and no `*`
 * @param more patterns, exact or `<prefix>/*`, to add; being no requests, they are no sign of variety
 */
export function groupPaths(paths: readonly string[], more: readonly string[] = []): readonly string[] {
  return group(paths.map(writePath), more.map(writePath));
}

/** A path or pattern as it is written in a proposal. */
export function writePath(path: string): string {
  return splitScopes(upperEscapes(path));
}

function group(paths: readonly string[], more: readonly string[]): readonly string[] {
  const root = makeNode();
  for (const path of paths.filter(isShallow)) find(root, path).isPath = true;
  markVaried(root, MIN_ROOT_SIBLINGS, Infinity);
  for (const pattern of more.filter(isShallow)) {
    if (pattern.endsWith("/*")) find(root, pattern.slice(0, -2)).isPrefix = true;
    else find(root, pattern).isPath = true;
  }
  const patterns = new Set<string>();
  collect(root, "", patterns);
  for (const pattern of [...paths, ...more]) if (!isShallow(pattern)) patterns.add(pattern);
  return [...patterns].sort();
}

/**
 * True for a segment that a program made rather than a person: a number, UUID, digest, date, version or file of a
 * version, a long token, a name with a number behind it (`job-17`).
 */
export function isIdentifier(segment: string): boolean {
  return /^\d+$/.test(segment) ||
    /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(segment) ||
    /^(?=.*\d)[0-9a-f]{7,}$/i.test(segment) ||
    /^(?:md5|sha\d+)[:-]/i.test(segment) ||
    /^\d{4}-\d{2}(?:-\d{2})?/.test(segment) ||
    /\d\.\d/.test(segment) ||
    /^[A-Za-z]+[-_]\d+$/.test(segment) ||
    isLongToken(segment);
}

function isLongToken(segment: string): boolean {
  return /^[A-Za-z0-9_~=-]{16,}$/.test(segment) && /[A-Za-z]/.test(segment) &&
    segment.replace(/[^0-9]/g, "").length >= 2;
}

function isShallow(path: string): boolean {
  return path.split("/", MAX_SEGMENTS + 2).length <= MAX_SEGMENTS + 1;
}

function makeNode(): Node {
  return { children: new Map(), isPath: false, isPrefix: false };
}

function find(root: Node, path: string): Node {
  let node = root;
  for (const segment of path.split("/").slice(1)) {
    let child = node.children.get(segment);
    if (!child) node.children.set(segment, child = makeNode());
    node = child;
  }
  return node;
}

/** From the top, so that of two places that vary the upper one counts. Paths have at most 2,048 characters. */
function markVaried(node: Node, minSiblings: number, minIds: number): void {
  const names = [...node.children.keys()].filter((segment) => segment !== "");
  node.isPrefix = names.length >= minSiblings || names.filter(isIdentifier).length >= minIds;
  for (const child of node.children.values()) markVaried(child, MIN_SIBLINGS, MIN_IDS);
}

function collect(node: Node, path: string, patterns: Set<string>): void {
  if (node.isPath) patterns.add(path);
  if (node.isPrefix) patterns.add(`${path}/*`);
  else for (const [segment, child] of node.children) collect(child, `${path}/${segment}`, patterns);
}
