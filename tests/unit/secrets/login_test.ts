/** One login between its provider and the store, with each of them in the hands of the test. */
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { makeToken } from "../../../secrets/oauth_kind.ts";
import { digestOf } from "../../../secrets/source_login.ts";
import { RenewalFailure } from "../../../secrets/token_answer.ts";
import type { SecretRecord, SecretUpdate } from "../../../store/records.ts";
import {
  AT_HOME,
  BUSY,
  ENDED,
  headerOf,
  HOUR,
  madeToken,
  NOW,
  REFUSED,
  renewedTo,
  Stage,
  UNKNOWN,
} from "./live_login_stage.ts";

Deno.test("LiveLogin gives one credential for each form of a token, and others once that is another", async () => {
  await using stage = new Stage({ kind: { formOf: (_login, { path }) => path } });
  const get = async (path: string) => await stage.live.credential({ host: "a.test", method: "GET", path });
  const [one, two] = [await get("/1:"), await get("/2:")];
  assertStrictEquals(await get("/1:"), one);
  assert(!(stage.live.credential({ host: "a.test", method: "GET", path: "/1:" }) instanceof Promise));
  const { generation, ...rest } = one;
  assertEquals(rest, {
    ...{ secret: "s", version: "v1", host: "a.test", cleartext: false },
    ...{ material: ["old"], headers: [["X", "/1:old"]] },
  });
  assertEquals([two.generation, headerOf(two)], [generation, "/2:old"]);
  const renewed = await stage.live.rejected(two, { status: 401 });
  assertEquals(renewed && headerOf(renewed), "/2:new");
  const again = await get("/1:");
  assertEquals([headerOf(again), again.generation === renewed?.generation], ["/1:new", true]);
  assertEquals([stage.live.version, stage.outcomes], ["v1", ["renewed"]]);
});

Deno.test("LiveLogin keeps a token for each slot, and renews the one that was refused", async () => {
  const slots: string[] = [];
  await using stage = new Stage({
    kind: {
      ...AT_HOME,
      slotOf: (_login, { path }) => path,
      renew: (_login, _context, slot) => {
        slots.push(slot);
        return Promise.resolve({ token: makeToken(`${slot}-${slots.length}`) });
      },
    },
  });
  assertEquals([await stage.header("/1"), await stage.header("/2"), await stage.header("/1")], [
    "/1-1",
    "/2-2",
    "/1-1",
  ]);
  const one = await stage.live.credential({ host: "a.test", method: "GET", path: "/1" });
  const next = await stage.live.rejected(one, { status: 401 });
  assertEquals([next && headerOf(next), slots], ["/1-3", ["/1", "/2", "/1"]]);
  assertEquals(stage.updates, []); // nothing of it is stored
});

Deno.test("LiveLogin.rejected() goes by what the kind calls a refusal, for credentials of its own", async () => {
  await using plain = new Stage();
  const own = await plain.live.credential({ host: "a.test", method: "GET", path: "/" });
  for (const status of [200, 400, 403, 500]) {
    assertEquals(await plain.live.rejected(own, { status }), undefined);
  }
  const { generation: _, ...without } = own;
  assertEquals(await plain.live.rejected(without, { status: 401 }), undefined);
  assertEquals(await plain.live.rejected({ ...own }, { status: 401 }), undefined); // a copy is nobody's
  assertEquals(plain.outcomes, []);
  await using other = new Stage({ kind: { isRefused: ({ status }) => status === 418 } });
  const theirs = await other.live.credential({ host: "a.test", method: "GET", path: "/" });
  assertEquals(await other.live.rejected(theirs, { status: 401 }), undefined);
  assertEquals((await other.live.rejected(theirs, { status: 418 }))?.headers, [["X", "new"]]);
});

Deno.test("LiveLogin marks, asks and commits, each for the value that it knows", async () => {
  await using stage = new Stage({ login: ENDED });
  assertEquals(await stage.header(), "new");
  const [mark, commit, ...more] = stage.updates;
  assertEquals(mark?.refreshingSince, NOW);
  assertEquals(commit, {
    ifVersion: "v1",
    ifValue: JSON.stringify(ENDED),
    value: JSON.stringify({
      ...{ access_token: "new", refresh_token: "r of new", expires_at: NOW + HOUR },
      source_digest: digestOf(ENDED),
    }),
    refreshedAt: NOW,
    refreshingSince: null,
    error: null,
  });
  assertEquals([more, stage.log], [[], []]);
  // The next one is a renewal of what this one made.
  stage.clock.advance(HOUR);
  await stage.settle();
  assertEquals(stage.updates[3]?.ifValue, commit?.value);
});

Deno.test("LiveLogin asks the provider with its own time and only while it may", async () => {
  await using stage = new Stage({ login: ENDED });
  let time = 0;
  stage.renewals.push((login, context) => {
    time = context.now();
    void context.call({ method: "GET", url: "https://x.test/", headers: {} });
    return renewedTo("new")(login, context);
  });
  await stage.header();
  assertEquals([time, stage.asked[0]?.url, stage.asked[0]?.maySend?.()], [NOW, "https://x.test/", true]);
});

Deno.test("an unfinished renewal of before is begun again at once, and a finished one is not", async (t) => {
  for (const refreshingSince of [undefined, NOW - 5_000]) {
    await t.step(String(refreshingSince), async () => {
      await using stage = new Stage({ record: { ...(refreshingSince ? { refreshingSince } : {}) } });
      await stage.settle();
      assertEquals(stage.outcomes, refreshingSince === undefined ? [] : ["renewed"]);
    });
  }
});

Deno.test("a failure of a login that rotates: what is stored, said and counted", async (t) => {
  const marked = { ifVersion: "v1", ifValue: JSON.stringify(ENDED) };
  const rows: readonly (readonly [
    name: string,
    failure: Error,
    record: Partial<SecretRecord>,
    /** After the mark. */
    stored: readonly Partial<SecretUpdate>[],
    outcome: string,
    words: string,
  ])[] = [
    ["answered: the mark goes", BUSY, {}, [{ refreshingSince: null }], "failed", "busy"],
    [
      "answered, an earlier answer is lost: it stays",
      BUSY,
      { refreshingSince: NOW - 9 },
      [],
      "failed",
      "busy",
    ],
    ["not answered: it stays", UNKNOWN, {}, [], "failed", "no answer"],
    [
      "never sent: it goes",
      new ProxyError("upstream.dns", "no name"),
      {},
      [{ refreshingSince: null }],
      "failed",
      "no name",
    ],
    ["cut off: it stays", new ProxyError("upstream.closed", "cut"), {}, [], "failed", "cut"],
    [
      "at home: the operator is told",
      new RenewalFailure("a file", { atHome: "/k is gone" }),
      {},
      [{ refreshingSince: null }, { error: "/k is gone" }],
      "failed",
      "/k is gone",
    ],
    [
      "refused",
      REFUSED,
      {},
      [{ error: "the login must be renewed on the host: refused (x)", refreshingSince: null }],
      "refused",
      "the login must be renewed on the host: refused (x)",
    ],
    [
      "refused, an answer was lost",
      REFUSED,
      { refreshingSince: NOW - 5_000 },
      [{
        error:
          "the login must be renewed on the host: refused (x); the answer to a renewal of 2026-01-01T23:59:55.000Z was lost",
        refreshingSince: null,
      }],
      "refused",
      "the login must be renewed on the host: refused (x); the answer to a renewal of 2026-01-01T23:59:55.000Z was lost",
    ],
  ];
  for (const [name, failure, record, stored, outcome, words] of rows) {
    await t.step(name, async () => {
      await using stage = new Stage({ login: ENDED, record });
      stage.renewals.push(failure);
      await stage.refusal();
      const own = stage.updates.filter(({ lease }) => lease === undefined);
      assertEquals(own, stored.map((change) => ({ ...marked, ...change })));
      assertEquals([stage.outcomes, stage.log], [[outcome], [`secret s: ${words}`]]);
    });
  }
});

Deno.test("an answer that was lost in this run is said when the provider refuses the next", async () => {
  await using stage = new Stage({ login: ENDED });
  stage.renewals.push(UNKNOWN, REFUSED);
  await stage.refusal();
  stage.clock.advance(1_000);
  await stage.settle();
  assertEquals(
    stage.record.error,
    "the login must be renewed on the host: refused (x); the answer to a renewal of 2026-01-02T00:00:00.000Z was lost",
  );
});

Deno.test("a success forgets what was lost, and the same trouble is told once until then", async () => {
  await using stage = new Stage({ login: ENDED });
  stage.renewals.push(UNKNOWN, UNKNOWN, BUSY, renewedTo("new"), BUSY, REFUSED);
  await stage.refusal();
  for (const ms of [1_000, 2_000, 4_000]) {
    stage.clock.advance(ms);
    await stage.settle();
  }
  assertEquals([stage.outcomes, stage.log], [
    ["failed", "failed", "failed", "renewed"],
    ["secret s: no answer", "secret s: busy"],
  ]);
  stage.clock.advance(HOUR);
  await stage.settle();
  assertEquals(stage.log.length, 3); // busy once more
  stage.clock.advance(1_000);
  await stage.settle();
  assertEquals(stage.record.error, "the login must be renewed on the host: refused (x)");
});

Deno.test("a kind that does not rotate: no mark, its error goes with the next token, and it is asked again in 5 minutes", async () => {
  await using stage = new Stage({ kind: AT_HOME });
  stage.renewals.push(REFUSED, BUSY, madeToken("new"));
  assertEquals(await stage.refusal(), "Cannot use secret s: the provider refuses it: refused (x)");
  assertEquals(stage.record.error, "the provider refuses it: refused (x)");
  stage.clock.advance(299_999);
  await stage.refusal();
  assertEquals(stage.renewals.length, 2);
  stage.clock.advance(1);
  assertEquals(await stage.refusal(), "Cannot use secret s: its token cannot be renewed now: busy");
  stage.clock.advance(300_000);
  assertEquals(await stage.header(), "new");
  assertEquals(stage.updates.map(({ error, refreshingSince }) => [error, refreshingSince]), [
    ["the provider refuses it: refused (x)", null],
    [null, undefined],
  ]);
  assertEquals(stage.outcomes, ["refused", "failed", "renewed"]);
});

Deno.test("what is wrong at home is stored once for as long as it is the same, and goes with the next token", async () => {
  await using stage = new Stage({ kind: AT_HOME });
  const gone = new RenewalFailure("its key file cannot be used", { atHome: "/k is gone" });
  const link = new RenewalFailure("its key file cannot be used", { atHome: "/k is a link" });
  stage.renewals.push(gone, gone, link, madeToken("new"));
  for (let i = 0; i < 3; i++) {
    assertEquals(
      await stage.refusal(),
      "Cannot use secret s: its token cannot be renewed now: its key file cannot be used",
    );
    stage.clock.advance(1_000);
  }
  assertEquals(await stage.header(), "new");
  assertEquals(stage.updates.map(({ error }) => error), ["/k is gone", "/k is a link", null]);
  assertEquals(stage.log, ["secret s: /k is gone", "secret s: /k is a link"]);
});

Deno.test("a refusal for good is not asked about again: of this run, of an earlier one, of another host", async (t) => {
  const refused = "the login must be renewed on the host: refused (x)";
  await t.step("of this run", async () => {
    await using stage = new Stage({ login: ENDED });
    stage.renewals.push(REFUSED);
    await stage.refusal();
    stage.clock.advance(1_000 * HOUR);
    assertEquals(await stage.refusal(), `Cannot use secret s: ${refused}`);
    assertEquals([stage.outcomes, stage.clock.due], [["refused"], []]);
  });
  await t.step("of an earlier run", async () => {
    await using stage = new Stage({ login: ENDED, record: { error: refused } });
    assertEquals(await stage.refusal(), `Cannot use secret s: ${refused}`);
    assertEquals([stage.outcomes, stage.updates], [["refused"], []]);
  });
  await t.step("a stored error of a kind that does not rotate is none", async () => {
    await using stage = new Stage({ kind: AT_HOME, record: { error: "the provider refuses it" } });
    stage.renewals.push(madeToken("new"));
    assertEquals(await stage.header(), "new");
  });
  await t.step("of another host, and a login that it makes anew", async () => {
    await using stage = new Stage();
    const value = JSON.stringify({ ...ENDED, refresh_token: "r9" });
    stage.live.follow({ record: { ...stage.record, error: refused }, value });
    assertEquals(await stage.refusal(), `Cannot use secret s: ${refused}`);
    const good = JSON.stringify({ access_token: "theirs", refresh_token: "r10", expires_at: NOW + HOUR });
    stage.live.follow({ record: { ...stage.record }, value: good });
    assertEquals(await stage.header(), "theirs");
  });
});

Deno.test("follow() takes what another host has renewed, and an unfinished renewal of it", async () => {
  await using stage = new Stage();
  await stage.header();
  stage.live.follow({ record: { ...stage.record, cleartext: true }, value: stage.value });
  assertEquals(await stage.header(), "old");
  const value = JSON.stringify({ access_token: "theirs", refresh_token: "r2", expires_at: NOW + 2 * HOUR });
  stage.value = value;
  stage.record = { ...stage.record, refreshingSince: NOW - 5_000 };
  stage.live.follow({ record: stage.record, value });
  assertEquals(await stage.header(), "theirs");
  stage.renewals.push(REFUSED);
  const credential = await stage.live.credential({ host: "a.test", method: "GET", path: "/" });
  assertEquals(await stage.live.rejected(credential, { status: 401 }), undefined);
  assertEquals(stage.updates[0]?.ifValue, value);
  assert(stage.record.error?.endsWith("renewal of 2026-01-01T23:59:55.000Z was lost"), stage.record.error);
});

Deno.test("a login that cannot be stored is not used, is told, and is stored later without asking again", async () => {
  const full = () => new ProxyError("state.write-failed", "Cannot write /planted: full");
  await using stage = new Stage({ login: ENDED });
  stage.refusals.push(undefined, full(), full());
  assertEquals(
    await stage.refusal(),
    "Cannot use secret s: its token cannot be renewed now: the proxy cannot write its state",
  );
  const told = "error: secret s: the renewed login cannot be stored and is lost if the proxy ends now";
  assertEquals(stage.log.filter((line) => line.startsWith("error")), [told]);
  stage.renewals.push(new Error("asked again"));
  stage.clock.advance(1_000);
  await stage.settle();
  assertEquals(stage.outcomes, ["failed", "failed"]);
  stage.clock.advance(2_000);
  await stage.settle();
  assertEquals([await stage.header(), stage.outcomes.at(-1)], ["new", "renewed"]);
  // It is stored in the place of the value that it was made of.
  assertEquals(stage.updates.slice(1).map(({ ifValue }) => ifValue), Array(3).fill(JSON.stringify(ENDED)));
});

Deno.test("what is left to store at the end is stored then, once, and nothing else is", async () => {
  const stage = new Stage({ login: ENDED });
  stage.refusals.push(undefined, new ProxyError("state.write-failed", "x"));
  await stage.refusal();
  assertEquals(stage.value, JSON.stringify(ENDED));
  await stage[Symbol.asyncDispose]();
  assertEquals([JSON.parse(stage.value).access_token, stage.updates.length], ["new", 3]);
  const failing = new Stage({ login: ENDED });
  failing.refusals.push(
    undefined,
    new ProxyError("state.write-failed", "x"),
    new ProxyError("state.write-failed", "x"),
  );
  await failing.refusal();
  await failing[Symbol.asyncDispose](); // does not reject
  const done = new Stage({ login: ENDED });
  await done.header();
  await done[Symbol.asyncDispose]();
  assertEquals(done.updates.length, 2);
});

Deno.test("a login that somebody else has renewed or replaced meanwhile is dropped", async (t) => {
  const rows: readonly (readonly [name: string, refusal: Error, isKept: boolean])[] = [
    ["renewed", new ProxyError("input.conflict", "x", { reason: "renewed" }), false],
    ["another conflict", new ProxyError("input.conflict", "x"), true],
    ["replaced", new RenewalFailure("the secret was replaced or deleted"), false],
  ];
  for (const [name, refusal, isKept] of rows) {
    await t.step(name, async () => {
      const stage = new Stage({ login: ENDED });
      stage.refusals.push(undefined, refusal);
      await stage.refusal();
      assertEquals(stage.log.some((line) => line.startsWith("error")), isKept);
      await stage[Symbol.asyncDispose]();
      assertEquals(stage.updates.length, isKept ? 3 : 2);
    });
  }
});

Deno.test("what the operator should see and the disk does not take is in the log, and hides no failure", async () => {
  await using stage = new Stage({ login: ENDED });
  stage.renewals.push(REFUSED);
  stage.refusals.push(undefined, new ProxyError("state.write-failed", "disk is full"));
  assertEquals(
    await stage.refusal(),
    "Cannot use secret s: the login must be renewed on the host: refused (x)",
  );
  assertEquals(stage.log[0], "error: secret s: its state cannot be stored: disk is full");
});

Deno.test("a login without a refresh token is over five seconds before its token ends, and not before", async () => {
  const { refresh_token: _, ...login } = { ...ENDED, expires_at: NOW + HOUR };
  await using stage = new Stage({ login });
  const credential = await stage.live.credential({ host: "a.test", method: "GET", path: "/" });
  assertEquals(await stage.live.rejected(credential, { status: 401 }), undefined);
  assertEquals([stage.outcomes, stage.clock.due], [[], []]); // a 401 may be about one request only
  stage.clock.advance(HOUR - 5_001);
  assertEquals(await stage.header(), "old");
  stage.clock.advance(1);
  const over =
    "the login must be renewed on the host: its token cannot be renewed, for it has no refresh token";
  assertEquals(await stage.refusal(), `Cannot use secret s: ${over}`);
  assertEquals([stage.outcomes, stage.record.error], [["refused"], over]);
});

Deno.test("while another host renews, its token is waited for, and taken when it is good for more than a moment", async (t) => {
  const held = () => new ProxyError("input.conflict", "x", { retryAfterSeconds: 600 });
  for (const [leftMs, header] of [[5_001, "theirs"], [5_000, "new"]] as const) {
    await t.step(`${leftMs} ms`, async () => {
      await using stage = new Stage({ login: ENDED });
      stage.refusals.push(held());
      const waiting = stage.header();
      await stage.settle();
      const value = JSON.stringify({ ...ENDED, access_token: "theirs", expires_at: NOW + leftMs });
      stage.record = { ...stage.record };
      stage.value = value;
      stage.live.follow({ record: stage.record, value });
      assertEquals(await waiting, header);
      assertEquals(stage.outcomes, header === "new" ? ["renewed"] : []);
    });
  }
  await t.step("a token without an end", async () => {
    await using stage = new Stage({ login: ENDED });
    stage.refusals.push(held());
    const waiting = stage.header();
    await stage.settle();
    const value = JSON.stringify({ access_token: "theirs", refresh_token: "r2" });
    stage.live.follow({ record: { ...stage.record }, value });
    assertEquals(await waiting, "theirs");
  });
  await t.step("no longer than a renewal may take", async () => {
    await using stage = new Stage({ login: ENDED, limitMs: 20 });
    stage.refusals.push(held());
    assertEquals(
      await stage.refusal(),
      "Cannot use secret s: its token cannot be renewed now: the token endpoint did not answer in time",
    );
  });
  await t.step("a store that fails is no other host", async () => {
    await using stage = new Stage({ login: ENDED });
    stage.refusals.push(new ProxyError("state.write-failed", "x"));
    await stage.refusal();
    assertEquals(stage.outcomes, ["failed"]);
  });
});

Deno.test("a value that is no login is refused when it is made live", () => {
  const parse = () => {
    throw new ProxyError("input.invalid", "Cannot use this");
  };
  assertThrows(() => new Stage({ kind: { parse } }), ProxyError, "Cannot use this");
});
