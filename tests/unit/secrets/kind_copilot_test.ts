import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { COPILOT } from "../../../secrets/kind_copilot.ts";
import type { ProviderRequest, ProviderResponse } from "../../../secrets/provider_call.ts";
import { RenewalFailure } from "../../../secrets/token_answer.ts";

const NOW = Date.UTC(2026, 0, 2);
const parse = (value: unknown) => COPILOT.parse(JSON.stringify(value), NOW);
const EDITOR = [["Editor-Version", "vscode/1.104.0"], ["Editor-Plugin-Version", "copilot-chat/0.31.0"]];
const API_VERSION = ["x-github-api-version", "2025-04-01"];

Deno.test("Copilot: the token is found under each name that programs give it, in each form of file", () => {
  for (const name of ["refresh", "refresh_token", "access", "access_token", "token"]) {
    assertEquals(parse({ [name]: "ghu_x" }).access_token, "ghu_x", name);
  }
  assertEquals(parse({ refresh: "tid=1", access: "gho_x" }).access_token, "gho_x");
  assertEquals(parse({ "github-copilot": { type: "oauth", refresh: "gho_x" } }).access_token, "gho_x");
  const enterprise = parse({
    "github-copilot-enterprise": { refresh: "gho_x", enterpriseUrl: "https://ghe.test/" },
  });
  assertEquals(enterprise.github_url, "https://ghe.test");
  assertEquals(enterprise.token_endpoint, "https://api.ghe.test/copilot_internal/v2/token");
});

Deno.test("Copilot: what is no login is refused", () => {
  const rows: readonly [unknown, string][] = [
    [{}, "it has no access_token"],
    [{ "github-copilot": {} }, "it has no refresh"],
    [{ access_token: "ghp_x" }, "begins with gho_ or ghu_"],
    [{ type: "api", refresh: "gho_x" }, "its type is api"],
    [{ type: "wellknown", refresh: "gho_x" }, "its type is wellknown"],
    [{ refresh: "gho_x", enterpriseUrl: "https://a.test/x" }, "no host name"],
    [{ refresh: "gho_x", enterpriseUrl: "a b" }, "no host name"],
  ];
  for (const [value, words] of rows) assertThrows(() => parse(value), ProxyError, words);
});

Deno.test("Copilot: only a token that GitHub gave an app is exchanged, and what comes of it names the editor", () => {
  const [direct, app] = [parse({ access_token: "gho_x" }), parse({ access_token: "ghu_x" })];
  assertEquals([COPILOT.stored(direct)?.token, COPILOT.stored(app)], ["gho_x", undefined]);
  assertEquals([COPILOT.isRenewable(direct), COPILOT.isRenewable(app), COPILOT.rotates], [
    false,
    true,
    false,
  ]);
  assertEquals<unknown>(COPILOT.inject(direct, "gho_x", ""), {
    headers: [["Authorization", "Bearer gho_x"]],
  });
  assertEquals<unknown>(COPILOT.inject(app, "tid=1", ""), {
    headers: [["Authorization", "Bearer tid=1"]],
    defaults: [["Copilot-Integration-Id", "vscode-chat"], ...EDITOR, API_VERSION],
  });
  assertEquals(COPILOT.endpoints(app).map(({ url }) => url), [
    "https://api.github.com/copilot_internal/v2/token",
    "https://github.com/login/*",
    "https://github.com/session/*",
  ]);
});

Deno.test("Copilot: what GitHub answers to the exchange", async (t) => {
  const renew = async (answer: Partial<ProviderResponse>, seen: ProviderRequest[] = []) => {
    const call = (request: ProviderRequest) => {
      seen.push(request);
      return Promise.resolve({ status: 200, headers: {}, body: "", ...answer });
    };
    return (await COPILOT.renew(parse({ access_token: "ghu_x" }), { call, now: () => NOW }, "")).token;
  };
  const json = (fields: object) => ({ body: JSON.stringify(fields) });
  await t.step("asks as the editor", async () => {
    const seen: ProviderRequest[] = [];
    await renew(json({ token: "tid=1" }), seen);
    assertEquals(seen.map(({ method, headers }) => [method, headers]), [["GET", {
      "Authorization": "token ghu_x",
      "Accept": "application/json",
      ...Object.fromEntries([...EDITOR, API_VERSION]),
    }]]);
  });
  await t.step("its life: the span, else the time, else unknown", async () => {
    const at = (ms: number) => (NOW + ms) / 1_000;
    const ends = async (fields: object) => (await renew(json({ token: "tid=1", ...fields }))).expiresAtMs;
    assertEquals(await ends({ refresh_in: 1_500, expires_at: at(60_000) }), NOW + 1_500_000);
    assertEquals(await ends({ expires_at: at(60_000) }), NOW + 60_000);
    assertEquals([await ends({ expires_at: at(0) }), await ends({})], [undefined, undefined]);
  });
  await t.step("refusals", async () => {
    const fails = async (answer: Partial<ProviderResponse>) => {
      const { isFinal, isAnswered } = await assertRejects(() => renew(answer), RenewalFailure);
      return [isFinal, isAnswered];
    };
    assertEquals(await fails({ status: 404 }), [true, true]);
    assertEquals(await fails({ status: 403 }), [false, true]);
    assertEquals(await fails({ status: 401 }), [true, true]);
    assertEquals(await fails({ status: 503 }), [false, true]);
    assertEquals(await fails(json({ token: "a b" })), [false, false]);
    assertEquals(await fails(json({})), [false, false]);
  });
});
