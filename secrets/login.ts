/**
 * One adopted login while the program runs: its tokens, its source file, and how a renewal reaches the disk.
 *
 * A rotating renewal goes: mark on the disk that one is under way → ask the provider → commit the new login → use it. Each
 * commit is a compare-and-set on the secret's version.
 *
 * - The mark comes first so that a disk that takes no writes stops us *before* the provider has used up the refresh token.
 * - When the commit fails, the new login stays in memory, unused, the operator is told, and the commit is tried again; the
 *   old access token goes on for as long as it lives.
 * - When the program is killed before the provider was asked, nothing is lost: the next start asks with the same token.
 * - When it is killed (or the connection cut) after the provider has answered and before our commit, the new refresh token
 *   is lost, and nobody but the provider has it. That cannot be prevented by a client. The old access token is used until
 *   it ends, the renewal is tried again at once, because some providers take a token twice for a moment, and the source
 *   file is read before that. If the provider refuses, the error says that an earlier answer was lost, and the login must
 *   be made anew on the host.
 * - After a kill that follows the commit, the next start goes on with the new login.
 *
 * Sharing one login with a host CLI remains a hazard that this program can only soften: whoever renews first uses up the
 * other's refresh token. The file is read before each renewal and after each refusal, and never written.
 *
 * Not here: when a renewal starts (`refresh.ts`), what is asked of a provider (`kind_*.ts`), and the lease that a fleet's hosts
 * take turns by (`login_record.ts`).
 *
 * @module
 */
import { isProxyError, messageOf } from "../core/errors.ts";
import type { SecretUpdate } from "../store/records.ts";
import type { Credential } from "./credential.ts";
import { forOperator, unavailable, wasNeverSent, wordsOf } from "./login_errors.ts";
import { LoginRecord, type LoginRecordParts, type StoredSecret } from "./login_record.ts";
import { LoginSlots, type Slot } from "./login_slots.ts";
import type {
  AccessToken,
  CredentialRequest,
  Login,
  OAuthKind,
  Renewed,
  UpstreamAnswer,
} from "./oauth_kind.ts";
import type { ProviderCall } from "./provider_call.ts";
import { LAST_MOMENT_MS, type LiveToken, Renewal } from "./refresh.ts";
import { digestOf, isAnotherLogin, readSourceLogin, seenIn } from "./source_login.ts";
import { RenewalFailure } from "./token_answer.ts";

/** How often a source file is looked at when the provider has refused what we have. */
const SOURCE_POLL_MS = 30_000;
/** How long after a refusal a credential that does not rotate is tried again: asking costs nothing. */
const FINAL_RETRY_MS = 300_000;
/** An adopted token with less left is renewed rather than used. */
const FRESH_MS = 60_000;

/** How a renewal ended: a new token, one from the source file, a failure that passes, a refusal for good. */
export type RenewalOutcome = "renewed" | "adopted" | "failed" | "refused";

/** What every login is given. */
export interface LoginParts extends LoginRecordParts {
  readonly random: () => number;
  readonly schedule: (atMs: number, callback: () => void) => () => void;
  readonly call: ProviderCall;
  readonly log: { warn(line: string): void; error(line: string): void };
  readonly onOutcome: (outcome: RenewalOutcome) => void;
  readonly reportBug: (error: unknown) => void;
}

/** A secret whose type is a login. Ends when the secret is replaced or deleted. */
export class LiveLogin implements AsyncDisposable {
  readonly #parts: LoginParts;
  readonly #kind: OAuthKind;
  readonly #slots: LoginSlots;
  readonly #stored: LoginRecord;
  #login: Login;
  /** Digest of what the source file was last seen to hold. */
  #seen: string;
  /** What was renewed and could not be committed, and from which value. */
  #unsaved: { readonly made: Renewed<Login>; readonly from: string } | undefined;
  /** The provider's last word on this login. */
  #refusal: RenewalFailure | undefined;
  /** Since when the outcome of some renewal is unknown. */
  #lostSince: number | undefined;
  #lastWarning = "";

  /** @throws ProxyError `input.invalid` when the stored value is no such login */
  constructor(
    parts: LoginParts,
    kind: OAuthKind,
    stored: StoredSecret,
  ) {
    this.#parts = parts;
    this.#kind = kind;
    this.#stored = new LoginRecord(parts, stored);
    this.#slots = new LoginSlots({
      name: stored.record.name,
      clock: parts.clock,
      makeRenewal: (key) => this.#makeRenewal(key),
    });
    this.#login = kind.parse(stored.value, parts.clock.now());
    this.#seen = seenIn(stored.value) ?? digestOf(this.#login);
    this.#lostSince = stored.record.refreshingSince;
    this.#refusal = this.#storedRefusal();
    const token = kind.stored(this.#login);
    if (token) this.#slots.get("").renewal.adopt(token, { isDue: this.#lostSince !== undefined });
  }

  get version(): string {
    return this.#stored.record.version;
  }

  /** The secret was changed, and has this version still: in a fleet another host may have renewed it. */
  follow(stored: StoredSecret): void {
    if (!this.#stored.follow(stored)) return;
    this.#login = this.#kind.parse(stored.value, this.#parts.clock.now());
    this.#seen = seenIn(stored.value) ?? digestOf(this.#login);
    this.#lostSince = stored.record.refreshingSince;
    this.#refusal = this.#storedRefusal();
    const token = this.#kind.stored(this.#login);
    if (token) this.#slots.get("").renewal.adopt(token);
  }

  /** The credential for a request, at once when its token is at hand. @throws ProxyError `credential.unavailable` */
  credential(request: CredentialRequest): Credential | Promise<Credential> {
    const slot = this.#slots.get(this.#kind.slotOf?.(this.#login, request) ?? "", request.client);
    const form = this.#kind.formOf?.(this.#login, request) ?? "";
    const token = slot.renewal.usable();
    if (token) return this.#prepare(slot, token, form);
    return slot.renewal.get().then(
      (renewed) => this.#prepare(slot, renewed, form),
      (error) => {
        throw unavailable(this.#stored.record.name, error);
      },
    );
  }

  /** See `Credentials.rejected`. */
  async rejected(credential: Credential, answer: UpstreamAnswer): Promise<Credential | undefined> {
    const isRefused = this.#kind.isRefused?.(answer) ?? answer.status === 401;
    const { generation } = credential;
    if (!isRefused || generation === undefined) return undefined;
    const origin = origins.get(credential);
    if (!origin) return undefined;
    const token = await origin.slot.renewal.refused(generation);
    return token && this.#prepare(origin.slot, token, origin.form);
  }

  /** The machine has slept. */
  wake(): void {
    this.#slots.wake();
  }

  /** Waits for renewals under way: what they get would be lost otherwise. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#slots[Symbol.asyncDispose]();
    if (this.#unsaved) await this.#save(this.#unsaved.made, this.#unsaved.from).catch(() => {});
  }

  /** The refusal for good that an earlier start, or another host, has stored. */
  #storedRefusal(): RenewalFailure | undefined {
    const { error } = this.#stored.record;
    return error !== undefined && this.#kind.rotates
      ? new RenewalFailure(error, { isFinal: true })
      : undefined;
  }

  #makeRenewal(key: string): Renewal {
    const { clock, random, schedule, limitMs, reportBug } = this.#parts;
    const finalRetryMs = this.#stored.record.sourceFile !== undefined
      ? SOURCE_POLL_MS
      : this.#kind.rotates
      ? Infinity
      : FINAL_RETRY_MS;
    return new Renewal({
      clock,
      random,
      schedule,
      limitMs,
      reportBug,
      finalRetryMs,
      isEager: this.#kind.rotates,
      isRenewable: () => this.#kind.isRenewable(this.#login) || this.#stored.record.sourceFile !== undefined,
      fetch: (signal) => this.#renew(key, signal),
    });
  }

  #prepare(slot: Slot, { token, generation }: LiveToken, form: string): Credential {
    if (slot.generation !== generation) {
      slot.prepared.clear();
      slot.generation = generation;
    }
    const known = slot.prepared.get(form);
    if (known) return known;
    const { name, version, host, cleartext } = this.#stored.record;
    const credential = {
      secret: name,
      version,
      host,
      cleartext,
      generation,
      material: [token],
      ...this.#kind.inject(this.#login, token, form),
    };
    slot.prepared.set(form, credential);
    origins.set(credential, { slot, form });
    return credential;
  }

  /** One renewal, from the source file or from the provider. @throws RenewalFailure; ProxyError */
  async #renew(slot: string, signal: AbortSignal): Promise<AccessToken> {
    try {
      if (this.#unsaved) return await this.#save(this.#unsaved.made, this.#unsaved.from);
      const adopted = await this.#adoptSource();
      if (adopted) return adopted;
      if (this.#refusal && this.#kind.rotates) throw this.#refusal;
      if (!this.#kind.isRenewable(this.#login)) return await this.#afterFailure(this.#notRenewable());
      return await this.#ask(slot, signal);
    } catch (error) {
      this.#parts.onOutcome(error instanceof RenewalFailure && error.isFinal ? "refused" : "failed");
      this.#warn(`secret ${this.#stored.record.name}: ${forOperator(error)}`);
      throw error;
    }
  }

  async #ask(slot: string, signal: AbortSignal): Promise<AccessToken> {
    const { clock, call } = this.#parts;
    if (this.#kind.rotates) {
      for (;;) {
        const before = this.#stored.value;
        const waitMs = await this.#stored.begin();
        if (waitMs === 0) break;
        const token = await this.#fromElsewhere({ before, waitMs }, signal);
        if (token) return token;
      }
    }
    const from = this.#stored.value;
    let made: Renewed<Login>;
    try {
      const context = {
        now: () => clock.now(),
        call: (request: Parameters<ProviderCall>[0]) =>
          call({ ...request, maySend: () => this.#stored.holdsLease() }, signal),
      };
      made = await this.#kind.renew(this.#login, context, slot);
    } catch (error) {
      return await this.#afterFailure(error);
    }
    if (made.login) return await this.#save(made, from);
    if (this.#stored.record.error !== undefined) await this.#stored.update({ error: null });
    this.#succeeded("renewed");
    return made.token;
  }

  /** The token that another host has got since the value was `before`, or gets within `waitMs`. @throws the signal's reason */
  async #fromElsewhere(
    wait: { readonly before: string; readonly waitMs: number },
    signal: AbortSignal,
  ): Promise<AccessToken | undefined> {
    await this.#stored.change(wait, signal);
    const token = this.#stored.value === wait.before ? undefined : this.#kind.stored(this.#login);
    if (token && (token.expiresAtMs ?? Infinity) > this.#parts.clock.now() + LAST_MOMENT_MS) return token;
    signal.throwIfAborted();
    return undefined;
  }

  /** Without a refresh token the end of a token is the end of the login; a 401 before that may be about one request only. */
  #notRenewable(): RenewalFailure {
    const endsAtMs = this.#kind.stored(this.#login)?.expiresAtMs ?? Infinity;
    const hasEnded = this.#parts.clock.now() >= endsAtMs - LAST_MOMENT_MS;
    return new RenewalFailure("its token cannot be renewed, for it has no refresh token", {
      isFinal: hasEnded,
    });
  }

  /** Decides what a failure means, and throws it unless the source file has something better. */
  async #afterFailure(error: unknown): Promise<AccessToken> {
    const isAnswered = error instanceof RenewalFailure ? error.isAnswered : wasNeverSent(error);
    if (this.#kind.rotates && !isAnswered) this.#lostSince ??= this.#stored.record.refreshingSince;
    if (!(error instanceof RenewalFailure) || !error.isFinal) {
      if (this.#kind.rotates && isAnswered && this.#lostSince === undefined) {
        await this.#stored.update({ refreshingSince: null }).catch(() => {}); // it only makes a later message too careful
      }
      const atHome = error instanceof RenewalFailure ? error.atHome : undefined;
      if (atHome !== undefined && atHome !== this.#stored.record.error) await this.#note({ error: atHome });
      throw error;
    }
    // Somebody else may have renewed the login since the file was last read; then the refusal is not about the login.
    const adopted = await this.#adoptSource();
    if (adopted) return adopted;
    const lost = this.#lostSince === undefined
      ? ""
      : `; the answer to a renewal of ${new Date(this.#lostSince).toISOString()} was lost`;
    const words = this.#kind.rotates
      ? `the login must be renewed on the host: ${error.message}${lost}`
      : `the provider refuses it: ${error.message}`;
    const refusal = new RenewalFailure(words, { isFinal: true });
    this.#refusal = refusal;
    await this.#note({ error: words, refreshingSince: null });
    throw refusal;
  }

  /** Stores what the operator should see. That it cannot be stored hides no failure. */
  async #note(change: Omit<SecretUpdate, "ifVersion">): Promise<void> {
    try {
      await this.#stored.update(change);
    } catch (failure) {
      this.#parts.log.error(
        `secret ${this.#stored.record.name}: its state cannot be stored: ${wordsOf(failure)}`,
      );
    }
  }

  /** Commits a renewed login. Nothing of it is used before that. */
  async #save(made: Renewed<Login>, from: string): Promise<AccessToken> {
    this.#unsaved = { made, from };
    try {
      await this.#stored.update({
        ifValue: from,
        value: this.#valueOf(made.login ?? this.#login),
        refreshedAt: this.#parts.clock.now(),
        refreshingSince: null,
        error: null,
      });
    } catch (error) {
      const isRenewed = isProxyError(error, "input.conflict") && error.reason === "renewed";
      // Replaced, deleted, or renewed by another host: nobody wants it.
      if (error instanceof RenewalFailure || isRenewed) this.#unsaved = undefined;
      else {
        this.#parts.log.error(
          `secret ${this.#stored.record.name}: the renewed login cannot be stored and is lost if the proxy ends now`,
        );
      }
      throw error;
    }
    this.#unsaved = undefined;
    this.#login = made.login ?? this.#login;
    this.#succeeded("renewed");
    return made.token;
  }

  /** Takes over what a host CLI has written since, and returns its token when that is fresh. */
  async #adoptSource(): Promise<AccessToken | undefined> {
    const { name, sourceFile } = this.#stored.record;
    if (sourceFile === undefined) return undefined;
    let login: Login;
    try {
      login = await readSourceLogin(this.#kind, this.#stored.record, () => this.#parts.clock.now());
    } catch (error) {
      this.#warn(`secret ${name}: ${messageOf(error)}`);
      return undefined;
    }
    const digest = digestOf(login);
    if (digest === this.#seen) return undefined;
    if (isAnotherLogin(this.#kind, this.#login, login)) {
      this.#warn(`secret ${name}: its source file holds another account or endpoint, and is not used`);
      return undefined;
    }
    const [old, found] = [this.#kind.stored(this.#login), this.#kind.stored(login)];
    // A copy from before our own last renewal would take us back to a refresh token that is used up.
    const isOlder = !this.#refusal && (found?.expiresAtMs ?? Infinity) <= (old?.expiresAtMs ?? 0);
    if (isOlder) return undefined;
    await this.#stored.update({
      value: this.#valueOf(login, digest),
      adoptedAt: this.#parts.clock.now(),
      refreshingSince: null,
      error: null,
    });
    this.#seen = digest;
    this.#login = login;
    this.#succeeded("adopted");
    const isFresh = found && (found.expiresAtMs ?? Infinity) > this.#parts.clock.now() + FRESH_MS;
    return isFresh ? found : undefined;
  }

  #succeeded(outcome: RenewalOutcome): void {
    this.#refusal = undefined;
    this.#lostSince = undefined;
    this.#lastWarning = "";
    this.#parts.onOutcome(outcome);
  }

  #valueOf(login: Login, seen = this.#seen): string {
    return JSON.stringify({ ...login, source_digest: seen });
  }

  /** The same trouble is told once. */
  #warn(line: string): void {
    if (line !== this.#lastWarning) this.#parts.log.warn(line);
    this.#lastWarning = line;
  }
}

/** Where credentials come from: a request may be refused long after its token was renewed. */
const origins = new WeakMap<Credential, { readonly slot: Slot; readonly form: string }>();
