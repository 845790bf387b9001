/**
 * When each secret was last used, from the audit records as they are written. In memory alone: the audit log has the rest.
 *
 * @module
 */
import type { AuditRecord } from "../../policy/audit_record.ts";

/** More secrets than a store takes; what was not used for the longest goes. */
const MOST = 2_000;

/** A use of a secret. */
export interface SecretUse {
  /** Epoch milliseconds. */
  readonly atMs: number;
  readonly client: string | undefined;
}

/** See the module. */
export class LastUses {
  readonly #byName = new Map<string, SecretUse>();

  /** Notes a record that says that a credential was sent. */
  add({ verdict, secret, client }: AuditRecord, nowMs: number): void {
    if (secret === undefined || verdict !== "allow") return;
    this.#byName.delete(secret); // at the end: the map is in order of use
    this.#byName.set(secret, { atMs: nowMs, client });
    if (this.#byName.size <= MOST) return;
    const [oldest] = this.#byName.keys();
    if (oldest !== undefined) this.#byName.delete(oldest);
  }

  /** The last use of a secret of that name since the start. */
  of(secret: string): SecretUse | undefined {
    return this.#byName.get(secret);
  }
}
