/**
 * What the kinds for GitHub share: how a token goes to the API and to git, and where logins happen.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { CredentialRequest, Injection, TokenEndpoint } from "./oauth_kind.ts";
import { bearer } from "./oauth_kind.ts";

/** `git` for requests of git itself, `api` for all others. */
export type GithubForm = "git" | "api";

/** Git over HTTP: the smart protocol and LFS. On GitHub Enterprise Server the API answers on the same host. */
const GIT_PATH =
  /^\/[^/]+\/[^/]+?(?:\.git)?\/(?:info\/(?:refs|lfs(?:\/.*)?)|git-(?:upload|receive)-pack|objects\/.*|HEAD)$/;

/** Which of the two a request is. */
export function githubForm({ host, path }: CredentialRequest): GithubForm {
  if (host.startsWith("api.") || path.startsWith("/api/")) return "api";
  return host === "github.com" || GIT_PATH.test(path) ? "git" : "api";
}

/** Git sends user and password; the API wants a bearer token. */
export function githubInjection(token: string, form: string): Injection {
  if (form !== "git") return { headers: [bearer(token)] };
  const basic = Buffer.from(`x-access-token:${token}`, "utf8").toString("base64");
  return { headers: [["Authorization", `Basic ${basic}`]] };
}

/** Where people and programs log in at a GitHub. The host is also used for real. */
export function githubLogin(origin: string): TokenEndpoint[] {
  return [
    { url: `${origin}/login/*`, scope: "path" },
    { url: `${origin}/session/*`, scope: "path" },
  ];
}
