/**
 * How long a rule of a policy file lives: `ttl` or `expires`.
 *
 * @module
 */
import { parseDuration } from "../core/duration.ts";
import type { YamlFields } from "./yaml_fields.ts";

/** At most one of them is there. */
export interface Lifetime {
  /** Milliseconds from when the rule is added, whole seconds. */
  readonly ttlMs?: number;
  /** Epoch milliseconds. */
  readonly expiresAt?: number;
}

/** RFC 3339 §5.6, with the parts of a second that a clock here has. */
const TIME = /^(\d{4})-(\d\d)-(\d\d)T\d\d:\d\d:\d\d(?:\.\d{1,3})?(?:Z|[+-]\d\d:\d\d)$/;

/** Reads both keys. @throws ProxyError `input.invalid` with a place */
export function readLifetime(fields: YamlFields): Lifetime {
  const ttlMs = fields.text("ttl", parseDuration);
  const expires = fields.text("expires", (text) => text);
  if (ttlMs !== undefined && expires !== undefined) {
    fields.refuse("expires", "a rule has both ttl and expires", "leave one of them out");
  }
  if (ttlMs !== undefined && ttlMs % 1_000 !== 0) {
    fields.refuse("ttl", "a ttl has no parts of a second", "write whole seconds, such as 90s");
  }
  if (ttlMs !== undefined) return { ttlMs };
  if (expires === undefined) return {};
  const expiresAt = parseTime(expires);
  if (expiresAt === undefined) {
    fields.refuse("expires", "this is no time", "write it like 2026-12-01T00:00:00Z (RFC 3339)");
  }
  return { expiresAt };
}

function parseTime(text: string): number | undefined {
  const [, year, month, day] = TIME.exec(text) ?? [];
  const at = Date.parse(text);
  if (day === undefined || Number.isNaN(at)) return undefined;
  // Date.parse takes 30 February for 2 March.
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  return date.getUTCDate() === Number(day) ? at : undefined;
}
