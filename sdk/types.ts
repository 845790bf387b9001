/**
 * The names of what calls take and give. All of it is the OpenAPI document's, in the form that it has on the wire.
 *
 * @module
 */
import type { components } from "./openapi.ts";

type Schemas = components["schemas"];

/** A client: a name, and a token that is shown only when it is made. */
export type Client = Schemas["Client"];
/** A client together with its token, which no later call shows again. */
export type ClientWithToken = Schemas["ClientWithToken"];
/** A secret, without its value. */
export type Secret = Schemas["Secret"];
/** A secret with who uses it. */
export type SecretDetails = Schemas["SecretDetails"];
/** What a test of a secret asks for. */
export type SecretTestRequest = Schemas["SecretTestRequest"];
/** How a test of a secret went. */
export type SecretTest = Schemas["SecretTest"];
/** A secret to be made. */
export type NewSecret = Schemas["NewSecretRequest"];
/** A rule of a client. Absent fields mean any; `expires` is there when the rule has an end. */
export type AllowRule = Schemas["AllowRule"];
/** A rule to be added. */
export type NewAllowRule = Schemas["NewAllowRuleRequest"];
/** The fields that say which rule is meant. */
export type RevokedRule = Schemas["RevokeRequest"];
/** A named set of rules in one of its versions. */
export type Profile = Schemas["Profile"];
/** A profile whose rules are to be added, or with `dry_run` shown. */
export type NewProfile = Schemas["AddProfileRequest"];
/** The rules that a profile became. */
export type AddedProfile = Schemas["AddedProfile"];
/** The mode that the proxy was started with, and the switches in force. */
export type Mode = Schemas["Mode"];
/** A switch of the mode to be made. */
export type ModeSwitch = Schemas["ModeSwitchRequest"];
/** Who is suspended; all clients where none is named. */
export type Suspensions = Schemas["Suspensions"];
/** How the budgets of a client and of its rules stand. */
export type BudgetUses = Schemas["BudgetUses"];
/** What would be decided about a request. */
export type Verdict = Schemas["Verdict"];
/** What the running proxy says of itself. */
export type Status = Schemas["Status"];
/** The hosts that share a policy. */
export type Fleet = Schemas["Fleet"];

/** One request or tunnel, as the audit log has it. It holds no header, body, token or credential. */
export type AuditRecord = Schemas["AuditRecord"] & {
  /** With `fleet`: whose record it is. */
  readonly fleet_host?: string;
};

/** A rule of a stage: one to be added, to the stage's client. */
export type StageRule = Omit<NewAllowRule, "client">;

/** What every call takes at the end. */
export interface CallOptions {
  /** Ends the call, which then rejects with the signal's reason. What it was to change may have been changed. */
  readonly signal?: AbortSignal | undefined;
  /** In the place of the client's own limit, in milliseconds. */
  readonly timeoutMs?: number | undefined;
}

/** Which records of the audit log are asked for, and for how long. */
export interface AuditOptions extends CallOptions {
  /** Goes on with records as they come, until the caller stops or the proxy does. Without `since` it begins now. */
  readonly follow?: boolean | undefined;
  /** The records of all hosts of the fleet, by time. Whoever asks has to hear of hosts whose records are missing. */
  readonly fleet?: FleetAuditOptions | undefined;
  /** Only this client; `-` is who showed no token that is known. */
  readonly client?: string | undefined;
  /** Only denials. */
  readonly denied?: boolean | undefined;
  /** Only this host, or pattern such as `*.example.com`. */
  readonly host?: string | undefined;
  /** Only from there: an address, a network, or `IP:PORT` of one connection. */
  readonly src?: string | undefined;
  /** Only what came to this port of the proxy. */
  readonly proxyPort?: number | undefined;
  /** Only clients with this version of TLS, or in clear. */
  readonly tls?: "1.2" | "1.3" | "none" | undefined;
  /** Only from this time on: a time, or how long ago (`15m`). */
  readonly since?: Date | string | undefined;
  /** Only the newest so many of those that are stored. */
  readonly limit?: number | undefined;
  /** Called in the place of records that a follower was too slow for, with their number. */
  readonly onMissed?: ((count: number) => void) | undefined;
}

/** What is said of hosts, by name; `*` is all that are not named. Names and reasons are to be escaped where they are shown. */
export interface FleetAuditOptions {
  /** The records of a host are missing from here on, and why. */
  readonly onUnanswered: (host: string, why: string) => void;
  /** They are missing no longer. */
  readonly onAnswer?: ((host: string) => void) | undefined;
}

/** The policy as a whole: clients with their rules, and the secrets that rules may name. */
export type Policy = Schemas["Policy"];
/** What applying a policy changed, or for a dry run would change; and the tokens of clients that were created. */
export type AppliedPolicy = Schemas["ApplyPolicyResult"];

/** How a policy is applied. */
export interface ApplyOptions extends CallOptions {
  /** Removes rules and clients that the policy does not have. */
  readonly prune?: boolean | undefined;
  /** Only says what would change. */
  readonly dryRun?: boolean | undefined;
  /** What errors call the policy, such as the name of its file. */
  readonly name?: string | undefined;
}

/** Rules that would have let denied requests through, and why. */
export type Suggestion = Schemas["Suggestion"];
/** What would have been decided otherwise under another policy. */
export type PolicyTest = Schemas["PolicyTest"];

/** Which part of the audit log is looked at. */
export interface ReplayOptions extends CallOptions {
  /** Leaves out what is older: a time, or how long ago (`15m`). */
  readonly since?: Date | string | undefined;
}

/** How rules are suggested. */
export interface SuggestOptions extends ReplayOptions {
  /** Only the paths that were asked for, without prefixes and what well-known programs ask for next. */
  readonly exact?: boolean | undefined;
}

/** The requests that wait for a person. */
export type WaitingRequests = Schemas["WaitingRequests"];
/** How far an approval goes. */
export type Approval = Schemas["Approval"];
/** What an approval did. */
export type Approved = Schemas["Approved"];
