/** When a token is renewed, how often that is tried, and what a failure means: to the millisecond, on a clock that only tests move. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import type { AccessToken } from "../../../secrets/oauth_kind.ts";
import { Renewal, type RenewalParts } from "../../../secrets/refresh.ts";
import { RenewalFailure } from "../../../secrets/token_answer.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const HOUR = 3_600_000;
const BUSY = new RenewalFailure("busy");
const REFUSED = new RenewalFailure("refused", { isFinal: true });

/** What the next renewals give; without any, a token of an hour. */
type Answer = AccessToken | Error | Promise<AccessToken>;

function makeRenewal(parts: Partial<RenewalParts> = {}, ...answers: Answer[]) {
  const clock = new FakeClock();
  const bugs: unknown[] = [];
  const signals: AbortSignal[] = [];
  const renewal = new Renewal({
    clock,
    random: () => 0,
    schedule: (atMs, callback) => clock.schedule(atMs, callback),
    fetch: (signal) => {
      signals.push(signal);
      const answer = answers.shift() ?? { token: `t${signals.length}`, expiresAtMs: clock.now() + HOUR };
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
    isRenewable: () => true,
    isEager: false,
    limitMs: 30_000,
    finalRetryMs: Infinity,
    reportBug: (error) => bugs.push(error),
    ...parts,
  });
  return {
    clock,
    renewal,
    bugs,
    signals,
    /** In how many milliseconds timers are due. */
    due: () => clock.due.map((at) => at - clock.now()),
    fetches: () => signals.length,
  };
}

/** Lets everything go on that waits for nothing but others. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

Deno.test("a token that was there is renewed a fifth of its life or five minutes before its end, less a part by chance", async (t) => {
  const rows:
    readonly (readonly [life: number, obtainedAgo: number | undefined, random: number, due: number])[] = [
      [HOUR, undefined, 0, HOUR - 300_000],
      [HOUR, undefined, 1, HOUR - 240_000],
      [600_000, undefined, 0, 480_000],
      [600_000, 900_000, 0, 300_000], // of a life of 25 minutes
      [600_000, 600_000, 0.5, 600_000 - 240_000 * 0.9],
      [-1_000, undefined, 0, -1_000],
    ];
  for (const [life, obtainedAgo, random, due] of rows) {
    await t.step(`${life} ${obtainedAgo} ${random}`, () => {
      const stage = makeRenewal({ isEager: true, random: () => random });
      using renewal = stage.renewal;
      const now = stage.clock.now();
      renewal.adopt({
        token: "t",
        expiresAtMs: now + life,
        ...(obtainedAgo === undefined ? {} : { obtainedAtMs: now - obtainedAgo }),
      });
      assertEquals(stage.due(), [due]);
    });
  }
});

Deno.test("a token without an end is never renewed by itself", () => {
  const stage = makeRenewal({ isEager: true });
  using renewal = stage.renewal;
  renewal.adopt({ token: "t" });
  assertEquals(stage.due(), []);
  stage.clock.advance(10_000 * HOUR);
  assertEquals([renewal.usable()?.token, stage.fetches()], ["t", 0]);
});

Deno.test("usable() gives a token until five seconds before its end", () => {
  const { clock, renewal } = makeRenewal();
  using _ = renewal;
  assertEquals(renewal.usable(), undefined);
  renewal.adopt({ token: "t", expiresAtMs: clock.now() + 6_000 });
  clock.advance(999);
  assertEquals(renewal.usable()?.token, "t");
  clock.advance(1);
  assertEquals(renewal.usable(), undefined);
});

Deno.test("usable() renews what is due without waiting for it, and arms a timer at first use only", async () => {
  const stage = makeRenewal();
  using renewal = stage.renewal;
  renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + HOUR });
  assertEquals(stage.due(), []); // nobody uses it
  const first = renewal.usable();
  assertEquals(stage.due(), [HOUR - 300_000]);
  let armed = 0;
  const { schedule } = stage.clock;
  stage.clock.schedule = (...args) => (armed++, schedule(...args));
  renewal.usable();
  assertEquals([armed, stage.due()], [0, [HOUR - 300_000]]);
  stage.clock.advance(HOUR - 300_000);
  assertEquals([renewal.usable(), stage.fetches()], [first, 1]);
  await settle();
  const next = renewal.usable();
  assertEquals([next?.token, next?.generation === first?.generation], ["t1", false]);
});

Deno.test("usable() renews what is due when its timer is late: a machine has slept", async () => {
  const stage = makeRenewal({ schedule: () => () => {} });
  using renewal = stage.renewal;
  renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + HOUR });
  stage.clock.advance(HOUR - 300_001);
  assertEquals([renewal.usable()?.token, stage.fetches()], ["t", 0]);
  stage.clock.advance(1);
  assertEquals([renewal.usable()?.token, stage.fetches()], ["t", 1]);
  await settle();
  assertEquals(renewal.usable()?.token, "t1");
});

Deno.test("a token that is due at once is renewed at once", async () => {
  const stage = makeRenewal({ isEager: true });
  using renewal = stage.renewal;
  renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + HOUR }, { isDue: true });
  await settle();
  assertEquals([stage.fetches(), renewal.usable()?.token], [1, "t1"]);
});

Deno.test("a new token is used for half a minute whatever it says of its life; one that was there is not", async () => {
  const stage = makeRenewal({}, { token: "short", expiresAtMs: 0 });
  using renewal = stage.renewal;
  assertEquals((await renewal.get()).token, "short");
  stage.clock.advance(29_999);
  assertEquals([renewal.usable()?.token, stage.fetches()], ["short", 1]);
  stage.clock.advance(1);
  assertEquals([renewal.usable(), (await renewal.get()).token], [undefined, "t2"]);
});

Deno.test("everybody who waits shares one renewal", async () => {
  const gate = Promise.withResolvers<AccessToken>();
  const stage = makeRenewal({}, gate.promise);
  using renewal = stage.renewal;
  const waiting = [renewal.get(), renewal.get()];
  let isSettled = false;
  const settled = renewal.settled.then(() => isSettled = true);
  await settle();
  assert(!isSettled);
  gate.resolve({ token: "new" });
  const [one, two] = await Promise.all(waiting);
  assertEquals([one?.token, one === two, stage.fetches()], ["new", true, 1]);
  await settled;
  await renewal.settled;
});

Deno.test("settled does not reject for a renewal that fails", async () => {
  const gate = Promise.withResolvers<AccessToken>();
  const stage = makeRenewal({}, gate.promise);
  using renewal = stage.renewal;
  const waiting = assertRejects(() => renewal.get(), RenewalFailure);
  const { settled } = renewal;
  gate.reject(BUSY);
  await Promise.all([settled, waiting]);
});

Deno.test("failures that pass are tried again after 1 s, doubled each time up to 5 minutes, less a part by chance", async (t) => {
  for (const random of [0, 1]) {
    await t.step(`chance ${random}`, async () => {
      const stage = makeRenewal({ isEager: true, random: () => random }, ...Array<Error>(14).fill(BUSY));
      using renewal = stage.renewal;
      await assertRejects(() => renewal.get(), RenewalFailure, "busy");
      const waits: number[] = [];
      for (let i = 0; i < 11; i++) {
        const [wait = 0] = stage.due();
        waits.push(wait);
        stage.clock.advance(wait);
        await settle();
      }
      const whole = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map((seconds) => seconds * 1_000);
      assertEquals(waits, whole.map((ms) => ms * (random === 0 ? 1 : 0.8)));
      assertEquals(stage.fetches(), 12);
    });
  }
});

Deno.test("get() remembers a failure until it is tried again, and asks then", async () => {
  const stage = makeRenewal({}, BUSY, BUSY);
  using renewal = stage.renewal;
  await assertRejects(() => renewal.get(), RenewalFailure, "busy");
  assertEquals(stage.due(), []); // nobody has had a token of it
  stage.clock.advance(999);
  await assertRejects(() => renewal.get(), RenewalFailure, "busy");
  assertEquals(stage.fetches(), 1);
  stage.clock.advance(1);
  await assertRejects(() => renewal.get(), RenewalFailure, "busy");
  assertEquals(stage.fetches(), 2);
});

Deno.test("how long a failure waits, by what it says", async (t) => {
  const rows: readonly (readonly [
    name: string,
    failure: RenewalFailure,
    finalRetryMs: number,
    due: readonly number[],
  ])[] = [
    ["the provider's wish", new RenewalFailure("x", { retryAfterMs: 90_000 }), Infinity, [90_000]],
    ["a shorter wish", new RenewalFailure("x", { retryAfterMs: 500 }), Infinity, [1_000]],
    ["at home", new RenewalFailure("x", { atHome: "y", retryAfterMs: 90_000 }), Infinity, [1_000]],
    ["for good", REFUSED, Infinity, []],
    ["for good, with a file", REFUSED, 30_000, [30_000]],
  ];
  for (const [name, failure, finalRetryMs, due] of rows) {
    await t.step(name, async () => {
      const stage = makeRenewal({ isEager: true, finalRetryMs }, failure);
      using renewal = stage.renewal;
      await assertRejects(() => renewal.get(), RenewalFailure);
      assertEquals(stage.due(), due);
    });
  }
  await t.step("at home again: no longer", async () => {
    const home = new RenewalFailure("x", { atHome: "y" });
    const stage = makeRenewal({ isEager: true }, home, home, home);
    using renewal = stage.renewal;
    await assertRejects(() => renewal.get(), RenewalFailure);
    for (let i = 0; i < 2; i++) {
      stage.clock.advance(1_000);
      await settle();
    }
    assertEquals([stage.fetches(), stage.due()], [3, [1_000]]);
  });
});

Deno.test("what a failure may say: an error of ours in its words, a bug in none", async (t) => {
  const rows: readonly (readonly [error: Error, message: string, isAnswered: boolean, isBug: boolean])[] = [
    [new ProxyError("state.write-failed", "/planted"), "the proxy cannot write its state", true, false],
    [new ProxyError("state.damaged", "/planted"), "the proxy cannot write its state", true, false],
    [new ProxyError("upstream.dns", "no name"), "no name", false, false],
    [new Error("planted"), "the renewal failed; the log of the proxy says how", false, true],
  ];
  for (const [error, message, isAnswered, isBug] of rows) {
    await t.step(message, async () => {
      const stage = makeRenewal({}, error);
      using renewal = stage.renewal;
      const failure = await assertRejects(() => renewal.get(), RenewalFailure);
      assertEquals([failure.message, failure.isAnswered, failure.isFinal], [message, isAnswered, false]);
      assertEquals(stage.bugs, isBug ? [error] : []);
    });
  }
});

Deno.test("a renewal that takes too long is told so by its signal, and one that ends is not", async () => {
  const never = new Promise<AccessToken>(() => {});
  const stage = makeRenewal({ limitMs: 5 }, never);
  using renewal = stage.renewal;
  void renewal.get();
  const [signal] = stage.signals;
  await new Promise<void>((resolve) => signal?.addEventListener("abort", () => resolve()));
  const { message, isAnswered } = signal?.reason as RenewalFailure;
  assertEquals([message, isAnswered], ["the token endpoint did not answer in time", false]);
});

Deno.test("refused() gives what is newer already, or waits for it", async () => {
  const gate = Promise.withResolvers<AccessToken>();
  const stage = makeRenewal({}, gate.promise);
  using renewal = stage.renewal;
  renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + HOUR });
  const old = renewal.usable()?.generation ?? "";
  assertEquals((await renewal.refused("older"))?.token, "t");
  assertEquals(stage.fetches(), 0);
  const [first, second] = [renewal.refused(old), renewal.refused(old)];
  gate.resolve({ token: "new" });
  assertEquals([(await first)?.token, (await second)?.token, stage.fetches()], ["new", "new", 1]);
});

Deno.test("refused(): one token forces one renewal, however long it is refused", async () => {
  const stage = makeRenewal({ schedule: () => () => {} }, BUSY, BUSY);
  using renewal = stage.renewal;
  renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + 100 * HOUR });
  const token = renewal.usable();
  for (let i = 0; i < 5; i++) {
    assertEquals(await renewal.refused(token?.generation ?? ""), undefined);
    stage.clock.advance(2 * HOUR);
  }
  assertEquals(stage.fetches(), 1);
});

Deno.test("refused(): the waits between forced renewals grow from a minute to an hour, and six hours are forgotten", async () => {
  const stage = makeRenewal();
  using renewal = stage.renewal;
  /** Refuses each token as soon as that is of use, and gives the minutes between. */
  const force = async (atMs: number) => {
    stage.clock.advance(atMs - 1);
    const generation = (await renewal.get()).generation;
    const before = stage.fetches();
    const early = await renewal.refused(generation);
    assertEquals([early, stage.fetches()], [undefined, before]);
    stage.clock.advance(1);
    assertEquals((await renewal.refused(generation))?.token, `t${before + 1}`);
  };
  const first = await renewal.get();
  assertEquals((await renewal.refused(first.generation))?.token, "t2");
  for (const minutes of [1, 2, 4, 8, 16, 32]) await force(minutes * 60_000);
  // From here on an hour, in which a token ends by itself; so refuse what is there right before and after.
  stage.clock.advance(HOUR - 1);
  const latest = await renewal.get();
  const fetches = stage.fetches();
  assertEquals([await renewal.refused(latest.generation), stage.fetches()], [undefined, fetches]);
  stage.clock.advance(1);
  assert(await renewal.refused((await renewal.get()).generation));
  // Six hours later exactly it still counts; more, and it begins anew.
  stage.clock.advance(6 * HOUR);
  const kept = await renewal.get();
  assert(await renewal.refused(kept.generation));
  stage.clock.advance(60_000);
  assertEquals(await renewal.refused((await renewal.get()).generation), undefined);
  stage.clock.advance(6 * HOUR - 60_000 + 1);
  const anew = await renewal.get();
  assert(await renewal.refused(anew.generation));
  stage.clock.advance(60_000);
  assert(await renewal.refused((await renewal.get()).generation));
});

Deno.test("refused() is pointless without a way to renew, and while a failure waits", async () => {
  const dead = makeRenewal({ isRenewable: () => false });
  using _ = dead.renewal;
  dead.renewal.adopt({ token: "t" });
  assertEquals(await dead.renewal.refused(dead.renewal.usable()?.generation ?? ""), undefined);
  assertEquals(dead.fetches(), 0);
  const stage = makeRenewal({ isEager: true }, BUSY, BUSY);
  using renewal = stage.renewal;
  renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + HOUR });
  stage.clock.advance(HOUR - 300_000);
  await settle();
  assertEquals(stage.fetches(), 1);
  const generation = renewal.usable()?.generation ?? "";
  stage.clock.advance(999);
  assertEquals([await renewal.refused(generation), stage.fetches()], [undefined, 1]);
  const late = makeRenewal({ schedule: () => () => {} }, BUSY);
  using other = late.renewal;
  other.adopt({ token: "t", expiresAtMs: late.clock.now() + HOUR }, { isDue: true });
  const old = other.usable()?.generation ?? "";
  await settle();
  late.clock.advance(1_000);
  assertEquals((await other.refused(old))?.token, "t2");
});

Deno.test("a token that upstream and provider refuse is not given out again, whoever refused first", async (t) => {
  await t.step("upstream first", async () => {
    const stage = makeRenewal({}, REFUSED);
    using renewal = stage.renewal;
    renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + HOUR });
    assertEquals(await renewal.refused(renewal.usable()?.generation ?? ""), undefined);
    assertEquals(renewal.usable(), undefined);
  });
  await t.step("the provider first", async () => {
    const stage = makeRenewal({ isEager: true }, REFUSED);
    using renewal = stage.renewal;
    renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + HOUR });
    stage.clock.advance(HOUR - 300_000);
    await settle();
    const token = renewal.usable();
    assertEquals([token?.token, stage.fetches()], ["t", 1]);
    assertEquals(await renewal.refused(token?.generation ?? ""), undefined);
    assertEquals([renewal.usable(), stage.fetches()], [undefined, 1]);
  });
  await t.step("a failure that passes is no word of the provider", async () => {
    const stage = makeRenewal({}, BUSY);
    using renewal = stage.renewal;
    renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + HOUR });
    assertEquals(await renewal.refused(renewal.usable()?.generation ?? ""), undefined);
    assertEquals(renewal.usable()?.token, "t");
  });
});

Deno.test("a forced renewal that fails in passing is tried again in a second, and its successor is one like any other", async () => {
  const stage = makeRenewal({}, BUSY);
  using renewal = stage.renewal;
  renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + HOUR });
  assertEquals(await renewal.refused(renewal.usable()?.generation ?? ""), undefined);
  assertEquals(stage.due(), [1_000]);
  stage.clock.advance(1_000);
  await settle();
  assertEquals([renewal.usable()?.token, stage.fetches(), stage.due()], ["t2", 2, [HOUR - 300_000]]);
});

Deno.test("wake() forgets the wait of a failure that passes, and no refusal", async () => {
  const stage = makeRenewal({ isEager: true }, BUSY, BUSY);
  using renewal = stage.renewal;
  await assertRejects(() => renewal.get(), RenewalFailure);
  renewal.wake();
  await settle();
  assertEquals([stage.fetches(), stage.due()], [2, [1_000]]); // a first failure again
  const final = makeRenewal({ isEager: true, finalRetryMs: 30_000 }, REFUSED);
  using other = final.renewal;
  await assertRejects(() => other.get(), RenewalFailure);
  other.wake();
  await settle();
  assertEquals([final.fetches(), final.due()], [1, [30_000]]);
});

Deno.test("an end cancels the timer, and nothing starts by itself any more", async () => {
  const stage = makeRenewal({ isEager: true });
  stage.renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + HOUR });
  stage.renewal[Symbol.dispose]();
  assertEquals(stage.due(), []);
  stage.clock.advance(HOUR - 300_000);
  assertEquals(stage.renewal.usable()?.token, "t");
  stage.renewal.wake();
  assertEquals(stage.due(), []);
  await settle();
  assertEquals([stage.fetches(), stage.due()], [0, []]);
});

Deno.test("what cannot be renewed is not tried by itself", async () => {
  const stage = makeRenewal({ isEager: true, isRenewable: () => false });
  using renewal = stage.renewal;
  renewal.adopt({ token: "t", expiresAtMs: stage.clock.now() + HOUR });
  stage.clock.advance(HOUR - 300_000);
  assertEquals(renewal.usable()?.token, "t");
  await settle();
  assertEquals([stage.fetches(), stage.due()], [0, []]);
});
