/**
 * The types of the REST API. Written by `deno task sdk:types` from the API's OpenAPI document: change that, not this.
 *
 * @module
 */
export interface paths {
  readonly "/proxy/v1/clients": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** All clients, by name */
    readonly get: operations["listClients"];
    readonly put?: never;
    /** Make a client; the only call that shows a new client's token */
    readonly post: operations["createClient"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/clients/{name}": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** A client's live rules, in declaration order */
    readonly get: operations["listRules"];
    readonly put?: never;
    readonly post?: never;
    /** Revoke a client's token and drop its rules */
    readonly delete: operations["deleteClient"];
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/clients/{name}/rotate": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** Give a client a new token; the old one ends at once */
    readonly post: operations["rotateClient"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/secrets": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** All secrets without their values, by name */
    readonly get: operations["listSecrets"];
    readonly put?: never;
    /** Store a credential for a host */
    readonly post: operations["createSecret"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/secrets/{name}": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** A secret without its value: who uses it, and when it was last used */
    readonly get: operations["showSecret"];
    readonly put?: never;
    readonly post?: never;
    /** Delete a secret; rules that name it stay, and deny */
    readonly delete: operations["deleteSecret"];
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/secrets/{name}/test": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** Try a secret with one harmless GET, on the way that requests take */
    readonly post: operations["testSecret"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/seal-key": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** Say which seal key is in force, and how far another one is */
    readonly get: operations["getSealKey"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/seal-key/rotate": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** Take another seal key, and seal everything anew with it while everything goes on */
    readonly post: operations["rotateSealKey"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/seal-key/rotation": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    readonly post?: never;
    /** Give up a seal key of a fleet that is not in force yet */
    readonly delete: operations["cancelSealKeyRotation"];
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/ca": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** Which CA signs for a host group, and where it is kept */
    readonly get: operations["getCa"];
    readonly put?: never;
    /** Take the CA of a host group into the store: every host that uses it signs by that one at once */
    readonly post: operations["importCa"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/allows": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** Allow a client something, behind its other rules or before one of them */
    readonly post: operations["addRule"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/allows/move": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** Put a rule of a client before another one, or behind all; what it has admitted goes on */
    readonly post: operations["moveRule"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/allows/{client}/{host}": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    readonly post?: never;
    /** Revoke all of a client's rules for a host pattern */
    readonly delete: operations["revokeHost"];
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/allows/revoke": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** Revoke the one rule that has exactly these fields */
    readonly post: operations["revokeRule"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/profiles": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** Named sets of rules that this version of the program has, in all their versions */
    readonly get: operations["listProfiles"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/allows/profile": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /**
     * Add the rules of a profile to a client: all of them or none
     * @description They are ordinary rules from then on: another version of the program does not change them.
     */
    readonly post: operations["addProfile"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/policy": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** Clients, rules and secret references as a policy file, in YAML, or in JSON when the caller accepts that */
    readonly get: operations["exportPolicy"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/policy/apply": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /**
     * Make clients and rules what a policy file says, all of it or nothing
     * @description A client that the file names has the file's rules afterwards, in order, and behind them the others that it had. With `prune` these go, and so do budgets of which it says nothing, and clients that the file does not name. Secrets are never made or removed.
     */
    readonly post: operations["applyPolicy"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/mode": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** The mode that the proxy was started with, and the switches in force */
    readonly get: operations["getMode"];
    /** Switch the mode of a client, or of all in the place of all switches before, for a while */
    readonly put: operations["switchMode"];
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/suspensions": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** Who is suspended: all first, then clients by name */
    readonly get: operations["listSuspensions"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/clients/{name}/suspend": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** End all that a client has open, and refuse it everything until it is resumed */
    readonly post: operations["suspendClient"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/clients/{name}/resume": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** End the suspension of a client */
    readonly post: operations["resumeClient"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/suspensions/all": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** End all that is open, and refuse every client everything until all are resumed */
    readonly post: operations["suspendAll"];
    /** End the suspension of all; clients that were suspended by name stay so */
    readonly delete: operations["resumeAll"];
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/clients/{name}/budget": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** How the budgets of a client and of its rules stand */
    readonly get: operations["getBudget"];
    /** Say how many requests, bytes and tokens a client has for an hour or a day */
    readonly put: operations["setBudget"];
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/requests": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** The requests that wait for a person, the first first */
    readonly get: operations["listRequests"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/requests/{id}/approve": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** Let a waiting request go on, and for a while or for good those like it */
    readonly post: operations["approveRequest"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/requests/{id}/deny": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** Refuse a waiting request */
    readonly post: operations["denyRequest"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/clients/{name}/explain": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /**
     * What would be decided about a request of a client, by which rule, and why not by the others
     * @description Sends nothing. Bodies, addresses, credentials and quotas can still refuse what rules allow.
     */
    readonly post: operations["explainRequest"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/audit": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /**
     * Records of the audit log, oldest first, and with follow those to come
     * @description One JSON object per line, and from time to time an empty line. A caller that accepts text/event-stream gets events instead, each record as the data of a message, what was missed as an event `missed`; Last-Event-ID goes on after that event. A reader who is slow slows nobody: with follow it is told how many records it missed. With fleet the other hosts are asked too; one whose records are missing is named in a line of its own.
     */
    readonly get: operations["readAudit"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/clients/{name}/suggestions": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /**
     * The narrowest rules that would have let a client's denied requests through
     * @description Denied requests that a present rule allows by now are left out. Never proposed are addresses, passthrough and secrets.
     */
    readonly get: operations["suggestRules"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/policy/test": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /**
     * What would have been decided otherwise, had a policy file been in force
     * @description Judges the stored audit records. `ttl` and `expires` are ignored: every rule counts as just made.
     */
    readonly post: operations["testPolicy"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/status": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** Since when the proxy is up, how it is set up, and what it holds */
    readonly get: operations["getStatus"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/healthz": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** Is it up? */
    readonly get: operations["getHealth"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/metrics": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** Figures for Prometheus */
    readonly get: operations["getMetrics"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/openapi.json": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** This document */
    readonly get: operations["getOpenApi"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/fleet": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    /** Which hosts share the policy, and how each of them is */
    readonly get: operations["getFleet"];
    readonly put?: never;
    readonly post?: never;
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
  readonly "/proxy/v1/ui/links": {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly get?: never;
    readonly put?: never;
    /** Make a link that opens the web page in one browser, once */
    readonly post: operations["createUiLink"];
    readonly delete?: never;
    readonly options?: never;
    readonly head?: never;
    readonly patch?: never;
    readonly trace?: never;
  };
}
export type webhooks = Record<string, never>;
export interface components {
  schemas: {
    readonly Client: {
      /** @example ci-1 */
      readonly name: string;
      /**
       * Format: date-time
       * @description RFC 3339, UTC
       */
      readonly created_at: string;
      /**
       * Format: date-time
       * @description Since when it is refused everything, by itself or with all clients
       */
      readonly suspended_since?: string;
    };
    /**
     * @description One line that says what is wrong; a second line `hint: …` may say what to do
     * @example Cannot create client ci-1: the name is taken
     */
    readonly Error: string;
    readonly ClientWithToken: {
      /** @example ci-1 */
      readonly name: string;
      readonly token: string;
      /**
       * Format: date-time
       * @description RFC 3339, UTC
       */
      readonly created_at: string;
    };
    readonly NewClientRequest: {
      /** @example ci-1 */
      readonly name: string;
      /** @description A token of one's own, 1 to 256 visible ASCII characters. One of fewer than 16 can be guessed */
      readonly token?: string;
    };
    readonly AllowRule: {
      /**
       * @description A name, an IP literal, `*.suffix` or `*`
       * @example api.example.com
       */
      readonly host: string;
      /** @description The secret that is injected */
      readonly secret?: string;
      /**
       * @description Any when left out
       * @example [
       *       "GET"
       *     ]
       */
      readonly methods?: readonly string[];
      /**
       * @description `/exact`, `/prefix/*`, `*`, or stars for whole segments inside (`/a/*\/b`, `/a/**\/b`); any when left out
       * @example [
       *       "/v1/models",
       *       "/v1/chat/*"
       *     ]
       */
      readonly paths?: readonly string[];
      /** @description 80 and 443 when left out */
      readonly ports?: readonly number[];
      /** @description Splice bytes instead of inspecting them */
      readonly passthrough?: boolean;
      /** @description Deny what the rule matches, whatever later rules say; as the command deny does */
      readonly deny?: boolean;
      /** @description Hold what the rule matches until a person approves it: slicer-proxy requests */
      readonly ask?: boolean;
      /** @description How long it may wait for that, instead of 5m */
      readonly ask_timeout_seconds?: number;
      /** @description Give every request of HTTP/1.1 an upstream connection of its own: for endpoints that ignore bodies */
      readonly one_request_per_connection?: boolean;
      /** @description How long its upstreams may think, instead of what up --response-timeout says */
      readonly response_timeout_seconds?: number;
      /** @description Speak HTTP/1.1 at this host and port, with clients and upstream: for what breaks over HTTP/2 */
      readonly http1?: boolean;
      /** @description Deny requests that are not signed for one of these AWS services, such as s3 or bedrock */
      readonly aws_service?: readonly string[];
      /** @description Deny requests that are not signed for one of these AWS regions, such as eu-west-1 or eu-* */
      readonly aws_region?: readonly string[];
      /** @description Deny with 429 beyond requests=1000/h, bytes-up=100M/d, bytes-down=1G/d or tokens=2M/d, for an hour or a day */
      readonly budget?: readonly string[];
      /** @description Take tools that are not allowed out of answers to tools/list; with mcp_tool */
      readonly mcp_filter_list?: boolean;
      /** @description Only with this parameter in the query, and no other value of it; several of a name are alternatives */
      readonly query?: readonly string[];
      /** @description Only this gRPC method: package.Service/Method, or package.Service/*; not with --method or --path */
      readonly grpc?: readonly string[];
      /**
       * @description Only what git asks to read (clone, fetch), or to write too (push); git-lfs, archives and raw files likewise
       * @enum {string}
       */
      readonly git?: "read" | "write";
      /** @description Only these repositories: acme/web, or acme/* for all below; with git */
      readonly repo?: readonly string[];
      /** @description Only GraphQL operations of this type; the body is read */
      readonly graphql?: readonly ("query" | "mutation" | "subscription")[];
      /** @description Only operations that ask for nothing but these top-level fields; with graphql */
      readonly graphql_field?: readonly string[];
      /** @description Also the operation that the server keeps under this hash or id; with graphql */
      readonly graphql_hash?: readonly string[];
      /** @description Only calls of this tool over MCP: read_file, or read_* for all that begin so; the body is read */
      readonly mcp_tool?: readonly string[];
      /** @description Only messages of this method over MCP, such as resources/*; what any session needs is free */
      readonly mcp_method?: readonly string[];
      /**
       * Format: date-time
       * @description RFC 3339, UTC
       */
      readonly expires?: string;
      /** @description Why the rule cannot act as it reads: an earlier one hides it, its secret is gone, it ends soon */
      readonly warnings?: readonly string[];
    };
    readonly Secret: {
      /** @example ci-1 */
      readonly name: string;
      /**
       * @description A name, an IP literal, `*.suffix` or `*`
       * @example api.example.com
       */
      readonly host: string;
      readonly type: string;
      /**
       * Format: date-time
       * @description RFC 3339, UTC
       */
      readonly created_at: string;
      /**
       * Format: date-time
       * @description RFC 3339, UTC
       */
      readonly updated_at?: string;
      /**
       * Format: date-time
       * @description RFC 3339, UTC
       */
      readonly adopted_at?: string;
      /**
       * Format: date-time
       * @description RFC 3339, UTC
       */
      readonly refreshed_at?: string;
      /** @description Why the credential cannot be used */
      readonly error?: string;
      /** @description Variables of one's own that stand for it in a VM */
      readonly env?: readonly string[];
    };
    readonly NewSecretRequest: {
      /** @example ci-1 */
      readonly name: string;
      /**
       * @description An exact name, or `*.` and at least two labels
       * @example api.example.com
       */
      readonly host: string;
      /** @description The kind of credential; bearer when left out */
      readonly type?: string;
      /** @description The credential. No call ever returns it */
      readonly value: string;
      /** @description The file on the host that the value was read from */
      readonly source_file?: string;
      /** @description Replace a secret of that name */
      readonly force?: boolean;
      /** @description May be injected without TLS */
      readonly cleartext?: boolean;
      /**
       * @description Variables that `slicer-proxy env` gives a placeholder, beside those known for host and type
       * @example [
       *       "MODEL_API_KEY"
       *     ]
       */
      readonly env?: readonly string[];
    };
    readonly SecretDetails: components["schemas"]["Secret"] & {
      /** @description Changes with every replacement */
      readonly version: string;
      /** @description May be injected without TLS */
      readonly cleartext: boolean;
      /** @description The file on the host that it follows */
      readonly source_file?: string;
      /** @description The rules that name it */
      readonly used_by: readonly {
        /** @example ci-1 */
        readonly client: string;
        /**
         * @description A name, an IP literal, `*.suffix` or `*`
         * @example api.example.com
         */
        readonly host: string;
        readonly methods?: readonly string[];
        readonly paths?: readonly string[];
        readonly ports?: readonly number[];
        /**
         * Format: date-time
         * @description RFC 3339, UTC
         */
        readonly expires?: string;
      }[];
      /**
       * Format: date-time
       * @description Since the proxy was started
       */
      readonly last_used_at?: string;
      /** @description The client of that use */
      readonly last_used_by?: string;
    };
    readonly SecretTest: {
      /** @enum {string} */
      readonly verdict: "accepted" | "refused" | "unclear" | "failed";
      /** @description What that means, for people */
      readonly words: string;
      /** @description What was asked for, without its query */
      readonly url?: string;
      /** @description The HTTP status of the answer */
      readonly status?: number;
    };
    readonly SecretTestRequest: {
      /**
       * @description What to ask for with GET, within the secret's host; needed where no harmless call is known
       * @example https://api.example.com/v1/me
       */
      readonly url?: string;
    };
    readonly SealKeyStatus: {
      /** @description Tells one seal key from another, and nothing else about it */
      readonly id: string;
      /** @description Where the key in force is, on this host */
      readonly key_file: string;
      /** @description In a fleet: where this host looks for the key that is to follow */
      readonly next_key_file?: string;
      readonly rotation?: components["schemas"]["SealKeyRotation"];
    };
    /** @description In a fleet, while another key is to come into force */
    readonly SealKeyRotation: {
      /**
       * @description Hosts have to get the key; all have it, and everything is sealed anew; it is in force, and hosts have to take it over
       * @enum {string}
       */
      readonly phase: "waiting" | "sealing" | "finishing";
      /** @description Tells one seal key from another, and nothing else about it */
      readonly former_id: string;
      /** @description Tells one seal key from another, and nothing else about it */
      readonly next_id: string;
      /** @description Names of the hosts that are waited for */
      readonly waiting_for: readonly string[];
      /** @description What is sealed in the store: secrets, keys of CAs */
      readonly rows: number;
      /** @description How much of it is sealed with the new key */
      readonly resealed: number;
    };
    readonly RotatedSealKey: {
      /** @description Tells one seal key from another, and nothing else about it */
      readonly id: string;
      /** @description Tells one seal key from another, and nothing else about it */
      readonly former_id: string;
      /** @description Secrets that were sealed anew */
      readonly secrets: number;
      /** @description Where the key in force is */
      readonly key_file: string;
      /** @description Where the one before was moved */
      readonly former_key_file?: string;
    };
    readonly RotateSealKey: {
      /** @description A file of the proxy's host with the key to take; one is made without it. It stays there; a fleet's host keeps a copy */
      readonly key_file?: string;
    };
    readonly Ca: {
      /** @example sbox */
      readonly hostgroup: string;
      /**
       * @description `store`: it is in the store, for every host that uses that; `file`: it is this host's alone
       * @enum {string}
       */
      readonly from: "file" | "store";
      /** @description Where its certificate is, when it is in a file */
      readonly path?: string;
      readonly subject: string;
      /** @description SHA-256 of the certificate, as OpenSSL prints it */
      readonly fingerprint: string;
      readonly serial: string;
      /** Format: date-time */
      readonly not_before: string;
      /** Format: date-time */
      readonly not_after: string;
      /** @example EC P-256 */
      readonly key_type: string;
      /** Format: date-time */
      readonly imported_at?: string;
      /** Format: date-time */
      readonly renewed_at?: string;
      /** @description PEM: what VMs have to trust */
      readonly certificate: string;
    };
    readonly ImportedCa: components["schemas"]["Ca"] & {
      /** @description That of the CA with another key whose place it has taken */
      readonly replaced_fingerprint?: string;
    };
    readonly ImportCa: {
      /**
       * @description The proxy's own when left out
       * @example sbox
       */
      readonly hostgroup?: string;
      /** @description PEM, the CA's own certificate first; others of its chain may follow */
      readonly certificate: string;
      /** @description PEM, not encrypted. It is kept sealed, and no call returns it */
      readonly private_key: string;
      /** @description It may take the place of a CA with another key (VMs trust no host until they have the new one), or of a newer certificate for the same key */
      readonly replace?: boolean;
    };
    readonly NewAllowRuleRequest: {
      /** @example ci-1 */
      readonly client: string;
      /**
       * @description A name, an IP literal, `*.suffix` or `*`
       * @example api.example.com
       */
      readonly host: string;
      /** @description The secret that is injected */
      readonly secret?: string;
      /**
       * @description Any when left out
       * @example [
       *       "GET"
       *     ]
       */
      readonly methods?: readonly string[];
      /**
       * @description `/exact`, `/prefix/*`, `*`, or stars for whole segments inside (`/a/*\/b`, `/a/**\/b`); any when left out
       * @example [
       *       "/v1/models",
       *       "/v1/chat/*"
       *     ]
       */
      readonly paths?: readonly string[];
      /** @description 80 and 443 when left out */
      readonly ports?: readonly number[];
      /** @description Splice bytes instead of inspecting them */
      readonly passthrough?: boolean;
      /** @description Deny what the rule matches, whatever later rules say; as the command deny does */
      readonly deny?: boolean;
      /** @description Hold what the rule matches until a person approves it: slicer-proxy requests */
      readonly ask?: boolean;
      /** @description How long it may wait for that, instead of 5m */
      readonly ask_timeout_seconds?: number;
      /** @description Give every request of HTTP/1.1 an upstream connection of its own: for endpoints that ignore bodies */
      readonly one_request_per_connection?: boolean;
      /** @description How long its upstreams may think, instead of what up --response-timeout says */
      readonly response_timeout_seconds?: number;
      /** @description Speak HTTP/1.1 at this host and port, with clients and upstream: for what breaks over HTTP/2 */
      readonly http1?: boolean;
      /** @description Deny requests that are not signed for one of these AWS services, such as s3 or bedrock */
      readonly aws_service?: readonly string[];
      /** @description Deny requests that are not signed for one of these AWS regions, such as eu-west-1 or eu-* */
      readonly aws_region?: readonly string[];
      /** @description Deny with 429 beyond requests=1000/h, bytes-up=100M/d, bytes-down=1G/d or tokens=2M/d, for an hour or a day */
      readonly budget?: readonly string[];
      /** @description Take tools that are not allowed out of answers to tools/list; with mcp_tool */
      readonly mcp_filter_list?: boolean;
      /** @description Only with this parameter in the query, and no other value of it; several of a name are alternatives */
      readonly query?: readonly string[];
      /** @description Only this gRPC method: package.Service/Method, or package.Service/*; not with --method or --path */
      readonly grpc?: readonly string[];
      /**
       * @description Only what git asks to read (clone, fetch), or to write too (push); git-lfs, archives and raw files likewise
       * @enum {string}
       */
      readonly git?: "read" | "write";
      /** @description Only these repositories: acme/web, or acme/* for all below; with git */
      readonly repo?: readonly string[];
      /** @description Only GraphQL operations of this type; the body is read */
      readonly graphql?: readonly ("query" | "mutation" | "subscription")[];
      /** @description Only operations that ask for nothing but these top-level fields; with graphql */
      readonly graphql_field?: readonly string[];
      /** @description Also the operation that the server keeps under this hash or id; with graphql */
      readonly graphql_hash?: readonly string[];
      /** @description Only calls of this tool over MCP: read_file, or read_* for all that begin so; the body is read */
      readonly mcp_tool?: readonly string[];
      /** @description Only messages of this method over MCP, such as resources/*; what any session needs is free */
      readonly mcp_method?: readonly string[];
      /** @description The place, from 1, of the rule before which it is put; behind all when left out */
      readonly before?: number;
      /** @description Seconds that the rule lives; 0, or nothing, for ever */
      readonly ttl_seconds?: number;
    };
    readonly MoveRuleRequest: {
      /** @example ci-1 */
      readonly client: string;
      /** @description The rule's place in the client's list, from 1 */
      readonly from: number;
      /** @description The place, now, of the rule before which it is put; behind all when left out */
      readonly before?: number;
    };
    readonly RevokeRequest: {
      /** @example ci-1 */
      readonly client: string;
      /**
       * @description A name, an IP literal, `*.suffix` or `*`
       * @example api.example.com
       */
      readonly host: string;
      /** @description The secret that is injected */
      readonly secret?: string;
      /**
       * @description Any when left out
       * @example [
       *       "GET"
       *     ]
       */
      readonly methods?: readonly string[];
      /**
       * @description `/exact`, `/prefix/*`, `*`, or stars for whole segments inside (`/a/*\/b`, `/a/**\/b`); any when left out
       * @example [
       *       "/v1/models",
       *       "/v1/chat/*"
       *     ]
       */
      readonly paths?: readonly string[];
      /** @description 80 and 443 when left out */
      readonly ports?: readonly number[];
      /** @description Splice bytes instead of inspecting them */
      readonly passthrough?: boolean;
      /** @description Deny what the rule matches, whatever later rules say; as the command deny does */
      readonly deny?: boolean;
      /** @description Hold what the rule matches until a person approves it: slicer-proxy requests */
      readonly ask?: boolean;
      /** @description How long it may wait for that, instead of 5m */
      readonly ask_timeout_seconds?: number;
      /** @description Give every request of HTTP/1.1 an upstream connection of its own: for endpoints that ignore bodies */
      readonly one_request_per_connection?: boolean;
      /** @description How long its upstreams may think, instead of what up --response-timeout says */
      readonly response_timeout_seconds?: number;
      /** @description Speak HTTP/1.1 at this host and port, with clients and upstream: for what breaks over HTTP/2 */
      readonly http1?: boolean;
      /** @description Deny requests that are not signed for one of these AWS services, such as s3 or bedrock */
      readonly aws_service?: readonly string[];
      /** @description Deny requests that are not signed for one of these AWS regions, such as eu-west-1 or eu-* */
      readonly aws_region?: readonly string[];
      /** @description Deny with 429 beyond requests=1000/h, bytes-up=100M/d, bytes-down=1G/d or tokens=2M/d, for an hour or a day */
      readonly budget?: readonly string[];
      /** @description Take tools that are not allowed out of answers to tools/list; with mcp_tool */
      readonly mcp_filter_list?: boolean;
      /** @description Only with this parameter in the query, and no other value of it; several of a name are alternatives */
      readonly query?: readonly string[];
      /** @description Only this gRPC method: package.Service/Method, or package.Service/*; not with --method or --path */
      readonly grpc?: readonly string[];
      /**
       * @description Only what git asks to read (clone, fetch), or to write too (push); git-lfs, archives and raw files likewise
       * @enum {string}
       */
      readonly git?: "read" | "write";
      /** @description Only these repositories: acme/web, or acme/* for all below; with git */
      readonly repo?: readonly string[];
      /** @description Only GraphQL operations of this type; the body is read */
      readonly graphql?: readonly ("query" | "mutation" | "subscription")[];
      /** @description Only operations that ask for nothing but these top-level fields; with graphql */
      readonly graphql_field?: readonly string[];
      /** @description Also the operation that the server keeps under this hash or id; with graphql */
      readonly graphql_hash?: readonly string[];
      /** @description Only calls of this tool over MCP: read_file, or read_* for all that begin so; the body is read */
      readonly mcp_tool?: readonly string[];
      /** @description Only messages of this method over MCP, such as resources/*; what any session needs is free */
      readonly mcp_method?: readonly string[];
    };
    readonly Profile: {
      /**
       * @description Name and version
       * @example npm@1
       */
      readonly profile: string;
      /** @example npm */
      readonly name: string;
      readonly version: number;
      /** @description What its rules let a client do, and what not */
      readonly summary: string;
      /** @description Public pages that it was made from */
      readonly sources: readonly string[];
      /** @description In the order in which they are tried */
      readonly rules: readonly (components["schemas"]["AllowRule"] & {
        /**
         * @description `must`: the rule is left out when no secret for its host is given
         * @enum {string}
         */
        readonly takes_secret?: "may" | "must";
      })[];
    };
    readonly AddedProfile: {
      /**
       * @description Name and version
       * @example npm@1
       */
      readonly profile: string;
      readonly rules: readonly components["schemas"]["AllowRule"][];
    };
    readonly AddProfileRequest: {
      /** @example ci-1 */
      readonly client: string;
      /**
       * @description `npm@1`, or `npm` for its last version
       * @example npm@1
       */
      readonly profile: string;
      /** @description Each goes to the rules that take one at the host that it is bound to */
      readonly secrets?: readonly string[];
      /** @description Seconds that the rules live; 0, or nothing, for ever */
      readonly ttl_seconds?: number;
      /** @description The place, from 1, of the rule before which they are put; behind all when left out */
      readonly before?: number;
      /** @description Only say what would be added */
      readonly dry_run?: boolean;
    };
    readonly Policy: {
      /** @enum {number} */
      readonly version: 1;
      /** @description The secrets that rules may name, by name, never with a value */
      readonly secrets: {
        readonly [key: string]: {
          readonly host: string;
          readonly type: string;
        };
      };
      /** @description The clients by name, with their own budgets and their live rules in order */
      readonly clients: {
        readonly [key: string]: {
          /**
           * @example [
           *       "requests=1K/h"
           *     ]
           */
          readonly budget?: readonly string[];
          readonly allow: readonly components["schemas"]["AllowRule"][];
        };
      };
    };
    readonly ApplyPolicyResult: {
      /** @description The clients that change; empty when there is nothing to change */
      readonly changes: readonly {
        readonly client: string;
        /** @enum {string} */
        readonly action: "create" | "change" | "delete";
        /**
         * @description Its own afterwards, where that changes; empty for none
         * @example [
         *       "requests=1K/h"
         *     ]
         */
        readonly budget?: readonly string[];
        readonly rules: readonly components["schemas"]["RuleChange"][];
      }[];
      /** @description The clients that were created. No later call shows their tokens again; a dry run creates none */
      readonly created: readonly components["schemas"]["ClientWithToken"][];
    };
    readonly RuleChange: components["schemas"]["AllowRule"] & {
      /**
       * @description `expire`: another end; `move`: another place among the rules that stay
       * @enum {string}
       */
      readonly action: "remove" | "add" | "expire" | "move";
      /** @description The rule's place in the client's list: afterwards, or before when it is removed */
      readonly place: number;
    };
    readonly ApplyPolicyRequest: {
      /** @description A policy file: YAML or JSON */
      readonly policy: string;
      /**
       * @description What errors call the file; policy when left out
       * @example policy.yaml
       */
      readonly name?: string;
      /** @description Only say what would change */
      readonly dry_run?: boolean;
      /** @description Remove rules, budgets and clients that the file does not have */
      readonly prune?: boolean;
    };
    readonly Mode: {
      /**
       * @description What `up --mode` says, for whom no switch is in force
       * @enum {string}
       */
      readonly mode: "strict" | "audit";
      readonly switches: readonly {
        /**
         * @description All clients when left out
         * @example ci-1
         */
        readonly client?: string;
        /**
         * @description `audit` looks into tunnels to unknown hosts and logs what is asked for there, before it denies it
         * @enum {string}
         */
        readonly mode: "strict" | "audit";
        /** Format: date-time */
        readonly until?: string;
      }[];
    };
    readonly ModeSwitchRequest: {
      /**
       * @description All clients when left out
       * @example ci-1
       */
      readonly client?: string;
      /**
       * @description `audit` looks into tunnels to unknown hosts and logs what is asked for there, before it denies it
       * @enum {string}
       */
      readonly mode: "strict" | "audit";
      /** @description After so many seconds it ends by itself; 0, or nothing, for until the next switch or start */
      readonly ttl_seconds?: number;
    };
    readonly Suspensions: readonly {
      /**
       * @description All clients when left out
       * @example ci-1
       */
      readonly client?: string;
      /** Format: date-time */
      readonly since: string;
    }[];
    readonly BudgetUses: readonly {
      /**
       * @description `requests=1000/h`, `bytes-up=100M/d`, `bytes-down=1G/d`, `tokens=2M/d`
       * @example requests=1000/h
       */
      readonly budget: string;
      /** @description Of the rule whose budget it is; the client's own without */
      readonly rule_host?: string;
      /** @description In this hour or day */
      readonly used: number;
      /**
       * Format: date-time
       * @description When the hour or day is over
       */
      readonly free_at: string;
    }[];
    readonly BudgetRequest: {
      /** @description In the place of what it had; none ends that */
      readonly budget: readonly string[];
    };
    readonly WaitingRequests: readonly {
      readonly id: string;
      readonly client: string;
      readonly method: string;
      /** @enum {string} */
      readonly scheme: "http" | "https";
      readonly host: string;
      readonly port: number;
      readonly path: string;
      readonly query?: string;
      /** @description The client asks for a rule, and says so: text of an untrusted program */
      readonly reason?: string;
      /** Format: date-time */
      readonly since: string;
      /**
       * Format: date-time
       * @description When it is refused by itself
       */
      readonly until: string;
    }[];
    readonly Approved: {
      readonly rule?: components["schemas"]["AllowRule"] & unknown;
    };
    readonly Approval: {
      /** @description Adds a rule for exactly this method, host, port and path that lives so long */
      readonly for_seconds?: number;
      /** @description Adds such a rule for good. Neither: this request alone */
      readonly always?: boolean;
    };
    readonly Verdict: {
      /** @description The request as it was read */
      readonly request: string;
      /**
       * @description `passthrough`: its tunnel is spliced, and nobody looks at the request
       * @enum {string}
       */
      readonly verdict: "allow" | "deny" | "passthrough";
      /**
       * @description For a denial
       * @example no-rule
       */
      readonly reason?: string;
      /** @description The place of the rule that decides */
      readonly rule?: number;
      /**
       * @description A person is asked first: `--ask`
       * @enum {boolean}
       */
      readonly asks?: true;
      /** @description For a denial: why, and what came closest */
      readonly words?: string;
      /** @description What would allow exactly this */
      readonly command?: string;
      /** @description All rules of the client, in order */
      readonly rules: readonly (components["schemas"]["AllowRule"] & {
        /** @description What of the request the rule does not cover; empty when it covers it as it is written */
        readonly missed: readonly ("host" | "port" | "method" | "path" | "words")[];
      })[];
    };
    readonly ExplainRequest: {
      /** @example GET */
      readonly method: string;
      /** @example https://api.example.com/v1/models */
      readonly url: string;
    };
    /** @description One request or tunnel of the audit log. No field ever holds a header, a body, a token or a credential */
    readonly AuditRecord: {
      /**
       * @description The version. It rises when a field goes or changes its meaning; a new optional field is no new version
       * @enum {number}
       */
      readonly v: 1;
      /**
       * Format: date-time
       * @description When it was written: RFC 3339, UTC, milliseconds
       */
      readonly time: string;
      /**
       * @description `change` is no request: an operator switched the mode, for `client` or `*`, for `duration_ms`; or, by `method`, SUSPEND, RESUME, APPROVE (once, or for `duration_ms`), APPROVE-ALWAYS or DENY of what waited for a person, and BUDGET for a budget that is used up to 80 %
       * @enum {string}
       */
      readonly verdict: "allow" | "deny" | "passthrough" | "change";
      /** @description The client, or `-` for nobody */
      readonly client: string;
      /**
       * @description No credential was shown
       * @enum {string}
       */
      readonly auth?: "none";
      /** @description With `auth`: the client whose rule admitted it */
      readonly rule_owner?: string;
      /** @description The method of HTTP, CONNECT, or DNS for a name that a helper asked for */
      readonly method?: string;
      /** @enum {string} */
      readonly scheme?: "http" | "https";
      /** @description A name or an IP literal, without port */
      readonly host?: string;
      readonly port?: number;
      /** @description Without the query. One of more than 2,048 characters is cut there, and goes on with `…`, how many the whole of it has, `-`, and the first 32 hex digits of its SHA-256 */
      readonly path?: string;
      /** @description Only with `--log-query`; cut like a path */
      readonly query?: string;
      /** @description What the client was answered */
      readonly status?: number;
      /**
       * @description The version of HTTP, where it is 2
       * @enum {string}
       */
      readonly proto?: "h2";
      /** @description How often the answer held the credential of its request */
      readonly echoed?: number;
      /** @description What a gRPC call ended with: 0 is OK */
      readonly grpc_status?: number;
      /** @description The name of the secret that was injected */
      readonly secret?: string;
      /**
       * @description The secret was sent without TLS
       * @enum {boolean}
       */
      readonly cleartext?: true;
      /**
       * @description In which mode it was denied
       * @enum {string}
       */
      readonly mode?: "strict" | "audit";
      /**
       * @description Why it was denied or failed:
       *     - `no-rule`: no allow rule of this client matches
       *     - `rule-denied`: a deny rule of this client matches before any other
       *     - `client-suspended`: the client, or every client, is suspended until somebody resumes it
       *     - `store-lost`: this host has not heard from the fleet's store for longer than --store-grace, so it cannot know the policy
       *     - `ask-denied`: the rule asks a person first, who said no
       *     - `ask-timeout`: the rule asks a person first, and nobody decided in time
       *     - `path-ambiguous`: servers read the path in more than one way, and the readings are not all allowed with the same effect
       *     - `path-encoding`: the path is encoded twice, or hides a dot segment, a NUL or an overlong character
       *     - `secret-missing`: the rule names a secret that does not exist
       *     - `secret-host`: the rule's host does not lie within the host that its secret is bound to
       *     - `secret-unavailable`: the secret's credential cannot be had: its refresh was refused or its value is unusable
       *     - `cleartext-secret`: the credential would leave the private network without TLS, and its secret does not allow that
       *     - `placeholder`: a placeholder stands in the place of a credential, and no secret of the rule replaces it
       *     - `aws-signature`: the request has no AWS signature that the proxy can replace
       *     - `aws-scope`: the request is signed for an AWS service or region that the rule does not allow
       *     - `token-endpoint`: the host is where the proxy itself renews credentials, so clients may not reach it
       *     - `host-mismatch`: the request's authority is not the host that the tunnel was opened for
       *     - `method-override`: a header or `_method` would change the method or path behind a rule that limits them
       *     - `address-denied`: the name has an address that the proxy does not dial
       *     - `own-address`: the address is one of the proxy's own listeners
       *     - `revoked`: the client, rule or secret that admitted this is gone
       *     - `upgrade-not-allowed`: this protocol upgrade is not allowed by the rule
       *     - `body-too-large`: a rule says what the body has to be about, and it is larger than the proxy reads
       *     - `body-encoding`: a rule says what the body has to be about, and it is compressed in a way that the proxy does not read
       *     - `body-unreadable`: a rule says what the body has to be about, and it cannot be read in exactly one way
       *     - `method-refused`: no proxy forwards this method (TRACE, a CONNECT within a tunnel, PRI)
       *     - `quota`: this client or source holds as many connections or requests as it may
       *     - `budget`: a budget of this client or of the rule is used up for the hour or the day
       *     - `new-hosts`: this client has asked for as many new hosts as it may within a minute
       *     - `overload`: the proxy as a whole is at a limit
       *     - `audit-write-failed`: the audit log cannot be written, so nothing new is admitted
       *     - `auth-missing`: the client did not say who it is
       *     - `auth-invalid`: no client has this token
       *     - `auth-throttled`: too many wrong tokens came from this address within the minute
       *     - `malformed`: the message cannot be read in exactly one way
       *     - `head-too-large`: the request line and headers are larger than the proxy reads
       *     - `tls-untrusted-ca`: the client does not trust the proxy's certificate authority
       *     - `tls-no-client-hello`: the tunnel did not start with a TLS ClientHello
       *     - `tls-handshake`: the TLS handshake with the client failed
       *     - `tls-version`: the client offers no TLS version that the proxy speaks
       *     - `tls-client-clock`: the client's clock is outside the time for which the proxy's certificate is valid
       *     - `tls-client-alpn`: the client offers no application protocol that the proxy speaks in TLS
       *     - `tls-client-parameters`: the client offers no cipher, group or signature algorithm that the proxy takes
       *     - `sni-missing`: the ClientHello names no host
       *     - `sni-mismatch`: the ClientHello names another host than the tunnel was opened for
       *     - `idle-timeout`: nothing was sent in either direction for too long
       *     - `client-closed`: the client closed the connection before the answer was complete
       *     - `dns`: the name has no address
       *     - `connect-refused`: the upstream refused the connection
       *     - `connect-unreachable`: the upstream's network cannot be reached
       *     - `connect-timeout`: the upstream did not accept the connection in time
       *     - `tls-expired`: the upstream's certificate has expired
       *     - `tls-not-yet-valid`: the upstream's certificate is not valid yet
       *     - `tls-wrong-name`: the upstream's certificate is for another name
       *     - `tls-unknown-issuer`: the upstream's certificate was issued by an authority that the proxy does not trust, or comes without its intermediate
       *     - `tls-incomplete-chain`: the upstream does not send the certificate of its issuer, which is no trusted root
       *     - `tls-self-signed`: the upstream's certificate is self-signed, and not trusted
       *     - `tls-weak-certificate`: the upstream's certificate has a wrong signature, a weak key or algorithm, or is not one for TLS servers
       *     - `tls-client-certificate`: the upstream asks for a client certificate
       *     - `tls-upstream-parameters`: the upstream shares no TLS parameters with the proxy, or asks for a client certificate
       *     - `protocol-mismatch`: the upstream speaks no version of HTTP that the client offers
       *     - `tls-protocol`: the TLS handshake with the upstream failed
       *     - `parent-unreachable`: the parent proxy, through which the upstream is reached, cannot be reached
       *     - `parent-tls`: the parent proxy's certificate is not trusted, or TLS with it failed
       *     - `parent-auth`: the parent proxy does not take the user and password that it gets, or wants some
       *     - `parent-denied`: the parent proxy refuses to connect to the upstream
       *     - `parent-failed`: the parent proxy could not connect to the upstream
       *     - `parent-timeout`: the parent proxy did not answer in time
       *     - `parent-malformed`: the parent proxy does not answer as one
       *     - `upstream-closed`: the upstream closed the connection before its answer was complete
       *     - `credential-echo`: the upstream's answer holds the credential that its request was sent with
       *     - `upstream-malformed`: the upstream's answer cannot be read safely
       *     - `upstream-timeout`: the upstream did not answer in time
       *     - `aws-key`: AWS does not take the secret's access key: it is unknown, wrong or expired
       *     - `aws-clock`: AWS finds the time of the signature too far from its own
       *     - `aws-region`: AWS finds the request signed for the wrong region or service
       *     - `shutdown`: the proxy is stopping
       *     - `worker-lost`: the thread that served it crashed or hung, so nobody knows how it ended
       *     - `internal`: the proxy failed; its own log says how
       * @enum {string}
       */
      readonly reason?:
        | "no-rule"
        | "rule-denied"
        | "client-suspended"
        | "store-lost"
        | "ask-denied"
        | "ask-timeout"
        | "path-ambiguous"
        | "path-encoding"
        | "secret-missing"
        | "secret-host"
        | "secret-unavailable"
        | "cleartext-secret"
        | "placeholder"
        | "aws-signature"
        | "aws-scope"
        | "token-endpoint"
        | "host-mismatch"
        | "method-override"
        | "address-denied"
        | "own-address"
        | "revoked"
        | "upgrade-not-allowed"
        | "body-too-large"
        | "body-encoding"
        | "body-unreadable"
        | "method-refused"
        | "quota"
        | "budget"
        | "new-hosts"
        | "overload"
        | "audit-write-failed"
        | "auth-missing"
        | "auth-invalid"
        | "auth-throttled"
        | "malformed"
        | "head-too-large"
        | "tls-untrusted-ca"
        | "tls-no-client-hello"
        | "tls-handshake"
        | "tls-version"
        | "tls-client-clock"
        | "tls-client-alpn"
        | "tls-client-parameters"
        | "sni-missing"
        | "sni-mismatch"
        | "idle-timeout"
        | "client-closed"
        | "dns"
        | "connect-refused"
        | "connect-unreachable"
        | "connect-timeout"
        | "tls-expired"
        | "tls-not-yet-valid"
        | "tls-wrong-name"
        | "tls-unknown-issuer"
        | "tls-incomplete-chain"
        | "tls-self-signed"
        | "tls-weak-certificate"
        | "tls-client-certificate"
        | "tls-upstream-parameters"
        | "protocol-mismatch"
        | "tls-protocol"
        | "parent-unreachable"
        | "parent-tls"
        | "parent-auth"
        | "parent-denied"
        | "parent-failed"
        | "parent-timeout"
        | "parent-malformed"
        | "upstream-closed"
        | "credential-echo"
        | "upstream-malformed"
        | "upstream-timeout"
        | "aws-key"
        | "aws-clock"
        | "aws-region"
        | "shutdown"
        | "worker-lost"
        | "internal";
      /** @description Bytes of bodies or the tunnel from the client */
      readonly sent?: number;
      /** @description Bytes of bodies or the tunnel to the client */
      readonly received?: number;
      /** @description How many requests it stands for; 1 when absent. Identical denials are counted once there are many; one that names no host counts different ones, which would have been too many lines for one client or source */
      readonly repeated?: number;
      /** @description From the request, or the tunnel's beginning, to its end */
      readonly duration_ms?: number;
      /** @description Where it came from: `IP:PORT`, IPv6 in brackets; no port where it counts several */
      readonly src?: string;
      /** @description The port of the proxy that it came to */
      readonly proxy_port?: number;
      /**
       * @description The version of TLS that the client speaks with the proxy, inside an inspected tunnel the one in there
       * @enum {string}
       */
      readonly tls?: "1.2" | "1.3";
      /** @description What words of rules saw of the request, for `test --against`: pieces between blanks, cut like a path. `query:NAME=VALUE` where a rule has the same, else `query:NAME` for none and `query:NAME=*`; `lfs:download` and the like for what a body was about, with `!` the reason why it could not be read */
      readonly says?: string;
      /** @description On a `change` of the method BUDGET: the budget that is used up to 80 %, as `requests=1000/h` */
      readonly budget?: string;
      /** @description Under a budget of tokens: what the model read, with what came from a cache */
      readonly input_tokens?: number;
      /** @description Under a budget of tokens: what the model wrote */
      readonly output_tokens?: number;
      /**
       * @description The answer did not say all of it, or ended early; reckoned from bytes
       * @enum {boolean}
       */
      readonly tokens_estimated?: true;
    } & {
      readonly [key: string]: unknown;
    };
    /** @description Stands where a reader who follows was too slow for that many records */
    readonly MissedRecords: {
      /** @description How many records */
      readonly missed: number;
      /** @description With `fleet`: the host whose records they are */
      readonly fleet_host?: string;
    };
    /** @description With `mark`: what was stored is behind it, what comes is to follow */
    readonly LiveRecords: {
      /** @enum {boolean} */
      readonly live: true;
    };
    /** @description With `fleet`: whether the records of a host are among these */
    readonly AuditHostNote: {
      /** @description The host, or `*` for all that are not named */
      readonly fleet_host: string;
      /** @description Its records are missing from here on: why */
      readonly unanswered?: string;
      /**
       * @description They are missing no longer
       * @enum {boolean}
       */
      readonly answers?: true;
    };
    readonly Suggestion: {
      readonly proposals: readonly components["schemas"]["Proposal"][];
      /** @description Denials that no proposal helps */
      readonly skipped: readonly {
        readonly host?: string;
        readonly port?: number;
        readonly why: string;
        readonly count: number;
      }[];
      /** @description Of programs whose packages depend on others: how many runs it takes at most beyond the next one until nothing new is denied; without `more` one for each level of the tree */
      readonly passes: readonly {
        readonly by: string;
        readonly host: string;
        readonly more?: number;
        readonly words: string;
      }[];
      /** @description Denials that were too many to be looked at; the latest were */
      readonly forgotten: number;
    };
    readonly Proposal: {
      /** @description As `POST /proxy/v1/allows` takes it, less the client */
      readonly rule: {
        /**
         * @description A name, an IP literal, `*.suffix` or `*`
         * @example api.example.com
         */
        readonly host: string;
        /** @description The secret that is injected */
        readonly secret?: string;
        /**
         * @description Any when left out
         * @example [
         *       "GET"
         *     ]
         */
        readonly methods?: readonly string[];
        /**
         * @description `/exact`, `/prefix/*`, `*`, or stars for whole segments inside (`/a/*\/b`, `/a/**\/b`); any when left out
         * @example [
         *       "/v1/models",
         *       "/v1/chat/*"
         *     ]
         */
        readonly paths?: readonly string[];
        /** @description 80 and 443 when left out */
        readonly ports?: readonly number[];
        /** @description Splice bytes instead of inspecting them */
        readonly passthrough?: boolean;
        /** @description Deny what the rule matches, whatever later rules say; as the command deny does */
        readonly deny?: boolean;
        /** @description Hold what the rule matches until a person approves it: slicer-proxy requests */
        readonly ask?: boolean;
        /** @description How long it may wait for that, instead of 5m */
        readonly ask_timeout_seconds?: number;
        /** @description Give every request of HTTP/1.1 an upstream connection of its own: for endpoints that ignore bodies */
        readonly one_request_per_connection?: boolean;
        /** @description How long its upstreams may think, instead of what up --response-timeout says */
        readonly response_timeout_seconds?: number;
        /** @description Speak HTTP/1.1 at this host and port, with clients and upstream: for what breaks over HTTP/2 */
        readonly http1?: boolean;
        /** @description Deny requests that are not signed for one of these AWS services, such as s3 or bedrock */
        readonly aws_service?: readonly string[];
        /** @description Deny requests that are not signed for one of these AWS regions, such as eu-west-1 or eu-* */
        readonly aws_region?: readonly string[];
        /** @description Deny with 429 beyond requests=1000/h, bytes-up=100M/d, bytes-down=1G/d or tokens=2M/d, for an hour or a day */
        readonly budget?: readonly string[];
        /** @description Take tools that are not allowed out of answers to tools/list; with mcp_tool */
        readonly mcp_filter_list?: boolean;
        /** @description Only with this parameter in the query, and no other value of it; several of a name are alternatives */
        readonly query?: readonly string[];
        /** @description Only this gRPC method: package.Service/Method, or package.Service/*; not with --method or --path */
        readonly grpc?: readonly string[];
        /**
         * @description Only what git asks to read (clone, fetch), or to write too (push); git-lfs, archives and raw files likewise
         * @enum {string}
         */
        readonly git?: "read" | "write";
        /** @description Only these repositories: acme/web, or acme/* for all below; with git */
        readonly repo?: readonly string[];
        /** @description Only GraphQL operations of this type; the body is read */
        readonly graphql?: readonly ("query" | "mutation" | "subscription")[];
        /** @description Only operations that ask for nothing but these top-level fields; with graphql */
        readonly graphql_field?: readonly string[];
        /** @description Also the operation that the server keeps under this hash or id; with graphql */
        readonly graphql_hash?: readonly string[];
        /** @description Only calls of this tool over MCP: read_file, or read_* for all that begin so; the body is read */
        readonly mcp_tool?: readonly string[];
        /** @description Only messages of this method over MCP, such as resources/*; what any session needs is free */
        readonly mcp_method?: readonly string[];
      };
      /** @description The denied requests that it lets through */
      readonly because: readonly {
        readonly method: string;
        /**
         * @description As sent, without the query
         * @example /v1/models
         */
        readonly path: string;
        readonly count: number;
        /** Format: date-time */
        readonly last: string;
        /** @description Which of the rule's paths lets it through */
        readonly pattern: string;
      }[];
      /** @description What a well-known program will ask for next, though nobody did yet */
      readonly implied: readonly {
        readonly method: string;
        readonly path: string;
        readonly by: string;
        /** @description The path of a request that it follows */
        readonly after: string;
      }[];
      /** @description Secrets that the client's present rules inject on this host; the proposed rule injects none */
      readonly other_secrets: readonly string[];
    };
    readonly PolicyTest: {
      readonly changes: readonly {
        /** @enum {string} */
        readonly kind: "denied" | "inspected" | "passthrough" | "credential" | "allowed";
        readonly client?: string;
        readonly method?: string;
        readonly host: string;
        readonly port?: number;
        readonly path?: string;
        /** @enum {string} */
        readonly reason?:
          | "no-rule"
          | "rule-denied"
          | "client-suspended"
          | "store-lost"
          | "ask-denied"
          | "ask-timeout"
          | "path-ambiguous"
          | "path-encoding"
          | "secret-missing"
          | "secret-host"
          | "secret-unavailable"
          | "cleartext-secret"
          | "placeholder"
          | "aws-signature"
          | "aws-scope"
          | "token-endpoint"
          | "host-mismatch"
          | "method-override"
          | "address-denied"
          | "own-address"
          | "revoked"
          | "upgrade-not-allowed"
          | "body-too-large"
          | "body-encoding"
          | "body-unreadable"
          | "method-refused"
          | "quota"
          | "budget"
          | "new-hosts"
          | "overload"
          | "audit-write-failed"
          | "auth-missing"
          | "auth-invalid"
          | "auth-throttled"
          | "malformed"
          | "head-too-large"
          | "tls-untrusted-ca"
          | "tls-no-client-hello"
          | "tls-handshake"
          | "tls-version"
          | "tls-client-clock"
          | "tls-client-alpn"
          | "tls-client-parameters"
          | "sni-missing"
          | "sni-mismatch"
          | "idle-timeout"
          | "client-closed"
          | "dns"
          | "connect-refused"
          | "connect-unreachable"
          | "connect-timeout"
          | "tls-expired"
          | "tls-not-yet-valid"
          | "tls-wrong-name"
          | "tls-unknown-issuer"
          | "tls-incomplete-chain"
          | "tls-self-signed"
          | "tls-weak-certificate"
          | "tls-client-certificate"
          | "tls-upstream-parameters"
          | "protocol-mismatch"
          | "tls-protocol"
          | "parent-unreachable"
          | "parent-tls"
          | "parent-auth"
          | "parent-denied"
          | "parent-failed"
          | "parent-timeout"
          | "parent-malformed"
          | "upstream-closed"
          | "credential-echo"
          | "upstream-malformed"
          | "upstream-timeout"
          | "aws-key"
          | "aws-clock"
          | "aws-region"
          | "shutdown"
          | "worker-lost"
          | "internal";
        /** @description The secret that was injected */
        readonly from?: string;
        /** @description The secret that would be injected */
        readonly to?: string;
        readonly count: number;
      }[];
      /** @description Was allowed or passed through, would be denied */
      readonly denied: number;
      /** @description Was passed through, would be inspected */
      readonly inspected: number;
      /** @description Was inspected, would be passed through */
      readonly passthrough: number;
      /** @description Would go out with another credential */
      readonly credential: number;
      /** @description Was denied, would be allowed */
      readonly allowed: number;
      readonly unchanged: number;
      /** @description Says nothing about rules: bad tokens, malformed requests and the like */
      readonly not_judged: number;
      /** @description Changes beyond those that are listed */
      readonly unlisted: number;
    };
    readonly PolicyTestRequest: {
      /** @description A policy file: YAML or JSON */
      readonly policy: string;
      /**
       * @description What errors call the file; policy when left out
       * @example policy.yaml
       */
      readonly name?: string;
      /** @description A time of RFC 3339, inclusive, or how long ago: 90s, 15m, 1h, 7d */
      readonly since?: string;
    };
    readonly Status: {
      readonly version: string;
      /**
       * Format: date-time
       * @description RFC 3339, UTC
       */
      readonly started_at: string;
      readonly uptime_seconds: number;
      /** @enum {string} */
      readonly mode: "strict" | "audit";
      readonly hostgroup: string;
      /** @description The first of the addresses */
      readonly bind: string;
      /** @description The addresses that both proxy ports listen on */
      readonly binds: readonly string[];
      readonly http_port: number;
      readonly https_port: number;
      readonly clients: number;
      readonly secrets: number;
      readonly rules: number;
      /** @description Clients that are refused everything until somebody resumes them, or all */
      readonly suspended_clients: number;
      /** @description Rules that cannot act as they read; their lists say why */
      readonly rules_with_warnings: number;
      readonly open_connections: number;
      /** @description Above it, connections are refused */
      readonly max_connections: number;
      readonly open_tunnels: number;
      /** @description Upstream connections kept for reuse */
      readonly idle_upstreams: number;
      readonly tls_listeners: number;
      /** @description Threads that serve */
      readonly workers: number;
      /** @description Threads that had died or hung, and were replaced */
      readonly replaced_workers: number;
      readonly requests: {
        readonly allow: number;
        readonly deny: number;
        readonly passthrough: number;
      };
      /**
       * @description Denials by those reasons that have occurred
       * @example {
       *       "no-rule": 12
       *     }
       */
      readonly denials: {
        readonly [key: string]: number;
      };
      /**
       * @description What was allowed or passed through and ended badly, by those reasons that have occurred
       * @example {
       *       "connect-timeout": 1
       *     }
       */
      readonly failures: {
        readonly [key: string]: number;
      };
      /** @description Allowed requests by the class of the status that the client was answered */
      readonly responses: {
        readonly "1xx": number;
        readonly "2xx": number;
        readonly "3xx": number;
        readonly "4xx": number;
        readonly "5xx": number;
      };
      /** @description Renewals of credentials, by how they ended */
      readonly renewals: {
        readonly renewed: number;
        readonly adopted: number;
        readonly failed: number;
        readonly refused: number;
      };
      /** @description Questions to name servers, those that none could answer, and answers from memory; stale ones were used beyond their time while no server answered */
      readonly names: {
        readonly questions: number;
        readonly failures: number;
        readonly cache_hits: number;
        readonly stale_answers: number;
      };
      /** @description Parent proxies, each with the pattern of the hosts that are reached through it */
      readonly upstream_proxies: readonly {
        readonly hosts: string;
        readonly url: string;
      }[];
      /** @description Upstreams whose preferred address did not answer, or not first, within the last ten minutes, and the one that did; the latest first, 64 at most */
      readonly dead_addresses: readonly {
        readonly place: string;
        readonly address: string;
        readonly instead: string;
      }[];
      readonly sent_bytes: number;
      readonly received_bytes: number;
      /** @description Credentials that were found in answers */
      readonly credential_echoes: number;
      /** @description Certificates of inspected hosts */
      readonly certificates: {
        readonly entries: number;
        readonly hits: number;
        readonly misses: number;
        readonly minted: number;
        readonly mint_failures: number;
      };
      readonly audit_log: {
        /** @description New requests are refused while it is not */
        readonly writable: boolean;
        readonly queued: number;
        readonly write_failures: number;
        /** @description Denials counted by a later line instead of having one */
        readonly coalesced: number;
        /** @description How sending it to a collector goes, with --audit-otlp */
        readonly otlp?: {
          /** @description Records that the collector does not have yet */
          readonly queued: number;
          readonly sent: number;
          /** @description Records that it will never have */
          readonly dropped: number;
          /** @description Requests that it did not take */
          readonly failures: number;
          /** @description Why it takes none now */
          readonly failing?: string;
        };
      };
      readonly store: {
        readonly writes: number;
        readonly write_failures: number;
        readonly database_bytes?: number;
      };
      readonly process: {
        /**
         * Format: date-time
         * @description RFC 3339, UTC
         */
        readonly started_at: string;
        readonly cpu_seconds: number;
        readonly resident_bytes: number;
        readonly open_fds?: number;
        readonly max_fds?: number;
      };
      /** @description Files of --upstream-ca, and how many of their certificates are in force */
      readonly upstream_cas: readonly {
        readonly host: string;
        readonly file: string;
        readonly certificates: number;
        /** @description Why the file as it is now is not in force */
        readonly error?: string;
      }[];
      /** @description Secrets whose credential cannot be used */
      readonly secret_errors: readonly {
        readonly name: string;
        readonly host: string;
        readonly type: string;
        readonly error: string;
      }[];
      /** @description Rules that deny what they match, since their secret is gone; 100 at most */
      readonly rules_without_secret: readonly {
        readonly client: string;
        readonly host: string;
        readonly secret: string;
      }[];
      readonly fleet?: components["schemas"]["FleetSums"];
    };
    /** @description With up --store: sums over all hosts. Everything beside it is of this host alone */
    readonly FleetSums: {
      readonly name: string;
      /** @description The host that answers */
      readonly host: string;
      /** @description The number of the last change that is in force on this host */
      readonly sequence: number;
      /** @description Changes that the store has beyond it */
      readonly behind: number;
      /** @description Since this host last knew that it has every change in force: a second at rest */
      readonly behind_seconds: number;
      /**
       * Format: date-time
       * @description Absent while the store answers
       */
      readonly store_away_since?: string;
      /**
       * Format: date-time
       * @description When the hosts were read from the store; the last that is known, while the store is away
       */
      readonly listed_at?: string;
      readonly hosts: {
        readonly live: number;
        readonly late: number;
        readonly denies: number;
      };
      readonly open_connections: number;
      readonly open_tunnels: number;
      /** @description Since the start of each host */
      readonly requests: {
        readonly allow: number;
        readonly deny: number;
        readonly passthrough: number;
      };
    };
    readonly Fleet: {
      readonly name: string;
      /** @description The host that answers */
      readonly host: string;
      /** @description The number of the last change that is in force on this host */
      readonly sequence: number;
      /** @description Changes that the store has beyond it */
      readonly behind: number;
      /** @description Since this host last knew that it has every change in force: a second at rest */
      readonly behind_seconds: number;
      /**
       * Format: date-time
       * @description Absent while the store answers
       */
      readonly store_away_since?: string;
      /**
       * Format: date-time
       * @description When the hosts were read from the store; the last that is known, while the store is away
       */
      readonly listed_at?: string;
      /** @description By name. One that stopped in good order is gone, a dead one after an hour */
      readonly hosts: readonly {
        readonly name: string;
        /** @description The host that answers */
        readonly is_this: boolean;
        /**
         * @description `late`: silent, or without a change for seconds; `denies`: silent for so long that it certainly denies everything, and no change waits for it
         * @enum {string}
         */
        readonly state: "live" | "late" | "denies";
        readonly version: string;
        /**
         * Format: date-time
         * @description Since when its process runs
         */
        readonly since: string;
        /**
         * Format: date-time
         * @description RFC 3339, UTC
         */
        readonly last_seen: string;
        /** @description Up to which change all is in force; -1 at its start */
        readonly sequence: number;
        readonly behind: number;
        /** @description For how long it has lacked the first change it lacks */
        readonly behind_seconds: number;
        readonly open_connections: number;
        readonly open_tunnels: number;
        /** @description Since the start of each host */
        readonly requests: {
          readonly allow: number;
          readonly deny: number;
          readonly passthrough: number;
        };
      }[];
      /** @description There are more than are listed */
      readonly more_hosts: boolean;
    };
    readonly UiLink: {
      /**
       * @description Opens the page once
       * @example http://127.0.0.1:9090/ui/login?code=…
       */
      readonly url: string;
      /**
       * Format: date-time
       * @description RFC 3339, UTC
       */
      readonly expires_at: string;
    };
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: never;
  pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
  readonly listClients: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The clients */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": readonly components["schemas"]["Client"][];
        };
      };
    };
  };
  readonly createClient: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["NewClientRequest"];
      };
    };
    readonly responses: {
      /** @description The client and its token */
      readonly 201: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["ClientWithToken"];
        };
      };
    };
  };
  readonly listRules: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The rules */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": readonly components["schemas"]["AllowRule"][];
        };
      };
    };
  };
  readonly deleteClient: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description Deleted */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly rotateClient: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The client and its new token */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["ClientWithToken"];
        };
      };
    };
  };
  readonly listSecrets: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The secrets */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": readonly components["schemas"]["Secret"][];
        };
      };
    };
  };
  readonly createSecret: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["NewSecretRequest"];
      };
    };
    readonly responses: {
      /** @description The secret without its value */
      readonly 201: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["Secret"];
        };
      };
    };
  };
  readonly showSecret: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The secret */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["SecretDetails"];
        };
      };
    };
  };
  readonly deleteSecret: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description Deleted */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly testSecret: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["SecretTestRequest"];
      };
    };
    readonly responses: {
      /** @description How it went */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["SecretTest"];
        };
      };
    };
  };
  readonly getSealKey: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description How it stands */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["SealKeyStatus"];
        };
      };
    };
  };
  readonly rotateSealKey: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["RotateSealKey"];
      };
    };
    readonly responses: {
      /** @description It is done, on the disk too */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["RotatedSealKey"];
        };
      };
      /** @description In a fleet: it is begun, and is done when all hosts have the key */
      readonly 202: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["SealKeyStatus"];
        };
      };
    };
  };
  readonly cancelSealKeyRotation: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description It is given up */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly getCa: {
    readonly parameters: {
      readonly query?: {
        readonly hostgroup?: string;
      };
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The CA, without its key */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["Ca"];
        };
      };
    };
  };
  readonly importCa: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["ImportCa"];
      };
    };
    readonly responses: {
      /** @description It is in the store, on the disk too */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["ImportedCa"];
        };
      };
    };
  };
  readonly addRule: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["NewAllowRuleRequest"];
      };
    };
    readonly responses: {
      /** @description The rule, with the time at which it expires */
      readonly 201: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["AllowRule"];
        };
      };
    };
  };
  readonly moveRule: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["MoveRuleRequest"];
      };
    };
    readonly responses: {
      /** @description Moved */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly revokeHost: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly client: string;
        /** @description The pattern of the rules, percent-encoded or literal */
        readonly host: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description Revoked */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly revokeRule: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["RevokeRequest"];
      };
    };
    readonly responses: {
      /** @description Revoked */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly listProfiles: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The profiles, by name and version */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": readonly components["schemas"]["Profile"][];
        };
      };
    };
  };
  readonly addProfile: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["AddProfileRequest"];
      };
    };
    readonly responses: {
      /** @description For a dry run: the rules that would be added */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["AddedProfile"];
        };
      };
      /** @description The rules, in order */
      readonly 201: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["AddedProfile"];
        };
      };
    };
  };
  readonly exportPolicy: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: {
        readonly accept?: string;
      };
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The policy file */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/yaml": string;
          readonly "application/json": components["schemas"]["Policy"];
        };
      };
    };
  };
  readonly applyPolicy: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["ApplyPolicyRequest"];
      };
    };
    readonly responses: {
      /** @description What changed, or for a dry run what would; tokens of created clients */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["ApplyPolicyResult"];
        };
      };
    };
  };
  readonly getMode: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The modes */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["Mode"];
        };
      };
    };
  };
  readonly switchMode: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["ModeSwitchRequest"];
      };
    };
    readonly responses: {
      /** @description The modes after it */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["Mode"];
        };
      };
    };
  };
  readonly listSuspensions: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The suspensions */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["Suspensions"];
        };
      };
    };
  };
  readonly suspendClient: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description It is in force everywhere */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly resumeClient: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description It is in force everywhere */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly suspendAll: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description It is in force everywhere */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly resumeAll: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description It is in force everywhere */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly getBudget: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The client's own, then those of its rules */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["BudgetUses"];
        };
      };
    };
  };
  readonly setBudget: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["BudgetRequest"];
      };
    };
    readonly responses: {
      /** @description It is in force everywhere */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly listRequests: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The requests. What clients have chosen is as they sent it */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["WaitingRequests"];
        };
      };
    };
  };
  readonly approveRequest: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly id: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["Approval"];
      };
    };
    readonly responses: {
      /** @description It goes on */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["Approved"];
        };
      };
    };
  };
  readonly denyRequest: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly id: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description It is refused */
      readonly 204: {
        headers: {
          readonly [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  readonly explainRequest: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["ExplainRequest"];
      };
    };
    readonly responses: {
      /** @description The verdict */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["Verdict"];
        };
      };
    };
  };
  readonly readAudit: {
    readonly parameters: {
      readonly query?: {
        /** @description Go on with records as they come; without `since` and `limit` only with those */
        readonly follow?: "0" | "1" | "true" | "false";
        /** @description The records of all hosts of the fleet in the order of their times, each with its host as `fleet_host`; never as events */
        readonly fleet?: "0" | "1" | "true" | "false";
        /** @description With `follow`: a line `{"live":true}` where what was stored ends and what comes begins */
        readonly mark?: "0" | "1" | "true" | "false";
        /** @description Only this client; `-` is nobody */
        readonly client?: string;
        /** @description Only denials */
        readonly denied?: "0" | "1" | "true" | "false";
        /** @description Only this host: a name, an IP literal, `*.suffix` */
        readonly host?: string;
        /** @description A time of RFC 3339, inclusive, or how long ago: 90s, 15m, 1h, 7d */
        readonly since?: string;
        /** @description Only this source: an address, a network, or IP:PORT of one connection */
        readonly src?: string;
        /** @description Only what came to this port of the proxy */
        readonly proxy_port?: number;
        /** @description Only what came in this version of TLS, or in clear */
        readonly tls?: "1.2" | "1.3" | "none";
        /** @description Only the newest so many of the stored records */
        readonly limit?: number;
      };
      readonly header?: {
        readonly accept?: string;
        readonly "last-event-id"?: string;
      };
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The records */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/x-ndjson":
            | components["schemas"]["AuditRecord"]
            | components["schemas"]["MissedRecords"]
            | components["schemas"]["LiveRecords"]
            | components["schemas"]["AuditHostNote"];
          readonly "text/event-stream": string;
        };
      };
    };
  };
  readonly suggestRules: {
    readonly parameters: {
      readonly query?: {
        /** @description A time of RFC 3339, inclusive, or how long ago: 90s, 15m, 1h, 7d */
        readonly since?: string;
        /** @description Only the paths that were asked for: no prefixes, and nothing that programs ask for next */
        readonly exact?: "0" | "1" | "true" | "false";
      };
      readonly header?: never;
      readonly path: {
        readonly name: string;
      };
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The rules, and why */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["Suggestion"];
        };
      };
    };
  };
  readonly testPolicy: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody: {
      readonly content: {
        readonly "application/json": components["schemas"]["PolicyTestRequest"];
      };
    };
    readonly responses: {
      /** @description What would change */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["PolicyTest"];
        };
      };
    };
  };
  readonly getStatus: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The status */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["Status"];
        };
      };
    };
  };
  readonly getHealth: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description It is */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "text/plain": "ok";
        };
      };
    };
  };
  readonly getMetrics: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description Text format 0.0.4 */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "text/plain": string;
        };
      };
    };
  };
  readonly getOpenApi: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: {
        readonly "if-none-match"?: string;
      };
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description An OpenAPI 3.1 document */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": {
            readonly [key: string]: unknown;
          };
        };
      };
    };
  };
  readonly getFleet: {
    readonly parameters: {
      readonly query?: never;
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The hosts, by name */
      readonly 200: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["Fleet"];
        };
      };
    };
  };
  readonly createUiLink: {
    readonly parameters: {
      readonly query?: {
        /** @description The page may also revoke rules, suspend clients and decide about what waits */
        readonly manage?: "0" | "1" | "true" | "false";
      };
      readonly header?: never;
      readonly path?: never;
      readonly cookie?: never;
    };
    readonly requestBody?: never;
    readonly responses: {
      /** @description The link, which is as good as the token until it is used or has expired */
      readonly 201: {
        headers: {
          readonly [name: string]: unknown;
        };
        content: {
          readonly "application/json": components["schemas"]["UiLink"];
        };
      };
    };
  };
}
