/**
 * `github-app`: tokens of a GitHub App's installations, so that `git clone` and `git push` work without any person's
 * credential.
 *
 * Taken is YAML or JSON with `app_id` (or `client_id`), `private_key` or `private_key_file`, and optionally
 * `installation_id` and `api_endpoint`. Of a key file only the path is kept, and whose it was: it is checked when the secret
 * is created, and read anew for each signature, under the rules of `source_file.ts`. Without an `installation_id` the installation is found from the repository in the path, and the token is for that repository
 * alone. Tokens live an hour and stay in memory; making one does not end the others.
 *
 * @module
 */
import { CORE_SCHEMA, load } from "js-yaml";
import { ProxyError } from "../core/errors.ts";
import { trimEndOf } from "../core/text.ts";
import { Fields, isToken } from "./fields.ts";
import { githubForm, githubInjection } from "./github.ts";
import {
  compact,
  type CredentialRequest,
  type Login,
  makeToken,
  type OAuthKind,
  type RenewalContext,
} from "./oauth_kind.ts";
import type { ProviderResponse } from "./provider_call.ts";
import { currentKey, type KeyPlace, keyPlaceOf, resolveKeyFile, signJwt } from "./signing_key.ts";
import { errorCode, failureOf, jsonFields, RenewalFailure } from "./token_answer.ts";

const WHAT = "GitHub App value";
const HINT =
  "give app_id, private_key_file (or private_key), and where needed installation_id and api_endpoint";
const API = "https://api.github.com";

/** A GitHub App. */
export interface GithubApp extends Login, KeyPlace {
  /** The app id or client id, which stand for the app in its tokens. */
  readonly app_id: string;
  /** Without a slash at the end. */
  readonly api_endpoint: string;
  readonly installation_id?: string;
}

export const GITHUB_APP: OAuthKind<GithubApp> = {
  rotates: false,

  parse(text) {
    const fields = readFields(text);
    const id = idOf(fields, "app_id") ?? idOf(fields, "client_id") ?? fields.refuse("it has no app_id");
    const installation = idOf(fields, "installation_id");
    if (installation !== undefined && !/^\d{1,20}$/.test(installation)) {
      fields.refuse("its installation_id is no number");
    }
    return compact({
      app_id: id,
      ...keyPlaceOf(fields),
      api_endpoint: trimEndOf(fields.url("api_endpoint") ?? API, "/"),
      installation_id: installation,
    });
  },

  async resolveFiles(text, folder) {
    const fields = readFields(text);
    const file = await resolveKeyFile(fields, folder);
    if (!file) return text;
    const rest = ["app_id", "client_id", "installation_id"].map((name) => [name, idOf(fields, name)]);
    return JSON.stringify({
      ...Object.fromEntries(rest),
      api_endpoint: fields.url("api_endpoint"),
      ...file,
    });
  },

  stored: () => undefined,
  isRenewable: () => true,

  slotOf: ({ installation_id }, request) => installation_id === undefined ? placeOf(request) : "",
  formOf: (_app, request) => githubForm(request),

  async renew(app, context, slot) {
    const authorization = `Bearer ${await makeJwt(app, context.now())}`;
    const ask = (method: "GET" | "POST", path: string, body?: string) =>
      context.call({
        method,
        url: app.api_endpoint + path,
        headers: {
          "Authorization": authorization,
          "Accept": "application/vnd.github+json",
          "X-GitHub-Api-Version": "2022-11-28",
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        },
        ...(body === undefined ? {} : { body }),
      });
    const [kind, owner = "", repo] = slot.split("/");
    const id = app.installation_id ?? await findInstallation(ask, context, { kind: kind ?? "", owner, repo });
    const narrowed = repo === undefined ? undefined : JSON.stringify({ repositories: [repo] });
    const response = await ask("POST", `/app/installations/${id}/access_tokens`, narrowed);
    if (response.status !== 201) throw refusal(response, context, "gives this app no installation token");
    const { token, expires_at } = jsonFields(response.body);
    if (typeof token !== "string" || !isToken(token)) {
      throw new RenewalFailure("GitHub's answer holds no installation token");
    }
    const expiresAt = typeof expires_at === "string" ? Date.parse(expires_at) : NaN;
    return { token: makeToken(token, Number.isNaN(expiresAt) ? undefined : expiresAt, context.now()) };
  },

  inject: (_app, token, form) => githubInjection(token, form),
  endpoints: ({ api_endpoint }) => [
    { url: `${api_endpoint}/app/installations/*`, scope: "path" },
    { url: `${api_endpoint}/app/installations`, scope: "path" },
  ],
  identity: ({ app_id, api_endpoint, installation_id }) => [app_id, api_endpoint, installation_id],
};

type Ask = (method: "GET" | "POST", path: string) => Promise<ProviderResponse>;

/**
 * Which token a request needs: `repo/OWNER/NAME`, `orgs/OWNER`, `users/OWNER`, `app` for API calls that name nobody, and
 * `none` for a path at the git host that names no repository in plain.
 */
function placeOf({ path, ...request }: CredentialRequest): string {
  const isApi = githubForm({ path, ...request }) === "api";
  const segments = path.replace(/^\/api\/(?:v3|graphql)(?=\/|$)/, "").split("/").slice(1);
  const [first = "", second = "", third = ""] = segments;
  const at = isApi ? [first, second, third] : ["repos", first, second.replace(/\.git$/, "")];
  const [place = "", owner = "", repo = ""] = at.map((segment) => segment.toLowerCase());
  if (!/^[a-z0-9][a-z0-9_-]{0,99}$/.test(owner)) return isApi ? "app" : "none";
  if (place === "repos" && /^[a-z0-9._-]{1,100}$/.test(repo) && !/^\.{1,2}$/.test(repo)) {
    return `repo/${owner}/${repo}`;
  }
  if (!isApi) return "none";
  return place === "orgs" || place === "users" ? `${place}/${owner}` : "app";
}

async function findInstallation(
  ask: Ask,
  context: RenewalContext,
  { kind, owner, repo }: { readonly kind: string; readonly owner: string; readonly repo: string | undefined },
): Promise<string> {
  if (kind === "none") {
    throw new RenewalFailure("the path names no repository", { retryAfterMs: 60_000 });
  }
  if (kind === "app") return await onlyInstallation(ask, context);
  const where = kind === "repo" ? `repos/${owner}/${repo}` : `${kind}/${owner}`;
  const response = await ask("GET", `/${where}/installation`);
  if (response.status === 404) {
    throw new RenewalFailure(`the app is not installed for ${owner}${repo === undefined ? "" : `/${repo}`}`, {
      retryAfterMs: 60_000,
    });
  }
  return installationId(jsonFields(response.body), response, context);
}

/** A request that names no owner is unambiguous only when there is one installation. */
async function onlyInstallation(ask: Ask, context: RenewalContext): Promise<string> {
  const response = await ask("GET", "/app/installations?per_page=2");
  if (response.status !== 200) throw refusal(response, context, "does not list this app's installations");
  const list = Object.values(jsonFields(response.body)); // of an array too
  if (list.length !== 1) {
    throw new RenewalFailure(
      "the path names no repository, and the app does not have exactly one installation: set installation_id",
      { retryAfterMs: 60_000 },
    );
  }
  return installationId(list[0], response, context);
}

function installationId(found: unknown, response: ProviderResponse, context: RenewalContext): string {
  const id = typeof found === "object" && found !== null && "id" in found ? found.id : undefined;
  if (response.status === 200 && typeof id === "number" && Number.isSafeInteger(id)) return String(id);
  throw refusal(response, context, "does not say which installation this is");
}

function refusal(response: ProviderResponse, context: RenewalContext, what: string): RenewalFailure {
  const { isFinal, retryAfterMs } = failureOf(response, errorCode(jsonFields(response.body)), context.now());
  return new RenewalFailure(`GitHub ${what} (HTTP status ${response.status})`, { isFinal, retryAfterMs });
}

/** The app's own token: issued a minute ago for clocks that are behind, valid for nine. */
async function makeJwt(app: GithubApp, nowMs: number): Promise<string> {
  const { app_id } = app;
  const seconds = Math.floor(nowMs / 1_000);
  const iss = /^\d+$/.test(app_id) ? Number(app_id) : app_id;
  return await signJwt(await currentKey(app), { claims: { iat: seconds - 60, exp: seconds + 540, iss } });
}

function readFields(text: string): Fields {
  let value: unknown;
  try {
    value = load(text, { schema: CORE_SCHEMA }); // JSON is YAML
  } catch {
    value = undefined; // the error quotes the text, which may hold the key
  }
  if (typeof value !== "object" || value === null) {
    throw new ProxyError(
      "input.invalid",
      `Cannot use this ${WHAT}: it is neither YAML nor JSON with fields`,
      {
        hint: HINT,
      },
    );
  }
  return new Fields(WHAT, HINT, value);
}

function idOf(fields: Fields, name: string): string | undefined {
  if (!fields.has(name)) return undefined;
  let id: string | undefined;
  try {
    id = fields.text(name);
  } catch {
    id = String(fields.number(name));
  }
  return id !== undefined && /^[A-Za-z0-9._-]{1,100}$/.test(id) ? id : fields.refuse(`its ${name} is no id`);
}
