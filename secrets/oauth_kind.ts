/**
 * What a kind of login is to the engine that renews it: one object per kind, without state.
 *
 * A *login* is what was adopted and is sealed in the store, as JSON with the fields of {@linkcode Login}. A kind whose
 * refresh token is used up by each renewal *rotates*: its renewal makes a new login, which must be on the disk before
 * anything of it is used. The others only ever make access tokens, which stay in memory.
 *
 * Not here: when to renew and what to do when that fails (`refresh.ts`, `login.ts`).
 *
 * @module
 */
import type { AwsKeys, CredentialHeader } from "./credential.ts";
import { isToken, jwtExpiry } from "./fields.ts";
import type { ProviderRequest, ProviderResponse } from "./provider_call.ts";
import type { TokenAnswer } from "./token_answer.ts";

/** What every login may have. Times are epoch milliseconds, and URLs https. */
export interface Login {
  readonly access_token?: string;
  readonly refresh_token?: string;
  readonly client_secret?: string;
  readonly private_key?: string;
  readonly private_key_file?: string;
  readonly access_key_id?: string;
  readonly secret_access_key?: string;
  readonly session_token?: string;
}

/** What a login with a stored access token has. */
export interface StoredLogin extends Login {
  readonly access_token: string;
  readonly expires_at?: number;
  /** When the access token was issued, where that is known. */
  readonly obtained_at?: number;
  readonly token_endpoint: string;
}

/** An access token and its life, epoch milliseconds. Without `expiresAtMs` it is used until it is refused. */
export interface AccessToken {
  readonly token: string;
  readonly expiresAtMs?: number;
  readonly obtainedAtMs?: number;
}

/** What becomes of a request's headers. */
export interface Injection {
  /** Set, in place of the client's own. */
  readonly headers: readonly CredentialHeader[];
  /** Members that a comma-separated list header must have, beside the client's own. */
  readonly merge?: readonly CredentialHeader[];
  /** Added unless the client sends the header itself. */
  readonly defaults?: readonly CredentialHeader[];
  /** See `Credential.aws`. */
  readonly aws?: AwsKeys;
  /** See `Credential.material`; the token unless given. */
  readonly material?: readonly string[];
}

/** The request that a credential is for. `host` is canonical, `path` without query. */
export interface CredentialRequest {
  /** The name of the client that asks: what costs the provider something is counted for each. */
  readonly client?: string;
  readonly host: string;
  readonly method: string;
  readonly path: string;
}

/** A place where credentials are renewed, which clients must not reach. */
export interface TokenEndpoint {
  readonly url: string;
  /** `host` closes the whole host, `path` this path (or what is below it, with a final `*`) of a host that is also used for real. */
  readonly scope: "host" | "path";
}

/** What a renewal is given. */
export interface RenewalContext {
  now(): number;
  call(request: ProviderRequest): Promise<ProviderResponse>;
}

/** What a renewal makes. `login` is there when the kind rotates. */
export interface Renewed<L> {
  readonly token: AccessToken;
  readonly login?: L;
}

/** An upstream's answer, as far as a kind needs it to tell a refused token from a refused request. */
export interface UpstreamAnswer {
  readonly status: number;
  /** The beginning of the body as text, where it is at hand. */
  readonly bodyStart?: string;
}

/** One kind of login. */
export interface OAuthKind<L extends Login = Login> {
  /** True when a renewal uses up the refresh token. */
  readonly rotates: boolean;
  /**
   * A login from any documented form, and from the JSON of a login itself.
   *
   * @throws ProxyError `input.invalid`, which names the field and not what is in it
   */
  parse(text: string, nowMs: number): L;
  /**
   * Makes the names of files in a value absolute, once the files were found to be usable. Whoever brings the value vouches
   * for their owners of that moment.
   *
   * @param folder what relative paths are relative to, when that is known
   */
  resolveFiles?(text: string, folder: string | undefined): Promise<string>;
  /** The access token that the login holds. */
  stored(login: L): AccessToken | undefined;
  /** True when {@linkcode renew} can work. */
  isRenewable(login: L): boolean;
  /** @throws RenewalFailure; ProxyError `upstream.*` */
  renew(login: L, context: RenewalContext, slot: string): Promise<Renewed<L>>;
  /** Requests that need different tokens of one login have different slots. */
  slotOf?(login: L, request: CredentialRequest): string;
  /** Requests that need the same token in different headers have different forms. */
  formOf?(login: L, request: CredentialRequest): string;
  inject(login: L, token: string, form: string): Injection;
  endpoints(login: L): readonly TokenEndpoint[];
  /** Whose login it is and where it is renewed. A file with another identity is another login. */
  identity(login: L): readonly (string | undefined)[];
  /** True when the upstream refuses the access token; 401 unless the kind says otherwise. */
  isRefused?(answer: UpstreamAnswer): boolean;
}

/** The token that a login holds. */
export function storedToken({ access_token, expires_at, obtained_at }: StoredLogin): AccessToken {
  return makeToken(access_token, expires_at, obtained_at);
}

export function makeToken(token: string, expiresAtMs?: number, obtainedAtMs?: number): AccessToken {
  return {
    token,
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    ...(obtainedAtMs === undefined ? {} : { obtainedAtMs }),
  };
}

/** `record` without its undefined fields. */
export function compact<T extends object>(record: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

/**
 * The login after a renewal. A provider that returns no refresh token lets the old one live on (RFC 6749 §6). The life
 * is counted from here, not by the provider's clock; without `expires_in` a JWT says it.
 */
export function renewedLogin<L extends Partial<StoredLogin>>(
  login: L,
  answer: TokenAnswer,
  nowMs: number,
): Renewed<L> {
  const expiresAt = answer.expiresInMs === undefined
    ? jwtExpiry(answer.accessToken, nowMs)
    : nowMs + answer.expiresInMs;
  const { expires_at: _, ...rest } = login;
  const renewed = {
    ...rest,
    access_token: answer.accessToken,
    ...(answer.refreshToken !== undefined && isToken(answer.refreshToken)
      ? { refresh_token: answer.refreshToken }
      : {}),
    ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
    obtained_at: nowMs,
  } as unknown as L & StoredLogin;
  return { token: storedToken(renewed), login: renewed };
}

/** `Authorization: Bearer`. */
export function bearer(token: string): CredentialHeader {
  return ["Authorization", `Bearer ${token}`];
}
