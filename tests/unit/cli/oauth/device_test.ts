import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { TokenEndpointResponse } from "oauth4webapi";
import { logInByDevice } from "../../../../cli/oauth/device.ts";
import { openProviderHttp } from "../../../../cli/oauth/http.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { ACCESS_TOKEN, type Answer, json, startOAuthProvider } from "../../../support/oauth_provider.ts";
import { type FakeIo, fakeIo } from "../terminal/fake_io.ts";

/** Runs the flow with time that passes only in its waits. `polls` are the provider's answers in turn. */
async function logIn(
  polls: readonly (() => Response)[],
  device: Readonly<Record<string, unknown>> = {},
  start?: Answer,
): Promise<{ tokens: Promise<TokenEndpointResponse>; waits: readonly number[]; io: FakeIo }> {
  let asked = 0;
  await using provider = await startOAuthProvider({
    device,
    answers: {
      "/oauth2/token": () => polls[asked++]?.(),
      ...(start === undefined ? {} : { "/oauth2/device/code": start }),
    },
  });
  using http = openProviderHttp({ caCerts: [provider.caPem], signal: new AbortController().signal });
  let nowMs = 0;
  const waits: number[] = [];
  const io = { ...fakeIo(), clock: { now: () => nowMs, monotonic: () => nowMs } };
  const tokens = logInByDevice({
    what: "Example",
    server: {
      issuer: provider.issuer,
      device_authorization_endpoint: `${provider.issuer}/oauth2/device/code`,
      token_endpoint: `${provider.issuer}/oauth2/token`,
    },
    clientId: "id",
    parameters: { scope: "a b" },
    fetch: http.fetch,
    wait: (ms) => {
      waits.push(ms);
      nowMs += ms;
      return Promise.resolve();
    },
    io,
  });
  await tokens.catch(() => {});
  return { tokens, waits, io };
}

const error = (code: string, more: Record<string, unknown> = {}) => () => json(400, { error: code, ...more });
const pending = error("authorization_pending");
const success = () => json(200, { access_token: ACCESS_TOKEN, token_type: "bearer" });

Deno.test("logInByDevice() asks no more often than the provider allows", async (t) => {
  const rows: readonly [
    name: string,
    interval: number | undefined,
    polls: readonly (() => Response)[],
    waits: readonly number[],
  ][] = [
    ["at once", 5, [success], [6_000]],
    ["no interval", undefined, [pending, success], [6_000, 6_000]],
    ["an interval below a second", 0.001, [pending, success], [1_200, 1_200]],
    [
      "slow_down adds 5 s for good",
      1,
      [pending, error("slow_down"), pending, success],
      [1_200, 1_200, 7_200, 7_200],
    ],
    ["slow_down twice", 5, [error("slow_down"), error("slow_down"), success], [6_000, 12_000, 18_000]],
    ["slow_down with an interval", 5, [error("slow_down", { interval: 20 }), success], [6_000, 24_000]],
    ["slow_down with a smaller one", 5, [error("slow_down", { interval: 1 }), success], [6_000, 12_000]],
    ["slow_down with a strange one", 5, [error("slow_down", { interval: "90" }), success], [6_000, 12_000]],
    ["a provider that is down", 5, [() => new Response(null, { status: 503 }), success], [6_000, 12_000]],
  ];
  for (const [name, interval, polls, waits] of rows) {
    await t.step(name, async () => {
      const result = await logIn(polls, { interval });
      assertEquals((await result.tokens).access_token, ACCESS_TOKEN);
      assertEquals(result.waits, waits);
    });
  }
});

Deno.test("logInByDevice() ends when the provider says so", async (t) => {
  const rows: readonly [code: string, words: string][] = [
    ["expired_token", "Cannot log in to Example: the code has expired"],
    ["token_expired", "Cannot log in to Example: the code has expired"],
    ["access_denied", "Cannot log in to Example: it was refused in the browser"],
    ["incorrect_device_code", "Cannot log in to Example: the provider does not know the code any more"],
    ["incorrect_client_credentials", "Cannot log in to Example: the provider does not know this client id"],
    ["device_flow_disabled", "Cannot log in to Example: the app has no device flow"],
    ["something_new", "Cannot log in to Example: the provider answered something_new"],
    ["Bearer ghu_secret", "Cannot log in to Example: the provider answered with an error"],
  ];
  for (const [code, words] of rows) {
    await t.step(code, async () => {
      const polls = [pending, error(code, { error_description: "ghu_secret" }), success];
      const { tokens, waits } = await logIn(polls);
      const thrown = await assertRejects(() => tokens, ProxyError);
      assertEquals([thrown.code, thrown.message, waits.length], ["credential.unavailable", words, 2]);
      assert(!Deno.inspect(thrown).includes("secret"), Deno.inspect(thrown));
    });
  }
});

Deno.test("logInByDevice() ends when the code has expired, whatever the provider says", async () => {
  const { tokens, waits } = await logIn(Array(9).fill(pending), { interval: 5, expires_in: 15 });
  await assertRejects(() => tokens, ProxyError, "the code has expired");
  assertEquals(waits, [6_000, 6_000, 3_000]);
});

Deno.test("logInByDevice() refuses an answer that it cannot use", async (t) => {
  const rows: readonly [name: string, start: Answer, words: string][] = [
    ["no such endpoint", () => json(404, { error: "Not Found" }), "the provider answered with an error"],
    ["no JSON", () => new Response("<html>secret"), "cannot be used"],
    ["no code", () => json(200, { secret: 1 }), '"device_code" property must be a string'],
    [
      "an address without TLS",
      () =>
        json(200, {
          device_code: "secret",
          user_code: "secret",
          verification_uri: "http://example.com",
          expires_in: 9,
        }),
      "names no https address",
    ],
  ];
  for (const [name, start, words] of rows) {
    await t.step(name, async () => {
      const { tokens, io } = await logIn([success], {}, start);
      const thrown = await assertRejects(() => tokens, ProxyError);
      assertStringIncludes(thrown.message, words);
      assert(!`${Deno.inspect(thrown)}${io.stderr()}`.includes("secret"), Deno.inspect(thrown));
    });
  }
});

Deno.test("logInByDevice() shows the code so that it cannot drive the terminal", async () => {
  const { io } = await logIn([success], {
    user_code: "AB\x1b[2J",
    verification_uri_complete: "http://x.example",
  });
  assertStringIncludes(io.stderr(), "    AB\\u{1b}[2J\n");
  assert(!io.stderr().includes("http://x.example"));
});
