import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createApp } from "../../../api/app.ts";
import { NO_AUDIT, NO_DESK, REPORT, TestApi } from "./support.ts";

const V1 = "/proxy/v1";
const JSON_TYPE = { "content-type": "application/json" };

Deno.test("unknown paths are 404 and unknown methods 405 with Allow, as text", async (t) => {
  await using api = await TestApi.start();
  await api.control.createClient("c");
  const rows: [method: string, path: string, status: number, allow?: string][] = [
    ["GET", "/", 404],
    ["GET", "/proxy/v2/clients", 404],
    ["GET", `${V1}/clients/`, 404],
    ["DELETE", `${V1}/clients/`, 404],
    ["DELETE", `${V1}/allows/c/`, 404],
    ["DELETE", `${V1}/allows//x.example`, 404],
    ["GET", `${V1}/clients/c/`, 404],
    ["GET", `${V1}/clients/c/../../secrets`, 404],
    ["GET", `${V1}/openapiXjson`, 404],
    ["GET", `${V1}/allows`, 405, "POST"],
    ["PUT", `${V1}/clients`, 405, "GET, HEAD, POST"],
    ["PATCH", `${V1}/clients/c`, 405, "DELETE, GET, HEAD"],
    ["TRACE", `${V1}/status`, 405, "GET, HEAD"],
    ["OPTIONS", `${V1}/secrets`, 405, "GET, HEAD, POST"],
    ["BREW", "/healthz", 405, "GET, HEAD"],
    ["OPTIONS", "*", 404],
    ["HEAD", `${V1}/allows`, 405, "POST"],
  ];
  for (const [method, path, status, allow] of rows) {
    await t.step(`${method} ${path}`, async () => {
      const answer = await api.call(path, { method });
      assertEquals([answer.status, answer.headers["allow"]], [status, allow]);
      assertMatch(answer.headers["content-type"] ?? "", /^text\/plain/);
    });
  }
  await t.step("an unknown path wins over a bad body", async () => {
    assertEquals((await api.call(`${V1}/nothing`, { body: "x" })).status, 404);
  });
});

Deno.test("HEAD answers like GET, without the body", async () => {
  await using api = await TestApi.start();
  const get = await api.call(`${V1}/status`);
  const head = await api.call(`${V1}/status`, { method: "HEAD" });
  assertEquals([head.status, head.text], [200, ""]);
  assertEquals(head.headers["content-length"], String(get.text.length));
  assertEquals(head.headers["content-type"], get.headers["content-type"]);
  assertEquals([head.headers["cache-control"], head.headers["x-content-type-options"]], [
    "no-store",
    "nosniff",
  ]);
});

Deno.test("the Host of a call on the socket means nothing", async (t) => {
  await using api = await TestApi.start();
  for (
    const host of ["localhost", "unix", "", "/run/api.sock", "%2Frun%2Fapi.sock", "[::1]:80", "evil.example"]
  ) {
    await t.step(`host ${JSON.stringify(host)}`, async () => {
      const answer = await api.call("/healthz?a=/b#c", { headers: { host } });
      assertEquals([answer.status, answer.text], [200, "ok"]);
    });
  }
});

Deno.test("status and secrets say why a credential cannot be used", async () => {
  const record = {
    name: "s",
    host: "x.example",
    type: "oauth-xai",
    version: "1",
    cleartext: false,
    createdAt: 0,
  };
  const control = Object.assign(Object.create(null), {
    listClients: () => [],
    listSecrets: () => [{ ...record, adoptedAt: 1_000, refreshedAt: 2_000, error: "the provider refused" }],
  });
  const app = createApp({
    control,
    audit: NO_AUDIT,
    secrets: NO_DESK,
    status: () => REPORT,
    log: { error: () => {} },
  });
  assertEquals((await (await app.request(`${V1}/status`)).json()).secret_errors, [
    { name: "s", host: "x.example", type: "oauth-xai", error: "the provider refused" },
  ]);
  assertStringIncludes(await (await app.request("/metrics")).text(), "slicer_proxy_secret_errors 1\n");
  assertEquals(await (await app.request(`${V1}/secrets`)).json(), [{
    name: "s",
    host: "x.example",
    type: "oauth-xai",
    created_at: "1970-01-01T00:00:00.000Z",
    adopted_at: "1970-01-01T00:00:01.000Z",
    refreshed_at: "1970-01-01T00:00:02.000Z",
    error: "the provider refused",
  }]);
});

Deno.test("what goes wrong inside is 500 without detail, and the log has it without bodies", async () => {
  const failing = {
    createClient: () => JSON.parse("sk-planted-secret"),
    rotateClient: () => Promise.reject(new TypeError("the inner detail")),
  };
  const logged: string[] = [];
  const app = createApp({
    control: Object.assign(Object.create(null), failing),
    audit: NO_AUDIT,
    secrets: NO_DESK,
    status: () => REPORT,
    log: { error: (line) => logged.push(line) },
  });
  const created = await app.request(`${V1}/clients`, {
    method: "POST",
    body: '{"name":"a"}',
    headers: JSON_TYPE,
  });
  const rotated = await app.request(`${V1}/clients/a%0a/rotate`, { method: "POST" });
  for (const answer of [created, rotated]) {
    assertEquals(answer.status, 500);
    assertEquals(await answer.text(), "internal error\nhint: the log of slicer-proxy says more\n");
  }
  assertEquals(logged.length, 2);
  assertMatch(logged[0] ?? "", /^Cannot answer POST \/proxy\/v1\/clients: SyntaxError < at /);
  assertMatch(logged[1] ?? "", /TypeError: the inner detail/);
  for (const line of logged) assertEquals(/planted|\n/.test(line), false);
});

Deno.test("a state that cannot be written is 507, and reported", async () => {
  await using api = await TestApi.start();
  await Deno.remove(`${api.dir}/state/state.kv`);
  const answer = await api.call(`${V1}/clients`, { body: { name: "a" } });
  assertEquals(answer.status, 507);
  assertStringIncludes(answer.text, "Cannot write the state");
  assertEquals(api.logged.length, 1);
});
