/**
 * The bodies of the REST API, described once: requests are checked against these schemas, responses are typed by them,
 * and the OpenAPI document is generated from them. Requests with unknown fields are refused, so that a misspelt
 * `paths` never means "any path".
 *
 * Not here: what a name, host, path or value must look like. `core/`, `policy/` and `secrets/` decide that for every
 * interface alike; `pattern` and `example` below only tell readers of the document.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { MAX_DURATION_MS } from "../core/duration.ts";
import type { Rule, RuleInput, RuleSpec } from "../policy/rule.ts";
import { wordsFromJson, wordsToJson } from "../policy/rule_words_json.ts";
import type { JudgedRule } from "../policy/rule_health.ts";
import type { ClientRecord, NewClient, SecretRecord } from "../store/records.ts";
import { wordFields } from "./rule_words.ts";

const text = z.string().min(1, "must not be empty");
const name = text.openapi({ pattern: "^[A-Za-z0-9._-]{1,64}$", example: "ci-1" });
const hostPattern = text.openapi({
  description: "A name, an IP literal, `*.suffix` or `*`",
  example: "api.example.com",
});
const time = z.iso.datetime().openapi({ description: "RFC 3339, UTC" });
const count = z.int().min(0);

// Clients

/** `POST /proxy/v1/clients`. */
export const NewClientBody = z.strictObject({
  name,
  token: text.optional().openapi({
    description:
      "A token of one's own, 1 to 256 visible ASCII characters. One of fewer than 16 can be guessed",
  }),
}).openapi("NewClientRequest");

/** A client in a list. */
export const ClientBody = z.strictObject({
  name,
  created_at: time,
  suspended_since: time.optional().openapi({
    description: "Since when it is refused everything, by itself or with all clients",
  }),
}).openapi("Client");

/** A client together with its token, which no later call shows again. */
export const ClientWithTokenBody = z.strictObject({ name, token: z.string(), created_at: time })
  .openapi("ClientWithToken");

// Secrets

/** `POST /proxy/v1/secrets`. */
export const NewSecretBody = z.strictObject({
  name,
  host: text.openapi({
    description: "An exact name, or `*.` and at least two labels",
    example: "api.example.com",
  }),
  type: text.optional().openapi({ description: "The kind of credential; bearer when left out" }),
  value: text.openapi({ description: "The credential. No call ever returns it", writeOnly: true }),
  source_file: text.optional().openapi({ description: "The file on the host that the value was read from" }),
  force: z.boolean().optional().openapi({ description: "Replace a secret of that name" }),
  cleartext: z.boolean().optional().openapi({ description: "May be injected without TLS" }),
  env: z.array(text).optional().openapi({
    description:
      "Variables that `slicer-proxy env` gives a placeholder, beside those known for host and type",
    example: ["MODEL_API_KEY"],
  }),
}).openapi("NewSecretRequest");

/** A secret without its value. */
export const SecretBody = z.strictObject({
  name,
  host: hostPattern,
  type: text,
  created_at: time,
  updated_at: time.optional(),
  adopted_at: time.optional(),
  refreshed_at: time.optional(),
  error: text.optional().openapi({ description: "Why the credential cannot be used" }),
  env: z.array(text).optional().openapi({ description: "Variables of one's own that stand for it in a VM" }),
}).openapi("Secret");

/** `GET /proxy/v1/secrets/{name}`. */
export const SecretDetailsBody = SecretBody.extend({
  version: text.openapi({ description: "Changes with every replacement" }),
  cleartext: z.boolean().openapi({ description: "May be injected without TLS" }),
  source_file: text.optional().openapi({ description: "The file on the host that it follows" }),
  used_by: z.array(z.strictObject({
    client: name,
    host: hostPattern,
    methods: z.array(text).optional(),
    paths: z.array(text).optional(),
    ports: z.array(z.number().int()).optional(),
    expires: time.optional(),
  })).openapi({ description: "The rules that name it" }),
  last_used_at: time.optional().openapi({ description: "Since the proxy was started" }),
  last_used_by: text.optional().openapi({ description: "The client of that use" }),
}).openapi("SecretDetails");

/** `POST /proxy/v1/secrets/{name}/test`. */
export const SecretTestRequestBody = z.strictObject({
  url: text.optional().openapi({
    description: "What to ask for with GET, within the secret's host; needed where no harmless call is known",
    example: "https://api.example.com/v1/me",
  }),
}).openapi("SecretTestRequest");

/** How a test went. */
export const SecretTestBody = z.strictObject({
  verdict: z.enum(["accepted", "refused", "unclear", "failed"]),
  words: text.openapi({ description: "What that means, for people" }),
  url: text.optional().openapi({ description: "What was asked for, without its query" }),
  status: z.number().int().optional().openapi({ description: "The HTTP status of the answer" }),
}).openapi("SecretTest");

// Allow rules

/** What makes a rule the rule it is. */
export const ruleFields = {
  host: hostPattern,
  secret: text.optional().openapi({ description: "The secret that is injected" }),
  methods: z.array(text).optional().openapi({ description: "Any when left out", example: ["GET"] }),
  paths: z.array(text).optional().openapi({
    description:
      "`/exact`, `/prefix/*`, `*`, or stars for whole segments inside (`/a/*/b`, `/a/**/b`); any when left out",
    example: ["/v1/models", "/v1/chat/*"],
  }),
  ports: z.array(z.int().min(1).max(65_535)).optional().openapi({ description: "80 and 443 when left out" }),
  passthrough: z.boolean().optional().openapi({ description: "Splice bytes instead of inspecting them" }),
  ...wordFields,
};
const ruleFieldsObject = z.strictObject(ruleFields);

/** `POST /proxy/v1/allows`. */
export const NewRuleBody = z.strictObject({
  client: name,
  ...ruleFields,
  before: z.int().min(1).optional().openapi({
    description: "The place, from 1, of the rule before which it is put; behind all when left out",
  }),
  ttl_seconds: count.max(MAX_DURATION_MS / 1_000).optional().openapi({
    description: "Seconds that the rule lives; 0, or nothing, for ever",
  }),
}).openapi("NewAllowRuleRequest");

/** `POST /proxy/v1/allows/revoke`. */
export const RevokeBody = z.strictObject({ client: name, ...ruleFields }).openapi("RevokeRequest");

/** A rule in a list. Lists that would be empty are left out. */
export const RuleBody = z.strictObject({
  ...ruleFields,
  expires: time.optional(),
  warnings: z.array(text).optional().openapi({
    description:
      "Why the rule cannot act as it reads: an earlier one hides it, its secret is gone, it ends soon",
  }),
}).openapi("AllowRule");

// The web page

/** `POST /proxy/v1/ui/links`. */
export const UiLinkBody = z.strictObject({
  url: text.openapi({ description: "Opens the page once", example: "http://127.0.0.1:9090/ui/login?code=…" }),
  expires_at: time,
}).openapi("UiLink");

// From records to bodies

/** The body of a client in a list. @param client its `suspendedSince` may be that of all */
export function clientBody({ name, createdAt, suspendedSince }: ClientRecord): z.infer<typeof ClientBody> {
  return {
    name,
    created_at: rfc3339(createdAt),
    ...(suspendedSince === undefined ? {} : { suspended_since: rfc3339(suspendedSince) }),
  };
}

/** The body of a client that was just made or rotated. */
export function clientWithTokenBody(client: NewClient): z.infer<typeof ClientWithTokenBody> {
  return { name: client.name, token: client.token, created_at: rfc3339(client.createdAt) };
}

/** The body of a secret. */
export function secretBody(secret: SecretRecord): z.infer<typeof SecretBody> {
  const { name, host, type, createdAt, updatedAt, adoptedAt, refreshedAt, error, env } = secret;
  return {
    name,
    host,
    type,
    created_at: rfc3339(createdAt),
    ...(updatedAt === undefined ? {} : { updated_at: rfc3339(updatedAt) }),
    ...(adoptedAt === undefined ? {} : { adopted_at: rfc3339(adoptedAt) }),
    ...(refreshedAt === undefined ? {} : { refreshed_at: rfc3339(refreshedAt) }),
    ...(error === undefined ? {} : { error }),
    ...(env === undefined ? {} : { env: [...env] }),
  };
}

/** The body of a secret with who uses it. */
export function secretDetailsBody(
  secret: SecretRecord,
  { rules, lastUse }: {
    readonly rules: readonly Rule[];
    readonly lastUse: { readonly atMs: number; readonly client: string | undefined } | undefined;
  },
): z.infer<typeof SecretDetailsBody> {
  return {
    ...secretBody(secret),
    version: secret.version,
    cleartext: secret.cleartext,
    ...(secret.sourceFile === undefined ? {} : { source_file: secret.sourceFile }),
    used_by: rules.map(({ client, host, methods, paths, ports, expiresAt }) => ({
      client,
      host,
      ...(methods.length === 0 ? {} : { methods: [...methods] }),
      ...(paths.length === 0 ? {} : { paths: [...paths] }),
      ...(ports.length === 0 ? {} : { ports: [...ports] }),
      ...(expiresAt === undefined ? {} : { expires: rfc3339(expiresAt) }),
    })),
    ...(lastUse === undefined ? {} : { last_used_at: rfc3339(lastUse.atMs) }),
    ...(lastUse?.client === undefined ? {} : { last_used_by: lastUse.client }),
  };
}

/** What `parseRule` reads, from the fields of a body. */
export function ruleInput(fields: z.infer<typeof ruleFieldsObject>): RuleInput {
  const { host, secret, methods, paths, ports, passthrough } = fields;
  return { host, secret, methods, paths, ports, passthrough, ...wordsFromJson(fields) };
}

/** The body of a rule. */
export function ruleBody(rule: Rule): z.infer<typeof RuleBody> {
  return ruleFieldsBody(rule, rule.expiresAt);
}

/** The body of a rule, with what is wrong with it. */
export function judgedRuleBody({ rule, warnings }: JudgedRule): z.infer<typeof RuleBody> {
  return {
    ...ruleBody(rule),
    ...(warnings.length === 0 ? {} : { warnings: warnings.map(({ words }) => words) }),
  };
}

/** The body of what a rule says, and of its end. */
export function ruleFieldsBody(
  { host, secret, methods, paths, ports, passthrough, ...words }: RuleSpec,
  expiresAt: number | undefined,
): z.infer<typeof RuleBody> {
  return {
    host,
    ...(secret === undefined ? {} : { secret }),
    ...(methods.length === 0 ? {} : { methods: [...methods] }),
    ...(paths.length === 0 ? {} : { paths: [...paths] }),
    ...(ports.length === 0 ? {} : { ports: [...ports] }),
    ...(expiresAt === undefined ? {} : { expires: rfc3339(expiresAt) }),
    ...(passthrough ? { passthrough } : {}),
    ...wordsToJson(words),
  };
}

/** A time in epoch milliseconds as RFC 3339. */
export function rfc3339(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
