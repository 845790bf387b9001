/**
 * The table of kinds: what a value must look like, and what it becomes. A new kind is one row here and one file.
 *
 * Not here: where values are kept (`store/`), and when a credential may be sent (`policy/`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { AWS } from "./kind_aws.ts";
import { CLAUDE } from "./kind_claude.ts";
import { CLIENT_CREDS } from "./kind_client_creds.ts";
import { CODEX } from "./kind_codex.ts";
import { COPILOT } from "./kind_copilot.ts";
import { GITHUB_APP } from "./kind_github_app.ts";
import { GITHUB_APP_USER } from "./kind_github_app_user.ts";
import { MTLS } from "./kind_mtls.ts";
import { GOOGLE_SERVICE_ACCOUNT, JWT_BEARER } from "./kind_jwt_bearer.ts";
import { REFRESH } from "./kind_refresh.ts";
import { KEY_PARAMETER, KEY_SEGMENT } from "./kind_target.ts";
import { MAX_CREDENTIAL_CHARS, STATIC_KINDS, type StaticInjection, type StaticKind } from "./kind_static.ts";
import { XAI } from "./kind_xai.ts";
import type { OAuthKind } from "./oauth_kind.ts";

export { MAX_CREDENTIAL_CHARS };

/** The kind of a secret that names none. */
export const DEFAULT_TYPE = "bearer";

const STATIC = new Map<string, StaticKind>([
  ...STATIC_KINDS,
  ["query", KEY_PARAMETER],
  ["path", KEY_SEGMENT],
  ["mtls", MTLS],
]);

const OAUTH = new Map<string, OAuthKind>([
  ["oauth-claude", CLAUDE],
  ["oauth-codex", CODEX],
  ["oauth-github-copilot", COPILOT],
  ["oauth-xai", XAI],
  ["oauth-client-creds", CLIENT_CREDS],
  ["oauth-refresh", REFRESH],
  ["oauth-jwt-bearer", JWT_BEARER],
  ["google-service-account", GOOGLE_SERVICE_ACCOUNT],
  ["github-app-user", GITHUB_APP_USER],
  ["github-app", GITHUB_APP],
  ["aws", AWS],
]);

/** Other spellings of a type. Only the canonical one is stored and listed. */
const ALIASES = new Map([["basic-auth", "basic"]]);

/** A type in canonical spelling. Whether there is such a type is another question. */
export function canonicalType(type: string): string {
  return ALIASES.get(type) ?? type;
}

/** The kind of a login that is adopted and renewed; undefined for types whose value is the credential. */
export function oauthKind(type: string): OAuthKind | undefined {
  return OAUTH.get(type);
}

/**
 * The type in canonical spelling, and the value as it is stored. A login becomes the JSON that `oauth_kind.ts`
 * describes. Any other value is taken as it is, and surrounding white space is refused: the command line strips what a
 * value file ends with, and nothing else may change a credential.
 *
 * @throws ProxyError `input.invalid`, without the credential
 */
export function parseSecretValue(
  type: string,
  value: string,
  nowMs: number = Date.now(),
): { readonly type: string; readonly value: string } {
  const canonical = canonicalType(type);
  const kind = OAUTH.get(canonical);
  if (kind) return { type: canonical, value: JSON.stringify(kind.parse(value, nowMs)) };
  staticKind(canonical).parse(value);
  return { type: canonical, value };
}

/** What a stored value of a type without renewal becomes. @throws ProxyError `input.invalid` */
export function staticInjection(type: string, value: string): StaticInjection {
  const kind = staticKind(type);
  return kind.inject(kind.parse(value));
}

function staticKind(type: string): StaticKind {
  const kind = STATIC.get(type);
  if (kind) return kind;
  const types = [...STATIC.keys(), ...OAUTH.keys()].join(", ");
  throw new ProxyError("input.invalid", `Cannot use ${JSON.stringify(type.slice(0, 40))} as a secret type`, {
    hint: `the types are ${types}; ${[...ALIASES.keys()].join(", ")} is accepted too`,
  });
}
