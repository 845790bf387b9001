import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { load } from "js-yaml";
import { z } from "zod";
import schema from "../../../docs/policy.schema.json" with { type: "json" };
import { ProxyError } from "../../../core/errors.ts";
import { formatPolicyFile, parsePolicyFile } from "../../../policy/policy_file.ts";
import { wordSchemas } from "../../../scripts/policy_schema.ts";
import { policyFiles } from "../../support/policy_files.ts";

// Zod reads JSON Schema, so that no second validator is needed.
const validator = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);

Deno.test("policy.schema.json accepts what formatPolicyFile() writes", () => {
  fc.assert(
    fc.property(policyFiles, (file) => {
      const { error } = validator.safeParse(load(formatPolicyFile(file)));
      assertEquals(error?.issues, undefined);
    }),
    { numRuns: 300, seed: 20_260_901 },
  );
});

Deno.test("policy.schema.json has the words of rules as scripts/policy_schema.ts writes them", () => {
  const properties: Record<string, unknown> = schema.$defs.rule.properties;
  for (const [name, expected] of Object.entries(wordSchemas())) {
    assertEquals(properties[name], expected, name);
  }
});

Deno.test("policy.schema.json and parsePolicyFile() take the example of docs/POLICY.md", async () => {
  const text = await Deno.readTextFile(new URL("../../../docs/POLICY.md", import.meta.url));
  const [, example = ""] = /^```yaml\n(.*?)^```$/ms.exec(text) ?? [];
  assertEquals([...parsePolicyFile(example, "f").clients.keys()], ["ci-1", "idle"]);
  assertEquals(validator.safeParse(load(example)).error?.issues, undefined);
});

Deno.test("policy.schema.json and parsePolicyFile() refuse the same mistakes", async (t) => {
  const rule = (more: object) => ({ version: 1, clients: { a: { allow: [{ host: "a.test", ...more }] } } });
  const secret = (more: object) => ({ version: 1, clients: {}, secrets: { s: { host: "a.test", ...more } } });
  const rows: [string, unknown][] = [
    ["no version", { clients: {} }],
    ["another version", { version: 2, clients: {} }],
    ["no clients", { version: 1 }],
    ["null for clients", { version: 1, clients: null }],
    ["unknown key", { version: 1, clients: {}, rules: [] }],
    ["unknown key of a secret", secret({ value: "x" })],
    ["unknown key of a client", { version: 1, clients: { a: { allow: [], token: "x" } } }],
    ["budget as a text", { version: 1, clients: { a: { allow: [], budget: "requests=1/h" } } }],
    ["budget of an unknown kind", { version: 1, clients: { a: { allow: [], budget: ["calls=1/h"] } } }],
    ["unknown key of a rule", rule({ method: ["GET"] })],
    ["client without allow", { version: 1, clients: { a: {} } }],
    ["bad client name", { version: 1, clients: { "-a": { allow: [] } } }],
    ["bad secret name", { version: 1, clients: {}, secrets: { "a b": { host: "a.test" } } }],
    ["rule without a host", { version: 1, clients: { a: { allow: [{}] } } }],
    ["empty host", rule({ host: "" })],
    ["methods as a text", rule({ methods: "GET" })],
    ["empty method", rule({ methods: [""] })],
    ["no methods", rule({ methods: [] })],
    ["no paths", rule({ paths: [] })],
    ["no ports", rule({ ports: [] })],
    ["relative path", rule({ paths: ["v1"] })],
    ["port 0", rule({ ports: [0] })],
    ["port 65536", rule({ ports: [65_536] })],
    ["port as a text", rule({ ports: ["80"] })],
    ["passthrough as a text", rule({ passthrough: "true" })],
    ["ttl as a number", rule({ ttl: 60 })],
    ["ttl without a unit", rule({ ttl: "60" })],
    ["date without a time", rule({ expires: "2026-12-01" })],
  ];
  const profiles = (...profiles: unknown[]) => ({ version: 1, clients: { a: { profiles } } });
  rows.push(
    ["profile without a version", profiles("npm")],
    ["profile of version 0", profiles("npm@0")],
    ["profile without a name", profiles({ ttl: "1h" })],
    ["profile with an unknown key", profiles({ profile: "npm@1", secret: "s" })],
    ["profile with no secrets", profiles({ profile: "npm@1", secrets: [] })],
  );
  for (const [name, value] of rows) {
    await t.step(name, () => {
      assert(!validator.safeParse(value).success, "the schema takes it");
      assertThrows(() => parsePolicyFile(JSON.stringify(value), "f"), ProxyError);
    });
  }
  const right = [
    profiles(),
    profiles("npm@1", { profile: "pip@1", ttl: "1h" }),
    rule({}),
    { version: 1, clients: { a: { allow: [], budget: [] }, b: { profiles: [], budget: ["requests=1K/h"] } } },
    secret({}),
    rule({ methods: ["GET"], ports: [443], paths: ["*", "/a"], ttl: "1h30m" }),
  ];
  for (const value of right) {
    assert(validator.safeParse(value).success);
    parsePolicyFile(JSON.stringify(value), "f");
  }
});
