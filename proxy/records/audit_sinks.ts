/**
 * Several places for the records of one audit log, and the forms that they take: each form of a piece is printed once,
 * whatever the number of places.
 *
 * Not here: the places themselves (`store/audit/store.ts`, `store/audit/file.ts`).
 *
 * @module
 */
import { formatStored, type LogFormat, type StoredRecord } from "../../policy/audit_record.ts";
import type { AuditSink, WriteWay } from "./audit_log.ts";

/** Takes records with their lines, each with its end. */
export interface LinePlace {
  readonly format: LogFormat;
  /** @param lines those of `records`, in their order */
  write(records: readonly StoredRecord[], lines: readonly string[]): Promise<void>;
}

/** Takes whole lines. */
export interface LineWriter {
  write(lines: string): Promise<void>;
}

/** A place that takes lines alone. */
export function linePlace(writer: LineWriter, format: LogFormat): LinePlace {
  return { format, write: (_records, lines) => writer.write(lines.join("")) };
}

const AT_ONCE: WriteWay = { printed: [], pause: () => Promise.resolve() };

/**
 * Writes to one place after the other. When one fails it rejects, and those after it get nothing; those before do not get the
 * same records twice when they come again.
 */
export function sinkOf(places: readonly LinePlace[]): AuditSink {
  const marked = places.map((place) => ({ place, last: undefined as StoredRecord | undefined }));
  const formats = [...new Set(places.map(({ format }) => format))];
  const lineOf = (record: StoredRecord, format: LogFormat) => `${formatStored(record, format)}\n`;
  return {
    print: (record) => formats.map((format) => lineOf(record, format)),
    async write(records, { printed, pause } = AT_ONCE) {
      const made = new Map<LogFormat, readonly string[]>();
      const linesIn = (format: LogFormat) => {
        const which = formats.indexOf(format);
        const lines = made.get(format) ??
          records.map((record, at) => printed[at]?.[which] ?? lineOf(record, format));
        made.set(format, lines);
        return lines;
      };
      for (const [nth, mark] of marked.entries()) {
        const done = mark.last ? records.lastIndexOf(mark.last) + 1 : 0;
        if (done === records.length) continue;
        const lines = linesIn(mark.place.format);
        if (nth > 0) await pause();
        await (done === 0
          ? mark.place.write(records, lines)
          : mark.place.write(records.slice(done), lines.slice(done)));
        mark.last = records.at(-1);
      }
      for (const mark of marked) mark.last = undefined; // none of these comes again
    },
  };
}
