/**
 * The SDK of slicer-proxy, for Deno and Node: clients, secrets and allow rules over the proxy's REST API, and stages of
 * a policy that end by themselves.
 *
 * This file is the package: whatever is not exported here is not part of it.
 *
 * @example
 * ```ts ignore
 * const proxy = SlicerProxy.fromEnv();
 * const { token } = await proxy.clients.create("ci-1");
 * {
 *   const rules = [{ host: "registry.npmjs.org", methods: ["GET"] }];
 *   await using _install = await proxy.stage("ci-1", rules, { ttl: "10m" });
 *   await install(token);
 * }
 * await proxy.allows.add({ client: "ci-1", host: "api.example.com", secret: "llm-key" });
 * ```
 *
 * @module
 */
import { Api } from "./api.ts";
import { Allows, Clients, formatSince, Modes, Policies, Requests, Secrets } from "./nouns.ts";
import { Stage, type StageOptions } from "./stage.ts";
import { type SlicerProxyOptions, withEnvironment } from "./target.ts";
import type {
  AuditOptions,
  AuditRecord,
  CallOptions,
  Fleet,
  StageRule,
  Status,
  Suggestion,
  SuggestOptions,
} from "./types.ts";

export { type ErrorDetails, SlicerProxyError } from "./error.ts";
export type { components, operations, paths } from "./openapi.ts";
export type * from "./types.ts";
export type { Allows, Clients, Modes, Policies, Requests, Secrets, SlicerProxyOptions, Stage, StageOptions };

/** One proxy. It holds no connection, so there is nothing to close. */
export class SlicerProxy {
  readonly clients: Clients;
  readonly secrets: Secrets;
  readonly allows: Allows;
  readonly requests: Requests;
  readonly policy: Policies;
  readonly mode: Modes;
  readonly #api: Api;

  /** Throws {@linkcode SlicerProxyError} for an address or a token that cannot be used. Nothing is dialled yet. */
  constructor(options: SlicerProxyOptions = {}) {
    this.#api = new Api(options);
    this.clients = new Clients(this.#api);
    this.secrets = new Secrets(this.#api);
    this.allows = new Allows(this.#api);
    this.requests = new Requests(this.#api);
    this.policy = new Policies(this.#api);
    this.mode = new Modes(this.#api);
  }

  /**
   * The proxy that the environment names, as for the command line: `SLICER_URL`, and over TCP `SLICER_TOKEN` or
   * `SLICER_TOKEN_FILE`, and over https `SLICER_CA_FILE`. Options that are given win.
   */
  static fromEnv(options: SlicerProxyOptions = {}): SlicerProxy {
    return new SlicerProxy(withEnvironment(options));
  }

  /** Since when the proxy is up, how it is set up, and what it holds. */
  status(options?: CallOptions): Promise<Status> {
    return this.#api.call("get", "/proxy/v1/status", {}, options);
  }

  /** Which hosts share the policy, and how each of them is. A host that is alone refuses it with 404. */
  fleet(options?: CallOptions): Promise<Fleet> {
    return this.#api.call("get", "/proxy/v1/fleet", {}, options);
  }

  /**
   * Records of the audit log, oldest first. Leaving the loop ends the call. Records of a later version of the proxy may
   * have more fields.
   */
  async *audit(options: AuditOptions = {}): AsyncGenerator<AuditRecord, void, void> {
    const { follow, fleet, client, denied, host, since, src, proxyPort, tls, limit, onMissed, ...call } =
      options;
    const query = {
      ...(follow ? { follow: "1" as const } : {}),
      ...(fleet ? { fleet: "1" as const } : {}),
      ...(denied ? { denied: "1" as const } : {}),
      ...(client === undefined ? {} : { client }),
      ...(host === undefined ? {} : { host }),
      ...formatSince(since),
      ...(src === undefined ? {} : { src }),
      ...(proxyPort === undefined ? {} : { proxy_port: proxyPort }),
      ...(tls === undefined ? {} : { tls }),
      ...(limit === undefined ? {} : { limit }),
    };
    for await (const line of this.#api.stream("/proxy/v1/audit", { query }, call)) {
      if ("verdict" in line) yield line;
      else if ("missed" in line) onMissed?.(line.missed);
      else if ("fleet_host" in line) {
        if (line.unanswered === undefined) fleet?.onAnswer?.(line.fleet_host);
        else fleet?.onUnanswered(line.fleet_host, line.unanswered);
      }
    }
  }

  /** The narrowest rules that would have let a client's denied requests through. Adding them is up to the caller. */
  suggestions(client: string, options: SuggestOptions = {}): Promise<Suggestion> {
    const { since, exact, ...call } = options;
    const query = { ...formatSince(since), ...(exact ? { exact: "1" as const } : {}) };
    return this.#api.call(
      "get",
      "/proxy/v1/clients/{name}/suggestions",
      { names: { name: client }, query },
      call,
    );
  }

  /**
   * Gives a client more rules for a while: adds them, all or none, and revokes exactly those when the stage is
   * disposed. They end by themselves too, after `ttl`. A rule that the client has already is an error (409): at the end
   * nobody could say whose it is. The signal is for opening; the end of a stage cannot be called off.
   */
  stage(client: string, rules: readonly StageRule[], options: StageOptions = {}): Promise<Stage> {
    return Stage.open(this.allows, { ...options, client, rules });
  }
}
