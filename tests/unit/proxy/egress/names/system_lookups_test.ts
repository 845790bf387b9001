import { assertEquals, assertRejects } from "@std/assert";
import { addNames, NO_NAMES } from "../../../../../proxy/egress/names/asker.ts";
import { FailedLookup } from "../../../../../proxy/egress/names/failed_lookup.ts";
import { orAborted } from "../../../../../proxy/egress/names/or_aborted.ts";
import { SystemLookups } from "../../../../../proxy/egress/names/system_lookups.ts";
import { soon, waitUntil } from "../../../../support/sockets.ts";
import { watchSignal } from "../../../../support/watched_signal.ts";

const NEVER = new AbortController().signal;
const MOST = 16;

/** A resolver that answers when it is told to. */
function lookups() {
  const asked: string[] = [];
  const answers = new Map<string, PromiseWithResolvers<readonly string[]>>();
  const counters = { ...NO_NAMES };
  const all = new SystemLookups((host) => {
    asked.push(host);
    const answer = Promise.withResolvers<readonly string[]>();
    answers.set(host, answer);
    return answer.promise;
  }, counters);
  return {
    asked,
    counters,
    ask: (name: string, client = "one", signal = NEVER) =>
      soon("the addresses", all.addresses(name, { client, signal })),
    answer: (name: string) => answers.get(name)?.resolve(["10.0.0.1"]),
    fail: (name: string, code: string) => answers.get(name)?.reject(Object.assign(new Error("no"), { code })),
  };
}

Deno.test("addresses() asks once for all who ask at the same time, and again later", async () => {
  const { ask, answer, asked, counters } = lookups();
  for (let round = 1; round <= 2; round++) {
    const all = ["one", "two", "one"].map((client) => ask("up.test", client));
    await waitUntil("it was asked", () => asked.length === round);
    answer("up.test");
    assertEquals(await Promise.all(all), [["10.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]]);
    assertEquals([asked.length, counters.questions], [round, round]);
  }
});

Deno.test("addresses() counts failures of which nobody knows whether there is such a name", async () => {
  const { ask, fail, counters } = lookups();
  const unknown = assertRejects(() => ask("a.test"), FailedLookup);
  const missing = assertRejects(() => ask("b.test"), FailedLookup);
  await new Promise((next) => setTimeout(next));
  fail("a.test", "EAI_AGAIN");
  fail("b.test", "ENOTFOUND");
  assertEquals([(await unknown).kind, (await missing).kind], ["unanswered", "missing"]);
  assertEquals(counters, { questions: 2, failures: 1, cacheHits: 0, stale: 0 });
});

Deno.test("addresses() has a client wait for its turn, and gives each turn back once", async () => {
  const { ask, answer, asked } = lookups();
  const names = (round: number) => Array.from({ length: MOST }, (_, at) => `n${round}-${at}.test`);
  for (let round = 0; round < 3; round++) {
    const before = asked.length;
    const slow = names(round).map((name) => ask(name));
    await waitUntil("the places are taken", () => asked.length === before + MOST);
    const waiting = ask("up.test");
    const other = ask("up.test", "two");
    await waitUntil("the other asks", () => asked.length === before + MOST + 1);
    for (const name of names(round)) answer(name);
    await Promise.all(slow);
    answer("up.test");
    assertEquals([await waiting, await other], [["10.0.0.1"], ["10.0.0.1"]]);
    assertEquals(asked.length, before + MOST + 1, "the one that waited shares what the other asked");
  }
});

Deno.test("addresses() is given up with its signal: while waiting busy, when that was a time limit", async () => {
  const { ask, answer, asked } = lookups();
  const slow = Array.from({ length: MOST }, (_, at) => ask(`n${at}.test`));
  await waitUntil("the places are taken", () => asked.length === MOST);
  const [late, gone, sharing] = [watchSignal(), watchSignal(), watchSignal()];
  const busy = assertRejects(() => ask("a.test", "one", late.signal), FailedLookup);
  const given = assertRejects(() => ask("a.test", "one", gone.signal), Error, "gone");
  const shared = assertRejects(() => ask("n0.test", "one", sharing.signal), Error, "gone");
  late.abort(new FailedLookup("timeout"));
  gone.abort(new Error("gone"));
  sharing.abort(new Error("gone"));
  assertEquals((await busy).kind, "busy");
  await Promise.all([given, shared]);
  assertEquals([late.listeners, gone.listeners, sharing.listeners], [0, 0, 0]);
  for (let at = 0; at < MOST; at++) answer(`n${at}.test`);
  await Promise.all(slow);
  assertEquals(asked.length, MOST, "nobody asked for who had gone");
});

Deno.test("orAborted() is the promise's outcome, or the signal's reason also when that came before", async () => {
  const watched = watchSignal();
  assertEquals(await orAborted(Promise.resolve(1), watched.signal), 1);
  await assertRejects(() => orAborted(Promise.reject(new Error("no")), watched.signal), Error, "no");
  const waiting = orAborted(new Promise(() => {}), watched.signal);
  watched.abort(new Error("gone"));
  await assertRejects(() => waiting, Error, "gone");
  await assertRejects(() => soon("the end", orAborted(new Promise(() => {}), watched.signal)), Error, "gone");
  const late = Promise.withResolvers<void>();
  await assertRejects(() => orAborted(late.promise, watched.signal), Error, "gone");
  late.reject(new Error("nobody's"));
  assertEquals(watched.listeners, 0);
});

Deno.test("addNames() adds each count to its own", () => {
  const some = { questions: 1, failures: 20, cacheHits: 300, stale: 4_000 };
  assertEquals(addNames(some, { questions: 5, failures: 60, cacheHits: 700, stale: 8_000 }), {
    questions: 6,
    failures: 80,
    cacheHits: 1_000,
    stale: 12_000,
  });
  assertEquals(addNames(some, NO_NAMES), some);
});
