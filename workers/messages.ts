/**
 * What the main thread and its workers say to each other: plain data that is copied, and memory that they share.
 *
 * Not here: who sends what when (`pool.ts`, `data_plane.ts`).
 *
 * @module
 */
import type { Cidr } from "../core/cidr.ts";
import { type ErrorCode, isProxyError, ProxyError } from "../core/errors.ts";
import type { Limits } from "../core/limits.ts";
import type { AuditRecord } from "../policy/audit_record.ts";
import type { Ask, AskDecision } from "../proxy/decide/asks.ts";
import type { CleartextSecrets, Explain } from "../proxy/context.ts";
import type { OnEcho } from "../proxy/echo/echo_guard.ts";
import type { Mode } from "../policy/mode.ts";
import type { ServerCertificate } from "../proxy/tls/loopback.ts";
import type { CredentialRequest, UpstreamAnswer } from "../proxy/policy_source.ts";
import type { Listen } from "../proxy/server.ts";
import type { ServersOf } from "../proxy/egress/names/name_server.ts";
import type { DialFrom } from "../proxy/egress/connect/connector.ts";
import type { ParentProxies } from "../proxy/egress/parents/parents.ts";
import type { DeadChoice } from "../proxy/egress/connect/race.ts";
import type { TrustedFor } from "../proxy/egress/tls/trust.ts";
import type { Credential } from "../secrets/credential.ts";
import type { ClosedEndpoints } from "../secrets/endpoints.ts";
import type { ViewChange } from "../store/view.ts";

/** How a worker serves; the same for all of them. */
export interface WorkerConfig {
  readonly listen: readonly Listen[];
  readonly mode: Mode;
  readonly socksAuth: "optional" | "required";
  readonly cleartextSecrets: CleartextSecrets;
  readonly explain: Explain;
  readonly onEcho: OnEcho;
  readonly limits: Limits;
  readonly denyCidrs: readonly Cidr[];
  readonly allowCidrs: readonly Cidr[];
  /** Of `--dns`. */
  readonly dns: readonly ServersOf[];
  readonly parents: ParentProxies;
  readonly dialFrom: DialFrom;
  readonly logQuery: boolean;
  readonly http2: boolean;
}

/** A part of the policy. What is absent is as it was. */
export interface PolicyUpdate {
  readonly changes: readonly ViewChange[];
  /** Where logins are renewed, all of them. */
  readonly closed?: readonly ClosedEndpoints[];
  /** Whom to trust upstream. */
  readonly trusted?: readonly TrustedFor[];
  /** Another CA signs, be it that the store has had it for a while. */
  readonly isOtherCa?: boolean;
}

/** Memory of all threads; see `shared_counts.ts`, `shared_ports.ts`, `signals.ts` and `shared_exchanges.ts`. */
export interface SharedMemory {
  /** The worker's own plane, from 1. The main thread's is 0. */
  readonly plane: number;
  readonly counts: SharedArrayBuffer;
  readonly seeds: readonly number[];
  readonly ports: SharedArrayBuffer;
  readonly signals: SharedArrayBuffer;
  readonly exchanges: SharedArrayBuffer;
  /** Of `proxy/records/meters.ts`. */
  readonly meters: SharedArrayBuffer;
}

/** What a worker asks the main thread for. */
export type Question =
  | { readonly kind: "certificate"; readonly host: string }
  /** Whether that certificate is there already. */
  | { readonly kind: "is-warm"; readonly host: string }
  | { readonly kind: "own-certificate" }
  | { readonly kind: "trust" }
  | { readonly kind: "credential"; readonly secret: string; readonly request: CredentialRequest }
  | { readonly kind: "ask"; readonly ask: Ask }
  /** Whoever waited for that has gone, or has its answer. */
  | { readonly kind: "ask-end"; readonly id: string }
  | { readonly kind: "rejected"; readonly ref: number; readonly answer: UpstreamAnswer };

/** A credential, and how the main thread knows it again when an upstream has refused it. */
export interface LentCredential {
  readonly credential: Credential;
  readonly ref: number;
}

/** The answer to each kind of question. */
export interface Answers {
  readonly "certificate": ServerCertificate;
  readonly "is-warm": boolean;
  readonly "own-certificate": ServerCertificate;
  /** PEM. */
  readonly "trust": string;
  readonly "credential": LentCredential | undefined;
  readonly "rejected": LentCredential | undefined;
  readonly "ask": AskDecision;
  readonly "ask-end": undefined;
}

/** To a worker. */
export type ToWorker =
  | {
    readonly type: "start";
    readonly config: WorkerConfig;
    readonly policy: PolicyUpdate;
    /** See `State.tokenKey`. */
    readonly tokenKey: Uint8Array;
    readonly memory: SharedMemory;
  }
  | { readonly type: "policy"; readonly id: number; readonly update: PolicyUpdate }
  | { readonly type: "answer"; readonly id: number; readonly value?: unknown; readonly error?: SentError }
  | { readonly type: "listen-anew"; readonly id: number }
  /** Sends the audit records that it has gathered. */
  | { readonly type: "flush"; readonly id: number }
  | { readonly type: "stop" };

/** From a worker. */
export type FromWorker =
  | { readonly type: "hello" }
  | { readonly type: "listening" }
  | { readonly type: "failed"; readonly error: SentError }
  /** It has done what it was told in `policy` or `listen-anew`. */
  | { readonly type: "done"; readonly id: number }
  | { readonly type: "question"; readonly id: number; readonly question: Question }
  | { readonly type: "audit"; readonly records: readonly AuditRecord[] }
  | { readonly type: "dead-choice"; readonly dead: DeadChoice }
  | { readonly type: "note"; readonly line: string }
  | { readonly type: "bug"; readonly text: string }
  | { readonly type: "stopped" };

/** A `ProxyError` on its way to another thread. */
export interface SentError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | undefined;
  readonly reason: string | undefined;
}

/** An error as data. Only the words of expected ones are for others to read. */
export function sendableError(error: unknown): SentError {
  if (!isProxyError(error)) {
    return {
      code: "internal",
      message: "Cannot go on: the proxy failed",
      hint: undefined,
      reason: undefined,
    };
  }
  const { code, message, hint, reason } = error;
  return { code, message, hint, reason };
}

/** The inverse of {@linkcode sendableError}. */
export function receivedError({ code, message, hint, reason }: SentError): ProxyError {
  return new ProxyError(code, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(reason === undefined ? {} : { reason }),
  });
}
