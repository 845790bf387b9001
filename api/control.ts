/**
 * What the REST API serves, as it sees it: the control plane and the figures of the running proxy. Only `cli/cmd_up.ts`
 * knows who provides them.
 *
 * Not here: the bodies of calls (`schemas.ts`).
 *
 * @module
 */
import type { RecordFilter, StoredRecord } from "../policy/audit_record.ts";
import type { State } from "../store/state.ts";

/** The part of the state that the API reads and changes. */
export type ControlPlane = Pick<
  State,
  | "listClients"
  | "createClient"
  | "rotateClient"
  | "deleteClient"
  | "listSecrets"
  | "putSecret"
  | "deleteSecret"
  | "listRules"
  | "addRule"
  | "revokeHost"
  | "revokeRule"
  | "presentPolicy"
  | "applyPolicy"
>;

/** The audit records that are kept, and those to come. */
export interface AuditSource {
  /** Stored records, oldest first. */
  records(filter: RecordFilter): AsyncIterable<StoredRecord>;
  /**
   * Records from now on, until `signal` aborts. Never slows whoever writes: a reader that falls behind gets, in the place
   * of what it missed, the number of records missed.
   */
  follow(
    filter: RecordFilter,
    signal: AbortSignal,
  ): AsyncIterable<StoredRecord | { readonly missed: number }>;
}

/** What the running proxy says of itself. Counters start at 0 with the process and never fall. */
export interface StatusReport {
  readonly version: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  /** Milliseconds since then by a clock that nobody sets. */
  readonly uptimeMs: number;
  readonly mode: "strict" | "audit";
  readonly hostgroup: string;
  /** The address that the two proxy ports listen on. */
  readonly bind: string;
  readonly httpPort: number;
  readonly httpsPort: number;
  /** Client connections that are open now. */
  readonly openConnections: number;
  /** CONNECT and SOCKS tunnels that are open now, inspected and passed through. */
  readonly openTunnels: number;
  /** Audit records so far, by verdict. */
  readonly requests: Readonly<Record<"allow" | "deny" | "passthrough", number>>;
  /** Renewals of credentials so far, by how they ended: `renewed`, `adopted` from a source file, `failed`, `refused`. */
  readonly renewals: Readonly<Record<"renewed" | "adopted" | "failed" | "refused", number>>;
  /** Body and tunnel bytes from clients so far. */
  readonly sentBytes: number;
  /** Body and tunnel bytes to clients so far. */
  readonly receivedBytes: number;
}

/** Where the API reports what its callers must not see. Lines hold no credential. */
export interface ApiLog {
  error(line: string): void;
}
