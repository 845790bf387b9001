/**
 * From stored secrets to the credentials that the data plane injects: the one door to everything in this folder.
 *
 * Not here: the rule that a credential may be sent under, and the checks of host and TLS at every injection (`policy/`,
 * `proxy/`).
 *
 * @module
 */
import { callAt, type Clock } from "../core/clock.ts";
import { isProxyError, ProxyError } from "../core/errors.ts";
import type { SecretRecord, SecretUpdate } from "../store/records.ts";
import type { Credential, SecretInfo } from "./credential.ts";
import { type ClosedEndpoints, ClosedPlaces, type Place } from "./endpoints.ts";
import { FollowedFiles } from "./followed_files.ts";
import { oauthKind, staticInjection } from "./kinds.ts";
import { LiveLogin, type LoginParts, type RenewalOutcome } from "./login.ts";
import type { CredentialRequest, TokenEndpoint, UpstreamAnswer } from "./oauth_kind.ts";
import type { ProviderCall } from "./provider_call.ts";
import { RENEWAL_LIMIT_MS } from "./refresh.ts";

/** Where secrets come from. `record` must be another object whenever the secret was changed. */
export interface SecretSource {
  secretValue(name: string): { readonly record: SecretRecord; readonly value: string } | undefined;
  listSecrets(): readonly SecretRecord[];
  /** See `State.updateSecret`. */
  updateSecret(name: string, update: SecretUpdate): Promise<SecretRecord | undefined>;
  /** Calls `listener` after every change. Returns a function that stops it. */
  onChange(listener: () => void): () => void;
}

/** See each field. */
export interface CredentialsOptions {
  readonly source: SecretSource;
  readonly call: ProviderCall;
  readonly clock: Clock;
  /** Gets names and reasons, never a credential. */
  readonly log: LoginParts["log"];
  readonly reportBug: (error: unknown) => void;
  /** Chance, 0 to 1, for jitter. */
  readonly random?: () => number;
  /** Calls back once the clock has reached a time. Returns a function that cancels. */
  readonly schedule?: LoginParts["schedule"];
  /** How long a renewal may take, in milliseconds. */
  readonly limitMs?: number;
}

/** All credentials. Dispose it before the state: it waits for renewals under way and commits what they got. */
export class Credentials implements AsyncDisposable {
  readonly #source: SecretSource;
  readonly #parts: LoginParts;
  /** Of types without renewal. Keyed weakly: what is replaced or deleted is forgotten, its headers included. */
  readonly #prepared = new WeakMap<SecretRecord, Credential>();
  /** Where each login is renewed. Reading a login costs more than looking it up, and any change asks for all of them. */
  readonly #endpoints = new WeakMap<SecretRecord, readonly TokenEndpoint[]>();
  readonly #files: FollowedFiles;
  readonly #logins = new Map<string, LiveLogin>();
  readonly #ending = new Set<Promise<void>>();
  readonly #outcomes: Record<RenewalOutcome, number> = { renewed: 0, adopted: 0, failed: 0, refused: 0 };
  readonly #unsubscribe: () => void;
  #closed: ClosedPlaces | undefined;
  #isStarted = false;
  #isClosed = false;

  constructor({ source, call, clock, log, reportBug, random, schedule, limitMs }: CredentialsOptions) {
    this.#source = source;
    this.#parts = {
      clock,
      call,
      log,
      reportBug,
      random: random ?? Math.random,
      limitMs: limitMs ?? RENEWAL_LIMIT_MS,
      schedule: schedule ?? ((atMs, callback) => callAt(clock, atMs, callback)),
      update: (name, update) => source.updateSecret(name, update),
      onOutcome: (outcome) => this.#outcomes[outcome]++,
    };
    this.#files = new FollowedFiles({ ...this.#parts, source });
    this.#unsubscribe = source.onChange(() => this.#follow());
  }

  /** Begins to renew in the background. Until then tokens are renewed when they are asked for. */
  start(): void {
    this.#isStarted = true;
    this.#files.start();
    this.#follow();
  }

  /** The machine has slept: logins whose time came meanwhile are renewed now. */
  wake(): void {
    for (const login of this.#logins.values()) login.wake();
  }

  /** What decisions need to know of a secret; undefined when there is none of that name. */
  secretInfo(name: string): SecretInfo | undefined {
    return this.#source.secretValue(name)?.record;
  }

  /**
   * The credential of a secret as it stands now: at once when its token is at hand, else when it has been fetched. A
   * promise settles within about half a minute; policy must be checked again after it.
   *
   * @param request what the credential is for; some types need a token for each repository
   * @returns undefined when there is no such secret
   * @throws ProxyError `credential.unavailable`, with words that the client may read
   */
  credential(name: string, request?: CredentialRequest): Credential | Promise<Credential> | undefined {
    const stored = this.#source.secretValue(name);
    if (!stored) return undefined;
    const known = this.#prepared.get(stored.record);
    if (known) return known;
    const login = this.#loginOf(name, stored);
    if (login) return login.credential(request ?? { host: stored.record.host, method: "GET", path: "/" });
    const { version, host, cleartext, type } = stored.record;
    const injection = orUnavailable(stored.record, () => staticInjection(type, stored.value));
    const isFollowed = FollowedFiles.has(stored.record);
    const credential = {
      secret: name,
      version,
      host,
      cleartext,
      ...injection,
      ...(isFollowed ? { isFollowed } : {}),
    };
    this.#prepared.set(stored.record, credential);
    return credential;
  }

  /**
   * The upstream has answered a request that carried `credential`. When the answer refuses the token: the credential to
   * send the request again with, once; undefined when that is pointless, and the answer is the client's. Each token forces
   * at most one renewal, and the waits between them grow, so that a client cannot burn refresh tokens. Never rejects.
   */
  async rejected(credential: Credential, answer: UpstreamAnswer): Promise<Credential | undefined> {
    if (credential.isFollowed && answer.status === 401) this.#files.hurry(credential);
    const login = this.#logins.get(credential.secret);
    if (login?.version !== credential.version) return undefined;
    return await login.rejected(credential, answer);
  }

  /**
   * True for a place where adopted logins are renewed, which no client may reach under any rule. Without a path only whole
   * hosts count: what is closed on hosts that are also used for real needs the path of each request.
   */
  isTokenEndpoint(place: Place): boolean {
    return this.#closedPlaces.has(place);
  }

  /** Whole hosts that are such a place. */
  closedHosts(): readonly string[] {
    return this.#closedPlaces.hosts;
  }

  get #closedPlaces(): ClosedPlaces {
    return this.#closed ??= new ClosedPlaces(this.closedEndpoints());
  }

  /** Where adopted logins are renewed, by secret. */
  closedEndpoints(): readonly ClosedEndpoints[] {
    return this.#source.listSecrets().map((record) => ({
      endpoints: this.#endpointsOf(record),
      secretHost: record.host,
    })).filter(({ endpoints }) => endpoints.length > 0);
  }

  /** How renewals have ended so far. */
  outcomes(): Readonly<Record<RenewalOutcome, number>> {
    return { ...this.#outcomes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#unsubscribe();
    await this.#files[Symbol.asyncDispose]();
    for (const name of [...this.#logins.keys()]) this.#end(name);
    await Promise.all(this.#ending);
  }

  #loginOf(
    name: string,
    stored: { readonly record: SecretRecord; readonly value: string },
  ): LiveLogin | undefined {
    const known = this.#logins.get(name);
    if (known?.version === stored.record.version) return known;
    const kind = oauthKind(stored.record.type);
    if (known) this.#end(name);
    if (!kind) return undefined;
    if (this.#isClosed) {
      throw new ProxyError("credential.unavailable", `Cannot use secret ${name}: the proxy is stopping`);
    }
    const login = orUnavailable(stored.record, () => new LiveLogin(this.#parts, kind, stored));
    this.#logins.set(name, login);
    return login;
  }

  /** Ends logins that are gone, and begins those that are new. */
  #follow(): void {
    this.#closed = undefined;
    for (const [name, login] of this.#logins) {
      const stored = this.#source.secretValue(name);
      if (stored?.record.version !== login.version) this.#end(name);
      else this.#followStored(login, stored);
    }
    if (!this.#isStarted || this.#isClosed) return;
    this.#files.arm();
    for (const { name, type } of this.#source.listSecrets()) {
      if (this.#logins.has(name) || !oauthKind(type)) continue;
      const stored = this.#source.secretValue(name);
      try {
        if (stored) this.#loginOf(name, stored);
      } catch (error) {
        if (!isProxyError(error)) this.#parts.reportBug(error); // else said to whoever asks for it
      }
    }
  }

  #followStored(login: LiveLogin, stored: { readonly record: SecretRecord; readonly value: string }): void {
    try {
      login.follow(stored);
    } catch (error) {
      this.#parts.reportBug(error); // another host has stored what is no login
    }
  }

  #end(name: string): void {
    const login = this.#logins.get(name);
    this.#logins.delete(name);
    if (!login) return;
    const ending = login[Symbol.asyncDispose]().catch(this.#parts.reportBug);
    this.#ending.add(ending);
    ending.finally(() => this.#ending.delete(ending));
  }

  #endpointsOf(record: SecretRecord): readonly TokenEndpoint[] {
    const known = this.#endpoints.get(record);
    if (known) return known;
    const kind = oauthKind(record.type);
    const stored = kind && this.#source.secretValue(record.name);
    let endpoints: readonly TokenEndpoint[] = [];
    try {
      if (stored) endpoints = kind.endpoints(kind.parse(stored.value, this.#parts.clock.now()));
    } catch {
      // An unusable login is renewed nowhere.
    }
    this.#endpoints.set(record, endpoints);
    return endpoints;
  }
}

function orUnavailable<T>({ name, type }: SecretRecord, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    throw new ProxyError(
      "credential.unavailable",
      `Cannot use secret ${name}: its stored value is no ${type}`,
      {
        cause,
        hint: "create it again with --force",
      },
    );
  }
}
