/**
 * The policy in a worker: a copy of the main thread's, kept up by its updates, so that the request path asks nobody. Only
 * credentials come from the main thread, which renews them.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { RecentMap } from "../core/recent_map.ts";
import type { Mode } from "../policy/mode.ts";
import type { Rule } from "../policy/rule.ts";
import type {
  Client,
  CredentialRequest,
  Grant,
  PolicySource,
  UpstreamAnswer,
} from "../proxy/policy_source.ts";
import type { Credential, SecretInfo } from "../secrets/credential.ts";
import { ClosedPlaces, type Place } from "../secrets/endpoints.ts";
import { digestToken } from "../store/clients.ts";
import type { SecretRecord } from "../store/records.ts";
import { PolicyView } from "../store/view.ts";
import type { LentCredential, PolicyUpdate } from "./messages.ts";

/** What the main thread does for a replica. */
export interface Lender {
  credential(secret: string, request: CredentialRequest): Promise<LentCredential | undefined>;
  rejected(ref: number, answer: UpstreamAnswer): Promise<LentCredential | undefined>;
}

/** See {@linkcode PolicyReplica}. */
export interface ReplicaOptions {
  readonly tokenKey: Uint8Array;
  /** Must never step back. */
  readonly clock: Clock;
  readonly lender: Lender;
  /** True once the main thread has given this worker up, because it may have missed an update. */
  readonly isCondemned: () => boolean;
}

/** Credentials that are found again. Others are taken as they come. */
const MAX_FOUND = 256;

/** The copy. */
export class PolicyReplica implements PolicySource {
  readonly #options: ReplicaOptions;
  readonly #view = new PolicyView();
  readonly #now = () => this.#options.clock.now();
  readonly #listeners = new Set<() => void>();
  /** Of types without renewal; forgotten with the record that they belong to. */
  readonly #lasting = new WeakMap<SecretRecord, Credential>();
  readonly #refs = new WeakMap<Credential, number>();
  /** Of types with renewal, while something uses them: each answer of the main thread is a copy. */
  readonly #byRef = new RecentMap<number, WeakRef<Credential>>(MAX_FOUND);
  #closed = new ClosedPlaces();

  constructor(options: ReplicaOptions) {
    this.#options = options;
  }

  /** Makes the main thread's changes here, and ends what is no longer in force before it returns. */
  update({ changes, closed }: PolicyUpdate): void {
    for (const change of changes) this.#view.apply(change);
    if (closed) this.#closed = new ClosedPlaces(closed);
    for (const listener of this.#listeners) listener();
  }

  clientByToken(token: string): Client | undefined {
    return this.#view.clientByDigest(digestToken(this.#options.tokenKey, token))?.record;
  }

  clients(): readonly Client[] {
    return this.#view.clients();
  }

  modeOf(client: string | undefined): Mode | undefined {
    return this.#view.modeOf(client, this.#options.clock.now());
  }

  clientsPassing(host: string, port: number): readonly Client[] {
    return this.#view.clientsPassing(host, port);
  }

  rulesFor(client: Client, host: string): readonly Rule[] {
    return this.#view.rulesFor(client, host, this.#now);
  }

  rulesOf(client: Client): readonly Rule[] {
    return this.#view.rulesOf(client, this.#options.clock.now());
  }

  secretInfo(secret: string): SecretInfo | undefined {
    return this.#view.secret(secret)?.record;
  }

  credential(secret: string, request: CredentialRequest): Credential | Promise<Credential> | undefined {
    const record = this.#view.secret(secret)?.record;
    return record && (this.#lasting.get(record) ?? this.#borrow(record, request));
  }

  async rejected(credential: Credential, answer: UpstreamAnswer): Promise<Credential | undefined> {
    const ref = this.#refs.get(credential);
    return ref === undefined ? undefined : this.#keep(await this.#options.lender.rejected(ref, answer));
  }

  isTokenEndpoint(place: Place): boolean {
    return this.#closed.has(place);
  }

  closedHosts(): readonly string[] {
    return this.#closed.hosts;
  }

  isSuspended(client: string): boolean {
    return this.#view.isSuspended(client);
  }

  isLost(): boolean {
    return this.#view.isLost(this.#now);
  }

  budgetOf(client: string): readonly string[] | undefined {
    return this.#view.client(client)?.record.budget;
  }

  isLive(grant: Grant): boolean {
    return !this.#options.isCondemned() && this.#view.isLive(grant, this.#now);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #borrow(record: SecretRecord, request: CredentialRequest): Promise<Credential> {
    const credential = this.#keep(await this.#options.lender.credential(record.name, request));
    // Gone or replaced meanwhile: whoever asked sees that by the version, and refuses.
    if (!credential) {
      return { secret: record.name, version: "", host: "", cleartext: false, headers: [], material: [] };
    }
    const isLasting = credential.generation === undefined && credential.version === record.version;
    if (isLasting) this.#lasting.set(record, credential);
    return credential;
  }

  /** The same object for the same number, so that what is made of a credential is not made for each request (`echo_watch.ts`). */
  #keep(lent: LentCredential | undefined): Credential | undefined {
    if (!lent) return undefined;
    const { credential, ref } = lent;
    const known = this.#byRef.get(ref)?.deref();
    if (known) return known;
    this.#refs.set(credential, ref);
    if (ref !== 0) this.#byRef.set(ref, new WeakRef(credential)); // 0 is whatever has nothing to renew
    return credential;
  }
}
