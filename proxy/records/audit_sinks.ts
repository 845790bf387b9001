/**
 * Several places for the records of one audit log, and the form that each of them takes.
 *
 * Not here: the places themselves (`store/audit_store.ts`, `store/audit_file.ts`).
 *
 * @module
 */
import { formatStored, type LogFormat, type StoredRecord } from "../../policy/audit_record.ts";
import type { AuditSink } from "./audit_log.ts";

/** Takes whole lines. */
export interface LineWriter {
  write(lines: string): Promise<void>;
}

/** Writes records as lines of one form. */
export function lineSink(writer: LineWriter, format: LogFormat): AuditSink {
  return {
    write: (records) => writer.write(records.map((record) => `${formatStored(record, format)}\n`).join("")),
  };
}

/**
 * Writes to all of `sinks` at once. When some of them fail it rejects with the first error, once all have settled; the
 * others do not get the same records twice when they come again.
 */
export function teeSink(sinks: readonly AuditSink[]): AuditSink {
  const places = sinks.map((sink) => ({ sink, last: undefined as StoredRecord | undefined }));
  return {
    async write(records) {
      const results = await Promise.allSettled(places.map(async (place) => {
        const done = place.last ? records.lastIndexOf(place.last) + 1 : 0;
        if (done === records.length) return;
        await place.sink.write(done === 0 ? records : records.slice(done));
        place.last = records.at(-1);
      }));
      const failed = results.find((result) => result.status === "rejected");
      if (failed) throw failed.reason;
      for (const place of places) place.last = undefined; // none of these comes again
    },
  };
}
