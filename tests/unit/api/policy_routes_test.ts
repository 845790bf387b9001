import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import * as schemas from "../../../api/schemas_policy.ts";
import { parsePolicyFile } from "../../../policy/policy_file.ts";
import { MAX_YAML_CHARS } from "../../../policy/yaml_tree.ts";
import { type Answer, TestApi } from "./support.ts";

const V1 = "/proxy/v1";
const VALUE = "sk-planted-value";

async function apply(api: TestApi, body: Record<string, unknown>): Promise<Answer> {
  return await api.call(`${V1}/policy/apply`, { body });
}

function resultOf({ status, text }: Answer) {
  assertEquals(status, 200, text);
  return schemas.ApplyResultBody.parse(JSON.parse(text));
}

const FILE = `version: 1
secrets:
  key: { host: "*.example.com", type: header }
clients:
  ci-1:
    allow:
      - host: api.example.com
        methods: [GET]
        secret: key
      - host: db.example.com
        ports: [5432]
        passthrough: true
`;

async function withSecret(api: TestApi): Promise<void> {
  const secret = { name: "key", host: "*.example.com", type: "header", value: `x-key: ${VALUE}` };
  assertEquals((await api.call(`${V1}/secrets`, { body: secret })).status, 201);
}

Deno.test("policy: applied, exported, and applied again without a change", async () => {
  await using api = await TestApi.start();
  await withSecret(api);
  const { changes, created } = resultOf(await apply(api, { policy: FILE }));
  assertEquals(changes, [{
    client: "ci-1",
    action: "create",
    rules: [
      { action: "add", place: 1, host: "api.example.com", methods: ["GET"], secret: "key" },
      { action: "add", place: 2, host: "db.example.com", ports: [5_432], passthrough: true },
    ],
  }]);
  const [client] = created;
  assert(client);
  assertMatch(client.token, /^spi_[\w-]{43}$/);
  assertEquals(api.control.clientByToken(client.token)?.name, "ci-1");

  const yaml = await api.call(`${V1}/policy`);
  assertEquals([yaml.status, yaml.headers["content-type"], yaml.text], [200, "application/yaml", FILE]);
  const json = await api.call(`${V1}/policy`, { headers: { accept: "application/json" } });
  const policy = schemas.PolicyBody.parse(JSON.parse(json.text));
  assertEquals(policy.clients["ci-1"]?.allow.length, 2);
  for (const text of [yaml.text, json.text]) {
    assertEquals(text.includes(VALUE) || text.includes(client.token), false);
    assertEquals(resultOf(await apply(api, { policy: text, prune: true })), { changes: [], created: [] });
  }
});

Deno.test("policy: profiles are applied as rules, exported as rules, and applied again without a change", async () => {
  await using api = await TestApi.start();
  const policy = "version: 1\nclients: { ci-1: { profiles: [go@1, { profile: pip@1, ttl: 1h }] } }\n";
  const [first] = resultOf(await apply(api, { policy })).changes;
  assertEquals(first?.rules.map(({ host, expires }) => `${host} ${expires === undefined}`), [
    "proxy.golang.org true",
    "sum.golang.org true",
    "pypi.org false",
    "files.pythonhosted.org false",
  ]);
  assertEquals(resultOf(await apply(api, { policy })).changes, []);
  const { text } = await api.call(`${V1}/policy`);
  assert(!/profiles:|@1/.test(text), text);
  assertEquals(resultOf(await apply(api, { policy: text, prune: true })).changes, []);
});

Deno.test("policy: a caller gets JSON only when it asks for that", async (t) => {
  await using api = await TestApi.start();
  const rows: readonly [string, string][] = [
    ["", "application/yaml"],
    ["*/*", "application/yaml"],
    ["application/yaml", "application/yaml"],
    ["application/yaml, application/json;q=0.5", "application/yaml"],
    ["text/html, Application/JSON;q=0.9", "application/json"],
  ];
  for (const [accept, type] of rows) {
    await t.step(accept || "no Accept", async () => {
      assertEquals((await api.call(`${V1}/policy`, { headers: { accept } })).headers["content-type"], type);
    });
  }
});

Deno.test("policy: a dry run changes nothing and shows no token", async () => {
  await using api = await TestApi.start();
  await withSecret(api);
  const { changes, created } = resultOf(await apply(api, { policy: FILE, dry_run: true }));
  assertEquals([changes.length, created, api.control.listClients()], [1, [], []]);
});

Deno.test("policy: others stay behind the file's rules, and go with prune", async () => {
  await using api = await TestApi.start();
  for (const name of ["ci-1", "old"]) {
    await api.call(`${V1}/clients`, { body: { name } });
    await api.call(`${V1}/allows`, { body: { client: name, host: "old.example.com", ttl_seconds: 60 } });
  }
  const policy = "version: 1\nclients: { ci-1: { allow: [{ host: new.example.com }] } }\n";
  const hosts = () => api.control.listRules("ci-1").map(({ host }) => host);
  assertEquals(resultOf(await apply(api, { policy })).changes, [{
    client: "ci-1",
    action: "change",
    rules: [{ action: "add", place: 1, host: "new.example.com" }],
  }]);
  assertEquals(hosts(), ["new.example.com", "old.example.com"]);
  const { changes } = resultOf(await apply(api, { policy, prune: true }));
  assertEquals(changes.map(({ client, action }) => `${action} ${client}`), ["change ci-1", "delete old"]);
  assertMatch(changes[1]?.rules[0]?.expires ?? "", /Z$/);
  assertEquals(hosts(), ["new.example.com"]);
});

Deno.test("policy: what cannot be applied is 400 with a place, and nothing has changed", async (t) => {
  await using api = await TestApi.start();
  const rows: readonly [string, Record<string, unknown>, string][] = [
    ["no YAML", { policy: "a: [" }, "Cannot read policy:1:5: it is not YAML"],
    ["the caller's name for it", { policy: "a: [", name: "x/p.yaml" }, "Cannot read x/p.yaml:1:5: "],
    ["unknown key", { policy: "version: 1\nclients: {}\nx: 1\n" }, 'Cannot read policy:3:1: unknown key "x"'],
    ["a secret that is not there", { policy: FILE }, "Cannot apply policy:3:8: there is no secret key"],
    ["no policy", {}, "Cannot read the request: policy: "],
    ["an unknown field", { policy: FILE, force: true }, 'Cannot read the request: unknown field "force"'],
    ["a name with a line end", { policy: "", name: "a\nb" }, "Cannot read a\\u{a}b:1:1: it is empty"],
  ];
  for (const [name, body, expected] of rows) {
    await t.step(name, async () => {
      const { status, text } = await apply(api, body);
      assertEquals([status, text.slice(0, expected.length)], [400, expected]);
      assertEquals(api.control.listClients(), []);
    });
  }
});

Deno.test("policy: the longest file fits a request, whatever it is made of", async (t) => {
  await using api = await TestApi.start();
  const start = "version: 1\nclients: {}\n#";
  for (const [name, filler] of [["line ends", "\n"], ["quotes", '"'], ["three bytes", "\u20ac"]] as const) {
    await t.step(name, async () => {
      const policy = start + filler.repeat(MAX_YAML_CHARS - start.length);
      assertEquals(resultOf(await apply(api, { policy })).changes, []);
      assertStringIncludes((await apply(api, { policy: `${policy}x` })).text, "it is longer than");
    });
  }
});

Deno.test("policy: a rule whose secret is gone is exported with a remark, and not applied", async () => {
  await using api = await TestApi.start();
  await withSecret(api);
  await apply(api, { policy: FILE });
  await api.call(`${V1}/secrets/key`, { method: "DELETE" });
  const { text } = await api.call(`${V1}/policy`);
  assertStringIncludes(
    text,
    "# there is no secret key: this rule denies, and the file cannot be applied\n      - host",
  );
  const { status, text: refusal } = await apply(api, { policy: text });
  assertEquals(status, 400);
  assertStringIncludes(refusal, "this secret is not listed under secrets");
  assert(parsePolicyFile(text.replace(/\n +secret: key/, ""), "f").clients.has("ci-1"));
});
