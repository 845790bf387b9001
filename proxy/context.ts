/**
 * What every part of the data plane is given: made once by `server.ts`, never changed.
 *
 * @module
 */
import type { Mode } from "../policy/mode.ts";
import type { Clock } from "../core/clock.ts";
import type { Deadlines } from "../core/deadlines.ts";
import type { Limits } from "../core/limits.ts";
import type { Origin } from "../policy/audit_record.ts";
import type { UpstreamClocks } from "../secrets/aws/clocks.ts";
import type { OnEcho } from "./echo/echo_guard.ts";
import type { Admission } from "./accept/admission.ts";
import type { Asks } from "./decide/asks.ts";
import type { AuditTrail } from "./records/audit_log.ts";
import type { Meters } from "./records/meters.ts";
import type { ByteStream } from "./streams/byte_reader.ts";
import type { Grants } from "./grants.ts";
import type { Interceptor, ServerCertificate } from "./tls/loopback.ts";
import type { PolicySource } from "./policy_source.ts";
import type { Dialler } from "./egress/dialler.ts";
import type { Http2Pool } from "./egress/pools/http2_pool.ts";
import type { ResolveRecords } from "./egress/names/record_lookup.ts";
import type { UpstreamPool } from "./egress/pools/pool.ts";
import type { ProtocolMemory } from "./egress/pools/protocol_memory.ts";

/**
 * When a credential may leave without TLS: `private` when the address that is dialled is in a private, CGNAT or loopback
 * network, `never` by no address. A secret's own `cleartext` allows it anywhere.
 */
export const CLEARTEXT_SECRETS = ["private", "always", "never"] as const;
export type CleartextSecrets = typeof CLEARTEXT_SECRETS[number];

/**
 * Where strict mode refuses a tunnel: at once in answer to `connect`, whose words most programs hide, or `inside` it, in
 * answer to its requests. Neither dials.
 */
export const EXPLAIN = ["connect", "inside"] as const;
export type Explain = typeof EXPLAIN[number];

/** Certificates to show to clients. */
export interface Certificates {
  /** For an intercepted host (canonical). */
  forHost(host: string): Promise<ServerCertificate>;
  /** True when {@linkcode forHost} has one at hand. */
  isWarm(host: string): boolean | Promise<boolean>;
  /** For the proxy's own TLS port. */
  forProxy(): Promise<ServerCertificate>;
  /** What clients have to trust, PEM. From memory: anybody may ask, any number of times. */
  forTrust(): Promise<string>;
}

export interface ProxyContext {
  readonly policy: PolicySource;
  readonly certificates: Certificates;
  readonly mode: Mode;
  /** `required` refuses SOCKS without credentials altogether. */
  readonly socksAuth: "optional" | "required";
  readonly cleartextSecrets: CleartextSecrets;
  readonly explain: Explain;
  readonly logQuery: boolean;
  /** What becomes of an answer that holds the credential of its request. */
  readonly onEcho: OnEcho;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly admission: Admission;
  readonly grants: Grants;
  readonly interceptor: Interceptor;
  readonly dialler: Dialler;
  readonly resolveRecords: ResolveRecords;
  readonly pool: UpstreamPool;
  readonly http2Pool: Http2Pool;
  /** What upstreams have picked. Undefined: HTTP/1.1 is all that is spoken. */
  readonly protocols: ProtocolMemory | undefined;
  readonly awsClocks: UpstreamClocks;
  /** What is used of budgets, in all threads. */
  readonly meters: Meters;
  /** Where requests wait for a person. */
  readonly asks: Asks;
  readonly audit: AuditTrail;
  /** Takes what must not happen. Never given anything that a client or upstream sent. */
  readonly reportBug: (error: unknown) => void;
}

/** A client's side of a connection: bytes in clear. */
export interface ClientStream extends ByteStream {
  /** Ends it so that the peer can tell a truncation, where the transport can say so. */
  abort(): void;
}

/** What one accepted connection means to the server: how to end it, and whether it may be ended without harm. */
export interface ConnectionState {
  /** The client address, for quotas. */
  readonly source: string;
  /** The same for the audit log. */
  readonly origin: Origin;
  /** True while it waits for a request: a drain closes it then. */
  isIdle: boolean;
  /** True once no further request is taken: the server is stopping, or what is spoken in a tunnel was a wrong choice. */
  isStopping: boolean;
  /** The client has said who it is: its own quota counts now. Returns false when that is used up. */
  identify(client: string): boolean;
}

/** How what no rule allows is treated for a client, or for somebody unknown. */
export function modeOf({ policy, mode }: Pick<ProxyContext, "policy" | "mode">, client?: string): Mode {
  return policy.modeOf(client) ?? mode;
}
