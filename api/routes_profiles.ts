/**
 * Calls about profiles: which there are, and adding the rules of one.
 *
 * Not here: what profiles say (`policy/profile.ts`).
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { ProxyError } from "../core/errors.ts";
import { allProfiles, expandProfile, findProfile, type HostSecret } from "../policy/profile.ts";
import type { ControlPlane } from "./control.ts";
import { jsonBody } from "./json_body.ts";
import { common, commonWithBody, error, json, notStored, requestJson } from "./responses.ts";
import { judgedRuleBody } from "./schemas.ts";
import { AddedBody, AddProfileBody, ProfileBody, profileBody } from "./schemas_profiles.ts";

const tags = ["allows"];

const list = createRoute({
  method: "get",
  path: "/proxy/v1/profiles",
  operationId: "listProfiles",
  summary: "Named sets of rules that this version of the program has, in all their versions",
  tags,
  responses: { ...common, 200: json("The profiles, by name and version", z.array(ProfileBody)) },
});

const add = createRoute({
  method: "post",
  path: "/proxy/v1/allows/profile",
  operationId: "addProfile",
  summary: "Add the rules of a profile to a client: all of them or none",
  description: "They are ordinary rules from then on: another version of the program does not change them.",
  tags,
  middleware: jsonBody,
  request: { body: requestJson(AddProfileBody) },
  responses: {
    ...commonWithBody,
    200: json("For a dry run: the rules that would be added", AddedBody),
    201: json("The rules, in order", AddedBody),
    400: error("A field cannot be used, or the client, the profile, its version or a secret is unknown"),
    409: error("The client has one of the rules already"),
    507: notStored,
  },
});

/** Adds the calls about profiles to an app. */
export function addProfileRoutes(
  app: OpenAPIHono,
  control: Pick<ControlPlane, "listSecrets" | "addRules" | "judgeRules">,
): void {
  app.openapi(list, (c) => c.json(allProfiles().map(profileBody), 200));
  app.openapi(add, async (c) => {
    const { client, profile: text, secrets = [], ttl_seconds: ttl, before, dry_run: isDryRun } = c.req.valid(
      "json",
    );
    const profile = findProfile(text);
    const specs = expandProfile(profile, secretsOf(control, secrets));
    const ttlMs = ttl ? ttl * 1_000 : undefined;
    const rules = await control.addRules(client, specs, { ttlMs, place: before, isDryRun });
    const body = (warningsOf: Parameters<typeof judgedRuleBody>[0][]) => ({
      profile: profile.label,
      rules: warningsOf.map(judgedRuleBody),
    });
    if (isDryRun) return c.json(body(rules.map((rule) => ({ rule, warnings: [] }))), 200);
    const judged = new Map(control.judgeRules(client).map(({ rule, warnings }) => [rule.id, warnings]));
    const news = (id: string) => (judged.get(id) ?? []).filter(({ kind }) => kind !== "ends-soon");
    return c.json(body(rules.map((rule) => ({ rule, warnings: news(rule.id) }))), 201);
  });
}

function secretsOf(control: Pick<ControlPlane, "listSecrets">, names: readonly string[]): HostSecret[] {
  const all = control.listSecrets();
  return [...new Set(names)].map((name) => {
    const secret = all.find((each) => each.name === name);
    if (secret) return secret;
    throw new ProxyError("input.invalid", `Cannot use secret ${JSON.stringify(name.slice(0, 80))}: unknown`, {
      hint: "create the secret first",
    });
  });
}
