import { assertEquals } from "@std/assert";
import { Rig } from "./support.ts";

Deno.test("isTokenEndpoint() closes where adopted logins are renewed, and nothing else", async (t) => {
  await using rig = await Rig.start({ isStarted: false });
  const is = (host: string, path?: string) =>
    rig.credentials.isTokenEndpoint({ host, ...(path ? { path } : {}) });
  assertEquals(is("platform.claude.com"), false);
  await rig.adopt("oauth-claude", { accessToken: "a", refreshToken: "r" }, {
    name: "c",
    host: "api.anthropic.com",
  });
  await rig.adopt("oauth-github-copilot", { access_token: "ghu_x" }, {
    name: "p",
    host: "api.githubcopilot.com",
  });
  await rig.adopt("oauth-xai", { access_token: "a", refresh_token: "r" }, { name: "x", host: "api.x.ai" });
  await rig.adopt("oauth-client-creds", {
    token_endpoint: "https://login.test:8443/oauth/token/",
    client_id: "i",
    client_secret: "s",
  }, { name: "k", host: "api.test" });
  await rig.adopt("oauth-client-creds", {
    token_endpoint: "https://both.test/oauth/token",
    client_id: "i",
    client_secret: "s",
  }, { name: "b", host: "*.both.example.test" });
  await rig.adopt("oauth-client-creds", {
    token_endpoint: "https://same.test/oauth/token",
    client_id: "i",
    client_secret: "s",
  }, { name: "s", host: "same.test" });
  const rows: readonly (readonly [host: string, path: string | undefined, isClosed: boolean])[] = [
    ["platform.claude.com", undefined, true],
    ["platform.claude.com", "/anything", true],
    ["api.anthropic.com", undefined, false],
    ["api.anthropic.com", "/v1/messages", false],
    ["api.anthropic.com", "/v1/oauth/token", true],
    ["api.anthropic.com", "/V1/OAuth/token", true],
    ["api.anthropic.com", "/v1/x/../oauth/token", true],
    ["api.anthropic.com", "/v1/./" + "a".repeat(4_090), false],
    ["api.anthropic.com", "/v1/./" + "a".repeat(4_091), true],
    ["api.anthropic.com", "/v1/xx" + "/a".repeat(4_000), false],
    ["api.anthropic.com", "/v1%2foauth%2ftoken", true],
    ["api.anthropic.com", "/v1/x/..%20/oauth/token", true],
    ["api.anthropic.com", "/v1/x/..%23/oauth/token", true],
    ["api.anthropic.com", "/v1/x/..;/oauth/token", true],
    ["api.anthropic.com", "/v1%252foauth%252ftoken", true],
    ["api.anthropic.com", "/v1/a%20b", false],
    ["platform.openai.com", "/v1/x/..%20/oauth/token", false],
    ["api.anthropic.com", "//v1//oauth//token/", true],
    ["auth.x.ai", undefined, true],
    ["accounts.x.ai", undefined, true],
    ["api.x.ai", "/oauth2/token", false],
    ["auth.openai.com", undefined, false],
    ["api.github.com", undefined, false],
    ["api.github.com", "/copilot_internal/v2/token", true],
    ["api.github.com", "/copilot_internal/user", false],
    ["api.github.com", "/repos/a/b", false],
    ["github.com", "/login/oauth/access_token", true],
    ["github.com", "/login", true],
    ["github.com", "/login-page/repo", false],
    ["login.test", undefined, true],
    ["both.test", undefined, true],
    ["same.test", undefined, false],
    ["same.test", "/oauth/token", true],
    ["same.test", "/oauth/token/x", false],
    ["same.test", "/api", false],
  ];
  for (const [host, path, isClosed] of rows) {
    await t.step(`${host} ${path ?? ""}`, () => assertEquals(is(host, path), isClosed));
  }
  await t.step("closedHosts() names those that are closed as a whole", () => {
    assertEquals(rig.credentials.closedHosts().toSorted(), [
      "accounts.x.ai",
      "auth.x.ai",
      "both.test",
      "login.test",
      "platform.claude.com",
    ]);
  });
  await t.step("a deleted login opens them again", async () => {
    await rig.state.deleteSecret("c");
    assertEquals(is("platform.claude.com"), false);
  });
});
