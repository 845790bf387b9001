/**
 * What the audit records add up to since the start: the figures behind `status` and the metrics. None of them is by client
 * or host: a VM chooses the hosts it asks for, so their number has no bound.
 *
 * Not here: the records themselves (`policy/audit_record.ts`), what is open right now (`accept/admission.ts`).
 *
 * @module
 */
import { Histogram, type HistogramData } from "../../core/histogram.ts";
import type { AuditRecord } from "../../policy/audit_record.ts";
import { type Reason, REASONS } from "../../policy/reason.ts";

/** The first digit of a status, as people write it. */
export type StatusClass = "1xx" | "2xx" | "3xx" | "4xx" | "5xx";

/** Totals as plain numbers, from 0 at the start of the process. */
export interface TrafficFigures {
  /** Records by verdict; a denial that was coalesced counts like any other. */
  readonly allow: number;
  readonly deny: number;
  readonly passthrough: number;
  /** Body and tunnel bytes from clients, and to them. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** Budgets that were used up to 80 %, each counted once an hour or day. */
  readonly budgetWarnings: number;
  /** Tokens of models under budgets of tokens: what they read, and wrote. */
  readonly tokens: Readonly<Record<"input" | "output", number>>;
  /** Credentials that were found in answers. */
  readonly echoes: number;
  /** Denials by reason; together they are `deny`. */
  readonly denials: Readonly<Record<Reason, number>>;
  /** What was allowed or passed through and ended badly, by reason. */
  readonly failures: Readonly<Record<Reason, number>>;
  /** Allowed requests by the status that the client was answered, where it was answered. */
  readonly responses: Readonly<Record<StatusClass, number>>;
  /** Allowed requests from their head to the end of their answer. Not look-ups of names, nor connections that were upgraded. */
  readonly requestDuration: HistogramData;
  /** From a request's head to the moment when the upstream was asked, or a tunnel's upstream was reached. */
  readonly setupDuration: HistogramData;
}

const CLASSES: readonly StatusClass[] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/** Adds up records. */
export class TrafficTotals {
  readonly #verdicts = { allow: 0, deny: 0, passthrough: 0 };
  readonly #denials = noReasons();
  readonly #failures = noReasons();
  readonly #responses: Record<StatusClass, number> = { "1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0 };
  readonly #requestDuration = new Histogram();
  readonly #setupDuration = new Histogram();
  #budgetWarnings = 0;
  #sentBytes = 0;
  #receivedBytes = 0;
  #echoes = 0;
  readonly #tokens = { input: 0, output: 0 };

  /** Counts a record. Allocates nothing. */
  add(record: AuditRecord): void {
    const { verdict, reason, status, durationMs, setupMs, repeated = 1 } = record;
    if (verdict === "change") { // no traffic
      if (record.budget !== undefined) this.#budgetWarnings++;
      return;
    }
    this.#verdicts[verdict] += repeated;
    this.#sentBytes += record.sent ?? 0;
    this.#receivedBytes += record.received ?? 0;
    this.#echoes += record.echoed ?? 0;
    if (record.tokens) {
      this.#tokens.input += record.tokens.input;
      this.#tokens.output += record.tokens.output;
    }
    if (setupMs !== undefined) this.#setupDuration.observe(setupMs);
    if (verdict === "deny") {
      this.#denials[reason ?? "internal"] += repeated;
      return;
    }
    if (reason !== undefined) this.#failures[reason] += repeated;
    if (verdict !== "allow") return;
    const statusClass = CLASSES[Math.floor((status ?? 0) / 100) - 1];
    if (statusClass !== undefined) this.#responses[statusClass]++;
    // Neither says how fast requests are answered: an upgraded connection lasts as long as its user likes.
    if (durationMs !== undefined && status !== 101 && record.method !== "DNS") {
      this.#requestDuration.observe(durationMs);
    }
  }

  /** The totals so far; they do not change any more. */
  figures(): TrafficFigures {
    return {
      ...this.#verdicts,
      budgetWarnings: this.#budgetWarnings,
      sentBytes: this.#sentBytes,
      receivedBytes: this.#receivedBytes,
      echoes: this.#echoes,
      tokens: { ...this.#tokens },
      denials: { ...this.#denials },
      failures: { ...this.#failures },
      responses: { ...this.#responses },
      requestDuration: this.#requestDuration.data(),
      setupDuration: this.#setupDuration.data(),
    };
  }
}

function noReasons(): Record<Reason, number> {
  return Object.fromEntries(Object.keys(REASONS).map((reason) => [reason, 0])) as Record<Reason, number>;
}
