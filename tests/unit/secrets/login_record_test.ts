/** How a login's changes reach the store, and the lease that hosts of a fleet take turns by. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { LoginRecord } from "../../../secrets/login_record.ts";
import { RenewalFailure } from "../../../secrets/token_answer.ts";
import type { SecretRecord, SecretUpdate } from "../../../store/records.ts";

const RECORD: SecretRecord = {
  name: "s",
  host: "a.test",
  type: "oauth-refresh",
  version: "v1",
  cleartext: false,
  createdAt: 1,
};

type Outcome = Partial<SecretRecord> | ProxyError | "gone";

/** A record over a store that answers these in turn: fields of the new record, a failure, or that the secret is gone. */
function makeRecord(...outcomes: Outcome[]) {
  const updates: SecretUpdate[] = [];
  const clock = { nowMs: 5_000, monotonicMs: 10 };
  const record = new LoginRecord({
    clock: { now: () => clock.nowMs, monotonic: () => clock.monotonicMs },
    limitMs: 30_000,
    update: (name, update) => {
      assertEquals(name, "s");
      updates.push(update);
      const outcome = outcomes.shift() ?? {};
      if (outcome instanceof ProxyError) return Promise.reject(outcome);
      return Promise.resolve(outcome === "gone" ? undefined : { ...RECORD, ...outcome });
    },
  }, { record: RECORD, value: "old" });
  return { record, updates, clock };
}

const leased = (updates: readonly SecretUpdate[], at: number) => updates[at]?.lease?.id ?? "";

Deno.test("LoginRecord.update() changes what this host knows, and nothing else", async () => {
  const { record, updates } = makeRecord({ error: "e" }, { refreshedAt: 7 }, "gone");
  await record.update({ error: "e" });
  assertEquals([record.record.error, record.value], ["e", "old"]);
  await record.update({ value: "new", ifValue: "older" });
  assertEquals([record.record.refreshedAt, record.value], [7, "new"]);
  const failure = await assertRejects(() => record.update({ value: "newer" }), RenewalFailure);
  assertEquals([failure.message, failure.isFinal], ["the secret was replaced or deleted", false]);
  assertEquals(record.value, "new");
  assertEquals(updates, [
    { ifVersion: "v1", ifValue: "old", error: "e" },
    { ifVersion: "v1", ifValue: "older", value: "new" },
    { ifVersion: "v1", ifValue: "new", value: "newer" },
  ]);
});

Deno.test("LoginRecord.follow() is true for a value of another host only", async () => {
  const { record } = makeRecord();
  const other = { ...RECORD, error: "e" };
  assertEquals(record.follow({ record: RECORD, value: "old" }), false);
  assertEquals(record.follow({ record: other, value: "old" }), false);
  assertEquals(record.record, other);
  assertEquals(record.follow({ record: RECORD, value: "theirs" }), true);
  assertEquals([record.record, record.value], [RECORD, "theirs"]);
  assertEquals(record.follow({ record: { ...RECORD }, value: "theirs" }), false);
  // What this host is about to store comes back by the store's news before its answer does.
  const storing = record.update({ value: "mine" });
  assertEquals(record.follow({ record: RECORD, value: "mine" }), false);
  await storing;
  assertEquals(record.value, "mine");
  assertEquals(record.follow({ record: RECORD, value: "old" }), true);
  assertEquals(record.follow({ record: RECORD, value: "mine" }), true); // stored long ago
});

Deno.test("LoginRecord.begin() asks for a lease of one and a half times a renewal, and knows it by its id", async () => {
  const { record, updates, clock } = makeRecord();
  assertEquals(await record.begin(), 0);
  assertEquals(updates[0], {
    ifVersion: "v1",
    ifValue: "old",
    refreshingSince: 5_000,
    lease: { id: leased(updates, 0), forMs: 45_000 },
  });
  assertEquals(leased(updates, 0).length, 36);
  clock.nowMs += 1_000_000;
  assertEquals(record.holdsLease(), true); // a host alone has none
  assertEquals(await record.begin(), 0);
  assert(leased(updates, 1) !== leased(updates, 0));
});

Deno.test("LoginRecord.holdsLease() ends with the time of a renewal, by whichever clock goes first", async (t) => {
  for (const which of ["nowMs", "monotonicMs"] as const) {
    await t.step(which, async () => {
      const { record: held, updates: asked, clock: time } = makeLeased();
      assertEquals(await held.begin(), 0);
      time[which] += 29_999;
      assertEquals(held.holdsLease(), true);
      time[which] += 1;
      assertEquals(held.holdsLease(), false);
      // Prolonged, under its own name.
      assertEquals(await held.begin(), 0);
      assertEquals([held.holdsLease(), leased(asked, 1)], [true, leased(asked, 0)]);
      // Every change is one of its holder, and ends it unless it prolongs it.
      time[which] += 30_000;
      await held.update({ error: "e" });
      assertEquals(asked[2]?.lease, { id: leased(asked, 0) });
      assertEquals(held.holdsLease(), true);
      await held.update({ error: null });
      assertEquals("lease" in (asked[3] ?? {}), false);
    });
  }
});

/** As {@linkcode makeRecord}, in a fleet: the store grants every lease. */
function makeLeased() {
  const updates: SecretUpdate[] = [];
  const clock = { nowMs: 5_000, monotonicMs: 10 };
  const record = new LoginRecord({
    clock: { now: () => clock.nowMs, monotonic: () => clock.monotonicMs },
    limitMs: 30_000,
    update: (_name, update) => {
      updates.push(update);
      const { id, forMs } = update.lease ?? { id: "" };
      return Promise.resolve(forMs === undefined ? RECORD : { ...RECORD, lease: id });
    },
  }, { record: RECORD, value: "old" });
  return { record, updates, clock };
}

Deno.test("LoginRecord.begin() waits for as long as another host's lease runs, and forgets its own request", async (t) => {
  const rows = [[{ retryAfterSeconds: 7 }, 7_000], [{}, 1_000]] as const;
  for (const [options, waitMs] of rows) {
    await t.step(`${waitMs} ms`, async () => {
      const { record, updates } = makeRecord(new ProxyError("input.conflict", "x", options));
      assertEquals(await record.begin(), waitMs);
      assertEquals(record.holdsLease(), true);
      await record.begin();
      assert(leased(updates, 1) !== leased(updates, 0));
    });
  }
});

Deno.test("LoginRecord.begin() asks for the same lease when the store did not answer: it may be this host's", async () => {
  const { record, updates } = makeRecord(new ProxyError("state.write-failed", "x"), "gone");
  await assertRejects(() => record.begin(), ProxyError, "x");
  await assertRejects(() => record.begin(), RenewalFailure);
  await record.begin();
  assertEquals(leased(updates, 1), leased(updates, 0));
  assertEquals(leased(updates, 2), leased(updates, 0));
});

Deno.test("LoginRecord.change() ends with a change, with the time, and with the signal", async (t) => {
  const wait = { before: "old", waitMs: 600_000 };
  await t.step("a change of before", async () => {
    const { record } = makeRecord();
    await record.change({ ...wait, before: "older" }, new AbortController().signal);
  });
  await t.step("a change", async () => {
    const { record } = makeRecord();
    const over = record.change(wait, new AbortController().signal);
    record.follow({ record: { ...RECORD }, value: "new" });
    await over;
    // The next wait is for the next change.
    let isOver = false;
    const next = record.change({ ...wait, before: "new" }, new AbortController().signal)
      .then(() => isOver = true);
    await new Promise((resolve) => setTimeout(resolve, 0));
    assertEquals(isOver, false);
    record.follow({ record: RECORD, value: "newer" });
    await next;
  });
  await t.step("the time", async () => {
    const { record } = makeRecord();
    await record.change({ before: "old", waitMs: 1 }, new AbortController().signal);
  });
  await t.step("the signal, before and after", async () => {
    const { record } = makeRecord();
    await record.change(wait, AbortSignal.abort());
    const controller = new AbortController();
    const over = record.change(wait, controller.signal);
    controller.abort();
    await over;
  });
  await t.step("and leaves nothing behind on it", async () => {
    const { record } = makeRecord();
    const { signal } = new AbortController();
    let listeners = 0;
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    await record.change({ before: "old", waitMs: 1 }, signal);
    assertEquals(listeners, 0);
  });
});
