/** Renewals of a rotating login against a provider that forgives nothing, with time that only the test moves. */
import { assert, assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import type { Credential } from "../../../secrets/credential.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { FakeProvider } from "../../support/fake_provider.ts";
import { Rig, tokenOf } from "./support.ts";

const HOUR = 3_600_000;

/** What is adopted: the provider's present login, with an hour left. */
function loginOf(provider: FakeProvider, clock: FakeClock, leftMs = HOUR) {
  return {
    claudeAiOauth: {
      accessToken: provider.accessToken,
      refreshToken: provider.refreshToken,
      expiresAt: clock.now() + leftMs,
      scopes: ["user:inference", "user:profile"],
      token_endpoint: provider.tokenEndpoint,
    },
  };
}

async function rigWithLogin(provider: FakeProvider, leftMs = HOUR): Promise<Rig> {
  const rig = await Rig.start();
  await rig.adopt("oauth-claude", loginOf(provider, rig.clock, leftMs));
  return rig;
}

async function assertUnavailable(promise: Promise<unknown>, words: string): Promise<void> {
  const error = await assertRejects(() => promise, ProxyError);
  assertEquals(error.code, "credential.unavailable");
  assertStringIncludes(error.message, words);
}

Deno.test("credential() is at once, and the same, while the token is fresh", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider);
  const first = rig.credentials.credential("login");
  assert(first && !(first instanceof Promise));
  assertEquals(first.headers, [["Authorization", `Bearer ${provider.accessToken}`]]);
  assertEquals(first.merge, [["anthropic-beta", "oauth-2025-04-20"]]);
  assertEquals(first.defaults, [["anthropic-version", "2023-06-01"]]);
  assert(rig.credentials.credential("login") === first);
  assertEquals(provider.seen, []);
  assertEquals(rig.state.getSecret("login")?.adoptedAt, rig.clock.now());
});

Deno.test("renewal starts five minutes before the end, in the background, and asks as the provider wants it", async (t) => {
  const rows = [
    { name: "an hour: 5 minutes", leftMs: HOUR, marginMs: 300_000 },
    { name: "ten minutes: a fifth", leftMs: 600_000, marginMs: 120_000 },
  ];
  for (const { name, leftMs, marginMs } of rows) {
    await t.step(name, async () => {
      await using provider = await FakeProvider.start();
      await using rig = await rigWithLogin(provider, leftMs);
      const old = { access: provider.accessToken, refresh: provider.refreshToken };
      const { version } = await rig.credential();
      rig.clock.advance(leftMs - marginMs - 1);
      assertEquals([await rig.bearer(), provider.refreshes], [old.access, 0]);
      rig.clock.advance(1);
      await rig.until(() => rig.state.getSecret("login")?.refreshedAt !== undefined, "a renewal");
      await rig.until(() => rig.credentials.outcomes().renewed === 1, "its outcome");
      const after = await rig.credential();
      assertEquals(tokenOf(after), provider.accessToken);
      assertNotEquals(tokenOf(after), old.access);
      assertEquals(after.version, version);
      const [request] = provider.seen;
      assertEquals(request?.requestLine, "POST /oauth/token HTTP/1.1");
      assertEquals(JSON.parse(request?.body ?? ""), {
        grant_type: "refresh_token",
        refresh_token: old.refresh,
        client_id: "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
        scope: "user:inference user:profile",
      });
      const record = rig.state.getSecret("login");
      assertEquals([record?.refreshedAt, record?.refreshingSince, record?.error], [
        rig.clock.now(),
        undefined,
        undefined,
      ]);
    });
  }
});

Deno.test("a hundred requests with an ended token make one renewal and all get its token", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider, -1_000);
  const tokens = await Promise.all(Array.from({ length: 100 }, () => rig.bearer()));
  assertEquals(new Set(tokens), new Set([provider.accessToken]));
  assertEquals(provider.refreshes, 1);
});

Deno.test("a renewed login survives a restart, and only the new refresh token is used", async () => {
  await using provider = await FakeProvider.start();
  const first = await rigWithLogin(provider, -1_000);
  try {
    await first.bearer();
    await first.close();
    const clock = new FakeClock(first.clock.now() + 2 * HOUR);
    await using second = await Rig.start({ dir: first.dir, clock });
    assertEquals(await second.bearer(), provider.accessToken);
    assertEquals([provider.refreshes, provider.refreshToken === undefined], [2, false]);
  } finally {
    await Deno.remove(first.dir, { recursive: true });
  }
});

Deno.test("the new token is used only once its login is on the disk", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider, -1_000);
  const update = rig.state.updateSecret.bind(rig.state);
  let isBroken = true;
  let commits = 0;
  rig.state.updateSecret = (name, change) => {
    if (change.value === undefined || !isBroken) return update(name, change);
    commits++;
    return Promise.reject(new ProxyError("state.write-failed", "Cannot write /host/path: disk is full"));
  };
  await assertUnavailable(rig.bearer(), "the proxy cannot write its state");
  assertEquals([commits, provider.refreshes], [1, 1]);
  assert(rig.log.some((line) => line.includes("cannot be stored")), "the operator was not told");
  rig.clock.advance(1_000); // the commit is tried again, the provider is not asked again
  await rig.until(() => rig.credentials.outcomes().failed === 2, "a second commit");
  assertEquals(commits, 2);
  isBroken = false;
  rig.clock.advance(5_000);
  await rig.until(() => rig.credentials.outcomes().renewed === 1, "a commit that works");
  assertEquals([await rig.bearer(), provider.refreshes], [provider.accessToken, 1]);
});

Deno.test("a login that could not be stored is stored once more at the end", async () => {
  await using provider = await FakeProvider.start();
  const first = await rigWithLogin(provider, -1_000);
  try {
    const update = first.state.updateSecret.bind(first.state);
    let isBroken = true;
    first.state.updateSecret = (name, change) =>
      change.value === undefined || !isBroken
        ? update(name, change)
        : Promise.reject(new ProxyError("state.write-failed", "Cannot write /host/path: disk is full"));
    await assertUnavailable(first.bearer(), "the proxy cannot write its state");
    isBroken = false;
    await first.close(); // no timer has tried it again
    await using second = await Rig.start({ dir: first.dir, clock: first.clock });
    assertEquals([await second.bearer(), provider.refreshes], [provider.accessToken, 1]);
  } finally {
    await Deno.remove(first.dir, { recursive: true });
  }
});

Deno.test("a disk that takes no writes stops a renewal before the provider is asked", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider);
  rig.state.updateSecret = () =>
    Promise.reject(new ProxyError("state.write-failed", "Cannot write /host: full"));
  rig.clock.advance(2 * HOUR);
  await assertUnavailable(rig.bearer(), "cannot write its state");
  assertEquals(provider.refreshes, 0);
});

Deno.test("failures that pass are tried again later and later, and Retry-After is honoured", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider, -1_000);
  provider.moods.push(
    { status: 500, body: "oops" },
    { status: 429, headers: { "Retry-After": "90" }, body: { error: "rate_limit" } },
    { status: 200, body: "not json" },
    { status: 302, headers: { Location: "https://evil.test/" }, body: "" },
  );
  await assertUnavailable(rig.bearer(), "HTTP status 500");
  await assertUnavailable(rig.bearer(), "HTTP status 500"); // remembered, not asked again
  assertEquals(provider.refreshes, 1);
  rig.clock.advance(999);
  assertEquals(provider.refreshes, 1);
  rig.clock.advance(1);
  await rig.until(() => rig.credentials.outcomes().failed === 2, "429");
  rig.clock.advance(89_999);
  await assertUnavailable(rig.bearer(), "HTTP status 429");
  assertEquals(provider.refreshes, 2);
  rig.clock.advance(1);
  await rig.until(() => rig.credentials.outcomes().failed === 3, "nonsense");
  await assertUnavailable(rig.bearer(), "holds no access token");
  rig.clock.advance(4_000);
  await rig.until(() => rig.credentials.outcomes().failed === 4, "a redirect");
  assertEquals(rig.state.getSecret("login")?.error, undefined);
  rig.clock.advance(8_000);
  await rig.until(() => rig.credentials.outcomes().renewed === 1, "success");
  assertEquals(await rig.bearer(), provider.accessToken);
});

Deno.test("a failing renewal leaves a token in use for as long as it lives", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider);
  const old = provider.accessToken;
  provider.moods.push("cut", "cut", "cut");
  rig.clock.advance(HOUR - 300_000);
  await rig.until(() => rig.credentials.outcomes().failed === 1, "a failure");
  assertEquals(await rig.bearer(), old);
  rig.clock.advance(300_000 - 5_001);
  assertEquals(await rig.bearer(), old);
  await rig.until(() => rig.credentials.outcomes().failed === 2, "a second failure");
  rig.clock.advance(1);
  await assertUnavailable(rig.bearer(), "cannot be renewed now");
});

Deno.test("a refusal for good is remembered, across a restart, and cleared by a new login", async () => {
  await using provider = await FakeProvider.start();
  const first = await rigWithLogin(provider, -1_000);
  try {
    provider.rotateElsewhere(); // a host CLI was faster
    await assertUnavailable(first.bearer(), "must be renewed on the host");
    await assertUnavailable(first.bearer(), "invalid_grant");
    first.clock.advance(48 * HOUR);
    await assertUnavailable(first.bearer(), "must be renewed on the host");
    assertEquals(provider.refreshes, 1);
    assertStringIncludes(first.state.listSecrets()[0]?.error ?? "", "must be renewed on the host");
    assertEquals(first.credentials.outcomes().refused >= 1, true);
    await first.close();
    await using second = await Rig.start({ dir: first.dir, clock: first.clock });
    await assertUnavailable(second.bearer(), "must be renewed on the host");
    assertEquals(provider.refreshes, 1);
    provider.rotateElsewhere();
    await second.adopt("oauth-claude", loginOf(provider, second.clock), { force: true });
    assertEquals(await second.bearer(), provider.accessToken);
    assertEquals(second.state.getSecret("login")?.error, undefined);
  } finally {
    await Deno.remove(first.dir, { recursive: true });
  }
});

Deno.test("an answer that is lost after the rotation is said to be lost when the provider refuses the next", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider, -1_000);
  provider.moods.push("lost");
  await assertUnavailable(rig.bearer(), "cannot be renewed now");
  assertEquals(rig.state.getSecret("login")?.refreshingSince, rig.clock.now());
  rig.clock.advance(1_000);
  await rig.until(() => rig.credentials.outcomes().refused === 1, "a refusal");
  assertStringIncludes(rig.state.getSecret("login")?.error ?? "", "was lost");
});

Deno.test("an error that the provider answered is no lost answer, and its mark is taken from the disk", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider, -1_000);
  provider.moods.push({ status: 500, body: "oops" }, { status: 400, body: { error: "invalid_grant" } });
  await assertUnavailable(rig.bearer(), "HTTP status 500");
  assertEquals(rig.state.getSecret("login")?.refreshingSince, undefined);
  rig.clock.advance(1_000);
  await rig.until(() => rig.credentials.outcomes().refused === 1, "a refusal");
  const error = rig.state.getSecret("login")?.error ?? "";
  assertStringIncludes(error, "must be renewed on the host");
  assert(!error.includes("was lost"), error);
});

Deno.test("an answer without a token counts as lost too: the provider may have rotated", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider, -1_000);
  provider.moods.push({ status: 200, body: { refresh_token: "unknown-to-us" } });
  await assertUnavailable(rig.bearer(), "holds no access token");
  assertEquals(rig.state.getSecret("login")?.refreshingSince, rig.clock.now());
  provider.moods.push({ status: 400, body: { error: "invalid_grant" } });
  rig.clock.advance(1_000);
  await rig.until(() => rig.credentials.outcomes().refused === 1, "a refusal");
  assertStringIncludes(rig.state.getSecret("login")?.error ?? "", "was lost");
});

Deno.test("kill -9 while the provider answers: the next start asks at once, with what is on the disk", async (t) => {
  for (const hasRotated of [false, true]) {
    await t.step(hasRotated ? "after the rotation" : "before it", async () => {
      await using provider = await FakeProvider.start();
      await using rig = await rigWithLogin(provider, 200_000);
      const old = provider.accessToken;
      provider.moods.push(hasRotated ? "slow" : "stuck");
      rig.clock.advance(170_000);
      await rig.until(() => provider.refreshes === 1, "a renewal under way");
      // What a kill leaves: the files as they are now. The mark is there, the new login is not.
      const copy = await Deno.makeTempDir();
      try {
        for await (const { name } of Deno.readDir(rig.dir)) {
          await Deno.copyFile(`${rig.dir}/${name}`, `${copy}/${name}`);
        }
        provider.release();
        await rig.until(
          () => rig.credentials.outcomes().renewed + rig.credentials.outcomes().failed > 0,
          "its end",
        );
        await using next = await Rig.start({ dir: copy, clock: new FakeClock(rig.clock.now()) });
        if (hasRotated) {
          assertEquals(await next.bearer(), old); // it still lives
          await next.until(() => next.credentials.outcomes().refused === 1, "a refusal");
          assertStringIncludes(next.state.getSecret("login")?.error ?? "", "was lost");
          assertEquals(await next.bearer(), old);
        } else {
          await next.until(() => next.credentials.outcomes().renewed === 1, "a renewal");
          assertEquals(await next.bearer(), provider.accessToken);
        }
      } finally {
        await Deno.remove(copy, { recursive: true });
      }
    });
  }
});

Deno.test("a replacement or deletion during a renewal wins", async (t) => {
  for (const change of ["replace", "delete"] as const) {
    await t.step(change, async () => {
      await using provider = await FakeProvider.start();
      await using rig = await rigWithLogin(provider, -1_000);
      provider.moods.push("slow");
      const waiting = rig.bearer().catch((error) => error);
      await rig.until(() => provider.refreshes === 1, "a renewal under way");
      if (change === "delete") await rig.state.deleteSecret("login");
      else await rig.adopt("oauth-claude", { accessToken: "new-a", refreshToken: "new-r" }, { force: true });
      provider.release();
      const error = await waiting;
      assert(error instanceof ProxyError, "a token of the old login was given out");
      assertStringIncludes(error.message, "replaced or deleted");
      if (change === "delete") assertEquals(rig.state.listSecrets(), []);
      else assertEquals(await rig.bearer(), "new-a");
    });
  }
});

Deno.test("rejected() forces one renewal per token, with growing waits, and shares what is there", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider);
  const first = await rig.credential();
  for (const status of [200, 403, 404, 500]) {
    assertEquals(await rig.credentials.rejected(first, { status, bodyStart: "bad-credentials" }), undefined);
  }
  assertEquals(provider.refreshes, 0);
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => rig.credentials.rejected(first, { status: 401 })),
  );
  assertEquals(new Set(answers.map((each) => each && tokenOf(each))), new Set([provider.accessToken]));
  assertEquals(provider.refreshes, 1);
  const second = answers[0] as Credential;
  assertEquals(await rig.credentials.rejected(first, { status: 401 }), second); // a late 401 for the old token
  assertEquals(await rig.credentials.rejected(second, { status: 401 }), undefined); // too soon
  assertEquals(provider.refreshes, 1);
  let forced = 1;
  let latest = second;
  for (let minute = 0; minute < 60; minute++) {
    rig.clock.advance(60_000);
    const next = await rig.credentials.rejected(latest, { status: 401 });
    if (!next) continue;
    forced++;
    latest = next;
  }
  assert(forced >= 4 && forced <= 8, `${forced} renewals were forced within an hour`);
});

Deno.test("a forced renewal that fails in passing is tried again in the background", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider);
  const credential = await rig.credential();
  provider.moods.push({ status: 503, body: "" });
  assertEquals(await rig.credentials.rejected(credential, { status: 401 }), undefined);
  assertEquals(await rig.credentials.rejected(credential, { status: 401 }), undefined);
  assertEquals([await rig.credential(), provider.refreshes], [credential, 1]);
  rig.clock.advance(1_000);
  await rig.until(() => rig.credentials.outcomes().renewed === 1, "a second attempt");
  assertEquals([await rig.bearer(), provider.refreshes], [provider.accessToken, 2]);
});

Deno.test("rejected() and a dead login: the token is not sent again", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider);
  const credential = await rig.credential();
  provider.rotateElsewhere();
  assertEquals(await rig.credentials.rejected(credential, { status: 401 }), undefined);
  await assertUnavailable(rig.bearer(), "must be renewed on the host");
});

Deno.test("a provider that says tokens live a second is not asked for each request", async () => {
  await using provider = await FakeProvider.start({ expiresIn: 1 });
  await using rig = await rigWithLogin(provider, -1_000);
  for (let i = 0; i < 29; i++) {
    assertEquals(await rig.bearer(), provider.accessToken);
    rig.clock.advance(1_000);
  }
  assertEquals(provider.refreshes, 1);
});

Deno.test("a clock that jumps neither renews twice nor keeps an ended token", async (t) => {
  await t.step("ahead", async () => {
    await using provider = await FakeProvider.start();
    await using rig = await rigWithLogin(provider);
    rig.clock.advance(365 * 24 * HOUR);
    assertEquals(await rig.bearer(), provider.accessToken);
    assertEquals(provider.refreshes, 1);
  });
  await t.step("back", async () => {
    await using provider = await FakeProvider.start();
    await using rig = await rigWithLogin(provider);
    rig.clock.advance(-48 * HOUR);
    const credential = await rig.credential();
    assertEquals(provider.refreshes, 0);
    // The token has ended by now as the provider sees it: its 401 says so.
    const next = await rig.credentials.rejected(credential, { status: 401 });
    assertEquals(next && tokenOf(next), provider.accessToken);
  });
});

Deno.test("no token is in any byte of the state folder, the log, the list or an error", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider, -1_000);
  const errors: unknown[] = [];
  const collect = (error: unknown) => errors.push(String(error), String((error as Error).cause));
  provider.moods.push({
    status: 400,
    body: { error: `x ${provider.refreshToken}`, code: provider.refreshToken },
  }, "lost");
  await rig.bearer().catch(collect);
  rig.clock.advance(1_000);
  await rig.until(() => rig.credentials.outcomes().failed === 2, "a second failure");
  rig.clock.advance(2_000);
  await rig.until(() => rig.credentials.outcomes().refused === 1, "a refusal");
  await rig.bearer().catch(collect);
  provider.rotateElsewhere();
  await rig.adopt("oauth-claude", loginOf(provider, rig.clock, -1_000), { force: true });
  await rig.bearer();
  const parts = [JSON.stringify(rig.state.listSecrets()), rig.log.join("\n"), errors.join("\n")];
  for await (const { name, isFile } of Deno.readDir(rig.dir)) {
    if (isFile) parts.push(new TextDecoder("latin1").decode(await Deno.readFile(`${rig.dir}/${name}`)));
  }
  const all = parts.join("\n");
  assert(all.includes("api.example.com"), "the search looks in the wrong place");
  assertEquals(provider.issued.length, 8);
  for (const token of provider.issued) assert(!all.includes(token), `${token} was found`);
});

Deno.test("a token without a refresh token is used until it ends, and the list says so then", async () => {
  await using rig = await Rig.start();
  await rig.adopt("github-app-user", { access_token: "ghu_x", expires_at: rig.clock.now() + HOUR });
  rig.clock.advance(HOUR - 5_001);
  const credential = await rig.credential();
  assertEquals(tokenOf(credential), "ghu_x");
  assertEquals(await rig.credentials.rejected(credential, { status: 401 }), undefined);
  assertEquals(rig.state.getSecret("login")?.error, undefined);
  rig.clock.advance(1);
  await assertUnavailable(rig.bearer(), "must be renewed on the host");
  assertStringIncludes(rig.state.getSecret("login")?.error ?? "", "no refresh token");
});

Deno.test("one login is not adopted under two names, and may replace itself", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider);
  const again = loginOf(provider, rig.clock);
  const error = await assertRejects(() => rig.adopt("oauth-claude", again, { name: "second" }), ProxyError);
  assertEquals(error.code, "input.conflict");
  assertStringIncludes(error.message, "secret login holds the same login");
  await rig.adopt("oauth-claude", again, { force: true });
  await rig.adopt("oauth-claude", { accessToken: "a", refreshToken: "r" }, { name: "second" });
  await rig.adopt("oauth-xai", { access_token: "a", refresh_token: "r" }, { name: "third" });
});

Deno.test("a provider that never answers is given up, and asked again later", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await Rig.start({ limitMs: 50 });
  provider.moods.push("stuck");
  await rig.adopt("oauth-claude", loginOf(provider, rig.clock, -1_000));
  await assertUnavailable(rig.bearer(), "did not answer in time");
  rig.clock.advance(1_000);
  await rig.until(() => rig.credentials.outcomes().renewed === 1, "a second attempt");
  assertEquals([await rig.bearer(), provider.refreshes], [provider.accessToken, 2]);
});

Deno.test("a stop waits for the renewal under way, and what it got is on the disk", async () => {
  await using provider = await FakeProvider.start();
  const first = await rigWithLogin(provider, -1_000);
  try {
    provider.moods.push("slow");
    const waiting = first.bearer();
    await first.until(() => provider.refreshes === 1, "a renewal under way");
    const closing = first.close();
    provider.release();
    await closing;
    assertEquals(await waiting, provider.accessToken);
    await using second = await Rig.start({ dir: first.dir, clock: first.clock });
    assertEquals([await second.bearer(), provider.refreshes], [provider.accessToken, 1]);
  } finally {
    await Deno.remove(first.dir, { recursive: true });
  }
});

Deno.test("a request that goes away does not end the renewal that others wait for", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider, -1_000);
  provider.moods.push("slow");
  const gone = Promise.race([rig.bearer(), Promise.resolve("gone")]);
  const other = rig.bearer();
  assertEquals(await gone, "gone");
  await rig.until(() => provider.refreshes === 1, "a renewal under way");
  provider.release();
  assertEquals([await other, provider.refreshes], [provider.accessToken, 1]);
});

Deno.test("wake() renews what ended while the machine slept, and waits no longer for what failed on the way", async () => {
  await using provider = await FakeProvider.start();
  await using rig = await rigWithLogin(provider);
  await rig.bearer();
  // Before the network is back.
  provider.moods.push({ status: 503, body: "" });
  rig.clock.advance(2 * HOUR);
  await rig.until(() => rig.credentials.outcomes().failed === 1, "a renewal that fails");
  rig.credentials.wake();
  await rig.until(() => rig.credentials.outcomes().renewed === 1, "a renewal, although its wait is not over");
  assertEquals([await rig.bearer(), provider.refreshes], [provider.accessToken, 2]);
});
