/**
 * What well-known programs ask for next. A request that audit mode refuses is the last one that its program sends, so the
 * log of `git clone` holds one request of two. What is listed here is read off that first request, and nothing else:
 * a follow-up only reads, and stays as close to what was asked for as the protocol lets it.
 *
 * Not here: rules (`suggest.ts`).
 *
 * @module
 */

/** A program whose next requests are known. */
export type FollowUpName = "git" | "npm" | "pip" | "cargo" | "go" | "apt";

/** A part of a proposal that nobody asked for yet. */
export interface ImpliedRequest {
  /** Upper case. */
  readonly method: string;
  /** An exact path or `<prefix>/*`. */
  readonly path: string;
  /** Whose next request it is. */
  readonly by: FollowUpName;
  /** The path of a request that it follows, as sent. */
  readonly after: string;
}

/** A request that was denied. */
export interface FirstRequest {
  /** Upper case. */
  readonly method: string;
  /** Canonical. */
  readonly host: string;
  /** As sent, without the query. */
  readonly path: string;
}

/** A request that will follow. */
export interface FollowUp {
  /** Whose next request it is. */
  readonly by: FollowUpName;
  /** How it will be asked. */
  readonly method: "GET" | "POST";
  /** Absent where it is the same, port included. */
  readonly host?: string;
  /** An exact path or `<prefix>/*`. */
  readonly path: string;
}

type Finder = (request: FirstRequest) => readonly FollowUp[];

/** `http.*` of git: <https://git-scm.com/docs/http-protocol>. A push goes on with another service, which is not implied. */
function afterGit({ path }: FirstRequest): readonly FollowUp[] {
  const repository = /^(\/.+)\/info\/refs$/.exec(path)?.[1];
  return repository === undefined
    ? []
    : [{ by: "git", method: "POST", path: `${repository}/git-upload-pack` }];
}

const NPM_NAME = /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~][a-z0-9._~-]*$/i;

/**
 * The tarballs of a package. Its document is asked for as `/name` or `/@scope%2fname`, the latter by npm clients only;
 * a plain name counts on a registry's host (`npm.…`, `registry.…`) or where one of the last two folders is named for npm.
 */
function afterNpm({ host, path }: FirstRequest): readonly FollowUp[] {
  const [, base = "", scope, name = ""] = /^(.*?)\/(?:(@[^/%]+)(?:\/|%2f))?([^/@]+)$/i.exec(path) ?? [];
  const isEncoded = scope !== undefined && /%2f/i.test(path);
  const isRegistry = base === ""
    ? /^(?:npm|registry)[.-]/.test(host)
    : base.split("/").slice(-2).some((folder) => folder.split(/[._-]/).includes("npm"));
  const full = scope === undefined ? name : `${scope}/${name}`;
  if (!(isEncoded || isRegistry) || !NPM_NAME.test(full)) return [];
  if (host === "npm.pkg.github.com") return [{ by: "npm", method: "GET", path: `/download/${full}/*` }];
  return [{ by: "npm", method: "GET", path: `${base}/${full}/-/*` }];
}

/** PEP 503. PyPI keeps the files on another host, under digests that say nothing of their package. */
function afterPip({ host, path }: FirstRequest): readonly FollowUp[] {
  if (host !== "pypi.org" || !/^\/simple\/[^/]+\/$/.test(path)) return [];
  return [{ by: "pip", method: "GET", host: "files.pythonhosted.org", path: "/packages/*" }];
}

/** <https://doc.rust-lang.org/cargo/reference/registry-index.html#sparse-protocol>. */
function afterCargo({ host, path }: FirstRequest): readonly FollowUp[] {
  const name = /^\/(?:[12]|3\/[^/]|[^/]{2}\/[^/]{2})\/([a-z0-9_-]+)$/.exec(path)?.[1];
  if (host !== "index.crates.io" || name === undefined) return [];
  return [{ by: "cargo", method: "GET", host: "static.crates.io", path: `/crates/${name}/*` }];
}

/** <https://go.dev/ref/mod#goproxy-protocol>. */
function afterGo({ path }: FirstRequest): readonly FollowUp[] {
  const module = /^(\/.+)\/@(?:v\/[^/]+|latest)$/.exec(path)?.[1];
  return module === undefined ? [] : [{ by: "go", method: "GET", path: `${module}/@v/*` }];
}

/** <https://wiki.debian.org/DebianRepository/Format>. */
function afterApt({ path }: FirstRequest): readonly FollowUp[] {
  if (!path.endsWith("/InRelease")) return [];
  const release = path.slice(0, -"/InRelease".length);
  const at = release.lastIndexOf("/dists/");
  const [base, suite] = [release.slice(0, at), release.slice(at + "/dists/".length)];
  if (at < 0 || suite === "") return [];
  return [`${base}/dists/${suite}/*`, `${base}/pool/*`].map((path) => ({ by: "apt", method: "GET", path }));
}

const FINDERS: readonly Finder[] = [afterGit, afterNpm, afterPip, afterCargo, afterGo, afterApt];

/** What follows a request; nothing for a request that is none of these programs'. */
export function followUpsOf(request: FirstRequest): readonly FollowUp[] {
  return request.method === "GET" ? FINDERS.flatMap((find) => find(request)) : [];
}
