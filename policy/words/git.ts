/**
 * What a request means to git: which repository it is about, and whether it reads or writes there. Known are the smart
 * protocol (versions 0 to 2, https://git-scm.com/docs/http-protocol), files of the dumb one, git-lfs, and what GitHub,
 * GitLab, Gitea (Forgejo) and Bitbucket serve as archives and single files. What is not known is neither.
 *
 * The service is named by the path and, in the first request, by the query alone: no body, capability or version can make
 * upload-pack write. Only git-lfs names its operation in a body (`lfs.ts`).
 *
 * Not here: the readings of a path (`path.ts`); each is asked about.
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { quoteText } from "../../core/escape.ts";
import { matchPath } from "../path.ts";
import { hasAny, hasOnly } from "./query.ts";

/** What may be done with a repository; `write` includes reading. */
export const GIT_ACCESS = ["read", "write"] as const;

/** One of {@linkcode GIT_ACCESS}. */
export type GitAccess = typeof GIT_ACCESS[number];

/** A request about a repository. */
export interface GitRequest {
  /** Its path without the first slash and a final `.git`: `acme/web`. */
  readonly repo: string;
  /** `batch` of git-lfs is either, as its body says; `unclear` is for servers to disagree about, or nothing known. */
  readonly access: GitAccess | "batch" | "unclear";
}

/** What is looked at. */
export interface GitTarget {
  /** Canonical. */
  readonly host: string;
  /** As sent. */
  readonly method: string;
  /** One reading of it. */
  readonly path: string;
  /** As sent, without the `?`. */
  readonly query?: string | undefined;
}

/** What may stand behind a repository: the last segments of a path. */
interface Tail {
  readonly method: "GET" | "POST" | "PUT";
  readonly access: GitRequest["access"];
  readonly segments: readonly (string | RegExp)[];
}

const tail = (method: Tail["method"], access: Tail["access"], ...segments: Tail["segments"]): Tail => ({
  method,
  access,
  segments,
});

const OID = /^[0-9a-f]{64}$/;
const SIZE = /^[0-9]{1,20}$/;

/** Below a repository of any depth. */
const TAILS: readonly Tail[] = [
  tail("POST", "read", "git-upload-pack"),
  tail("POST", "read", "git-upload-archive"),
  tail("POST", "write", "git-receive-pack"),
  tail("POST", "batch", "info", "lfs", "objects", "batch"),
  tail("GET", "read", "info", "lfs", "locks"),
  tail("POST", "write", "info", "lfs", "locks"),
  tail("POST", "write", "info", "lfs", "locks", "verify"),
  tail("POST", "write", "info", "lfs", "locks", /^[A-Za-z0-9_-]+$/, "unlock"),
  tail("POST", "write", "info", "lfs", "verify"), // Gitea
  ...(["GET", "PUT"] as const).flatMap((method) => {
    const access = method === "GET" ? "read" as const : "write" as const;
    return [
      tail(method, access, "info", "lfs", "objects", OID), // Gitea
      tail(method, access, "info", "lfs", "objects", OID, SIZE),
      tail(method, access, "gitlab-lfs", "objects", OID),
      tail(method, access, "gitlab-lfs", "objects", OID, SIZE),
    ];
  }),
  tail("GET", "read", "HEAD"),
  tail("GET", "read", "objects", "info", /^(?:alternates|http-alternates|packs)$/),
  tail("GET", "read", "objects", /^[0-9a-f]{2}$/, /^(?:[0-9a-f]{38}|[0-9a-f]{62})$/),
  tail("GET", "read", "objects", "pack", /^pack-(?:[0-9a-f]{40}|[0-9a-f]{64})\.(?:pack|idx)$/),
];

/** The segments of the repository in a path for an archive or a file, or undefined; what is served so is only read. */
type FindRepo = (segments: readonly string[]) => readonly string[] | undefined;

/** GitLab's separator behind a repository of any depth; else it has two segments: GitHub, Gitea, Bitbucket. */
const findServed: FindRepo = (segments) => {
  const dash = segments.indexOf("-");
  if (dash > 0) return isOneOf(segments[dash + 1], "archive", "raw") ? segments.slice(0, dash) : undefined;
  const last = segments.at(-1) ?? "";
  const isServed = isOneOf(segments[2], "archive", "raw", "media") ||
    (segments[2] === "get" && /\.(?:zip|tar\.gz|tar\.bz2)$/.test(last));
  return isServed && segments.length > 3 ? segments.slice(0, 2) : undefined;
};

/** Hosts beside the one that is cloned from. */
const ON_HOST: Readonly<Record<string, FindRepo>> = {
  "codeload.github.com": (segments) =>
    segments.length > 3 && isOneOf(segments[2], "zip", "tar.gz", "legacy.zip", "legacy.tar.gz")
      ? segments.slice(0, 2)
      : undefined,
  "raw.githubusercontent.com": (segments) => segments.length > 3 ? segments.slice(0, 2) : undefined,
  "media.githubusercontent.com": (segments) =>
    segments.length > 4 && segments[0] === "media" ? segments.slice(1, 3) : undefined,
  "api.github.com": (segments) =>
    segments[0] === "repos" && isOneOf(segments[3], "tarball", "zipball") ? segments.slice(1, 3) : undefined,
};

function isOneOf(segment: string | undefined, ...names: readonly string[]): boolean {
  return segment !== undefined && names.includes(segment);
}

/** Where names of repositories are the same in any case. */
const ANY_CASE: ReadonlySet<string> = new Set([
  ...Object.keys(ON_HOST),
  ...["github.com", "gitlab.com", "bitbucket.org", "codeberg.org"],
]);

/** What the request means to git, or undefined when that is nothing known. */
export function readGit(target: GitTarget): GitRequest | undefined {
  const { host, path } = target;
  const method = target.method === "HEAD" ? "GET" : target.method;
  if (!path.startsWith("/")) return undefined;
  const segments = path.slice(1).split("/");
  if (Object.hasOwn(ON_HOST, host)) return method === "GET" ? readOf(ON_HOST[host]?.(segments)) : undefined;
  if (segments.length > 2 && endsWith(segments, ["info", "refs"])) {
    if (method !== "GET") return undefined;
    return { repo: nameOf(segments.slice(0, -2)), access: accessOfService(target.query) };
  }
  const found = TAILS.find((tail) =>
    tail.method === method && segments.length > tail.segments.length && endsWith(segments, tail.segments)
  );
  if (found) return { repo: nameOf(segments.slice(0, -found.segments.length)), access: found.access };
  return method === "GET" ? readOf(findServed(segments)) : undefined;
}

function endsWith(segments: readonly string[], tail: Tail["segments"]): boolean {
  const from = segments.length - tail.length;
  return tail.every((want, i) => {
    const segment = segments[from + i] ?? "";
    return typeof want === "string" ? want === segment : want.test(segment);
  });
}

function readOf(repo: readonly string[] | undefined): GitRequest | undefined {
  return repo && { repo: nameOf(repo), access: "read" };
}

/** Without a service it is the dumb protocol, which writes by other means (WebDAV), none of which is known here. */
function accessOfService(query: string | undefined): GitRequest["access"] {
  if (!hasAny(query, "service")) return "read";
  if (hasOnly(query, "service", ["git-upload-pack"]) || hasOnly(query, "service", ["git-upload-archive"])) {
    return "read";
  }
  return hasOnly(query, "service", ["git-receive-pack"]) ? "write" : "unclear";
}

/** git-lfs adds `.git` to a repository's address, people leave it out. */
function nameOf(segments: readonly string[]): string {
  return withoutGit(segments.join("/"));
}

function withoutGit(repo: string): string {
  return repo.endsWith(".git") ? repo.slice(0, -".git".length) : repo;
}

/** A segment of a name as hosts allow them: nothing empty, no dots, nothing that any server takes for a separator. */
function isName(segment: string): boolean {
  return segment !== "." && segment !== ".." &&
    /^(?:[A-Za-z0-9._~+@!$'(),&=:-]|%20|%[89A-Fa-f][0-9A-Fa-f])+$/.test(segment);
}

/** True when a repository is one of those that a rule names; none means any. */
export function coversRepo(
  patterns: readonly string[] | undefined,
  { host }: GitTarget,
  repo: string,
): boolean {
  const fold = (text: string) => ANY_CASE.has(host) ? text.toLowerCase() : text;
  if (!repo.split("/").every(isName)) return false;
  return patterns === undefined ||
    patterns.some((pattern) => matchPath(`/${fold(pattern)}`, `/${fold(repo)}`));
}

/** True when a repository may be one of those on some server: for rules that deny. */
export function touchesRepo(patterns: readonly string[] | undefined, repo: string): boolean {
  return patterns === undefined ||
    patterns.some((pattern) => matchPath(`/${pattern.toLowerCase()}`, `/${repo.toLowerCase()}`));
}

/**
 * A repository in canonical form: its path on the host, with stars as in paths, without `.git`.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseRepo(text: string): string {
  const name = withoutGit(text.startsWith("/") ? text.slice(1) : text);
  const isPlain = /^[A-Za-z0-9._~+@*-]+(?:\/[A-Za-z0-9._~+@*-]+)*$/.test(name) && name.length <= 512;
  const segments = name.split("/");
  const isKnown = segments.every((segment) =>
    segment !== "." && segment !== ".." && (!segment.includes("*") || segment === "*" || segment === "**")
  );
  if (
    !isPlain || !isKnown || segments.indexOf("**") !== segments.lastIndexOf("**") || segments.at(-1) === "**"
  ) {
    throw new ProxyError("input.invalid", `Cannot use ${quoteText(text, 80)} as a repository`, {
      hint: "write acme/web, acme/* for all below acme, or */web, as it stands behind the host, without .git",
    });
  }
  return name;
}
