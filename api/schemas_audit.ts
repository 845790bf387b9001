/**
 * What calls about the audit log take and give: the query, and a record as its line of JSON shows it. The schema of a
 * record is published too, as `docs/audit_record.schema.json`; `scripts/record_schema.ts` writes that file.
 *
 * Not here: the line itself, which `policy/audit_record.ts` prints.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { RECORD_VERSION } from "../policy/audit_record.ts";
import { parsePort } from "../core/host_port.ts";
import { MAX_RECORDS, TLS_FILTERS } from "../policy/record_filter.ts";
import { type Reason, REASONS } from "../policy/reason.ts";

const text = z.string();
const count = z.int().min(0);
const reasons = Object.keys(REASONS) as [Reason, ...Reason[]];

/** One record. Readers have to pass over fields that they do not know: a new one is no new version. */
export const AuditRecordBody = z.looseObject({
  v: z.literal(RECORD_VERSION).describe(
    "The version. It rises when a field goes or changes its meaning; a new optional field is no new version",
  ),
  time: text.meta({ format: "date-time" }).describe("When it was written: RFC 3339, UTC, milliseconds"),
  verdict: z.enum(["allow", "deny", "passthrough", "change"]).describe(
    "`change` is no request: an operator switched the mode, for `client` or `*`, for `duration_ms`; or, by `method`, " +
      "SUSPEND, RESUME, APPROVE (once, or for `duration_ms`), APPROVE-ALWAYS or DENY of what waited for a person, and BUDGET for a budget that is used up to 80 %",
  ),
  client: text.describe("The client, or `-` for nobody"),
  auth: z.literal("none").optional().describe("No credential was shown"),
  rule_owner: text.optional().describe("With `auth`: the client whose rule admitted it"),
  method: text.optional().describe("The method of HTTP, CONNECT, or DNS for a name that a helper asked for"),
  scheme: z.enum(["http", "https"]).optional(),
  host: text.optional().describe("A name or an IP literal, without port"),
  port: z.int().min(0).max(65_535).optional(),
  path: text.optional().describe(
    "Without the query. One of more than 2,048 characters is cut there, and goes on with `…`, how many the whole of " +
      "it has, `-`, and the first 32 hex digits of its SHA-256",
  ),
  query: text.optional().describe("Only with `--log-query`; cut like a path"),
  status: z.int().min(100).max(599).optional().describe("What the client was answered"),
  proto: z.literal("h2").optional().describe("The version of HTTP, where it is 2"),
  echoed: z.int().min(1).optional().describe("How often the answer held the credential of its request"),
  grpc_status: z.int().min(0).max(99).optional().describe("What a gRPC call ended with: 0 is OK"),
  secret: text.optional().describe("The name of the secret that was injected"),
  cleartext: z.literal(true).optional().describe("The secret was sent without TLS"),
  mode: z.enum(["strict", "audit"]).optional().describe("In which mode it was denied"),
  reason: z.enum(reasons).optional().describe(
    `Why it was denied or failed:\n${reasons.map((each) => `- \`${each}\`: ${REASONS[each]}`).join("\n")}`,
  ),
  sent: count.optional().describe("Bytes of bodies or the tunnel from the client"),
  received: count.optional().describe("Bytes of bodies or the tunnel to the client"),
  repeated: z.int().min(2).optional().describe(
    "How many requests it stands for; 1 when absent. Identical denials are counted once there are many; one that " +
      "names no host counts different ones, which would have been too many lines for one client or source",
  ),
  duration_ms: count.optional().describe("From the request, or the tunnel's beginning, to its end"),
  src: text.optional().describe(
    "Where it came from: `IP:PORT`, IPv6 in brackets; no port where it counts several",
  ),
  proxy_port: z.int().min(1).max(65_535).optional().describe("The port of the proxy that it came to"),
  tls: z.enum(["1.2", "1.3"]).optional().describe(
    "The version of TLS that the client speaks with the proxy, inside an inspected tunnel the one in there",
  ),
  says: text.optional().describe(
    "What words of rules saw of the request, for `test --against`: pieces between blanks, cut like a path. " +
      "`query:NAME=VALUE` where a rule has the same, else `query:NAME` for none and `query:NAME=*`; " +
      "`lfs:download` and the like for what a body was about, with `!` the reason why it could not be read",
  ),
  budget: text.optional().describe(
    "On a `change` of the method BUDGET: the budget that is used up to 80 %, as `requests=1000/h`",
  ),
  input_tokens: count.optional().describe(
    "Under a budget of tokens: what the model read, with what came from a cache",
  ),
  output_tokens: count.optional().describe("Under a budget of tokens: what the model wrote"),
  tokens_estimated: z.literal(true).optional().describe(
    "The answer did not say all of it, or ended early; reckoned from bytes",
  ),
}).describe(
  "One request or tunnel of the audit log. No field ever holds a header, a body, a token or a credential",
).openapi("AuditRecord");

/** Stands in the place of records that a follower was too slow for. */
export const MissedBody = z.strictObject({
  missed: z.int().min(1).describe("How many records"),
  fleet_host: text.optional().describe("With `fleet`: the host whose records they are"),
}).describe("Stands where a reader who follows was too slow for that many records").openapi("MissedRecords");

/** With `mark`: stands between what was stored and what comes. */
export const LiveBody = z.strictObject({
  live: z.literal(true),
}).describe("With `mark`: what was stored is behind it, what comes is to follow").openapi("LiveRecords");

/** With `fleet`: what is to be known about a host. */
export const HostNoteBody = z.strictObject({
  fleet_host: text.describe("The host, or `*` for all that are not named"),
  unanswered: text.optional().describe("Its records are missing from here on: why"),
  answers: z.literal(true).optional().describe("They are missing no longer"),
}).describe("With `fleet`: whether the records of a host are among these").openapi("AuditHostNote");

/** A switch in a query. */
export const flag = z.enum(["1", "true", "0", "false"], { error: "write 1 or 0, once" }).optional();
/** A text in a query. */
export const given = z.string({ error: "give it once" }).min(1, "must not be empty").optional();

/** Where a question begins. */
export const since = given.describe("A time of RFC 3339, inclusive, or how long ago: 90s, 15m, 1h, 7d");

/** The query of `GET /proxy/v1/audit`. */
export const AuditQuery = z.strictObject({
  follow: flag.describe("Go on with records as they come; without `since` and `limit` only with those"),
  fleet: flag.describe(
    "The records of all hosts of the fleet in the order of their times, each with its host as `fleet_host`; never as events",
  ),
  mark: flag.describe(
    'With `follow`: a line `{"live":true}` where what was stored ends and what comes begins',
  ),
  client: given.describe("Only this client; `-` is nobody"),
  denied: flag.describe("Only denials"),
  host: given.describe("Only this host: a name, an IP literal, `*.suffix`"),
  since,
  src: given.describe("Only this source: an address, a network, or IP:PORT of one connection"),
  proxy_port: z.string({ error: "give it once" })
    .refine((text) => parsePort(text) !== undefined, { error: "write a port" })
    .optional().openapi({ type: "integer", minimum: 1, maximum: 65_535 })
    .describe("Only what came to this port of the proxy"),
  tls: z.enum(TLS_FILTERS, { error: "write 1.2, 1.3 or none" }).optional()
    .describe("Only what came in this version of TLS, or in clear"),
  limit: z.string({ error: "give it once" })
    .refine((text) => /^[1-9]\d{0,4}$/.test(text) && Number(text) <= MAX_RECORDS, {
      error: `write a number from 1 to ${MAX_RECORDS}`,
    })
    .optional().openapi({ type: "integer", minimum: 1, maximum: MAX_RECORDS })
    .describe("Only the newest so many of the stored records"),
});
