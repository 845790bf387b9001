/**
 * Writes `docs/audit_record.schema.json`, the JSON Schema of one line of the audit log, for tools that read the log.
 *
 *     deno run --allow-read --allow-write scripts/record_schema.ts
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { AuditRecordBody } from "../api/schemas_audit.ts";

/** Where it is published. */
export const RECORD_SCHEMA_FILE = new URL("../docs/audit_record.schema.json", import.meta.url);

/** The text of the file. */
export function recordSchema(): string {
  const { $schema, ...rest } = z.toJSONSchema(AuditRecordBody);
  return JSON.stringify({ $schema, title: "AuditRecord", ...rest }, undefined, 2) + "\n";
}

if (import.meta.main) await Deno.writeTextFile(RECORD_SCHEMA_FILE, recordSchema());
