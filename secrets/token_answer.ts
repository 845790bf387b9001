/**
 * What a token endpoint's answer means (RFC 6749 §5, and how the providers differ from it): a token, a refusal for good,
 * or a failure that passes. What a provider says in words is never shown: it may quote a token.
 *
 * @module
 */
import { isToken } from "./fields.ts";
import type { ProviderResponse } from "./provider_call.ts";

/** A renewal that did not give a token. `message` is safe to show to everyone. */
export class RenewalFailure extends Error {
  override readonly name = "RenewalFailure";
  /** True when asking again with the same login is pointless. */
  readonly isFinal: boolean;
  /** How long the provider wants to be left alone. */
  readonly retryAfterMs: number | undefined;
  /** True when the provider has answered, so that what it did is known. */
  readonly isAnswered: boolean;
  /** Set when something on this machine is at fault, which is tried again soon. Says what, for its operator alone. */
  readonly atHome: string | undefined;

  constructor(
    message: string,
    { isFinal = false, isAnswered = true, retryAfterMs, atHome }: {
      readonly isFinal?: boolean;
      readonly isAnswered?: boolean;
      readonly retryAfterMs?: number | undefined;
      readonly atHome?: string | undefined;
    } = {},
  ) {
    super(message);
    this.isFinal = isFinal;
    this.isAnswered = isAnswered;
    this.retryAfterMs = retryAfterMs;
    this.atHome = atHome;
  }
}

/** A token as it was issued. */
export interface TokenAnswer {
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  readonly expiresInMs: number | undefined;
  /** All of the answer, for what only one provider sends. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Error codes after which the same request never succeeds: RFC 6749 §5.2, OpenAI's and GitHub's own. */
const FINAL_CODES = new Set([
  "invalid_grant",
  "invalid_client",
  "unauthorized_client",
  "unsupported_grant_type",
  "invalid_scope",
  "refresh_token_expired",
  "refresh_token_reused",
  "refresh_token_invalidated",
  "bad_refresh_token",
  "incorrect_client_credentials",
]);

/** Longer than this no client waits; a provider that asks for more is asked again earlier. */
const LONGEST_RETRY_MS = 3_600_000;

/** Less no provider minds: signatures are good for minutes. */
const LARGEST_CLOCK_DIFFERENCE_S = 60;

/** Ten years: what claims to live longer is used until it is refused. */
const LONGEST_LIFE_S = 10 * 365 * 86_400;

/**
 * The token in the answer to a token request. An error in a 200 is an error, as GitHub sends them.
 *
 * @param name which token was asked for
 * @throws RenewalFailure
 */
export function readTokenAnswer(
  response: ProviderResponse,
  nowMs: number,
  name: "access_token" | "id_token" = "access_token",
): TokenAnswer {
  const fields = jsonFields(response.body);
  const code = errorCode(fields);
  if (
    response.status !== 200 && response.status !== 201 || code !== undefined || fields.error !== undefined
  ) {
    throw failureOf(response, code, nowMs);
  }
  const { [name]: accessToken, refresh_token: refreshToken } = fields;
  if (typeof accessToken !== "string" || !isToken(accessToken)) {
    const what = name === "id_token" ? "ID token" : "access token";
    throw new RenewalFailure(`the token endpoint's answer holds no ${what}`, { isAnswered: false });
  }
  return {
    accessToken,
    refreshToken: typeof refreshToken === "string" && refreshToken !== "" ? refreshToken : undefined,
    expiresInMs: lifeOf(fields.expires_in),
    fields,
  };
}

/**
 * The failure that an answer without a token is.
 *
 * @param is401Final a 401 refuses the login itself, whatever it says (OpenAI)
 */
export function failureOf(
  response: ProviderResponse,
  code: string | undefined,
  nowMs: number,
  is401Final = true,
): RenewalFailure {
  const { status, headers } = response;
  const isTrouble = status >= 500 || status === 429 || status === 408;
  const isFinal = !isTrouble && (code !== undefined || (status === 401 && is401Final));
  const what = code ?? `HTTP status ${status}`;
  return new RenewalFailure(
    isFinal
      ? `the token endpoint refused it (${what})${clockNote(headers.date, nowMs)}`
      : `the token endpoint answered ${what}`,
    { isFinal, retryAfterMs: retryAfter(headers["retry-after"], nowMs) },
  );
}

/** What a provider says when a signature's time is off is that the grant is invalid: its own clock tells which it is. */
function clockNote(date: string | undefined, nowMs: number): string {
  const aheadS = Math.round((nowMs - Date.parse(date ?? "")) / 1_000);
  if (!(Math.abs(aheadS) > LARGEST_CLOCK_DIFFERENCE_S)) return "";
  return `; the clock of this machine is ${Math.abs(aheadS)} s ${
    aheadS > 0 ? "ahead of" : "behind"
  } the provider's`;
}

/** The known error code in an answer: in `error` (RFC 6749 §5.2), in `error.code` or in `code` (OpenAI). */
export function errorCode(fields: Readonly<Record<string, unknown>>): string | undefined {
  const { error } = fields;
  const nested = typeof error === "object" && error !== null ? Object.entries(error) : [];
  const inner = nested.filter(([name]) => name === "code" || name === "type").map(([, value]) => value);
  return [error, ...inner, fields.code].find((code): code is string =>
    typeof code === "string" && FINAL_CODES.has(code)
  );
}

/** The fields of a JSON object, none when the text is none. */
export function jsonFields(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value)) : {};
  } catch {
    return {};
  }
}

/** `expires_in` in milliseconds; some servers send digits as text. Nonsense is unknown. */
export function lifeOf(value: unknown): number | undefined {
  const seconds = typeof value === "string" && /^\d{1,12}$/.test(value) ? Number(value) : value;
  const isLife = typeof seconds === "number" && seconds > 0 && seconds <= LONGEST_LIFE_S;
  return isLife ? Math.floor(seconds * 1_000) : undefined;
}

/** `Retry-After` in milliseconds (RFC 9110 §10.2.3). */
export function retryAfter(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), LONGEST_RETRY_MS);
}

/** A form body (RFC 6749 appendix B). */
export function formBody(fields: Readonly<Record<string, string | undefined>>): string {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) form.set(name, value);
  return form.toString();
}

export const FORM_HEADERS = {
  "Content-Type": "application/x-www-form-urlencoded",
  "Accept": "application/json",
} as const;

export const JSON_HEADERS = { "Content-Type": "application/json", "Accept": "application/json" } as const;
