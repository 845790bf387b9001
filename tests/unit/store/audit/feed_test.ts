import { assert, assertEquals } from "@std/assert";
import type { StoredRecord } from "../../../../policy/audit_record.ts";
import { AuditFeed, type Missed } from "../../../../store/audit/feed.ts";
import { makeRecord as record } from "../../../support/make_record.ts";

Deno.test("AuditFeed bounds what waits for a follower in characters too", async () => {
  const feed = new AuditFeed();
  const stop = new AbortController();
  const live = feed.follow({}, stop.signal);
  const long = (port: number) =>
    record(port, { path: "/".padEnd(32_768, "p"), query: "?".padEnd(32_768, "q") });
  for (let port = 1; port <= 200; port++) feed.publish([long(port)]);
  for (let port = 1; port <= 128; port++) assertEquals((await live.next()).value, long(port));
  assertEquals((await live.next()).value, { missed: 72 });
  feed.publish([long(201)]);
  assertEquals((await live.next()).value, long(201));
  stop.abort();
});

Deno.test("AuditFeed keeps nothing for a follower who is always one record behind", async () => {
  const feed = new AuditFeed();
  const stop = new AbortController();
  const live = feed.follow({}, stop.signal);
  feed.publish([record(0)]);
  const before = Deno.memoryUsage().heapUsed;
  for (let port = 1; port <= 200_000; port++) {
    feed.publish([record(port, { path: `/${port}`.padEnd(1_000, "p") })]);
    await live.next();
  }
  assert(Deno.memoryUsage().heapUsed - before < 100_000_000);
  assertEquals((await live.next()).value, record(200_000, { path: "/200000".padEnd(1_000, "p") }));
  stop.abort();
});

const NEVER = () => new AbortController().signal;

/** What a follower gets of these, and what it has missed. */
async function take(live: AsyncIterator<StoredRecord | Missed>, count: number): Promise<unknown[]> {
  const all: unknown[] = [];
  for (let n = 0; n < count; n++) {
    const { value, done } = await live.next();
    if (done) return [...all, "end"];
    all.push("missed" in value ? `missed ${value.missed}` : value.port);
  }
  return all;
}

Deno.test("AuditFeed lets so many records wait, and once behind counts all until the reader has caught up", async () => {
  const feed = new AuditFeed(3);
  const live = feed.follow({}, NEVER());
  feed.publish([1, 2, 3].map((port) => record(port)));
  assertEquals(await take(live, 3), [1, 2, 3]);
  feed.publish([4, 5, 6, 7].map((port) => record(port)));
  assertEquals(await take(live, 2), [4, 5]);
  feed.publish([record(8)]); // there is room by now
  assertEquals(await take(live, 2), [6, "missed 2"]);
  feed.publish([record(9)]);
  assertEquals(await take(live, 1), [9]);
  feed.close();
});

Deno.test("AuditFeed lets ten thousand records wait, and eight MiB of their paths, queries and words", async () => {
  const feed = new AuditFeed();
  const live = feed.follow({}, NEVER());
  feed.publish(Array.from({ length: 10_002 }, (_, port) => record(port)));
  assertEquals((await take(live, 10_001)).at(-1), "missed 2");
  for (const field of ["path", "query", "says"] as const) {
    const half = record(1, { [field]: "x".repeat(4_194_304) });
    feed.publish([half, half, record(2)]);
    assertEquals(await take(live, 3), [1, 1, "missed 1"]);
    feed.publish([half, record(3, { [field]: "x".repeat(4_194_303) }), record(4), record(5)]);
    assertEquals(await take(live, 4), [1, 3, 4, 5], "a character less is not too many");
  }
  feed.close();
});

Deno.test("AuditFeed gives a follower what it asked for, each follower by itself", async () => {
  const feed = new AuditFeed(2);
  const [all, denied] = [feed.follow({}, NEVER()), feed.follow({ denied: true }, NEVER())];
  feed.publish([1, 2, 3].map((port) => record(port))); // odd ones are denials
  assertEquals([await take(all, 3), await take(denied, 2)], [[1, 2, "missed 1"], [1, 3]]);
  await all.return?.();
  feed.publish([record(5)]);
  assertEquals([await take(all, 1), await take(denied, 1)], [["end"], [5]]);
  feed.close();
  assertEquals(await take(denied, 1), ["end"]);
});

Deno.test("AuditFeed wakes a reader that waits, and gives up what waits at the end", async () => {
  const feed = new AuditFeed();
  const stop = new AbortController();
  const live = feed.follow({}, stop.signal);
  const waiting = take(live, 1);
  await Promise.resolve();
  feed.publish([record(1)]);
  assertEquals(await waiting, [1]);
  feed.publish([record(2)]);
  stop.abort();
  assertEquals(await take(live, 1), ["end"]);
  assertEquals(await live.return?.(), { done: true, value: undefined });
  assertEquals(live[Symbol.asyncIterator](), live);
});

Deno.test("AuditFeed wakes a reader that waits when its signal, it itself or the feed ends it", async () => {
  const feed = new AuditFeed();
  const stop = new AbortController();
  const ends = [
    () => stop.abort(),
    (live: AsyncIterator<unknown>) => void live.return?.(),
    () => feed.close(),
  ];
  for (const end of ends) {
    const live = feed.follow({}, stop.signal.aborted ? NEVER() : stop.signal);
    const waiting = take(live, 1);
    await Promise.resolve();
    end(live);
    assertEquals(await waiting, ["end"]);
  }
});

Deno.test("AuditFeed listens to a signal for as long as its follower is there", async () => {
  const feed = new AuditFeed();
  const signal = NEVER();
  const counts = { added: 0, removed: 0 };
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    counts.added++;
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    counts.removed++;
    removeEventListener.apply(signal, args);
  };
  const live = feed.follow({}, signal);
  for (let n = 0; n < 2; n++) await live.return?.();
  assertEquals(counts, { added: 1, removed: 1 });
  feed.close();
  assertEquals(counts.removed, 1, "a follower that has ended is forgotten");
});
