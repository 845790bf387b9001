/**
 * What the data plane needs to know about clients, rules and secrets, as the proxy declares it. `store/` provides it;
 * only `cli/up/cmd_up.ts` knows that. What decides answers from memory, synchronously: the request path
 * never waits for a disk. Only a credential may have to be fetched.
 *
 * @module
 */
import type { Mode } from "../policy/mode.ts";
import type { Rule } from "../policy/rule.ts";
import type { Credential, SecretInfo } from "../secrets/credential.ts";

/** A client that proved who it is. */
export interface Client {
  readonly name: string;
  /** Changes when the client is made anew or its token is rotated. */
  readonly version: string;
}

/** What a stream was admitted under. All of it must stay true for the stream to go on. */
export interface Grant {
  readonly client: Client;
  readonly rule?: Rule;
  /** See `Allowance.others`. */
  readonly others?: readonly Rule[];
  readonly credential?: Pick<Credential, "secret" | "version">;
}

/** What a credential is for: some types need another token for each repository. */
export interface CredentialRequest {
  /** The name of the client that asks: what costs the provider something is counted for each. */
  readonly client: string;
  readonly host: string;
  readonly method: string;
  readonly path: string;
}

/** An upstream's answer that may mean a refused credential. */
export interface UpstreamAnswer {
  readonly status: number;
  /** The beginning of the body as text, where it is at hand. */
  readonly bodyStart?: string;
}

/** The live policy. */
export interface PolicySource {
  /** The client whose token this is. Takes the same time for any wrong token. */
  clientByToken(token: string): Client | undefined;
  /** The mode that a client has been given for a while, or somebody unknown; undefined for what `up` was started with. */
  modeOf(client: string | undefined): Mode | undefined;
  /** Every client, in a fixed order. */
  clients(): readonly Client[];
  /** Every client, by name, of which a passthrough rule names exactly this (canonical) host and port, live or not. */
  clientsPassing(host: string, port: number): readonly Client[];
  /** The client's live rules whose host pattern matches `host` (canonical), in declaration order. */
  rulesFor(client: Client, host: string): readonly Rule[];
  /** The client's live rules, in declaration order: for explaining a denial. */
  rulesOf(client: Client): readonly Rule[];
  /** What decisions need to know of a secret, or undefined when there is none of that name. */
  secretInfo(secret: string): SecretInfo | undefined;
  /**
   * The credential of a secret: at once when it is at hand, else when it has been fetched; policy must be checked again
   * then. Throws or rejects with ProxyError `credential.unavailable`, in words that the client may read.
   */
  credential(secret: string, request: CredentialRequest): Credential | Promise<Credential> | undefined;
  /** The credential to send a refused request again with, once; undefined when the upstream's answer is the client's. */
  rejected(credential: Credential, answer: UpstreamAnswer): Promise<Credential | undefined>;
  /** True for a place where the proxy itself renews credentials. Without a path only whole hosts count. */
  isTokenEndpoint(place: { readonly host: string; readonly path?: string }): boolean;
  /** Whole hosts that are such a place. */
  closedHosts(): readonly string[];
  /** True while everything that this client asks for is refused. */
  isSuspended(client: string): boolean;
  /** True while nothing at all is in force, because this host of a fleet cannot know the policy. */
  isLost(): boolean;
  /** What a client has for an hour or a day, as `policy/budget.ts` writes it; undefined for no bound. */
  budgetOf(client: string): readonly string[] | undefined;
  /** True while the client, the rules and the secret of a grant are all still in force. */
  isLive(grant: Grant): boolean;
  /** Calls `listener` after every change that may have ended a grant. Returns a function that stops it. */
  onChange(listener: () => void): () => void;
}
