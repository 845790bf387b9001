/**
 * What the data plane needs to know about clients, rules and secrets, as the proxy declares it. `store/` provides it;
 * only `cli/cmd_up.ts` knows that. Every call answers from memory, synchronously: the request path never waits for a disk.
 *
 * @module
 */
import type { Rule } from "../policy/rule.ts";
import type { Credential } from "../secrets/credential.ts";

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
  readonly credential?: Pick<Credential, "secret" | "version">;
}

/** The live policy. */
export interface PolicySource {
  /** The client whose token this is. Takes the same time for any wrong token. */
  clientByToken(token: string): Client | undefined;
  /** Every client, in a fixed order. */
  clients(): readonly Client[];
  /** The client's live rules whose host pattern matches `host` (canonical), in declaration order. */
  rulesFor(client: Client, host: string): readonly Rule[];
  /** The client's live rules, in declaration order: for explaining a denial. */
  rulesOf(client: Client): readonly Rule[];
  /** The credential of a secret, or undefined when there is no such secret. */
  credential(secret: string): Credential | undefined;
  /** True while the client, the rule and the secret of a grant are all still in force. */
  isLive(grant: Grant): boolean;
  /** Calls `listener` after every change that may have ended a grant. Returns a function that stops it. */
  onChange(listener: () => void): () => void;
}
