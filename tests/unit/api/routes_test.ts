import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import * as schemas from "../../../api/schemas.ts";
import { FleetBody } from "../../../api/schemas_fleet.ts";
import { StatusBody } from "../../../api/schemas_status.ts";
import { TestApi } from "./support.ts";

const V1 = "/proxy/v1";
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

Deno.test("clients: created, listed without token, rotated and deleted", async () => {
  await using api = await TestApi.start();
  assertEquals((await api.call(`${V1}/clients`)).text, "[]");

  const created = await api.call(`${V1}/clients`, { body: { name: "ci-1" } });
  assertEquals(created.status, 201);
  assertEquals(created.headers["cache-control"], "no-store");
  const client = schemas.ClientWithTokenBody.parse(JSON.parse(created.text));
  assertMatch(client.token, /^spi_[\w-]{43}$/);
  assertMatch(client.created_at, RFC3339);
  assertEquals(api.control.clientByToken(client.token)?.name, "ci-1");

  const list = await api.call(`${V1}/clients`);
  assertEquals(JSON.parse(list.text), [{ name: "ci-1", created_at: client.created_at }]);

  const rotated = await api.call(`${V1}/clients/ci-1/rotate`, { method: "POST" });
  assertEquals(rotated.status, 200);
  assertEquals(rotated.headers["cache-control"], "no-store");
  const { token, ...rest } = schemas.ClientWithTokenBody.parse(JSON.parse(rotated.text));
  assertEquals(rest, { name: "ci-1", created_at: client.created_at });
  assertEquals(api.control.clientByToken(client.token), undefined);
  assertEquals(api.control.clientByToken(token)?.name, "ci-1");

  const deleted = await api.call(`${V1}/clients/ci-1`, { method: "DELETE" });
  assertEquals([deleted.status, deleted.text], [204, ""]);
  assertEquals(api.control.clientByToken(token), undefined);
});

Deno.test("clients: a token of one's own is used and answered", async () => {
  await using api = await TestApi.start();
  const token = "my-own-token-16c";
  const created = await api.call(`${V1}/clients`, { body: { name: "a", token } });
  assertEquals([created.status, JSON.parse(created.text).token], [201, token]);
  const taken = await api.call(`${V1}/clients`, { body: { name: "b", token } });
  assertEquals(taken.status, 409);
  assertEquals(taken.text.includes(token), false);
});

Deno.test("secrets: stored, listed, replaced with force and deleted, the value never answered", async () => {
  await using api = await TestApi.start();
  const secret = {
    name: "llm-key",
    host: "API.example.com",
    value: "sk-planted-value",
    source_file: "/srv/key",
  };
  const created = await api.call(`${V1}/secrets`, { body: secret });
  assertEquals(created.status, 201);
  const { created_at, ...rest } = schemas.SecretBody.parse(JSON.parse(created.text));
  assertMatch(created_at, RFC3339);
  assertEquals(rest, { name: "llm-key", host: "api.example.com", type: "bearer" });
  assertEquals(api.control.secretValue("llm-key")?.value, "sk-planted-value");
  assertEquals(api.control.secretValue("llm-key")?.record.sourceFile, "/srv/key");

  assertEquals((await api.call(`${V1}/secrets`, { body: secret })).status, 409);
  const replaced = await api.call(`${V1}/secrets`, {
    body: { ...secret, type: "basic-auth", value: "user:planted-value", force: true, cleartext: true },
  });
  const body = schemas.SecretBody.parse(JSON.parse(replaced.text));
  assertEquals([replaced.status, body.type, body.created_at], [201, "basic", created_at]);
  assertMatch(body.updated_at ?? "", RFC3339);
  assertEquals(api.control.getSecret("llm-key")?.cleartext, true);

  const list = await api.call(`${V1}/secrets`);
  assertEquals(JSON.parse(list.text), [body]);
  for (const { text } of [created, replaced, list]) assertEquals(/planted|srv/.test(text), false);

  assertEquals((await api.call(`${V1}/secrets/llm-key`, { method: "DELETE" })).status, 204);
  assertEquals((await api.call(`${V1}/secrets`)).text, "[]");
});

Deno.test("allows: rules are answered in canonical form and listed in declaration order", async () => {
  await using api = await TestApi.start();
  await api.control.createClient("ci-1");
  await api.call(`${V1}/secrets`, { body: { name: "key", host: "*.example.com", value: "v" } });
  const before = Date.now();
  const first = await api.call(`${V1}/allows`, {
    body: {
      client: "ci-1",
      host: "Api.Example.com.",
      secret: "key",
      methods: ["post", "GET", "get"],
      paths: ["/v1/*"],
      ports: [8443, 443],
      ttl_seconds: 6_000,
    },
  });
  assertEquals(first.status, 201);
  const { expires, ...rule } = schemas.RuleBody.parse(JSON.parse(first.text));
  assertEquals(rule, {
    host: "api.example.com",
    secret: "key",
    methods: ["GET", "POST"],
    paths: ["/v1/*"],
    ports: [443, 8443],
  });
  const left = Date.parse(expires ?? "") - before;
  assertEquals(left >= 6_000_000 && left < 6_010_000, true);

  const second = await api.call(`${V1}/allows`, {
    body: { client: "ci-1", host: "a.example.org", methods: [], ttl_seconds: 0, passthrough: false },
  });
  assertEquals(second.text, '{"host":"a.example.org"}');
  const third = await api.call(`${V1}/allows`, {
    body: { client: "ci-1", host: "db.internal", ports: [5432], passthrough: true },
  });
  assertEquals(JSON.parse(third.text), { host: "db.internal", ports: [5432], passthrough: true });

  const options = { one_request_per_connection: true, response_timeout_seconds: 3_600 };
  const fourth = await api.call(`${V1}/allows`, { body: { client: "ci-1", host: "slow.test", ...options } });
  assertEquals(JSON.parse(fourth.text), { host: "slow.test", ...options });
  const same = await api.call(`${V1}/allows`, { body: { client: "ci-1", host: "slow.test" } });
  assertEquals(same.status, 409);

  const rules = await api.call(`${V1}/clients/ci-1`);
  assertEquals(rules.status, 200);
  assertEquals(JSON.parse(rules.text), [first, second, third, fourth].map(({ text }) => JSON.parse(text)));
});

Deno.test("allows: revoking a host takes it escaped or literal", async (t) => {
  await using api = await TestApi.start();
  await api.control.createClient("ci-1");
  const hosts: [host: string, asSent: string][] = [
    ["api.example.com", "api.example.com"],
    ["api.example.com", "API.Example.COM."],
    ["api.example.com", "%61pi.example.com"],
    ["*", "*"],
    ["*", "%2A"],
    ["*.example.com", "*.example.com"],
    ["*.example.com", "%2a%2Eexample.com"],
    ["192.0.2.1", "192.0.2.1"],
    ["2001:db8::1", "2001:db8::1"],
    ["2001:db8::1", "2001%3Adb8%3A0%3A%3A1"],
    ["2001:db8::1", "[2001:db8::1]"],
    ["2001:db8::1", "%5B2001:db8::1%5D"],
    ["b\u00fccher.example", "b%C3%BCcher.example"],
    ["revoke", "revoke"],
  ];
  for (const [host, asSent] of hosts) {
    await t.step(`${host} as ${asSent}`, async () => {
      for (const ports of [[], [8443]]) {
        assertEquals((await api.call(`${V1}/allows`, { body: { client: "ci-1", host, ports } })).status, 201);
      }
      const revoked = await api.call(`${V1}/allows/ci-1/${asSent}`, { method: "DELETE" });
      assertEquals([revoked.status, revoked.text], [204, ""]);
      assertEquals((await api.call(`${V1}/clients/ci-1`)).text, "[]");
    });
  }
});

Deno.test("allows: revoking by fields removes exactly that rule", async () => {
  await using api = await TestApi.start();
  await api.control.createClient("ci-1");
  for (const paths of [["/a"], ["/b"], []]) {
    await api.call(`${V1}/allows`, { body: { client: "ci-1", host: "h.example", paths, ttl_seconds: 60 } });
  }
  const revoked = await api.call(`${V1}/allows/revoke`, {
    body: { client: "ci-1", host: "H.example", paths: ["/b"] },
  });
  assertEquals([revoked.status, revoked.text], [204, ""]);
  const rules = JSON.parse((await api.call(`${V1}/clients/ci-1`)).text);
  assertEquals(rules.map(({ paths }: { paths?: string[] }) => paths), [["/a"], undefined]);
});

Deno.test("every call refuses what its row of the contract says", async (t) => {
  await using api = await TestApi.start();
  await api.call(`${V1}/clients`, { body: { name: "taken" } });
  await api.call(`${V1}/secrets`, { body: { name: "taken", host: "*.example.com", value: "v" } });
  await api.call(`${V1}/allows`, { body: { client: "taken", host: "api.example.com", secret: "taken" } });
  const rule = { client: "taken", host: "x.example.com" };
  const secret = { name: "new", host: "api.example.com", value: "sk-planted" };
  const rows: [name: string, method: string, path: string, body: unknown, status: number, says: string][] = [
    ["client: name taken", "POST", "/clients", { name: "taken" }, 409, "the name is taken"],
    ["client: no name", "POST", "/clients", {}, 400, "name: "],
    ["client: empty name", "POST", "/clients", { name: "" }, 400, "name: must not be empty"],
    ["client: hostile name", "POST", "/clients", { name: "a/b" }, 400, "as a client name"],
    ["client: name is a number", "POST", "/clients", { name: 7 }, 400, "name: "],
    ["client: empty token", "POST", "/clients", { name: "a", token: "" }, 400, "token: must not be empty"],
    ["client: a token with a blank", "POST", "/clients", { name: "a", token: "a b" }, 400, "this token"],
    ["client: unknown field", "POST", "/clients", { name: "a", tokn: "x" }, 400, 'unknown field "tokn"'],
    [
      "client: a name of objects",
      "POST",
      "/clients",
      JSON.parse('{"name":"a","__proto__":1}'),
      400,
      "__proto__",
    ],
    ["client: a list", "POST", "/clients", [{ name: "a" }], 400, "the body: "],
    ["client: null", "POST", "/clients", null, 400, "the body: "],
    ["client: rules of nobody", "GET", "/clients/nobody", undefined, 404, "unknown client"],
    ["client: deleting nobody", "DELETE", "/clients/nobody", undefined, 404, "unknown client"],
    ["client: rotating nobody", "POST", "/clients/nobody/rotate", undefined, 404, "unknown client"],
    ["client: hostile name in the path", "GET", "/clients/%0d%0a%1b[31m", undefined, 404, "unknown client"],
    ["secret: name taken", "POST", "/secrets", { ...secret, name: "taken" }, 409, "the name is taken"],
    ["secret: hostile name", "POST", "/secrets", { ...secret, name: ".." }, 400, "as a secret name"],
    ["secret: any host", "POST", "/secrets", { ...secret, host: "*" }, 400, "Cannot bind a secret"],
    ["secret: host with a scheme", "POST", "/secrets", { ...secret, host: "https://x" }, 400, "as a host"],
    ["secret: unknown type", "POST", "/secrets", { ...secret, type: "magic" }, 400, "as a secret type"],
    ["secret: empty type", "POST", "/secrets", { ...secret, type: "" }, 400, "type: must not be empty"],
    ["secret: no value", "POST", "/secrets", { name: "a", host: "x.example" }, 400, "value: "],
    ["secret: empty value", "POST", "/secrets", { ...secret, value: "" }, 400, "value: must not be empty"],
    ["secret: CR", "POST", "/secrets", { ...secret, value: "sk-planted\rX: y" }, 400, "line breaks"],
    ["secret: LF", "POST", "/secrets", { ...secret, value: "sk-planted\nX: y" }, 400, "line breaks"],
    ["secret: NUL", "POST", "/secrets", { ...secret, value: "sk-planted\0" }, 400, "control characters"],
    [
      "secret: framing header",
      "POST",
      "/secrets",
      { ...secret, type: "header", value: "Transfer-Encoding: planted" },
      400,
      "Cannot use header",
    ],
    [
      "secret: hop-by-hop header",
      "POST",
      "/secrets",
      { ...secret, type: "header", value: "Proxy-Auth: planted" },
      400,
      "Cannot use header",
    ],
    ["secret: unknown field", "POST", "/secrets", { ...secret, ttl: 1 }, 400, 'unknown field "ttl"'],
    ["secret: force is text", "POST", "/secrets", { ...secret, force: "yes" }, 400, "force: "],
    ["secret: deleting nothing", "DELETE", "/secrets/nothing", undefined, 404, "unknown secret"],
    ["rule: unknown client", "POST", "/allows", { ...rule, client: "nobody" }, 400, "unknown client"],
    ["rule: unknown secret", "POST", "/allows", { ...rule, secret: "nothing" }, 400, "unknown secret"],
    [
      "rule: host outside the secret's",
      "POST",
      "/allows",
      { ...rule, host: "a.org", secret: "taken" },
      400,
      "bound to",
    ],
    [
      "rule: duplicate",
      "POST",
      "/allows",
      { client: "taken", host: "api.example.com" },
      409,
      "this rule already",
    ],
    ["rule: unknown field", "POST", "/allows", { ...rule, path: "/a" }, 400, 'unknown field "path"'],
    ["rule: no host", "POST", "/allows", { client: "taken" }, 400, "host: "],
    ["rule: empty host", "POST", "/allows", { ...rule, host: "" }, 400, "host: must not be empty"],
    ["rule: empty path", "POST", "/allows", { ...rule, paths: [""] }, 400, "paths[0]: must not be empty"],
    [
      "rule: empty method",
      "POST",
      "/allows",
      { ...rule, methods: ["GET", ""] },
      400,
      "methods[1]: must not be",
    ],
    ["rule: empty secret", "POST", "/allows", { ...rule, secret: "" }, 400, "secret: must not be empty"],
    ["rule: null list", "POST", "/allows", { ...rule, methods: null }, 400, "methods: "],
    ["rule: port 0", "POST", "/allows", { ...rule, ports: [0] }, 400, "ports[0]: "],
    ["rule: port 65536", "POST", "/allows", { ...rule, ports: [65_536] }, 400, "ports[0]: "],
    ["rule: port as text", "POST", "/allows", { ...rule, ports: ["443"] }, 400, "ports[0]: "],
    ["rule: negative ttl", "POST", "/allows", { ...rule, ttl_seconds: -1 }, 400, "ttl_seconds: "],
    ["rule: half a second", "POST", "/allows", { ...rule, ttl_seconds: 0.5 }, 400, "ttl_seconds: "],
    [
      "rule: ttl over ten years",
      "POST",
      "/allows",
      { ...rule, ttl_seconds: 315_360_001 },
      400,
      "ttl_seconds: ",
    ],
    ["rule: bad path", "POST", "/allows", { ...rule, paths: ["v1"] }, 400, "as a path"],
    [
      "rule: passthrough with paths",
      "POST",
      "/allows",
      { ...rule, paths: ["/a"], passthrough: true },
      400,
      "Cannot use passthrough",
    ],
    ["revoke: ttl is no part", "POST", "/allows/revoke", { ...rule, ttl_seconds: 1 }, 400, "unknown field"],
    [
      "revoke: unknown client",
      "POST",
      "/allows/revoke",
      { ...rule, client: "nobody" },
      404,
      "unknown client",
    ],
    ["revoke: no such rule", "POST", "/allows/revoke", rule, 404, "no such rule"],
    ["revoke: bad host", "POST", "/allows/revoke", { ...rule, host: "a b" }, 400, "as a host"],
    ["revoke host: no rule", "DELETE", "/allows/taken/x.example.com", undefined, 404, "no rule for host"],
    [
      "revoke host: unknown client",
      "DELETE",
      "/allows/nobody/x.example.com",
      undefined,
      404,
      "unknown client",
    ],
    ["revoke host: none", "DELETE", "/allows/taken/a%2fb", undefined, 400, "as a host"],
    ["revoke host: bad escape", "DELETE", "/allows/taken/%zz", undefined, 400, "as a host"],
  ];
  for (const [name, method, path, body, status, says] of rows) {
    await t.step(name, async () => {
      const answer = await api.call(V1 + path, { method, body });
      assertEquals(answer.status, status, answer.text);
      assertStringIncludes(answer.text, says);
      assertMatch(answer.headers["content-type"] ?? "", /^text\/plain/);
      assertMatch(answer.text, /^[ -~]+\n(hint: [ -~]+\n)?$/);
      assertEquals(answer.text.includes("planted"), false);
    });
  }
  assertEquals(api.control.listRules("taken").length, 1);
  assertEquals(api.logged, []);
});

Deno.test("allows: a rule is put before another, and one that is hidden says so", async () => {
  await using api = await TestApi.start();
  await api.call(`${V1}/clients`, { body: { name: "ci-1" } });
  const add = (body: Record<string, unknown>) =>
    api.call(`${V1}/allows`, { body: { client: "ci-1", ...body } });
  assertEquals(JSON.parse((await add({ host: "*.a.test" })).text), { host: "*.a.test" });
  const { warnings } = JSON.parse((await add({ host: "x.a.test" })).text);
  assertEquals(warnings, ["rule 1 matches first all that it matches"]);
  assertEquals(JSON.parse((await add({ host: "y.a.test", before: 1 })).text), { host: "y.a.test" });
  const listed = JSON.parse((await api.call(`${V1}/clients/ci-1`)).text);
  assertEquals(listed, [
    { host: "y.a.test" },
    { host: "*.a.test" },
    { host: "x.a.test", warnings: ["rule 2 matches first all that it matches"] },
  ]);
  for (const before of [0, 5, 1.5, "1"]) assertEquals((await add({ host: "z.test", before })).status, 400);
});

Deno.test("limits of rules are taken just inside", async (t) => {
  await using api = await TestApi.start();
  await api.control.createClient("c");
  const rows: [string, Record<string, unknown>][] = [
    ["port 1 and 65535", { host: "a.example", ports: [1, 65_535] }],
    ["ttl of one second", { host: "b.example", ttl_seconds: 1 }],
    ["ttl of ten years", { host: "c.example", ttl_seconds: 315_360_000 }],
  ];
  for (const [name, fields] of rows) {
    await t.step(name, async () => {
      assertEquals((await api.call(`${V1}/allows`, { body: { client: "c", ...fields } })).status, 201);
    });
  }
});

Deno.test("fleet lists the hosts, and which of them answers", async () => {
  await using api = await TestApi.start();
  const { hosts, ...rest } = FleetBody.parse(JSON.parse((await api.call(`${V1}/fleet`)).text));
  assertEquals(rest, {
    ...{ name: "default", host: "host-1", sequence: 71, behind: 2, behind_seconds: 1.25, more_hosts: false },
    ...{ store_away_since: "2026-01-02T03:04:06.000Z", listed_at: "2026-01-02T03:04:05.000Z" },
  });
  assertEquals(hosts.map(({ name, is_this, state, behind }) => [name, is_this, state, behind]), [
    ["host-1", true, "live", 0],
    ["host-2", false, "late", 1],
    ["host-3", false, "denies", 2],
  ]);
  assertEquals(hosts[1], {
    ...{ name: "host-2", is_this: false, state: "late", version: "1.2.3" },
    ...{ since: "2026-01-02T00:00:00.000Z", last_seen: "2026-01-02T03:04:04.000Z" },
    ...{ sequence: 72, behind: 1, behind_seconds: 1.5, open_connections: 82, open_tunnels: 83 },
    requests: { allow: 83, deny: 84, passthrough: 85 },
  });
});

Deno.test("status says what runs and what it holds", async () => {
  await using api = await TestApi.start();
  await api.control.createClient("a");
  await api.call(`${V1}/secrets`, { body: { name: "s", host: "x.example", value: "v" } });
  await api.call(`${V1}/allows`, { body: { client: "a", host: "x.example" } });
  const answer = await api.call(`${V1}/status`);
  assertEquals(StatusBody.parse(JSON.parse(answer.text)), {
    version: "1.2.3",
    started_at: "2026-01-02T03:04:05.000Z",
    uptime_seconds: 61,
    mode: "audit",
    hostgroup: "sbox",
    bind: "192.168.222.1",
    binds: ["192.168.222.1"],
    http_port: 3128,
    https_port: 3129,
    clients: 1,
    secrets: 1,
    rules: 1,
    rules_with_warnings: 1,
    suspended_clients: 0,
    open_connections: 7,
    max_connections: 4_700,
    open_tunnels: 5,
    idle_upstreams: 3,
    tls_listeners: 2,
    workers: 4,
    replaced_workers: 1,
    requests: { allow: 11, deny: 12, passthrough: 13 },
    denials: { "no-rule": 10, quota: 2 },
    failures: { dns: 4 },
    responses: { "1xx": 1, "2xx": 2, "3xx": 3, "4xx": 4, "5xx": 5 },
    renewals: { renewed: 14, adopted: 15, failed: 16, refused: 17 },
    names: { questions: 61, failures: 62, cache_hits: 63, stale_answers: 64 },
    upstream_proxies: [{ hosts: "*", url: "http://proxy.corp:3128" }],
    dead_addresses: [{ place: "up.test:443", address: "2001:db8::1", instead: "192.0.2.1" }],
    sent_bytes: 100,
    received_bytes: 200,
    credential_echoes: 0,
    certificates: { entries: 21, hits: 22, misses: 23, minted: 3, mint_failures: 24 },
    audit_log: {
      ...{ writable: true, queued: 31, write_failures: 32, coalesced: 33 },
      otlp: { queued: 34, sent: 35, dropped: 36, failures: 37, failing: "it answered with 503" },
    },
    store: { writes: 3, write_failures: 41, database_bytes: 42 },
    process: {
      started_at: "2026-01-02T03:04:04.000Z",
      cpu_seconds: 1.5,
      resident_bytes: 51,
      open_fds: 52,
      max_fds: 53,
    },
    upstream_cas: [{ host: "*.corp.example", file: "corp.pem", certificates: 2, error: "bad" }],
    secret_errors: [],
    rules_without_secret: [],
    fleet: {
      ...{ name: "default", host: "host-1", sequence: 71, behind: 2, behind_seconds: 1.25 },
      ...{ store_away_since: "2026-01-02T03:04:06.000Z", listed_at: "2026-01-02T03:04:05.000Z" },
      hosts: { live: 1, late: 1, denies: 1 },
      // Not of the third, which denies everything.
      ...{ open_connections: 81 + 82, open_tunnels: 82 + 83 },
      requests: { allow: 2 * 83, deny: 2 * 84, passthrough: 2 * 85 },
    },
  });
  const health = await api.call("/healthz");
  assertEquals([health.status, health.text], [200, "ok"]);
});
