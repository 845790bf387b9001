/**
 * What a call about the logs of all hosts gives: records that say their host, and what is to be known about the hosts
 * themselves.
 *
 * Not here: the order (`fleet_feed.ts`, `fleet_window.ts`).
 *
 * @module
 */
import { formatStored, type StoredRecord } from "../policy/audit_record.ts";
import type { StreamForm } from "./audit_stream.ts";

/** One line of the answer; `host` is the label of the host that it is about, or `*` for all others. */
export type FleetItem =
  | { readonly host: string; readonly record: StoredRecord }
  /** Records that came faster than they were read. */
  | { readonly host: string; readonly missed: number }
  /** Its records are missing from here on, and why. */
  | { readonly host: string; readonly unanswered: string }
  /** They are no longer. */
  | { readonly host: string; readonly answers: true };

/** One line of JSON per item. A record's line is that of its own host, with the host behind it. */
export function fleetForm(): StreamForm<FleetItem> {
  return {
    type: "application/x-ndjson",
    opening: "",
    heartbeat: "\n",
    format: ({ host, ...item }) => {
      const line = "record" in item ? formatStored(item.record, "json") : JSON.stringify(item);
      return `${line.slice(0, -1)},"fleet_host":${JSON.stringify(host)}}\n`;
    },
  };
}
