/** One login with its provider and its store in the hands of a test. */
import { assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import type { Credential } from "../../../secrets/credential.ts";
import { LiveLogin } from "../../../secrets/login.ts";
import { type Login, makeToken, type OAuthKind, type Renewed } from "../../../secrets/oauth_kind.ts";
import type { ProviderRequest } from "../../../secrets/provider_call.ts";
import { RenewalFailure } from "../../../secrets/token_answer.ts";
import type { SecretRecord, SecretUpdate } from "../../../store/records.ts";
import { FakeClock } from "../../support/fake_clock.ts";

export const HOUR = 3_600_000;
export const NOW = Date.UTC(2026, 0, 2);

export interface TestLogin extends Login {
  readonly expires_at?: number;
  readonly account?: string;
}

/** What the provider does at a renewal. */
export type Renew = (login: TestLogin, context: Parameters<OAuthKind["renew"]>[1]) => Renewed<TestLogin>;

export interface StageOptions {
  readonly login?: TestLogin;
  readonly record?: Partial<SecretRecord>;
  readonly kind?: Partial<OAuthKind<TestLogin>>;
  readonly limitMs?: number;
}

export class Stage implements AsyncDisposable {
  readonly clock = new FakeClock(NOW);
  readonly updates: SecretUpdate[] = [];
  readonly outcomes: string[] = [];
  readonly log: string[] = [];
  readonly bugs: unknown[] = [];
  readonly asked: ProviderRequest[] = [];
  /** What the provider does next. Without any it gives the token `new`. */
  readonly renewals: (Renew | Error)[] = [];
  /** With what the store refuses the next changes; undefined lets one pass. */
  readonly refusals: (Error | undefined)[] = [];
  readonly kind: OAuthKind<TestLogin>;
  readonly live: LiveLogin;
  record: SecretRecord;
  value: string;

  constructor({ login, record, kind, limitMs = 30_000 }: StageOptions = {}) {
    this.record = {
      ...{ name: "s", host: "a.test", type: "t", version: "v1", cleartext: false, createdAt: 1 },
      ...record,
    };
    this.value = JSON.stringify(
      login ?? { access_token: "old", refresh_token: "r1", expires_at: NOW + HOUR },
    );
    this.kind = {
      rotates: true,
      parse: (text) => {
        const { source_digest: _, ...rest } = JSON.parse(text);
        return rest;
      },
      stored: ({ access_token, expires_at }) =>
        access_token === undefined ? undefined : makeToken(access_token, expires_at),
      isRenewable: ({ refresh_token }) => refresh_token !== undefined,
      renew: (mine, context) => {
        const next = this.renewals.shift() ?? renewedTo("new");
        return next instanceof Error ? Promise.reject(next) : Promise.resolve(next(mine, context));
      },
      inject: (_login, token, form) => ({ headers: [["X", `${form}${token}`]] }),
      endpoints: () => [],
      identity: ({ account }) => [account],
      ...kind,
    };
    this.live = new LiveLogin(
      {
        clock: this.clock,
        random: () => 0,
        schedule: this.clock.schedule,
        call: (request) => {
          this.asked.push(request);
          return Promise.resolve({ status: 200, headers: {}, body: "" });
        },
        limitMs,
        update: (_name, update) => {
          this.updates.push(update);
          const refusal = this.refusals.shift();
          if (refusal) return Promise.reject(refusal);
          const { refreshingSince, error, value, adoptedAt, refreshedAt } = update;
          const fields = { refreshingSince, error, adoptedAt, refreshedAt };
          const set = Object.entries(fields).filter(([, field]) => field !== undefined);
          const merged = Object.entries({ ...this.record, ...Object.fromEntries(set) });
          this.record = Object.fromEntries(
            merged.filter(([, field]) => field !== null),
          ) as unknown as SecretRecord;
          if (value !== undefined) this.value = value;
          return Promise.resolve(this.record);
        },
        log: {
          warn: (line) => this.log.push(line),
          error: (line) => this.log.push(`error: ${line}`),
        },
        onOutcome: (outcome) => this.outcomes.push(outcome),
        reportBug: (error) => this.bugs.push(error),
      },
      this.kind as OAuthKind,
      { record: this.record, value: this.value },
    );
  }

  /** The header of a request now. */
  async header(path = "/"): Promise<string> {
    return headerOf(await this.live.credential({ host: "a.test", method: "GET", path }));
  }

  async refusal(): Promise<string> {
    const error = await assertRejects(() => this.header(), ProxyError);
    assertEquals(error.code, "credential.unavailable");
    return error.message;
  }

  /** Lets everything go on that waits for nothing but others. */
  async settle(): Promise<void> {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 0));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.live[Symbol.asyncDispose]();
    assertEquals(this.bugs, []);
  }
}

export function headerOf({ headers }: Credential): string {
  return headers[0]?.[1] ?? "";
}

export function renewedTo(token: string, lifeMs = HOUR): Renew {
  return (login, { now }) => ({
    token: makeToken(token, now() + lifeMs),
    login: { ...login, access_token: token, refresh_token: `r of ${token}`, expires_at: now() + lifeMs },
  });
}

/** For a kind that does not rotate. */
export function madeToken(token: string): Renew {
  return (_login, { now }) => ({ token: makeToken(token, now() + HOUR) });
}

export const ENDED: TestLogin = { access_token: "old", refresh_token: "r1", expires_at: NOW };
export const AT_HOME: Partial<OAuthKind<TestLogin>> = { rotates: false, stored: () => undefined };
export const REFUSED = new RenewalFailure("refused (x)", { isFinal: true });
export const BUSY = new RenewalFailure("busy");
export const UNKNOWN = new RenewalFailure("no answer", { isAnswered: false });
