/** A policy in memory, with the semantics that `proxy/policy_source.ts` asks for. */
import { parseRule, type Rule, type RuleInput } from "../../policy/rule.ts";
import type { Mode } from "../../policy/mode.ts";
import { matchHost } from "../../policy/match.ts";
import type { Client, Grant, PolicySource } from "../../proxy/policy_source.ts";
import type { Credential, SecretInfo } from "../../secrets/credential.ts";

/** Clients, rules and credentials that a test sets up and takes away. */
export class TestPolicy implements PolicySource {
  readonly #clients = new Map<string, { client: Client; token: string; rules: Rule[] }>();
  readonly #credentials = new Map<string, Credential>();
  readonly #listeners = new Set<() => void>();
  readonly #suspended = new Set<string>();
  readonly #budgets = new Map<string, readonly string[]>();
  #serial = 0;

  addClient(name: string, token: string): Client {
    const client = { name, version: String(++this.#serial) };
    this.#clients.set(name, { client, token, rules: [] });
    this.#changed();
    return client;
  }

  removeClient(name: string): void {
    this.#clients.delete(name);
    this.#changed();
  }

  suspend(name: string): void {
    this.#suspended.add(name);
    this.#changed();
  }

  resume(name: string): void {
    this.#suspended.delete(name);
    this.#changed();
  }

  isSuspended(name: string): boolean {
    return this.#suspended.has(name);
  }

  /** True while nothing is in force. */
  lost = false;

  isLost(): boolean {
    return this.lost;
  }

  allow(client: string, input: RuleInput): Rule {
    const rule: Rule = { ...parseRule(input), id: String(++this.#serial), client };
    this.#clients.get(client)?.rules.push(rule);
    this.#changed();
    return rule;
  }

  revoke(rule: Rule): void {
    const entry = this.#clients.get(rule.client);
    if (entry) entry.rules = entry.rules.filter(({ id }) => id !== rule.id);
    this.#changed();
  }

  setCredential(
    credential: Omit<Credential, "version" | "cleartext" | "material"> & Partial<Credential>,
  ): Credential {
    const made = { cleartext: false, material: [], ...credential, version: String(++this.#serial) };
    this.#credentials.set(made.secret, made);
    this.#changed();
    return made;
  }

  removeCredential(secret: string): void {
    this.#credentials.delete(secret);
    this.#changed();
  }

  clientByToken(token: string): Client | undefined {
    for (const entry of this.#clients.values()) if (entry.token === token) return entry.client;
    return undefined;
  }

  modeOf(_client: string | undefined): Mode | undefined {
    return undefined;
  }

  clients(): readonly Client[] {
    return [...this.#clients.values()].map(({ client }) => client);
  }

  clientsPassing(host: string, port: number): readonly Client[] {
    return this.clients().filter((client) =>
      this.rulesOf(client).some((rule) => rule.passthrough && rule.host === host && rule.ports.includes(port))
    );
  }

  rulesFor(client: Client, host: string): readonly Rule[] {
    return this.rulesOf(client).filter((rule) => matchHost(rule.host, host));
  }

  rulesOf(client: Client): readonly Rule[] {
    return this.#clients.get(client.name)?.rules ?? [];
  }

  credential(secret: string): Credential | undefined {
    return this.#credentials.get(secret);
  }

  secretInfo(secret: string): SecretInfo | undefined {
    const credential = this.#credentials.get(secret);
    return credential && { ...credential, type: "bearer" };
  }

  rejected(): Promise<Credential | undefined> {
    return Promise.resolve(undefined);
  }

  isTokenEndpoint(): boolean {
    return false;
  }

  closedHosts(): readonly string[] {
    return [];
  }

  budgetOf(name: string): readonly string[] | undefined {
    return this.#budgets.get(name);
  }

  setBudget(name: string, budget: readonly string[]): void {
    this.#budgets.set(name, budget);
  }

  isLive({ client, rule, credential }: Grant): boolean {
    const entry = this.#clients.get(client.name);
    if (entry?.client.version !== client.version || this.#suspended.has(client.name)) return false;
    if (rule && !entry.rules.some(({ id }) => id === rule.id)) return false;
    return !credential || this.#credentials.get(credential.secret)?.version === credential.version;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
