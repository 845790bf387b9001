import type { CaDesk, CaReport, RequestDesk } from "../../../api/control.ts";
import { type ErrorCode, ProxyError } from "../../../core/errors.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { createApp } from "../../../api/app.ts";
import { type CallOptions, NO_DESK, REPORT, TestApi, TOKEN } from "./support.ts";

interface Operation {
  readonly operationId: string;
  readonly responses: Record<string, { content?: Record<string, unknown> }>;
  readonly requestBody?: unknown;
}

interface Document {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly security: unknown;
  readonly components: { readonly securitySchemes: unknown; readonly schemas: Record<string, unknown> };
  readonly paths: Record<string, Record<string, Operation>>;
}

const V1 = "/proxy/v1";

async function documentOf(api: TestApi): Promise<Document> {
  return JSON.parse((await api.call(`${V1}/openapi.json`)).text);
}

Deno.test("openapi.json describes every route of the app and no other", async () => {
  await using api = await TestApi.start();
  const document = await documentOf(api);
  const app = createApp({
    control: api.control,
    audit: api.audit,
    secrets: NO_DESK,
    status: () => REPORT,
    log: { error: () => {} },
  });
  const routes = app.routes.filter(({ method }) => method !== "ALL").map(({ method, path }) =>
    `${method} ${path.replace(/:(\w+)/g, "{$1}")}`
  );
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`)
  );
  assertEquals([...new Set(routes)].sort(), described.sort());
  assertEquals(described, [
    "DELETE /proxy/v1/allows/{client}/{host}",
    "DELETE /proxy/v1/clients/{name}",
    "DELETE /proxy/v1/seal-key/rotation",
    "DELETE /proxy/v1/secrets/{name}",
    "DELETE /proxy/v1/suspensions/all",
    "GET /healthz",
    "GET /metrics",
    "GET /proxy/v1/audit",
    "GET /proxy/v1/ca",
    "GET /proxy/v1/clients",
    "GET /proxy/v1/clients/{name}",
    "GET /proxy/v1/clients/{name}/budget",
    "GET /proxy/v1/clients/{name}/suggestions",
    "GET /proxy/v1/fleet",
    "GET /proxy/v1/mode",
    "GET /proxy/v1/openapi.json",
    "GET /proxy/v1/policy",
    "GET /proxy/v1/profiles",
    "GET /proxy/v1/requests",
    "GET /proxy/v1/seal-key",
    "GET /proxy/v1/secrets",
    "GET /proxy/v1/secrets/{name}",
    "GET /proxy/v1/status",
    "GET /proxy/v1/suspensions",
    "POST /proxy/v1/allows",
    "POST /proxy/v1/allows/move",
    "POST /proxy/v1/allows/profile",
    "POST /proxy/v1/allows/revoke",
    "POST /proxy/v1/ca",
    "POST /proxy/v1/clients",
    "POST /proxy/v1/clients/{name}/explain",
    "POST /proxy/v1/clients/{name}/resume",
    "POST /proxy/v1/clients/{name}/rotate",
    "POST /proxy/v1/clients/{name}/suspend",
    "POST /proxy/v1/policy/apply",
    "POST /proxy/v1/policy/test",
    "POST /proxy/v1/requests/{id}/approve",
    "POST /proxy/v1/requests/{id}/deny",
    "POST /proxy/v1/seal-key/rotate",
    "POST /proxy/v1/secrets",
    "POST /proxy/v1/secrets/{name}/test",
    "POST /proxy/v1/suspensions/all",
    "POST /proxy/v1/ui/links",
    "PUT /proxy/v1/clients/{name}/budget",
    "PUT /proxy/v1/mode",
  ]);
  assertEquals([document.openapi, document.info.title, document.info.version], [
    "3.1.0",
    "Slicer Proxy",
    "1.2.3",
  ]);
  assertEquals(document.security, [{ token: [] }, {}]);
  assertEquals(Object.keys(document.components.securitySchemes as object), ["token"]);
});

Deno.test("openapi.json: every reference leads somewhere, and no response schema has a value or a token but two", async () => {
  await using api = await TestApi.start();
  const document = await documentOf(api);
  const text = JSON.stringify(document);
  for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)) {
    assert(name && name in document.components.schemas, name);
  }
  const withToken = Object.entries(document.components.schemas).filter(([, schema]) =>
    /"(token|value)":/.test(JSON.stringify(schema))
  );
  assertEquals(withToken.map(([name]) => name).sort(), [
    "ClientWithToken",
    "NewClientRequest",
    "NewSecretRequest",
  ]);
});

Deno.test("openapi.json: its ETag saves sending it again", async () => {
  await using api = await TestApi.start();
  const first = await api.call(`${V1}/openapi.json`);
  const etag = first.headers["etag"] ?? "";
  assertMatch(etag, /^"[^"]+"$/);
  assertEquals(first.headers["cache-control"], "no-cache");
  for (const condition of [etag, `"other", ${etag}`, `W/${etag}`, "*"]) {
    const again = await api.call(`${V1}/openapi.json`, { headers: { "if-none-match": condition } });
    assertEquals([again.status, again.text, again.headers["etag"]], [304, "", etag]);
  }
  const changed = await api.call(`${V1}/openapi.json`, { headers: { "if-none-match": '"other"' } });
  assertEquals([changed.status, changed.text], [200, first.text]);
});

/** One call for each response that is described, by operation. Made in this order. */
const CALLS: readonly [operation: string, status: number, path: string, options?: CallOptions][] = [
  ["createClient", 201, "/clients", { body: { name: "c" } }],
  ["createClient", 400, "/clients", { body: {} }],
  ["createClient", 409, "/clients", { body: { name: "c" } }],
  ["listClients", 200, "/clients"],
  ["rotateClient", 200, "/clients/c/rotate", { method: "POST" }],
  ["rotateClient", 404, "/clients/nobody/rotate", { method: "POST" }],
  ["createSecret", 201, "/secrets", { body: { name: "s", host: "x.example", value: "v" } }],
  ["createSecret", 400, "/secrets", { body: { name: "s", host: "x.example" } }],
  ["createSecret", 409, "/secrets", { body: { name: "s", host: "x.example", value: "v" } }],
  ["listSecrets", 200, "/secrets"],
  ["addRule", 201, "/allows", { body: { client: "c", host: "x.example", secret: "s" } }],
  ["addRule", 400, "/allows", { body: { client: "nobody", host: "x.example" } }],
  ["addRule", 409, "/allows", { body: { client: "c", host: "x.example" } }],
  ["listRules", 200, "/clients/c"],
  ["listRules", 404, "/clients/nobody"],
  ["moveRule", 204, "/allows/move", { body: { client: "c", from: 1, before: 1 } }],
  ["moveRule", 400, "/allows/move", { body: { client: "c", from: 0 } }],
  ["moveRule", 404, "/allows/move", { body: { client: "c", from: 2 } }],
  ["explainRequest", 200, "/clients/c/explain", { body: { method: "GET", url: "https://x.example/" } }],
  ["explainRequest", 200, "/clients/c/explain", { body: { method: "GET", url: "https://y.example/" } }],
  ["explainRequest", 400, "/clients/c/explain", { body: { method: "GET", url: "x.example" } }],
  ["explainRequest", 404, "/clients/nobody/explain", { body: { method: "GET", url: "https://x.example/" } }],
  ["setBudget", 204, "/clients/c/budget", { method: "PUT", body: { budget: ["requests=5/h"] } }],
  ["setBudget", 400, "/clients/c/budget", { method: "PUT", body: { budget: ["requests"] } }],
  ["setBudget", 404, "/clients/nobody/budget", { method: "PUT", body: { budget: [] } }],
  ["getBudget", 200, "/clients/c/budget"],
  ["getBudget", 404, "/clients/nobody/budget"],
  ["listProfiles", 200, "/profiles"],
  ["addProfile", 200, "/allows/profile", { body: { client: "c", profile: "pip", dry_run: true } }],
  ["addProfile", 201, "/allows/profile", { body: { client: "c", profile: "pip@1" } }],
  ["addProfile", 400, "/allows/profile", { body: { client: "c", profile: "pip@9" } }],
  ["addProfile", 409, "/allows/profile", { body: { client: "c", profile: "pip@1" } }],
  ["listRequests", 200, "/requests"],
  ["approveRequest", 200, "/requests/waits/approve", { body: {} }],
  ["approveRequest", 400, "/requests/waits/approve", { body: { for_seconds: 5, always: true } }],
  ["approveRequest", 507, "/requests/full/approve", { body: { for_seconds: 5 } }],
  ["approveRequest", 404, "/requests/gone/approve", { body: {} }],
  ["approveRequest", 409, "/requests/taken/approve", { body: { always: true } }],
  ["denyRequest", 204, "/requests/waits/deny", { method: "POST" }],
  ["denyRequest", 404, "/requests/gone/deny", { method: "POST" }],
  ["getCa", 200, "/ca"],
  ["getCa", 400, "/ca?group=x"],
  ["getCa", 404, "/ca?hostgroup=gone"],
  ["importCa", 200, "/ca", { body: { certificate: "c", private_key: "k" } }],
  ["importCa", 400, "/ca", { body: { certificate: "c" } }],
  ["importCa", 409, "/ca", { body: { hostgroup: "taken", certificate: "c", private_key: "k" } }],
  ["importCa", 507, "/ca", { body: { hostgroup: "full", certificate: "c", private_key: "k" } }],
  ["suspendClient", 204, "/clients/c/suspend", { method: "POST" }],
  ["suspendClient", 404, "/clients/nobody/suspend", { method: "POST" }],
  ["suspendAll", 204, "/suspensions/all", { method: "POST" }],
  ["listSuspensions", 200, "/suspensions"],
  ["resumeAll", 204, "/suspensions/all", { method: "DELETE" }],
  ["resumeClient", 204, "/clients/c/resume", { method: "POST" }],
  ["resumeClient", 404, "/clients/nobody/resume", { method: "POST" }],
  ["revokeRule", 400, "/allows/revoke", { body: { client: "c" } }],
  ["revokeRule", 404, "/allows/revoke", { body: { client: "c", host: "y.example" } }],
  ["revokeRule", 204, "/allows/revoke", { body: { client: "c", host: "x.example" } }],
  ["revokeHost", 404, "/allows/c/x.example", { method: "DELETE" }],
  ["revokeHost", 400, "/allows/c/a%20b", { method: "DELETE" }],
  ["addRule", 201, "/allows", { body: { client: "c", host: "x.example" } }],
  ["revokeHost", 204, "/allows/c/x.example", { method: "DELETE" }],
  ["suggestRules", 200, "/clients/c/suggestions?since=15m&exact=1"],
  ["suggestRules", 400, "/clients/c/suggestions?since=yesterday"],
  ["suggestRules", 404, "/clients/nobody/suggestions"],
  ["testPolicy", 200, "/policy/test", { body: { policy: "version: 1\nclients: {}\n" } }],
  ["testPolicy", 400, "/policy/test", { body: { policy: "version: 2" } }],
  ["showSecret", 200, "/secrets/s", {}],
  ["showSecret", 404, "/secrets/nobody", {}],
  ["testSecret", 200, "/secrets/s/test", { body: {} }],
  ["testSecret", 400, "/secrets/s/test", { body: { url: 5 } }],
  ["testSecret", 404, "/secrets/nobody/test", { body: {} }],
  ["getSealKey", 200, "/seal-key"],
  ["cancelSealKeyRotation", 404, "/seal-key/rotation", { method: "DELETE" }],
  ["rotateSealKey", 200, "/seal-key/rotate", { body: {} }],
  ["rotateSealKey", 400, "/seal-key/rotate", { body: { key_file: "/none" } }],
  ["deleteSecret", 204, "/secrets/s", { method: "DELETE" }],
  ["deleteSecret", 404, "/secrets/s", { method: "DELETE" }],
  ["deleteClient", 204, "/clients/c", { method: "DELETE" }],
  ["deleteClient", 404, "/clients/c", { method: "DELETE" }],
  ["createUiLink", 201, "/ui/links", { method: "POST" }],
  ["createUiLink", 400, "/ui/links?manage=maybe", { method: "POST" }],
  ["exportPolicy", 200, "/policy"],
  ["exportPolicy", 200, "/policy", { headers: { accept: "application/json" } }],
  ["applyPolicy", 200, "/policy/apply", { body: { policy: "version: 1\nclients: { c: { allow: [] } }" } }],
  ["applyPolicy", 400, "/policy/apply", { body: { policy: "version: 2" } }],
  ["deleteClient", 204, "/clients/c", { method: "DELETE" }],
  ["readAudit", 200, "/audit"],
  ["readAudit", 200, "/audit", { headers: { accept: "text/event-stream" } }],
  ["readAudit", 400, "/audit?since=yesterday"],
  ["switchMode", 200, "/mode", { method: "PUT", body: { mode: "audit", ttl_seconds: 900 } }],
  ["switchMode", 400, "/mode", { method: "PUT", body: { mode: "loud" } }],
  ["switchMode", 404, "/mode", { method: "PUT", body: { mode: "audit", client: "nobody" } }],
  ["getMode", 200, "/mode"],
  ["getStatus", 200, "/status"],
  ["getFleet", 200, "/fleet"],
  ["getHealth", 200, "/../../healthz"],
  ["getMetrics", 200, "/../../metrics"],
  ["getOpenApi", 200, "/openapi.json"],
  ["getOpenApi", 304, "/openapi.json", { headers: { "if-none-match": "*" } }],
];

/** How a desk fails, by the id that is asked for. */
const FAULTS: Readonly<Record<string, ErrorCode>> = {
  gone: "input.not-found",
  taken: "input.conflict",
  full: "state.write-failed",
};

function failFor(id: string): void {
  const code = FAULTS[id];
  if (code) throw new ProxyError(code, "Cannot decide about it");
}

const DESK: RequestDesk = {
  list: () => [{
    ...{ id: "waits", client: "c", method: "GET", scheme: "https", host: "x.example", port: 443, path: "/" },
    ...{ query: "a=b", sinceMs: 0, untilMs: 1 },
  }],
  approve: (id) => Promise.resolve().then(() => failFor(id)).then(() => undefined),
  deny: failFor,
};

const CA: CaReport = {
  ...{ hostgroup: "sbox", from: "store", certPem: "pem", subject: "CN=x", fingerprint: "AB", serial: "1" },
  ...{ notBefore: new Date(0).toISOString(), notAfter: new Date(1).toISOString(), keyType: "EC P-256" },
  ...{ importedAt: 0, renewedAt: 1 },
};

const CAS: CaDesk = {
  show: (hostgroup = "") => Promise.resolve().then(() => failFor(hostgroup)).then(() => CA),
  import: ({ hostgroup = "" }) =>
    Promise.resolve().then(() => failFor(hostgroup)).then(() => ({ ca: CA, replaced: "CD" })),
};

Deno.test("openapi.json: every response that is described is given, in the type that is described", async () => {
  await using api = await TestApi.start({ tcp: {}, requests: DESK, cas: CAS });
  const document = await documentOf(api);
  const operations = new Map(
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) =>
        [operation.operationId, { path, method: method.toUpperCase(), operation }] as const
      )
    ),
  );
  const given = new Map([...operations.keys()].map((id) => [id, new Set(["default"])]));
  const check = async (id: string, status: number, path: string, options: CallOptions = {}) => {
    const answer = await api.callTcp(path, options);
    assertEquals(answer.status, status, `${id} ${answer.text}`);
    const type = answer.headers["content-type"]?.split(";")[0];
    const described = Object.keys(operations.get(id)?.operation.responses[status]?.content ?? {});
    assertEquals(
      type === undefined ? [] : [type],
      described.filter((each) => each === type),
      `${id} ${status}`,
    );
    if (type === undefined) assertEquals(described, [], `${id} ${status}`);
    given.get(id)?.add(String(status));
  };
  for (const [id, status, path, options] of CALLS) {
    await check(id, status, path.startsWith("/..") ? path.slice(6) : V1 + path, options);
  }

  const inForce = { key_file: `${api.dir}/state/mk` };
  await check("rotateSealKey", 409, `${V1}/seal-key/rotate`, { body: inForce });

  for (const [id, { path, method, operation }] of operations) {
    const called = { method, ...(operation.requestBody ? { body: {} } : {}) };
    await check(id, 401, path, { ...called, headers: { authorization: "" } });
    await check(id, 403, path, { ...called, headers: { origin: "null" } });
    await check(id, 421, path, { ...called, headers: { host: "evil.example" } });
    if (!operation.requestBody) continue;
    await check(id, 413, path, { method, body: " ".repeat(4 * 1_048_576 + 1) });
    await check(id, 415, path, { method, body: "{}", headers: { "content-type": "text/plain" } });
  }

  const client = await api.control.createClient("c");
  await api.control.putSecret(
    { name: "s", host: "x.example", type: "bearer", value: "v", cleartext: false },
    { force: false },
  );
  for (const host of ["a.example", "b.example"]) {
    await api.control.addRule("c", { host, methods: [], paths: [], ports: [], passthrough: false });
  }
  await api.control.createClient("idle");
  await api.control.suspend("idle");
  await api.control.suspend(undefined);
  await Deno.remove(`${api.dir}/state/state.kv`);
  const writes: [string, string, CallOptions][] = [
    ["createClient", "/clients", { body: { name: "d" } }],
    ["rotateClient", "/clients/c/rotate", { method: "POST" }],
    ["rotateSealKey", "/seal-key/rotate", { body: {} }],
    ["createSecret", "/secrets", { body: { name: "t", host: "x.example", value: "v" } }],
    ["addRule", "/allows", { body: { client: "c", host: "x.example" } }],
    ["addProfile", "/allows/profile", { body: { client: "c", profile: "go" } }],
    ["moveRule", "/allows/move", { body: { client: "c", from: 2, before: 1 } }],
    ["setBudget", "/clients/c/budget", { method: "PUT", body: { budget: ["requests=5/h"] } }],
    ["suspendClient", "/clients/c/suspend", { method: "POST" }],
    ["resumeClient", "/clients/idle/resume", { method: "POST" }],
    ["resumeAll", "/suspensions/all", { method: "DELETE" }],
    ["revokeRule", "/allows/revoke", { body: { client: "c", host: "a.example" } }],
    ["revokeHost", "/allows/c/b.example", { method: "DELETE" }],
    ["deleteSecret", "/secrets/s", { method: "DELETE" }],
    ["deleteClient", "/clients/c", { method: "DELETE" }],
    ["applyPolicy", "/policy/apply", { body: { policy: "version: 1\nclients: { d: { allow: [] } }" } }],
  ];
  for (const [id, path, options] of writes) await check(id, 507, V1 + path, options);
  assertEquals(api.control.clientByToken(client.token)?.name, "c");

  const { fleet: _, ...alone } = REPORT;
  await using onSocket = await TestApi.start({ status: () => alone });
  const noFleet = await onSocket.call(`${V1}/fleet`);
  assertEquals([noFleet.status, noFleet.text.split("\n")[0]], [
    404,
    "Cannot list the fleet: this host is in none",
  ]);
  given.get("getFleet")?.add("404");
  assertEquals((await onSocket.call(`${V1}/audit?fleet=1`)).status, 404);
  given.get("readAudit")?.add("404");
  // Of a fleet, which takes a database: `tests/e2e/fleet_seal_key_test.ts` has a real one.
  const ids = { formerId: "0123456789abcdef", nextId: "fedcba9876543210" };
  const rotation = { phase: "waiting", ...ids, waitingFor: ["host-2"], rows: 2, resealed: 0 };
  const fleet = {
    sealKey: { id: ids.formerId, file: "mk", nextFile: "mk.next" },
    rotation: () => Promise.resolve(rotation),
    beginRotation: () => Promise.resolve(),
    cancelRotation: () => Promise.resolve(),
  };
  Object.assign(onSocket.control, { fleet });
  const begun = await onSocket.call(`${V1}/seal-key/rotate`, { body: {} });
  assertEquals([begun.status, JSON.parse(begun.text)], [202, {
    id: ids.formerId,
    key_file: "mk",
    next_key_file: "mk.next",
    rotation: {
      phase: "waiting",
      former_id: ids.formerId,
      next_id: ids.nextId,
      waiting_for: ["host-2"],
      rows: 2,
      resealed: 0,
    },
  }]);
  given.get("rotateSealKey")?.add("202");
  assertEquals((await onSocket.call(`${V1}/seal-key/rotation`, { method: "DELETE" })).status, 204);
  given.get("cancelSealKeyRotation")?.add("204");
  Object.assign(onSocket.control, { fleet: undefined });
  assertEquals((await onSocket.call(`${V1}/ui/links`, { method: "POST" })).status, 409);
  given.get("createUiLink")?.add("409");
  await Deno.remove(`${onSocket.dir}/state/state.kv`);
  assertEquals((await onSocket.call(`${V1}/suspensions/all`, { method: "POST" })).status, 507);
  given.get("suspendAll")?.add("507");

  for (const [id, { operation }] of operations) {
    assertEquals([...given.get(id) ?? []].sort(), Object.keys(operation.responses).sort(), id);
  }
  assertEquals(api.logged.some((line) => line.includes(TOKEN)), false);
});
