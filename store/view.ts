/**
 * The whole policy in memory, as the request path asks for it: synchronous, and fast with 10,000 rules.
 *
 * Expiry is checked at every call: a rule that has expired is absent from the instant on, whether or not
 * {@linkcode PolicyView.takeExpired} has removed it yet.
 *
 * Not here: the disk and what may be changed (`state.ts`).
 *
 * @module
 */
import { type Mode, type ModeSwitch, ModeSwitches } from "../policy/mode.ts";
import { hostWithin, type Rule } from "../policy/rule.ts";
import type { CaRecord, StoredCa } from "./cas.ts";
import type { StoredClient } from "./clients.ts";
import { MAX_REMEMBERED_HOSTS } from "./limits.ts";
import type { ClientRecord, SecretRecord } from "./records.ts";
import type { StoredRule } from "./rules.ts";
import type { StoredSecret } from "./secrets.ts";
import type { Suspension } from "./suspensions.ts";

/** A client as a caller identifies it: the version makes a rotated or re-made client another one. */
export type ClientRef = Pick<ClientRecord, "name" | "version">;

/** What a stream was admitted under; see {@linkcode PolicyView.isLive}. */
export interface Admission {
  readonly client: ClientRef;
  readonly rule?: Pick<Rule, "id">;
  /** See `Allowance.others`. */
  readonly others?: readonly Pick<Rule, "id">[];
  readonly credential?: { readonly secret: string; readonly version: string };
}

/** One step of a change, for another view of the same policy. No value of a secret and no key of a CA is in it. */
export type ViewChange =
  | { readonly kind: "client"; readonly stored: StoredClient }
  | { readonly kind: "client-gone"; readonly name: string }
  | { readonly kind: "rule"; readonly stored: StoredRule }
  | { readonly kind: "rules-gone"; readonly client: string; readonly gone: readonly StoredRule[] }
  | { readonly kind: "secret"; readonly record: SecretRecord }
  | { readonly kind: "secret-gone"; readonly name: string }
  | { readonly kind: "ca"; readonly record: CaRecord }
  | { readonly kind: "ca-gone"; readonly hostgroup: string }
  | { readonly kind: "mode"; readonly made: ModeSwitch }
  | { readonly kind: "all-suspended"; readonly since: number | undefined }
  | { readonly kind: "held"; readonly untilMs: number };

/** Asks for the time, in epoch milliseconds. Most policies have no end, and a look at the clock costs as much as a decision. */
export type Now = () => number;

interface Remembered {
  readonly rules: readonly Rule[];
  /** The first instant, in epoch milliseconds, at which one of `rules` has expired. */
  readonly untilMs: number;
}

interface ClientEntry {
  stored: StoredClient;
  rules: StoredRule[];
  /** Answers of `rulesFor` by host. Emptied when `rules` changes. */
  readonly remembered: Map<string, Remembered>;
}

const NO_RULES: readonly Rule[] = Object.freeze([]);

/** All clients, rules and secrets. Changed only by `State`, after the change is on the disk. */
export class PolicyView {
  readonly #clients = new Map<string, ClientEntry>();
  readonly #byDigest = new Map<string, ClientEntry>();
  readonly #rules = new Map<string, StoredRule>();
  /** Those of them that end, which are looked through at every change. */
  readonly #ending = new Map<string, StoredRule>();
  readonly #secrets = new Map<string, StoredSecret>();
  readonly #cas = new Map<string, StoredCa>();
  /** Names of clients by the `host:port` that a passthrough rule of theirs names exactly; made when it is asked for. */
  #passing: ReadonlyMap<string, ReadonlySet<string>> | undefined;
  readonly #modes = new ModeSwitches();
  #allSuspendedSince: number | undefined;
  /** See {@linkcode PolicyView.holdUntil}. */
  #heldUntilMs = Infinity;
  /** Is told of every step. */
  onStep: (change: ViewChange) => void = () => {};

  /** The steps that make an empty view the same as this one. What has expired is gone: another clock may be behind. */
  snapshot(nowMs: number): ViewChange[] {
    const changes: ViewChange[] = [];
    for (const { stored, rules } of this.#clients.values()) {
      changes.push({ kind: "client", stored });
      for (const stored of rules) if (isUnexpired(stored.rule, nowMs)) changes.push({ kind: "rule", stored });
    }
    for (const { record } of this.#secrets.values()) changes.push({ kind: "secret", record });
    for (const { record } of this.#cas.values()) changes.push({ kind: "ca", record });
    for (const made of this.#modes.list(nowMs)) changes.push({ kind: "mode", made });
    if (this.isAllSuspended) changes.push({ kind: "all-suspended", since: this.#allSuspendedSince });
    if (this.#heldUntilMs !== Infinity) changes.push({ kind: "held", untilMs: this.#heldUntilMs });
    return changes;
  }

  /** Makes a step that another view has made. */
  apply(change: ViewChange): void {
    switch (change.kind) {
      case "client":
        return this.setClient(change.stored);
      case "client-gone":
        return this.deleteClient(change.name);
      case "rule":
        return this.moveRule(change.stored);
      case "rules-gone":
        return this.deleteRules(change.client, change.gone);
      case "secret":
        return this.setSecret({ record: change.record, value: "" });
      case "secret-gone":
        return this.deleteSecret(change.name);
      case "ca":
        return this.setCa({ record: change.record, keyPem: "" });
      case "ca-gone":
        return this.deleteCa(change.hostgroup);
      case "mode":
        return this.switchMode(change.made);
      case "all-suspended":
        return this.suspendAll(change.since);
      case "held":
        return this.holdUntil(change.untilMs);
    }
  }

  get clientCount(): number {
    return this.#clients.size;
  }

  get ruleCount(): number {
    return this.#rules.size;
  }

  get secretCount(): number {
    return this.#secrets.size;
  }

  /** All clients, by name. */
  clients(): ClientRecord[] {
    return [...this.#clients.values()].map(({ stored }) => stored.record).sort(byName);
  }

  /** All of them with what only the store knows, in no order. */
  storedClients(): StoredClient[] {
    return [...this.#clients.values()].map(({ stored }) => stored);
  }

  client(name: string): StoredClient | undefined {
    return this.#clients.get(name)?.stored;
  }

  clientByDigest(digest: string): StoredClient | undefined {
    return this.#byDigest.get(digest)?.stored;
  }

  /** Adds a client, or puts a rotated one in the place of its former self. */
  setClient(stored: StoredClient): void {
    const { name } = stored.record;
    const entry = this.#clients.get(name) ?? { stored, rules: [], remembered: new Map() };
    this.#forgetDigest(entry);
    entry.stored = stored;
    this.#clients.set(name, entry);
    this.#byDigest.set(stored.digest, entry);
    this.onStep({ kind: "client", stored });
  }

  /** Another client may have that token by now. */
  #forgetDigest(entry: ClientEntry): void {
    if (this.#byDigest.get(entry.stored.digest) === entry) this.#byDigest.delete(entry.stored.digest);
  }

  /** Puts a client and all its rules in the place of what it was and had, if anything. */
  replaceClient(stored: StoredClient, rules: readonly StoredRule[]): void {
    this.setClient(stored);
    this.deleteRules(stored.record.name, this.storedRules(stored.record.name));
    for (const rule of rules) this.addRule(rule);
  }

  /** Removes a client and its rules. */
  deleteClient(name: string): void {
    const entry = this.#clients.get(name);
    if (!entry) return;
    this.#clients.delete(name);
    this.#modes.forget(name);
    this.#forgetDigest(entry);
    for (const { rule } of entry.rules) this.#dropRule(rule.id);
    this.onStep({ kind: "client-gone", name });
  }

  /** Adds a rule to those of its client, at the place that its sequence gives it. */
  addRule(stored: StoredRule): void {
    const entry = this.#clients.get(stored.rule.client);
    if (!entry) throw new TypeError("Cannot add a rule: its client is not in the view");
    entry.rules.splice(
      entry.rules.findLastIndex(({ sequence }) => sequence < stored.sequence) + 1,
      0,
      stored,
    );
    entry.remembered.clear();
    this.#passing = undefined;
    this.#rules.set(stored.rule.id, stored);
    if (stored.rule.expiresAt === undefined) this.#ending.delete(stored.rule.id);
    else this.#ending.set(stored.rule.id, stored);
    this.onStep({ kind: "rule", stored });
  }

  #dropRule(id: string): void {
    this.#rules.delete(id);
    this.#ending.delete(id);
  }

  /** Puts a rule at the place that its new sequence gives it. It is in force all the while. */
  moveRule(stored: StoredRule): void {
    const { client, id } = stored.rule;
    const entry = this.#clients.get(client);
    if (entry) entry.rules = entry.rules.filter(({ rule }) => rule.id !== id);
    this.addRule(stored);
  }

  /** Removes rules of one client. */
  deleteRules(client: string, gone: readonly StoredRule[]): void {
    const entry = this.#clients.get(client);
    if (!entry) return;
    for (const { rule } of gone) this.#dropRule(rule.id);
    entry.rules = entry.rules.filter(({ rule }) => this.#rules.has(rule.id));
    entry.remembered.clear();
    this.#passing = undefined;
    this.onStep({ kind: "rules-gone", client, gone });
  }

  /** All rows of a client's rules, the expired ones among them: what must go when the client goes. */
  storedRules(client: string): readonly StoredRule[] {
    return this.#clients.get(client)?.rules ?? [];
  }

  /** A client's live rules, in declaration order. */
  liveRules(client: string, nowMs: number): Rule[] {
    return this.storedRules(client).map(({ rule }) => rule).filter((rule) => isUnexpired(rule, nowMs));
  }

  /** The live rules of a client whose host pattern matches `host` (canonical), in declaration order. */
  rulesFor(client: ClientRef, host: string, now: Now): readonly Rule[] {
    const entry = this.#clients.get(client.name);
    if (entry?.stored.record.version !== client.version || this.isSuspended(client.name)) return NO_RULES;
    if (this.isLost(now)) return NO_RULES;
    const known = entry.remembered.get(host);
    if (known && isBefore(known.untilMs, now)) return known.rules;
    const nowMs = now();
    const rules: Rule[] = [];
    let untilMs = Infinity;
    for (const { rule } of entry.rules) {
      if (!isUnexpired(rule, nowMs) || !hostWithin(host, rule.host)) continue;
      rules.push(rule);
      untilMs = Math.min(untilMs, rule.expiresAt ?? Infinity);
    }
    // The client chooses the hosts, so their number is bounded.
    if (entry.remembered.size >= MAX_REMEMBERED_HOSTS) entry.remembered.clear();
    entry.remembered.set(host, { rules: Object.freeze(rules), untilMs });
    return rules;
  }

  /** The clients, by name, of which a passthrough rule, expired or not, names exactly this (canonical) host and port. */
  clientsPassing(host: string, port: number): ClientRecord[] {
    this.#passing ??= this.#indexPassing();
    const names = this.#passing.get(`${host}:${port}`) ?? [];
    return [...names].flatMap((name) => this.client(name)?.record ?? []).sort(byName);
  }

  #indexPassing(): ReadonlyMap<string, ReadonlySet<string>> {
    const passing = new Map<string, Set<string>>();
    for (const { rule } of this.#rules.values()) {
      if (!rule.passthrough) continue;
      for (const port of rule.ports) {
        const key = `${rule.host}:${port}`;
        passing.set(key, (passing.get(key) ?? new Set()).add(rule.client));
      }
    }
    return passing;
  }

  /** The live rules of a client in its present version, in declaration order. */
  rulesOf(client: ClientRef, nowMs: number): readonly Rule[] {
    if (this.client(client.name)?.record.version !== client.version) return NO_RULES;
    return this.liveRules(client.name, nowMs);
  }

  /** Makes a switch of the mode. */
  switchMode(made: ModeSwitch): void {
    this.#modes.set(made);
    this.onStep({ kind: "mode", made });
  }

  /** The switches in force. */
  modeSwitches(nowMs: number): readonly ModeSwitch[] {
    return this.#modes.list(nowMs);
  }

  /** The mode that a switch gives a client, or somebody unknown; undefined when none is in force. */
  modeOf(client: string | undefined, nowMs: number): Mode | undefined {
    return this.#modes.modeOf(client, nowMs);
  }

  /** Suspends all clients, or ends that: those that are suspended by themselves stay so. */
  suspendAll(since: number | undefined): void {
    this.#allSuspendedSince = since;
    this.onStep({ kind: "all-suspended", since });
  }

  /** True while every client is suspended. */
  get isAllSuspended(): boolean {
    return this.#allSuspendedSince !== undefined;
  }

  /** True while the client is suspended, by itself or with all. */
  isSuspended(client: string): boolean {
    return this.isAllSuspended || this.client(client)?.record.suspendedSince !== undefined;
  }

  /** Who is suspended: all first. */
  suspensions(): readonly Suspension[] {
    const all = this.#allSuspendedSince;
    const some = this.clients().flatMap(({ name, suspendedSince: since }) =>
      since === undefined ? [] : [{ client: name, since }]
    );
    return all === undefined ? some : [{ since: all }, ...some];
  }

  /**
   * From then on nothing of it is in force, until it is held for longer: the store of a fleet may have another policy by then.
   * Looked at in every decision, since a timer may be late.
   */
  holdUntil(untilMs: number): void {
    this.#heldUntilMs = untilMs;
    this.onStep({ kind: "held", untilMs });
  }

  /** Until when the policy counts; Infinity where nobody else may change it. */
  get heldUntilMs(): number {
    return this.#heldUntilMs;
  }

  /** True while nothing is in force, because this host cannot know. */
  isLost(now: Now): boolean {
    return !isBefore(this.#heldUntilMs, now);
  }

  /** True while the client's version, the rule and the secret's version are all still in force, and it is not suspended. */
  isLive({ client, rule, others = [], credential }: Admission, now: Now): boolean {
    if (this.client(client.name)?.record.version !== client.version) return false;
    if (this.isSuspended(client.name) || this.isLost(now)) return false;
    for (const { id } of rule ? [rule, ...others] : others) {
      const stored = this.#rules.get(id);
      if (stored?.rule.client !== client.name) return false;
      if (!isBefore(stored.rule.expiresAt ?? Infinity, now)) return false;
    }
    return !credential || this.secret(credential.secret)?.record.version === credential.version;
  }

  /** The earliest expiry of any rule, epoch milliseconds. */
  nextExpiryMs(): number | undefined {
    let next = Infinity;
    for (const { rule } of this.#ending.values()) next = Math.min(next, rule.expiresAt ?? Infinity);
    return next === Infinity ? undefined : next;
  }

  /** Removes the rules that have expired, for good, and returns them. */
  takeExpired(nowMs: number): StoredRule[] {
    const expired = [...this.#ending.values()].filter(({ rule }) => !isUnexpired(rule, nowMs));
    for (const [client, gone] of Map.groupBy(expired, ({ rule }) => rule.client)) {
      this.deleteRules(client, gone);
    }
    return expired;
  }

  /** All secrets without their values, by name. */
  secrets(): SecretRecord[] {
    return [...this.#secrets.values()].map(({ record }) => record).sort(byName);
  }

  secret(name: string): StoredSecret | undefined {
    return this.#secrets.get(name);
  }

  setSecret(stored: StoredSecret): void {
    this.#secrets.set(stored.record.name, stored);
    this.onStep({ kind: "secret", record: stored.record });
  }

  deleteSecret(name: string): void {
    this.#secrets.delete(name);
    this.onStep({ kind: "secret-gone", name });
  }

  /** All CAs without their keys, by host group. */
  cas(): CaRecord[] {
    return [...this.#cas.values()].map(({ record }) => record)
      .sort((a, b) => a.hostgroup < b.hostgroup ? -1 : 1);
  }

  ca(hostgroup: string): StoredCa | undefined {
    return this.#cas.get(hostgroup);
  }

  setCa(stored: StoredCa): void {
    this.#cas.set(stored.record.hostgroup, stored);
    this.onStep({ kind: "ca", record: stored.record });
  }

  deleteCa(hostgroup: string): void {
    this.#cas.delete(hostgroup);
    this.onStep({ kind: "ca-gone", hostgroup });
  }
}

/** True while an end, which may be never, has not come. */
function isBefore(untilMs: number, now: Now): boolean {
  return untilMs === Infinity || now() < untilMs;
}

/** True before the instant of a rule's expiry. */
export function isUnexpired(rule: Rule, nowMs: number): boolean {
  return rule.expiresAt === undefined || nowMs < rule.expiresAt;
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}
