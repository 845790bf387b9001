/** Audit records that differ in their port, a second after each other. */
import type { StoredRecord } from "../../policy/audit_record.ts";

/** The record number `port`: odd ones are denials, each third is of one client, each fifth for `api.example.com`. */
export function makeRecord(port: number, more: Partial<StoredRecord> = {}): StoredRecord {
  return {
    timeMs: Date.UTC(2026, 0, 1) + port * 1_000,
    repeated: 1,
    verdict: port % 2 === 0 ? "allow" : "deny",
    client: `c${port % 3}`,
    host: port % 5 === 0 ? "api.example.com" : "a.test",
    port,
    ...more,
  };
}
