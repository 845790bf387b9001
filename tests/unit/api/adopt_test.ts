/** Logins over REST: taken over, listed with what happened to them, never shown. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { TestApi } from "./support.ts";

const LOGIN = {
  name: "claude",
  host: "api.anthropic.com",
  type: "oauth-claude",
  value: JSON.stringify({ claudeAiOauth: { accessToken: "planted-a", refreshToken: "planted-r" } }),
  source_file: "/nonexistent/.credentials.json",
};

Deno.test("POST /proxy/v1/secrets adopts a login, and the list tells its times and its error", async () => {
  await using api = await TestApi.start();
  const created = await api.call("/proxy/v1/secrets", { body: LOGIN });
  assertEquals(created.status, 201);
  const { created_at, adopted_at } = JSON.parse(created.text);
  assertEquals(adopted_at, created_at);
  const { version: ifVersion } = api.control.listSecrets()[0] ?? { version: "" };
  await api.control.updateSecret("claude", { ifVersion, refreshedAt: 1_000, error: "it was refused" });
  const listed = await api.call("/proxy/v1/secrets");
  assertEquals(JSON.parse(listed.text), [{
    name: "claude",
    host: "api.anthropic.com",
    type: "oauth-claude",
    created_at,
    adopted_at,
    refreshed_at: "1970-01-01T00:00:01.000Z",
    error: "it was refused",
  }]);
  const status = JSON.parse((await api.call("/proxy/v1/status")).text);
  assertEquals(status.secret_errors, [
    { name: "claude", host: "api.anthropic.com", type: "oauth-claude", error: "it was refused" },
  ]);
  assertStringIncludes((await api.call("/metrics")).text, "slicer_proxy_secret_errors 1\n");
  assert(!`${created.text}${listed.text}`.includes("planted"));
});

Deno.test("POST /proxy/v1/secrets names the field that a login lacks, and refuses one login twice", async () => {
  await using api = await TestApi.start();
  const value = JSON.stringify({ claudeAiOauth: { accessToken: "planted-a" } });
  const lacking = await api.call("/proxy/v1/secrets", { body: { ...LOGIN, value } });
  assertEquals(lacking.status, 400);
  assertStringIncludes(lacking.text, "it has no refreshToken");
  assert(!lacking.text.includes("planted"));
  assertEquals((await api.call("/proxy/v1/secrets", { body: LOGIN })).status, 201);
  const again = await api.call("/proxy/v1/secrets", { body: { ...LOGIN, name: "second" } });
  assertEquals(again.status, 409);
  assertStringIncludes(again.text, "secret claude holds the same login");
});
