/** One login between its provider, its source file and the store, with each of them in the hands of the test. */
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import type { Credential } from "../../../secrets/credential.ts";
import { LiveLogin } from "../../../secrets/login.ts";
import { type Login, makeToken, type OAuthKind, type Renewed } from "../../../secrets/oauth_kind.ts";
import type { ProviderRequest } from "../../../secrets/provider_call.ts";
import { digestOf } from "../../../secrets/source_login.ts";
import { RenewalFailure } from "../../../secrets/token_answer.ts";
import type { SecretRecord, SecretUpdate } from "../../../store/records.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 0, 2);

interface TestLogin extends Login {
  readonly expires_at?: number;
  readonly account?: string;
}

/** What the provider does at a renewal. */
type Renew = (login: TestLogin, context: Parameters<OAuthKind["renew"]>[1]) => Renewed<TestLogin>;

interface StageOptions {
  readonly login?: TestLogin;
  readonly record?: Partial<SecretRecord>;
  readonly kind?: Partial<OAuthKind<TestLogin>>;
  readonly limitMs?: number;
}

class Stage implements AsyncDisposable {
  readonly clock = new FakeClock(NOW);
  readonly updates: SecretUpdate[] = [];
  readonly outcomes: string[] = [];
  readonly log: string[] = [];
  readonly bugs: unknown[] = [];
  readonly asked: ProviderRequest[] = [];
  /** What the provider does next. Without any it gives the token `new`. */
  readonly renewals: (Renew | Error)[] = [];
  /** With what the store refuses the next changes; undefined lets one pass. */
  readonly refusals: (Error | undefined)[] = [];
  readonly kind: OAuthKind<TestLogin>;
  readonly live: LiveLogin;
  record: SecretRecord;
  value: string;

  constructor({ login, record, kind, limitMs = 30_000 }: StageOptions = {}) {
    this.record = {
      ...{ name: "s", host: "a.test", type: "t", version: "v1", cleartext: false, createdAt: 1 },
      ...record,
    };
    this.value = JSON.stringify(
      login ?? { access_token: "old", refresh_token: "r1", expires_at: NOW + HOUR },
    );
    this.kind = {
      rotates: true,
      parse: (text) => {
        const { source_digest: _, ...rest } = JSON.parse(text);
        return rest;
      },
      stored: ({ access_token, expires_at }) =>
        access_token === undefined ? undefined : makeToken(access_token, expires_at),
      isRenewable: ({ refresh_token }) => refresh_token !== undefined,
      renew: (mine, context) => {
        const next = this.renewals.shift() ?? renewedTo("new");
        return next instanceof Error ? Promise.reject(next) : Promise.resolve(next(mine, context));
      },
      inject: (_login, token, form) => ({ headers: [["X", `${form}${token}`]] }),
      endpoints: () => [],
      identity: ({ account }) => [account],
      ...kind,
    };
    this.live = new LiveLogin(
      {
        clock: this.clock,
        random: () => 0,
        schedule: this.clock.schedule,
        call: (request) => {
          this.asked.push(request);
          return Promise.resolve({ status: 200, headers: {}, body: "" });
        },
        limitMs,
        update: (_name, update) => {
          this.updates.push(update);
          const refusal = this.refusals.shift();
          if (refusal) return Promise.reject(refusal);
          const { refreshingSince, error, value, adoptedAt, refreshedAt } = update;
          const fields = { refreshingSince, error, adoptedAt, refreshedAt };
          const set = Object.entries(fields).filter(([, field]) => field !== undefined);
          const merged = Object.entries({ ...this.record, ...Object.fromEntries(set) });
          this.record = Object.fromEntries(
            merged.filter(([, field]) => field !== null),
          ) as unknown as SecretRecord;
          if (value !== undefined) this.value = value;
          return Promise.resolve(this.record);
        },
        log: {
          warn: (line) => this.log.push(line),
          error: (line) => this.log.push(`error: ${line}`),
        },
        onOutcome: (outcome) => this.outcomes.push(outcome),
        reportBug: (error) => this.bugs.push(error),
      },
      this.kind as OAuthKind,
      { record: this.record, value: this.value },
    );
  }

  /** The header of a request now. */
  async header(path = "/"): Promise<string> {
    return headerOf(await this.live.credential({ host: "a.test", method: "GET", path }));
  }

  async refusal(): Promise<string> {
    const error = await assertRejects(() => this.header(), ProxyError);
    assertEquals(error.code, "credential.unavailable");
    return error.message;
  }

  /** Lets everything go on that waits for nothing but others. */
  async settle(): Promise<void> {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 0));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.live[Symbol.asyncDispose]();
    assertEquals(this.bugs, []);
  }
}

function headerOf({ headers }: Credential): string {
  return headers[0]?.[1] ?? "";
}

function renewedTo(token: string, lifeMs = HOUR): Renew {
  return (login, { now }) => ({
    token: makeToken(token, now() + lifeMs),
    login: { ...login, access_token: token, refresh_token: `r of ${token}`, expires_at: now() + lifeMs },
  });
}

/** For a kind that does not rotate. */
function madeToken(token: string): Renew {
  return (_login, { now }) => ({ token: makeToken(token, now() + HOUR) });
}

const ENDED: TestLogin = { access_token: "old", refresh_token: "r1", expires_at: NOW };
const AT_HOME: Partial<OAuthKind<TestLogin>> = { rotates: false, stored: () => undefined };
const REFUSED = new RenewalFailure("refused (x)", { isFinal: true });
const BUSY = new RenewalFailure("busy");
const UNKNOWN = new RenewalFailure("no answer", { isAnswered: false });

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

/** A login that was adopted from a file, and that file. */
async function stageWithFile(text: string, options: StageOptions = {}) {
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-login-" }));
  const sourceFile = `${dir}/login`;
  const write = (content: string) => Deno.writeTextFile(sourceFile, content, { mode: 0o600 });
  await write(text);
  const sourceUid = Deno.uid();
  const stage = new Stage({
    ...options,
    record: { sourceFile, ...(sourceUid === null ? {} : { sourceUid }), ...options.record },
  });
  const close = async () => {
    await stage[Symbol.asyncDispose]();
    await Deno.remove(dir, { recursive: true });
  };
  return { stage, write, dir, [Symbol.asyncDispose]: close };
}

Deno.test("a source file: what is newer there is adopted before the provider is asked", async (t) => {
  const theirs = { access_token: "theirs", refresh_token: "r5" };
  const rows:
    readonly (readonly [name: string, found: TestLogin, header: string, outcomes: readonly string[]])[] = [
      ["newer", { ...theirs, expires_at: NOW + HOUR }, "theirs", ["adopted"]],
      ["good for more than a minute", { ...theirs, expires_at: NOW + 60_001 }, "theirs", ["adopted"]],
      ["good for a minute: it is renewed", { ...theirs, expires_at: NOW + 60_000 }, "new", [
        "adopted",
        "renewed",
      ]],
      ["without an end", theirs, "theirs", ["adopted"]],
      ["as it was", ENDED, "new", ["renewed"]],
      ["no newer than ours", { ...theirs, expires_at: NOW }, "new", ["renewed"]],
      ["without a token", { refresh_token: "r5" }, "new", ["adopted", "renewed"]],
      ["another account", { ...theirs, account: "b" }, "new", ["renewed"]],
    ];
  for (const [name, found, header, outcomes] of rows) {
    await t.step(name, async () => {
      const login = name === "another account" ? { ...ENDED, account: "a" } : ENDED;
      await using file = await stageWithFile(JSON.stringify(found), { login });
      const { stage } = file;
      assertEquals(await stage.header(), header);
      assertEquals(stage.outcomes, outcomes);
      assertEquals(
        stage.log,
        name === "another account"
          ? ["secret s: its source file holds another account or endpoint, and is not used"]
          : [],
      );
      const [first] = stage.updates;
      if (outcomes[0] === "adopted") {
        assertEquals(first, {
          ifVersion: "v1",
          ifValue: JSON.stringify(login),
          value: JSON.stringify({ ...found, source_digest: digestOf(found) }),
          adoptedAt: NOW,
          refreshingSince: null,
          error: null,
        });
        assertEquals(JSON.parse(stage.value).source_digest, digestOf(found));
      }
    });
  }
});

Deno.test("a source file that cannot be used is told, and the provider is asked", async () => {
  await using file = await stageWithFile("{");
  const { stage } = file;
  stage.clock.advance(HOUR);
  await stage.settle();
  assertEquals(await stage.header(), "new");
  assert(stage.log[0]?.startsWith("secret s: "), stage.log.join());
  assertEquals(stage.outcomes, ["renewed"]);
});

Deno.test("a refusal with a source file is asked about every 30 s, and an older login there is taken then", async () => {
  await using file = await stageWithFile(JSON.stringify(ENDED), { login: ENDED });
  const { stage, write } = file;
  stage.renewals.push(REFUSED);
  await stage.refusal();
  assertEquals(stage.clock.due, [NOW + 30_000]);
  const older = { access_token: "older", refresh_token: "r0", expires_at: NOW - 1 };
  await write(JSON.stringify(older));
  stage.clock.advance(30_000);
  assertEquals(await stage.header(), "new");
  assertEquals([stage.outcomes, stage.record.error], [["refused", "adopted", "renewed"], undefined]);
});

Deno.test("what a host CLI has written while the provider refused is taken, and the refusal is none", async () => {
  await using file = await stageWithFile(JSON.stringify(ENDED), { login: ENDED });
  const { stage, dir } = file;
  const fresh = JSON.stringify({ access_token: "theirs", refresh_token: "r5", expires_at: NOW + HOUR });
  stage.renewals.push(() => {
    Deno.writeTextFileSync(`${dir}/login`, fresh);
    throw REFUSED;
  });
  assertEquals(await stage.header(), "theirs");
  assertEquals([stage.outcomes, stage.record.error, stage.log], [["adopted"], undefined, []]);
});

Deno.test("a login without a refresh token is looked for in its source file when its token ends", async () => {
  const { refresh_token: _, ...login } = ENDED;
  await using file = await stageWithFile(JSON.stringify({ access_token: "theirs", expires_at: NOW + HOUR }), {
    login,
  });
  assertEquals(await file.stage.header(), "theirs");
});
