/**
 * Where `up` writes the audit log: what waits for a collector, the store that `logs` reads, the documented log in the format
 * of `--log-format`, and stdout. New requests are refused while one of the files cannot be written.
 *
 * Not here: the files (`store/audit/store.ts`, `store/audit/file.ts`).
 *
 * @module
 */
import { basename, dirname, join, resolve } from "node:path";
import { ProxyError } from "../../core/errors.ts";
import type { AuditSink } from "../../proxy/records/audit_log.ts";
import { linePlace, sinkOf } from "../../proxy/records/audit_sinks.ts";
import { AuditStore } from "../../store/audit/store.ts";
import { besidePath, SplitFile } from "../../store/audit/split_file.ts";
import type { Output } from "../terminal/output.ts";
import { StdoutLines } from "../terminal/stdout_lines.ts";
import type { UpConfig } from "./config.ts";
import type { ExportFigures, OtlpExporter } from "./otlp_exporter.ts";

/** Of the log of the unauthenticated; with five old files at most 96 MiB. */
const MAX_UNAUTHENTICATED_BYTES = 16 * 1_048_576;

/** The open places. Disposing closes them; the last record has to be written before. */
export interface AuditPlaces extends AsyncDisposable {
  readonly store: AuditStore;
  readonly sink: AuditSink;
  /** How sending it goes, when it is sent. */
  readonly exported: () => ExportFigures | undefined;
}

/**
 * Opens all of them. The state folder has to be there, and locked.
 *
 * @throws ProxyError `input.invalid` when the log would be written into the store, `audit.write-failed`
 */
export async function openAuditPlaces(
  config: Pick<UpConfig, "stateDir" | "logFile" | "logFormat">,
  output: Output,
  exporter?: OtlpExporter,
): Promise<AuditPlaces> {
  const storePath = join(config.stateDir, "audit.jsonl");
  for (const path of [storePath, besidePath(storePath)]) await refuseStorePath(config.logFile, path);
  const store = await AuditStore.open(storePath);
  let file: SplitFile;
  try {
    const hint = "its folder must exist and be writable; --log-file names another place";
    file = await SplitFile.open(config.logFile, {
      main: { hint },
      unauthenticated: { hint, maxBytes: MAX_UNAUTHENTICATED_BYTES },
    });
  } catch (error) {
    store[Symbol.dispose]();
    throw error;
  }
  const stdout = new StdoutLines(output);
  const format = config.logFormat;
  const log = { format, write: (...written: Parameters<SplitFile["write"]>) => file.write(...written) };
  return {
    store,
    // First what is to be sent: whatever is in the log gets there. Last stdout: whoever sees a line can look it up.
    sink: sinkOf([...(exporter ? [exporter] : []), store, log, linePlace(stdout, format)]),
    exported: () => exporter?.figures,
    async [Symbol.asyncDispose]() {
      file[Symbol.dispose]();
      store[Symbol.dispose]();
      await stdout[Symbol.asyncDispose]();
    },
  };
}

/** A log of another format, or with a rotation of its own, would spoil the store. */
async function refuseStorePath(logFile: string, storePath: string): Promise<void> {
  const [log, store] = await Promise.all([logFile, storePath].map(realPath));
  const after = log?.startsWith(store ?? "") ? log.slice(store?.length) : undefined;
  if (after === undefined || !/^(\.\d+|\.new)?$/.test(after)) return;
  throw new ProxyError("input.invalid", `Cannot use --log-file ${logFile}: the audit store is there`, {
    hint: `that file is always written, as JSON; leave the flag out, or name another file`,
  });
}

/** With links followed, as far as the path is there. */
async function realPath(path: string): Promise<string> {
  try {
    return await Deno.realPath(path);
  } catch {
    const folder = dirname(path);
    return join(await Deno.realPath(folder).catch(() => resolve(folder)), basename(path));
  }
}
