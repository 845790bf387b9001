/**
 * The operational log: what the people who run the proxy must know, on stderr. Levels: error means somebody must act, warn
 * that something was refused or is odd, info is the life of the process, debug the steps.
 *
 * Not here: the audit log of requests (`proxy/records/audit_log.ts`). Nothing that a client or an upstream sent is logged here.
 *
 * @module
 */
import { configureSync, getLogger, type LogRecord } from "@logtape/logtape";
import { escapeTerminal } from "./escape.ts";

/** Sends the lines of every area to `write`, one line a call, without a line end. */
export function startLog(write: (line: string) => void, lowestLevel: "debug" | "info" = "info"): void {
  configureSync({
    reset: true,
    sinks: { out: (record) => write(formatLogLine(record)) },
    loggers: [
      { category: "slicer-proxy", lowestLevel, sinks: ["out"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["out"] },
    ],
  });
}

/** Takes lines as they are. */
export interface LineLog {
  /** The life of the process. */
  info(line: string): void;
  /** Something was refused, or is odd. */
  warn(line: string): void;
  /** Somebody must act. */
  error(line: string): void;
}

/** The logger of a part of the program. Silent until {@linkcode startLog}. */
export function logger(area: string): LineLog {
  const log = getLogger(["slicer-proxy", area]);
  // As a value, since LogTape takes `{x}` for a placeholder, and lines may quote anything.
  return {
    info: (line) => log.info("{line}", { line }),
    warn: (line) => log.warn("{line}", { line }),
    error: (line) => log.error("{line}", { line }),
  };
}

function formatLogLine({ timestamp, level, category, message }: LogRecord): string {
  const text = message.map((part) => typeof part === "string" ? part : String(part)).join("");
  return escapeTerminal(
    `${new Date(timestamp).toISOString()} ${level} ${category.slice(1).join(".")}: ${text}`,
  );
}
