/**
 * The three nouns, clients, secrets and allow rules, and the policy that they are together.
 *
 * @module
 */
import type { Api } from "./api.ts";
import type {
  AddedProfile,
  AllowRule,
  AppliedPolicy,
  ApplyOptions,
  Approval,
  Approved,
  BudgetUses,
  CallOptions,
  Client,
  ClientWithToken,
  Mode,
  ModeSwitch,
  NewAllowRule,
  NewProfile,
  NewSecret,
  Policy,
  PolicyTest,
  Profile,
  ReplayOptions,
  RevokedRule,
  Secret,
  SecretDetails,
  SecretTest,
  SecretTestRequest,
  Suspensions,
  Verdict,
  WaitingRequests,
} from "./types.ts";

/** Who may use the proxy. */
export class Clients {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /**
   * Makes a client. This call and `rotate` are the only ones that show its token.
   *
   * @param options.token a token of one's own in the place of a random one; below 16 characters it can be guessed
   */
  create(
    name: string,
    options: CallOptions & { readonly token?: string | undefined } = {},
  ): Promise<ClientWithToken> {
    const body = options.token === undefined ? { name } : { name, token: options.token };
    return this.#api.call("post", "/proxy/v1/clients", { body }, options);
  }

  /** All clients, by name. */
  list(options?: CallOptions): Promise<readonly Client[]> {
    return this.#api.call("get", "/proxy/v1/clients", {}, options);
  }

  /** A client's rules in the order in which they are tried. */
  rules(name: string, options?: CallOptions): Promise<readonly AllowRule[]> {
    return this.#api.call("get", "/proxy/v1/clients/{name}", { names: { name } }, options);
  }

  /** Gives a client a new token. The old one, and what it had opened, ends at once. */
  rotate(name: string, options?: CallOptions): Promise<ClientWithToken> {
    return this.#api.call("post", "/proxy/v1/clients/{name}/rotate", { names: { name } }, options);
  }

  /** How the budgets of a client stand: its own, then those of its rules. */
  budget(name: string, options?: CallOptions): Promise<BudgetUses> {
    return this.#api.call("get", "/proxy/v1/clients/{name}/budget", { names: { name } }, options);
  }

  /** Says what a client has for an hour or a day (`requests=1000/h`), in the place of what it had. */
  setBudget(name: string, budget: readonly string[], options?: CallOptions): Promise<void> {
    return this.#api.call(
      "put",
      "/proxy/v1/clients/{name}/budget",
      { names: { name }, body: { budget } },
      options,
    );
  }

  /** Ends all that a client has open, and refuses it everything until it is resumed. */
  suspend(name: string, options?: CallOptions): Promise<void> {
    return this.#api.call("post", "/proxy/v1/clients/{name}/suspend", { names: { name } }, options);
  }

  /** Lets a suspended client go on. */
  resume(name: string, options?: CallOptions): Promise<void> {
    return this.#api.call("post", "/proxy/v1/clients/{name}/resume", { names: { name } }, options);
  }

  /** The kill switch: ends all that is open, and refuses every client everything until `resumeAll`. */
  suspendAll(options?: CallOptions): Promise<void> {
    return this.#api.call("post", "/proxy/v1/suspensions/all", {}, options);
  }

  /** Lets all clients go on but those that were suspended by name. */
  resumeAll(options?: CallOptions): Promise<void> {
    return this.#api.call("delete", "/proxy/v1/suspensions/all", {}, options);
  }

  /** Who is suspended: all first, then clients by name. */
  suspensions(options?: CallOptions): Promise<Suspensions> {
    return this.#api.call("get", "/proxy/v1/suspensions", {}, options);
  }

  /** What would be decided about a request, by which rule, and why not by the others. Sends nothing. */
  explain(name: string, method: string, url: string, options?: CallOptions): Promise<Verdict> {
    return this.#api.call(
      "post",
      "/proxy/v1/clients/{name}/explain",
      { names: { name }, body: { method, url } },
      options,
    );
  }

  /** Ends a client's token, its rules and what they had opened. */
  delete(name: string, options?: CallOptions): Promise<void> {
    return this.#api.call("delete", "/proxy/v1/clients/{name}", { names: { name } }, options);
  }
}

/** Credentials that the proxy puts into requests. No call gives a value back. */
export class Secrets {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** Stores a credential for a host. With `force` it takes the place of one of that name, whose rules then use it. */
  create(secret: NewSecret, options?: CallOptions): Promise<Secret> {
    return this.#api.call("post", "/proxy/v1/secrets", { body: secret }, options);
  }

  /** All secrets, by name. `error` says why one cannot be used. */
  list(options?: CallOptions): Promise<readonly Secret[]> {
    return this.#api.call("get", "/proxy/v1/secrets", {}, options);
  }

  /** A secret with the rules that name it, and when it was last used. */
  show(name: string, options?: CallOptions): Promise<SecretDetails> {
    return this.#api.call("get", "/proxy/v1/secrets/{name}", { names: { name } }, options);
  }

  /** Tries a secret with one harmless GET: at `url`, or where one is known for its host. */
  test(name: string, { url }: SecretTestRequest = {}, options?: CallOptions): Promise<SecretTest> {
    return this.#api.call(
      "post",
      "/proxy/v1/secrets/{name}/test",
      { names: { name }, body: url === undefined ? {} : { url } },
      options,
    );
  }

  /** Deletes a secret. Rules that name it stay, and deny. */
  delete(name: string, options?: CallOptions): Promise<void> {
    return this.#api.call("delete", "/proxy/v1/secrets/{name}", { names: { name } }, options);
  }
}

/** What clients may reach. They are listed with {@linkcode Clients.rules}. */
export class Allows {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** Adds a rule behind the client's others. 409 when the client has that rule. */
  add(rule: NewAllowRule, options?: CallOptions): Promise<AllowRule> {
    return this.#api.call("post", "/proxy/v1/allows", { body: rule }, options);
  }

  /** Adds the rules of a profile, such as `npm@1`: all or none. 409 when the client has one of them. */
  addProfile(profile: NewProfile, options?: CallOptions): Promise<AddedProfile> {
    return this.#api.call("post", "/proxy/v1/allows/profile", { body: profile }, options);
  }

  /** The profiles that the proxy has, in all their versions. */
  profiles(options?: CallOptions): Promise<readonly Profile[]> {
    return this.#api.call("get", "/proxy/v1/profiles", {}, options);
  }

  /** Puts rule `from` of a client, counted from 1, before rule `before`, or behind all. What it has admitted goes on. */
  move(client: string, from: number, before?: number, options?: CallOptions): Promise<void> {
    const body = { client, from, ...(before === undefined ? {} : { before }) };
    return this.#api.call("post", "/proxy/v1/allows/move", { body }, options);
  }

  /** Revokes the one rule that has exactly these fields, and ends what it had opened. 404 when there is none. */
  revoke(rule: RevokedRule, options?: CallOptions): Promise<void> {
    return this.#api.call("post", "/proxy/v1/allows/revoke", { body: rule }, options);
  }

  /** Revokes every rule that a client has for a host pattern. 404 when there is none. */
  revokeHost(client: string, host: string, options?: CallOptions): Promise<void> {
    return this.#api.call("delete", "/proxy/v1/allows/{client}/{host}", { names: { client, host } }, options);
  }
}

/** All clients and rules at once, as a file that can be reviewed. */
export class Policies {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** What is in force now. */
  export(options?: CallOptions): Promise<Policy> {
    return this.#api.call("get", "/proxy/v1/policy", {}, options);
  }

  /**
   * Makes clients and rules what a policy says, all of it or nothing. A client has the policy's rules afterwards, in
   * order, and behind them the others that it had, unless they are pruned. Secrets are never made or removed.
   *
   * @param policy the text of a policy file, YAML or JSON, or what {@linkcode Policies.export} gave
   */
  apply(policy: Policy | string, options: ApplyOptions = {}): Promise<AppliedPolicy> {
    const { prune, dryRun, name, ...call } = options;
    const body = {
      policy: textOf(policy),
      ...(prune === undefined ? {} : { prune }),
      ...(dryRun === undefined ? {} : { dry_run: dryRun }),
      ...(name === undefined ? {} : { name }),
    };
    return this.#api.call("post", "/proxy/v1/policy/apply", { body }, call);
  }

  /** What would have been decided otherwise, had a policy file been in force. Changes nothing. */
  test(policy: Policy | string, options: ReplayOptions = {}): Promise<PolicyTest> {
    const { since, ...call } = options;
    const body = { policy: textOf(policy), ...formatSince(since) };
    return this.#api.call("post", "/proxy/v1/policy/test", { body }, call);
  }
}

/** What is done with what no rule allows, and for whom that is another for a while. */
export class Modes {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** The mode that the proxy was started with, and the switches in force. */
  get(options?: CallOptions): Promise<Mode> {
    return this.#api.call("get", "/proxy/v1/mode", {}, options);
  }

  /** Switches the mode of a client, or of all in the place of all switches before; with `ttl_seconds` for a while. */
  switch(made: ModeSwitch, options?: CallOptions): Promise<Mode> {
    return this.#api.call("put", "/proxy/v1/mode", { body: made }, options);
  }
}

/** The text of a policy: JSON is YAML. */
function textOf(policy: Policy | string): string {
  return typeof policy === "string" ? policy : JSON.stringify(policy);
}

/** The field `since` of a call, when it is given. */
export function formatSince(since: Date | string | undefined): { readonly since?: string } {
  if (since === undefined) return {};
  return { since: typeof since === "string" ? since : since.toISOString() };
}

/** Requests that wait for a person, under rules that ask first. */
export class Requests {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** Those that wait, the first first. What clients have chosen is as they sent it: escape it where it is shown. */
  list(options?: CallOptions): Promise<WaitingRequests> {
    return this.#api.call("get", "/proxy/v1/requests", {}, options);
  }

  /**
   * Lets one go on: this request alone, or with a rule for exactly what it asks for.
   *
   * @param approval `for_seconds` for such a rule that ends, `always` for one that does not
   */
  approve(id: string, approval: Approval = {}, options?: CallOptions): Promise<Approved> {
    return this.#api.call(
      "post",
      "/proxy/v1/requests/{id}/approve",
      { names: { id }, body: approval },
      options,
    );
  }

  /** Refuses one. */
  deny(id: string, options?: CallOptions): Promise<void> {
    return this.#api.call("post", "/proxy/v1/requests/{id}/deny", { names: { id } }, options);
  }
}
