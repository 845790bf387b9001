/**
 * The state: who may do what with which credential. Reads answer from memory; a write is on the disk before memory
 * changes, and memory has changed before the call resolves, so what was acknowledged is both in force and durable.
 *
 * Not here: how changes are made (`change_*.ts`), and what a secret's value must look like (`secrets/kinds.ts`).
 *
 * @module
 */
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { ProxyError } from "../core/errors.ts";
import type { HistogramData } from "../core/histogram.ts";
import type { PresentPolicy } from "../policy/policy_diff.ts";
import type { PolicyFile } from "../policy/policy_file.ts";
import type { Rule, RuleSpec } from "../policy/rule.ts";
import { type JudgedRule, ruleWarnings } from "../policy/rule_health.ts";
import type { Mode, ModeSwitch } from "../policy/mode.ts";
import type { CaRecord, StoredCa } from "./cas.ts";
import * as cas from "./changes/cas.ts";
import * as clients from "./changes/clients.ts";
import * as policy from "./changes/policy.ts";
import * as mode from "./changes/mode.ts";
import * as rules from "./changes/rules.ts";
import { type RotatedSealKey, rotateSealKey } from "./changes/seal.ts";
import * as secrets from "./changes/secrets.ts";
import * as suspensions from "./changes/suspensions.ts";
import { digestToken } from "./clients.ts";
import { Database } from "./kv.ts";
import type { Fleet } from "./fleet/fleet.ts";
import type { Rotation } from "./fleet/key_rotation.ts";
import { type FleetOptions, openFleet } from "./fleet/open.ts";
import { loadState, openKeys, sweepLeftovers } from "./load.ts";
import type { ClientRecord, NewClient, SecretInput, SecretRecord, SecretUpdate } from "./records.ts";
import type { StoredSecret } from "./secrets.ts";
import type { Suspension } from "./suspensions.ts";
import { readUse, type SavedUse, writeUse } from "./used_budgets.ts";
import type { Admission, ClientRef, PolicyView, ViewChange } from "./view.ts";
import { type CopyTo, Writer } from "./writer.ts";

/** Where the state is. */
export interface StateOptions {
  /** The state folder, made when there is none. */
  readonly dir: string;
  /** The seal key file; `mk` in the folder unless given. */
  readonly sealKeyFile?: string | undefined;
  readonly clock: Clock;
  /** The fleet that the state is of; without it, it is in a file of the folder. */
  readonly fleet?: FleetOptions | undefined;
}

/** What the state holds and how writing it goes. */
export interface StoreFigures {
  readonly clients: number;
  readonly secrets: number;
  /** Live rules of all clients. */
  readonly rules: number;
  /** Those among them that cannot act as they read (`policy/rule_health.ts`). */
  readonly rulesWithWarnings: number;
  /** All of them while all are suspended. */
  readonly suspendedClients: number;
  /** How long commits took, those that failed included. */
  readonly writeDuration: HistogramData;
  readonly writeFailures: number;
  /** What the database takes on the disk; undefined where that cannot be known. */
  readonly databaseBytes: number | undefined;
}

/** How it stands with the seal key. Keys are told by their ids. */
export interface SealKeyStatus {
  readonly id: string;
  readonly file: string;
  /** In a fleet: where each host looks for the key that is to follow, as on this host. */
  readonly nextFile?: string;
  /** In a fleet, while another key is to come into force. */
  readonly rotation?: Rotation | undefined;
}

/**
 * The open state of one daemon. Writes run one after the other, in the order in which they were called. Every write
 * may throw ProxyError `state.write-failed` (full disk, file removed), and nothing has changed in memory then.
 *
 * Dispose it to finish pending writes, close the file and unlock the folder.
 */
export class State implements AsyncDisposable {
  readonly #writer: Writer;
  readonly #view: PolicyView;
  readonly #now = () => this.#writer.clock.now();
  /** Is told of every switch of the mode that was made. */
  onModeSwitch: (made: mode.NewModeSwitch) => void = () => {};
  /** Is told of every suspension and its end, when it is in force. */
  onSuspension: (made: { readonly client: string | undefined; readonly isSuspended: boolean }) => void =
    () => {};

  /** This host in its fleet; undefined where it is alone. */
  readonly fleet: Fleet | undefined;
  /** Where the seal key in force is. */
  #sealKeyFile: string;

  private constructor(writer: Writer, sealKeyFile: string, fleet?: Fleet) {
    this.#writer = writer;
    this.#view = writer.view;
    this.#sealKeyFile = sealKeyFile;
    this.fleet = fleet;
  }

  /**
   * Opens the state of a folder.
   *
   * @throws ProxyError `state.locked`, `state.unreadable`, `state.damaged`, `state.newer`, `state.write-failed`,
   * `seal.key-missing`, `seal.key-invalid`, `seal.key-wrong`, `seal.row-damaged`, `input.invalid` for an empty path; of a fleet
   * also `store.away`, `store.refused`
   */
  static async open(options: StateOptions): Promise<State> {
    const { dir } = options;
    const clock = steadyClock(options.clock);
    const sealKeyFile = options.sealKeyFile ?? join(dir, "mk");
    if (options.fleet) {
      const { writer, fleet } = await openFleet({ dir, sealKeyFile, clock }, options.fleet);
      return new State(writer, sealKeyFile, fleet);
    }
    const db = await Database.open(dir);
    try {
      const keys = await openKeys(db, sealKeyFile);
      const loaded = await loadState(db, keys, clock.now());
      await sweepLeftovers(db, loaded);
      return new State(new Writer({ db, keys, clock, ...loaded }), sealKeyFile);
    } catch (error) {
      db[Symbol.dispose]();
      throw error;
    }
  }

  /** All clients, by name. */
  listClients(): ClientRecord[] {
    return this.#view.clients();
  }

  getClient(name: string): ClientRecord | undefined {
    return this.#view.client(name)?.record;
  }

  /**
   * Makes a client, with a new token unless one is brought.
   *
   * @throws ProxyError `input.invalid`, `input.conflict` when the name or the token is taken, `limit.reached`
   */
  createClient(name: string, token?: string): Promise<NewClient> {
    return this.#writer.write(() => clients.createClient(this.#writer, name, token));
  }

  /** Gives a client a new token and version; the old token ends. @throws ProxyError `input.not-found` */
  rotateClient(name: string): Promise<NewClient> {
    return this.#writer.write(() => clients.rotateClient(this.#writer, name));
  }

  /** Revokes a client's token and drops its rules, in one commit. @throws ProxyError `input.not-found` */
  deleteClient(name: string): Promise<void> {
    return this.#writer.write(() => clients.deleteClient(this.#writer, name));
  }

  /**
   * Says what a client has for an hour or a day (`policy/budget.ts`), in the place of what it had; nothing ends that.
   *
   * @throws ProxyError `input.not-found`, `input.invalid`, `limit.reached`
   */
  setBudget(name: string, budget: readonly string[]): Promise<void> {
    return this.#writer.write(() => clients.setBudget(this.#writer, name, budget));
  }

  /** What was used of budgets when it was last saved, as far as its hour or day is not over. */
  savedUse(): Promise<readonly SavedUse[]> {
    return readUse(this.#writer);
  }

  /** Keeps what was used of budgets. */
  saveUse(used: readonly SavedUse[]): Promise<void> {
    return this.#writer.inTurn(() => writeUse(this.#writer, used));
  }

  /** All secrets without values, by name. */
  listSecrets(): SecretRecord[] {
    return this.#view.secrets();
  }

  getSecret(name: string): SecretRecord | undefined {
    return this.#view.secret(name)?.record;
  }

  /**
   * Stores a secret whose type and value have passed `secrets/kinds.ts`. With `force` a taken name is replaced: value,
   * host and type change, `createdAt` stays, and rules that name it go on with the new one.
   *
   * @throws ProxyError `input.invalid`, `input.conflict`, `limit.reached`
   */
  putSecret(input: SecretInput, { force }: { readonly force: boolean }): Promise<SecretRecord> {
    return this.#writer.write(() => secrets.putSecret(this.#writer, input, force));
  }

  /**
   * Changes a secret without replacing it, when it still has the version that the change is for: a renewal neither
   * overwrites a replacement nor brings back a deleted secret.
   *
   * @returns its new record, or undefined when there is no such version any more
   */
  updateSecret(name: string, update: SecretUpdate): Promise<SecretRecord | undefined> {
    return this.#writer.write(() => secrets.updateSecret(this.#writer, name, update));
  }

  /** Deletes a secret; rules that name it stay, and deny. @throws ProxyError `input.not-found` */
  deleteSecret(name: string): Promise<void> {
    return this.#writer.write(() => secrets.deleteSecret(this.#writer, name));
  }

  /** The CAs of host groups that are in the store, without their keys, by host group. */
  listCas(): CaRecord[] {
    return this.#view.cas();
  }

  /** The CA of a host group with its key: for `cli/up/certificates.ts`, and never to be shown or logged. */
  storedCa(hostgroup: string): StoredCa | undefined {
    return this.#view.ca(hostgroup);
  }

  /**
   * Keeps the CA of a host group, its key sealed, in the place of the one that it had, if any. The same certificate once more
   * changes nothing.
   *
   * @throws ProxyError `input.invalid`, `limit.reached`; what `input.check` throws
   */
  putCa(input: cas.CaInput): Promise<CaRecord> {
    return this.#writer.write(() => cas.putCa(this.#writer, input));
  }

  /** Gives a CA another certificate for its key, when it still has the version that it is for. @throws ProxyError `input.invalid` */
  renewCa(hostgroup: string, renewal: cas.CaRenewal): Promise<void> {
    return this.#writer.write(() => cas.renewCa(this.#writer, hostgroup, renewal));
  }

  /**
   * Takes another seal key and seals everything anew with it, while everything goes on: one that is made, which takes the place
   * of the one in force, or one that is brought in a file and stays there. The key from before opens nothing afterwards.
   *
   * Not in a fleet, whose hosts do it together: `Fleet.beginRotation`.
   *
   * @throws ProxyError `seal.key-missing`, `seal.key-invalid`, `input.conflict` for the key in force, `state.write-failed`
   */
  rotateSealKey(broughtKeyFile?: string): Promise<RotatedSealKey> {
    if (this.fleet) throw new TypeError("Cannot rotate the seal key of a fleet as that of one host");
    return this.#writer.write(async () => {
      const rotated = await rotateSealKey(this.#writer, this.#sealKeyFile, broughtKeyFile);
      this.#sealKeyFile = rotated.keyFile;
      return rotated;
    });
  }

  /** The seal key in force, and in a fleet the one that is to follow. @throws ProxyError `store.away` */
  async sealKey(): Promise<SealKeyStatus> {
    if (!this.fleet) return { id: this.#writer.keys.id, file: this.#sealKeyFile };
    return { ...this.fleet.sealKey, rotation: await this.fleet.rotation() };
  }

  /** Gives up a seal key that is to follow in a fleet. @throws ProxyError `input.not-found` when none is, `store.away` */
  async cancelSealKey(): Promise<void> {
    if (this.fleet) return await this.fleet.cancelRotation();
    throw new ProxyError("input.not-found", "Cannot give up another seal key: this host is in no fleet");
  }

  /** A client's live rules in declaration order. @throws ProxyError `input.not-found` */
  listRules(client: string): Rule[] {
    clients.requireClient(this.#view, client, "list the rules of");
    return this.#view.liveRules(client, this.#writer.clock.now());
  }

  /** The same with what is wrong with each. @throws ProxyError `input.not-found` */
  judgeRules(client: string): JudgedRule[] {
    const rules = this.listRules(client);
    const warnings = ruleWarnings(rules, {
      secret: (name) => this.#view.secret(name)?.record,
      nowMs: this.#writer.clock.now(),
    });
    return rules.map((rule, i) => ({ rule, warnings: warnings[i] ?? [] }));
  }

  /**
   * Gives a client, or all, another mode until it ends or the proxy stops. One for all takes the place of all before it.
   *
   * @throws ProxyError `input.not-found` for an unknown client, `input.invalid` for a bad time
   */
  async switchMode(made: mode.NewModeSwitch): Promise<ModeSwitch> {
    const done = await this.#writer.write(() => mode.switchMode(this.#writer, made));
    this.onModeSwitch(made);
    return done;
  }

  /** The switches in force. */
  modeSwitches(): readonly ModeSwitch[] {
    return this.#view.modeSwitches(this.#writer.clock.now());
  }

  /** The mode that a switch gives a client, or somebody unknown; undefined when none is in force. */
  modeOf(client: string | undefined): Mode | undefined {
    return this.#view.modeOf(client, this.#writer.clock.now());
  }

  /**
   * Suspends a client, or all there are and will be: what they have open ends, and everything they ask for is refused, until
   * they are resumed. It outlives a restart.
   *
   * @throws ProxyError `input.not-found` for an unknown client
   */
  suspend(client: string | undefined): Promise<void> {
    return this.#setSuspended(client, true);
  }

  /**
   * Ends a suspension: that of a client, or that of all, which leaves those that were suspended by themselves.
   *
   * @throws ProxyError `input.not-found` for an unknown client
   */
  resume(client: string | undefined): Promise<void> {
    return this.#setSuspended(client, false);
  }

  async #setSuspended(client: string | undefined, isSuspended: boolean): Promise<void> {
    const isNew = await this.#writer.write(() => suspensions.setSuspended(this.#writer, client, isSuspended));
    if (isNew) this.onSuspension({ client, isSuspended });
  }

  /** Who is suspended: all first. */
  suspensions(): readonly Suspension[] {
    return this.#view.suspensions();
  }

  /** True while the client is suspended, by name or with all. */
  isSuspended(client: string): boolean {
    return this.#view.isSuspended(client);
  }

  /**
   * Adds a rule (from `parseRule`) behind the others of its client, or before one of them.
   *
   * @param options `ttlMs` is the rule's life in whole milliseconds, for ever when undefined; `place` is where it stands in the
   * list afterwards, from 1
   * @throws ProxyError `input.invalid` for an unknown client or secret, a host outside the secret's, a bad TTL or place;
   * `input.conflict` when the client has this rule; `limit.reached`
   */
  addRule(client: string, spec: RuleSpec, options: rules.RuleOptions = {}): Promise<Rule> {
    return this.#writer.write(() => rules.addRule(this.#writer, { client, spec, ...options }));
  }

  /**
   * The same for several rules, no two alike, which stand one behind the other: all of them or none.
   *
   * @param options `isDryRun` only says what would be added, or refused
   * @throws ProxyError as {@linkcode State.addRule}
   */
  addRules(
    client: string,
    specs: readonly RuleSpec[],
    options: Omit<rules.NewRules, "client" | "specs"> = {},
  ): Promise<Rule[]> {
    return this.#writer.write(() => rules.addRules(this.#writer, { client, specs, ...options }));
  }

  /**
   * Puts a rule of a client before another, or behind all, and returns it. What it has admitted goes on.
   *
   * @throws ProxyError `input.not-found`, `input.invalid`
   */
  moveRule(client: string, move: rules.RuleMove): Promise<Rule> {
    return this.#writer.write(() => rules.moveRule(this.#writer, client, move));
  }

  /**
   * Removes all rules of a client with exactly this host pattern, and returns them.
   *
   * @throws ProxyError `input.not-found`, `input.invalid`
   */
  revokeHost(client: string, hostPattern: string): Promise<Rule[]> {
    return this.#writer.write(() => rules.revokeHost(this.#writer, client, hostPattern));
  }

  /**
   * Removes the one rule with this identity, and returns it; a secret that is given must be the rule's.
   *
   * @throws ProxyError `input.not-found`
   */
  revokeRule(client: string, spec: RuleSpec): Promise<Rule> {
    return this.#writer.write(() => rules.revokeRule(this.#writer, client, spec));
  }

  /** Clients, live rules and secrets at this moment. */
  presentPolicy(): PresentPolicy {
    return policy.presentPolicy(this.#view, this.#writer.clock.now());
  }

  /**
   * Makes the clients and rules what a policy file says, all of it or nothing, and tells what changed. Rules that stay
   * are the rules they were, so that what they had admitted goes on.
   *
   * @throws ProxyError `input.invalid` when a secret of the file is absent or another, or more than 1,000 clients change;
   * `limit.reached`
   */
  applyPolicy(file: PolicyFile, options: policy.ApplyOptions): Promise<policy.AppliedPolicy> {
    return this.#writer.write(() => policy.applyPolicy(this.#writer, file, options));
  }

  /** The client whose token this is. Every token costs one HMAC and one look-up, whatever it is. */
  clientByToken(token: string): ClientRecord | undefined {
    return this.#view.clientByDigest(digestToken(this.#writer.keys.token, token))?.record;
  }

  /** The client's live rules whose host pattern matches `host` (canonical), in declaration order. */
  rulesFor(client: ClientRef, host: string): readonly Rule[] {
    return this.#view.rulesFor(client, host, this.#now);
  }

  /** The clients, by name, of which a passthrough rule names exactly this host and port. */
  clientsPassing(host: string, port: number): readonly ClientRecord[] {
    return this.#view.clientsPassing(host, port);
  }

  /** The client's live rules, in declaration order. */
  rulesOf(client: ClientRef): readonly Rule[] {
    return this.#view.rulesOf(client, this.#writer.clock.now());
  }

  /** A secret with its value: for `secrets/`, and never to be shown or logged. The record is the same object until the secret changes. */
  secretValue(name: string): StoredSecret | undefined {
    return this.#view.secret(name);
  }

  /** True while this host of a fleet cannot know the policy, and nothing is in force. */
  isLost(): boolean {
    return this.#view.isLost(this.#now);
  }

  /** True while everything that a stream was admitted under is still in force. */
  isLive(admission: Admission): boolean {
    return this.#view.isLive(admission, this.#now);
  }

  /** Calls `listener`, which must not throw, after every change and expiry. Returns a function that stops it. */
  onChange(listener: () => void): () => void {
    return this.#writer.onChange(listener);
  }

  /** Costs the same however much the state holds. */
  async figures(): Promise<StoreFigures> {
    return {
      clients: this.#view.clientCount,
      secrets: this.#view.secretCount,
      rules: this.#view.ruleCount,
      suspendedClients: this.listClients().filter(({ name }) => this.isSuspended(name)).length,
      rulesWithWarnings: this.listClients().flatMap(({ name }) => this.judgeRules(name))
        .filter(({ warnings }) => warnings.length > 0).length,
      ...this.#writer.figures(),
      databaseBytes: await this.#writer.sizeBytes().catch(() => undefined),
    };
  }

  /** The key that digests tokens: for another thread that has to know clients by their tokens. */
  get tokenKey(): Uint8Array {
    return this.#writer.keys.token;
  }

  /** The policy as it is now, as steps that make an empty view the same. */
  snapshot(): readonly ViewChange[] {
    return this.#view.snapshot(this.#writer.clock.now());
  }

  /** Has every change from now on made by `copyTo` in other threads too, before the call that made it resolves. */
  keepCopies(copyTo: CopyTo): void {
    this.#writer.keepCopies(copyTo);
  }

  /** Finishes the writes that were asked for, and closes. Later writes are refused with a TypeError. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.fleet?.stop();
    await this.#writer[Symbol.asyncDispose]();
  }
}

/** Never goes back, even if `clock` breaks its promise: an expired rule must not come back. */
function steadyClock(clock: Clock): Clock {
  let latest = 0;
  return { now: () => latest = Math.max(latest, clock.now()), monotonic: () => clock.monotonic() };
}
