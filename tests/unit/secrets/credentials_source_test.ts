/** What credentials make of the changes of their source: logins that come, go, and are changed by other hosts. */
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import type { Credential } from "../../../secrets/credential.ts";
import { Credentials } from "../../../secrets/credentials.ts";
import type { ProviderResponse } from "../../../secrets/provider_call.ts";
import type { SecretRecord } from "../../../store/records.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { tokenOf } from "./support.ts";

const HOUR = 3_600_000;

function makeStage() {
  const clock = new FakeClock(Date.UTC(2026, 0, 2));
  const secrets = new Map<string, { record: SecretRecord; value: string }>();
  const listeners = new Set<() => void>();
  const bugs: unknown[] = [];
  const calls: PromiseWithResolvers<ProviderResponse>[] = [];
  const credentials = new Credentials({
    source: {
      secretValue: (name) => secrets.get(name),
      listSecrets: () => [...secrets.values()].map(({ record }) => record),
      updateSecret: (name, update) => {
        const known = secrets.get(name);
        if (known?.record.version !== update.ifVersion) return Promise.resolve(undefined);
        const { refreshingSince: _, ...rest } = known.record;
        const since = update.refreshingSince ?? undefined;
        const record = { ...rest, ...(since === undefined ? {} : { refreshingSince: since }) };
        secrets.set(name, { record, value: update.value ?? known.value });
        return Promise.resolve(record);
      },
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    call: () => {
      const gate = Promise.withResolvers<ProviderResponse>();
      calls.push(gate);
      return gate.promise;
    },
    clock,
    log: { warn: () => {}, error: () => {} },
    reportBug: (error) => bugs.push(error),
    random: () => 0,
    schedule: clock.schedule,
  });
  const put = (name: string, type: string, value: unknown, more: Partial<SecretRecord> = {}) => {
    const record = { name, host: "a.test", type, version: "v1", cleartext: false, createdAt: 1, ...more };
    secrets.set(name, { record, value: typeof value === "string" ? value : JSON.stringify(value) });
    for (const listener of listeners) listener();
    return record;
  };
  const login = (token: string, leftMs = HOUR) => ({
    accessToken: token,
    refreshToken: `r-${token}`,
    expiresAt: clock.now() + leftMs,
  });
  const remove = (name: string) => {
    secrets.delete(name);
    for (const listener of listeners) listener();
  };
  const answer = (token: string) => {
    const body = JSON.stringify({ access_token: token, refresh_token: `r-${token}`, expires_in: 3_600 });
    calls.shift()?.resolve({ status: 200, headers: {}, body });
  };
  return { clock, credentials, secrets, listeners, bugs, calls, put, login, remove, answer };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 0));
}

function atHand(credential: Credential | Promise<Credential> | undefined): Credential {
  if (!credential || credential instanceof Promise) throw new Error("not at hand");
  return credential;
}

Deno.test("a login is renewed in the background once that has begun, and not before", async () => {
  const { credentials, put, login, calls, clock, answer } = makeStage();
  put("c", "oauth-claude", login("old"));
  clock.advance(2 * HOUR);
  await settle();
  assertEquals(calls.length, 0);
  credentials.start();
  await settle();
  assertEquals(calls.length, 1);
  answer("new");
  await settle();
  assertEquals(tokenOf(atHand(credentials.credential("c"))), "new");
  // One that is made later is renewed as well.
  put("d", "oauth-claude", login("late", -1_000));
  await settle();
  assertEquals(calls.length, 1);
  answer("later");
  await settle();
  assertEquals([tokenOf(atHand(credentials.credential("d"))), credentials.outcomes()], [
    "later",
    { renewed: 2, adopted: 0, failed: 0, refused: 0 },
  ]);
  await credentials[Symbol.asyncDispose]();
});

Deno.test("a login that is replaced or deleted is renewed no more, and its credential refused for nothing", async () => {
  const { credentials, put, login, remove, clock, calls } = makeStage();
  put("c", "oauth-claude", login("old"));
  credentials.start();
  const old = atHand(credentials.credential("c"));
  put("c", "oauth-claude", login("by-hand"), { version: "v2" });
  assertEquals(tokenOf(atHand(credentials.credential("c"))), "by-hand");
  assertEquals([await credentials.rejected(old, { status: 401 }), calls.length], [undefined, 0]);
  put("c", "bearer", "static", { version: "v3" });
  assertEquals(tokenOf(atHand(credentials.credential("c"))), "static");
  put("c", "oauth-claude", login("again"), { version: "v4" });
  remove("c");
  assertEquals(credentials.credential("c"), undefined);
  clock.advance(2 * HOUR);
  await settle();
  assertEquals([calls.length, clock.due], [0, []]);
  await credentials[Symbol.asyncDispose]();
});

Deno.test("what another host has renewed is used at once", async () => {
  const { credentials, put, login, bugs } = makeStage();
  put("c", "oauth-claude", login("old"));
  credentials.start();
  const old = atHand(credentials.credential("c"));
  const value = { access_token: "theirs", refresh_token: "r", expires_at: Date.UTC(2026, 0, 3) };
  put("c", "oauth-claude", value);
  assertEquals(tokenOf(atHand(credentials.credential("c"))), "theirs");
  assertEquals(tokenOf(await credentials.rejected(old, { status: 401 }) ?? old), "theirs");
  put("c", "oauth-claude", "{}"); // by a host that has gone mad
  assertEquals(bugs.length, 1);
  await credentials[Symbol.asyncDispose]();
});

Deno.test("a value that is no login is said to whoever asks for it, and is no bug", async () => {
  const { credentials, put, bugs } = makeStage();
  credentials.start();
  put("c", "oauth-claude", "{}");
  assertEquals(bugs, []);
  const error = assertThrows(() => credentials.credential("c"), ProxyError);
  assertEquals([error.code, error.message, error.hint], [
    "credential.unavailable",
    "Cannot use secret c: its stored value is no oauth-claude",
    "create it again with --force",
  ]);
  await credentials[Symbol.asyncDispose]();
});

Deno.test("wake() renews what ended meanwhile", async () => {
  const { credentials, put, login, clock, calls } = makeStage();
  put("c", "oauth-claude", login("old"));
  credentials.start();
  const { schedule } = clock;
  clock.advance(HOUR - 300_000);
  await settle();
  assertEquals([calls.length, clock.schedule === schedule], [1, true]);
  calls.shift()?.resolve({ status: 503, headers: {}, body: "" });
  await settle();
  assertEquals(calls.length, 0);
  credentials.wake(); // the failure waits no longer
  await settle();
  assertEquals(calls.length, 1);
  calls.shift()?.reject(new ProxyError("upstream.dns", "x"));
  await settle();
  await credentials[Symbol.asyncDispose]();
});

Deno.test("an end waits for the renewal under way, and nothing is renewed or changed after it", async () => {
  const { credentials, put, login, calls, answer, secrets, listeners, clock } = makeStage();
  put("c", "oauth-claude", login("old", -1_000));
  put("k", "bearer", "static");
  credentials.start();
  await settle();
  assertEquals([calls.length, listeners.size], [1, 1]);
  let isOver = false;
  const end = credentials[Symbol.asyncDispose]().then(() => isOver = true);
  await settle();
  assertEquals([isOver, listeners.size], [false, 0]);
  answer("new");
  await end;
  assertEquals(JSON.parse(secrets.get("c")?.value ?? "").access_token, "new");
  const error = assertThrows(() => credentials.credential("c"), ProxyError);
  assertEquals([error.code, error.message], [
    "credential.unavailable",
    "Cannot use secret c: the proxy is stopping",
  ]);
  assertEquals(tokenOf(atHand(credentials.credential("k"))), "static");
  clock.advance(2 * HOUR);
  await settle();
  assertEquals(calls.length, 0);
});

Deno.test("a credential without a request is for the secret's own host", async () => {
  const { credentials, put } = makeStage();
  const value = { access_token: "ghu_x" };
  put("git", "github-app-user", value, { host: "github.com" });
  put("api", "github-app-user", value, { host: "api.github.com" });
  assertEquals(atHand(credentials.credential("git")).headers, [[
    "Authorization",
    `Basic ${btoa("x-access-token:ghu_x")}`,
  ]]);
  assertEquals(atHand(credentials.credential("api")).headers, [["Authorization", "Bearer ghu_x"]]);
  const asGit = credentials.credential("api", { host: "github.com", method: "GET", path: "/" });
  assert(atHand(asGit).headers[0]?.[1].startsWith("Basic "));
  await credentials[Symbol.asyncDispose]();
});

Deno.test("closed places follow every change, and the host of the secret itself stays open", async () => {
  const { credentials, put, remove } = makeStage();
  const creds = (host: string) => ({
    token_endpoint: `https://${host}/token`,
    client_id: "c",
    client_secret: "s",
  });
  assertEquals([credentials.closedEndpoints(), credentials.closedHosts()], [[], []]);
  put("k", "bearer", "static");
  put("c", "oauth-client-creds", creds("idp.test"));
  put("own", "oauth-client-creds", creds("own.test"), { host: "own.test" });
  assertEquals(credentials.closedEndpoints(), [
    { endpoints: [{ url: "https://idp.test/token", scope: "host" }], secretHost: "a.test" },
    { endpoints: [{ url: "https://own.test/token", scope: "host" }], secretHost: "own.test" },
  ]);
  assertEquals(credentials.closedHosts(), ["idp.test"]);
  const is = (host: string, path?: string) =>
    credentials.isTokenEndpoint({ host, ...(path === undefined ? {} : { path }) });
  assertEquals([is("idp.test"), is("own.test"), is("own.test", "/token"), is("a.test", "/token")], [
    true,
    false,
    true,
    false,
  ]);
  remove("c");
  assertEquals([is("idp.test"), credentials.closedHosts()], [false, []]);
  put("bad", "oauth-client-creds", "{}");
  assertEquals(credentials.closedEndpoints().length, 1);
  await credentials[Symbol.asyncDispose]();
});

Deno.test("a static credential is made once for each record, and known as one that follows its file", async () => {
  const { credentials, put } = makeStage();
  put("k", "bearer", "static", { sourceFile: "/nowhere/key", sourceUid: 0 });
  const one = atHand(credentials.credential("k"));
  assertStrictEquals(credentials.credential("k"), one);
  assertEquals([one.isFollowed, one.generation, one.secret, one.version], [true, undefined, "k", "v1"]);
  put("k", "bearer", "static");
  assertEquals("isFollowed" in atHand(credentials.credential("k")), false);
  await credentials[Symbol.asyncDispose]();
});

Deno.test("a renewal may take half a minute", async () => {
  const { credentials, put, login, calls } = makeStage();
  put("c", "oauth-claude", login("old", -1_000));
  const limits: unknown[] = [];
  const { setTimeout: set } = globalThis;
  globalThis.setTimeout = ((run: () => void, ms?: number) => {
    limits.push(ms);
    return set(run, ms);
  }) as typeof setTimeout;
  try {
    credentials.start();
    await Promise.resolve();
  } finally {
    globalThis.setTimeout = set;
  }
  assertEquals(limits, [30_000]);
  await settle();
  calls.shift()?.resolve({ status: 503, headers: {}, body: "" });
  await credentials[Symbol.asyncDispose]();
});
