/**
 * What the REST API serves, as it sees it: the control plane and the figures of the running proxy. Only `cli/up/cmd_up.ts`
 * knows who provides them.
 *
 * Not here: the bodies of calls (`schemas.ts`).
 *
 * @module
 */
import type { HistogramData } from "../core/histogram.ts";
import type { RecordFilter, StoredRecord } from "../policy/audit_record.ts";
import type { Rule } from "../policy/rule.ts";
import type { Reason } from "../policy/reason.ts";
import type { SecretTest } from "../secrets/probe.ts";
import type { LogWay } from "../store/fleet/log_proof.ts";
import type { LogHosts } from "../store/fleet/log_ways.ts";
import type { FleetReport } from "../store/fleet/roster.ts";
import type { SecretRecord } from "../store/records.ts";
import type { State, StoreFigures } from "../store/state.ts";

/** The part of the state that the API reads and changes. */
export type ControlPlane = Pick<
  State,
  | "listClients"
  | "createClient"
  | "rotateClient"
  | "deleteClient"
  | "listSecrets"
  | "getSecret"
  | "putSecret"
  | "deleteSecret"
  | "rotateSealKey"
  | "sealKey"
  | "cancelSealKey"
  | "listRules"
  | "judgeRules"
  | "switchMode"
  | "modeSwitches"
  | "suspend"
  | "resume"
  | "suspensions"
  | "isSuspended"
  | "isLost"
  | "fleet"
  | "getClient"
  | "setBudget"
  | "addRule"
  | "addRules"
  | "moveRule"
  | "revokeHost"
  | "revokeRule"
  | "presentPolicy"
  | "applyPolicy"
>;

/**
 * The audit records that are kept, and those to come. Both calls take effect when they are made, not when the first
 * record is read: made in one turn, they give every record once.
 */
export interface AuditSource {
  /** Stored records, oldest first; with a `limit` the newest so many. */
  records(
    filter: RecordFilter,
    options?: { readonly limit?: number | undefined },
  ): AsyncIterable<StoredRecord>;
  /**
   * Records from now on, until `signal` aborts. Never slows whoever writes: a reader that falls behind gets, in the place
   * of what it missed, the number of records missed.
   */
  follow(
    filter: RecordFilter,
    signal: AbortSignal,
  ): AsyncIterable<StoredRecord | { readonly missed: number }>;
}

/** The audit logs of the other hosts of the fleet. */
export interface FleetLogs {
  /** What this host is called, should the store not say so. */
  readonly ownLabel: string;
  /** @throws ProxyError `store.away` */
  hosts(): Promise<LogHosts>;
  /**
   * The bytes of a host's answer to `GET /proxy/v1/audit` with a query, as they come. It is dialled at the first read. Its
   * own words are in no error.
   *
   * @throws ProxyError, or what `signal` aborts with
   */
  ask(
    way: LogWay & { readonly token: string },
    query: URLSearchParams,
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array>;
}

/** What the running proxy knows of secrets beside the state. */
export interface SecretDesk {
  /** The last use since the start: by which client, and when, epoch milliseconds. */
  lastUse(name: string): { readonly atMs: number; readonly client: string | undefined } | undefined;
  /**
   * Tests a secret with one harmless call.
   *
   * @param url what to ask for, where the operator says it
   * @throws ProxyError `input.invalid`, `input.not-found`
   */
  test(secret: SecretRecord, url: string | undefined): Promise<SecretTest>;
}

/** How one budget stands. */
export interface BudgetUse {
  /** As `policy/budget.ts` writes it. */
  readonly budget: string;
  /** Of the rule whose budget it is; the client's own without. */
  readonly ruleHost?: string;
  readonly used: number;
  /** When its hour or day is over, epoch milliseconds. */
  readonly freeAtMs: number;
}

/** What the running proxy knows of budgets beside the state. */
export interface BudgetDesk {
  /** Of a client that there is: its own, then those of its rules. */
  usesOf(client: string): readonly BudgetUse[];
}

/** A request that waits for a person. What its client has chosen is to be escaped where it is shown. */
export interface WaitingRequest {
  readonly id: string;
  readonly client: string;
  readonly method: string;
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly query?: string | undefined;
  /** Why the client asks for a rule; of a request that waits under a rule there is none. */
  readonly reason?: string;
  /** Epoch milliseconds: since when it waits, and when it is refused by itself. */
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** How far an approval goes: this request, or a rule for exactly what it asks for. */
export type Approval = "once" | "always" | { readonly forMs: number };

/** Where people decide about requests that wait. */
export interface RequestDesk {
  list(): readonly WaitingRequest[];
  /**
   * Lets one go on.
   *
   * @returns the rule that was added
   * @throws ProxyError `input.not-found`, `input.invalid`, `input.conflict`, `limit.reached`
   */
  approve(id: string, approval: Approval): Promise<Rule | undefined>;
  /** @throws ProxyError `input.not-found` */
  deny(id: string): void;
}

/** A CA and where it is kept. Nothing of it is secret. */
export interface CaReport {
  readonly hostgroup: string;
  readonly from: "file" | "store";
  /** Where its certificate is, when it is in a file of this host. */
  readonly path?: string;
  /** PEM; the CA's own certificate first. */
  readonly certPem: string;
  readonly subject: string;
  /** SHA-256 of the certificate, upper-case hex pairs with colons. */
  readonly fingerprint: string;
  readonly serial: string;
  /** RFC 3339. */
  readonly notBefore: string;
  readonly notAfter: string;
  readonly keyType: string;
  /** Epoch milliseconds, of one that is in the store. */
  readonly importedAt?: number;
  readonly renewedAt?: number;
}

/** A CA that is brought. */
export interface CaImport {
  /** This proxy's own when undefined. */
  readonly hostgroup: string | undefined;
  /** PEM, both. */
  readonly certPem: string;
  readonly keyPem: string;
  /** It may take the place of a CA that has another key. */
  readonly replace: boolean;
}

/** The CAs of host groups. */
export interface CaDesk {
  /**
   * The CA of a host group: that of this proxy's own is the one in use.
   *
   * @throws ProxyError `input.not-found` for a group of which there is none
   */
  show(hostgroup: string | undefined): Promise<CaReport>;
  /**
   * Takes a CA into the store; every proxy of its host group signs by it when this resolves, as far as it can be reached.
   *
   * @returns the CA, and the SHA-256 of the one whose place it took, if that has another key
   * @throws ProxyError `input.invalid`, `input.conflict`, `limit.reached`, `state.write-failed`, `store.away`
   */
  import(input: CaImport): Promise<{ readonly ca: CaReport; readonly replaced: string | undefined }>;
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
  /** The addresses that the two proxy ports listen on, one at least. */
  readonly binds: readonly string[];
  readonly httpPort: number;
  readonly httpsPort: number;
  /** Client connections that are open now. */
  readonly openConnections: number;
  /** How many there may be. */
  readonly maxConnections: number;
  /** CONNECT and SOCKS tunnels that are open now, inspected and passed through. */
  readonly openTunnels: number;
  /** Upstream connections that are kept for another request. */
  readonly idleUpstreams: number;
  /** Loopback listeners that end TLS for inspected hosts. */
  readonly tlsListeners: number;
  /** Threads of the data plane, and how many of them had to be replaced so far. */
  readonly workers: number;
  readonly replacedWorkers: number;
  /** Audit records so far, by verdict. */
  readonly requests: Readonly<Record<"allow" | "deny" | "passthrough", number>>;
  /** Denials so far, by every reason there is; together `requests.deny`. */
  readonly denials: Readonly<Record<Reason, number>>;
  /** What was allowed or passed through and ended badly, so far, by every reason there is. */
  readonly failures: Readonly<Record<Reason, number>>;
  /** Allowed requests so far, by the class of the status that the client was answered. */
  readonly responses: Readonly<Record<"1xx" | "2xx" | "3xx" | "4xx" | "5xx", number>>;
  /** Allowed requests, from their head to the end of the answer. */
  readonly requestDuration: HistogramData;
  /** From a request's head until the upstream was asked. */
  readonly setupDuration: HistogramData;
  /** Renewals of credentials so far, by how they ended: `renewed`, `adopted` from a source file, `failed`, `refused`. */
  readonly renewals: Readonly<Record<"renewed" | "adopted" | "failed" | "refused", number>>;
  /** Questions to name servers so far, those without an answer, and answers from memory, some of them beyond their time. */
  readonly names: {
    readonly questions: number;
    readonly failures: number;
    readonly cacheHits: number;
    readonly stale: number;
  };
  /** Parent proxies in use: for which hosts, and their URLs without a user. */
  readonly parents: readonly { readonly hosts: string; readonly url: string }[];
  /** Upstreams whose preferred address did not answer lately, the latest first; bounded. */
  readonly deadAddresses: readonly {
    /** `host:port`. */
    readonly place: string;
    readonly address: string;
    /** Which one answered. */
    readonly instead: string;
  }[];
  /** Budgets that were used up to 80 % so far, each counted once an hour or day. */
  readonly budgetWarnings: number;
  /** Body and tunnel bytes from clients so far. */
  readonly sentBytes: number;
  /** Body and tunnel bytes to clients so far. */
  readonly receivedBytes: number;
  /** Credentials that were found in answers so far. */
  readonly echoes: number;
  /** Tokens of models, under budgets of tokens. */
  readonly tokens: Readonly<Record<"input" | "output", number>>;
  /** Certificates of inspected hosts: kept now, and so far found, not found, made and not made. */
  readonly certificates: {
    readonly entries: number;
    readonly hits: number;
    readonly misses: number;
    readonly mintFailures: number;
    readonly mintDuration: HistogramData;
  };
  /** `queued` records wait to be written; the other counts are so far. */
  readonly auditLog: {
    readonly isWritable: boolean;
    readonly queued: number;
    readonly writeFailures: number;
    readonly coalesced: number;
    /** With `--audit-otlp`. `queued` is now, `failing` why the collector takes none now; the other counts are so far. */
    readonly exported?: {
      readonly queued: number;
      readonly sent: number;
      readonly dropped: number;
      readonly failures: number;
      readonly failing?: string;
    };
  };
  readonly store: StoreFigures;
  readonly process: ProcessFigures;
  /** Files of `--upstream-ca`, for which hosts, and how many of their certificates are in force. */
  readonly upstreamCas: readonly UpstreamCaFigures[];
  /** With a store that hosts share. */
  readonly fleet?: FleetReport;
}

/** `error` says why the file as it is now is not in force. */
export interface UpstreamCaFigures {
  readonly host: string;
  readonly file: string;
  readonly certificates: number;
  readonly error?: string | undefined;
}

/** The process as the system sees it. What cannot be known here is undefined. */
export interface ProcessFigures {
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly openDescriptors: number | undefined;
  readonly maxDescriptors: number | undefined;
}

/** Where the API reports what its callers must not see. Lines hold no credential. */
export interface ApiLog {
  error(line: string): void;
}
