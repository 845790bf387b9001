import { assert, assertEquals } from "@std/assert";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import { countersIn, LocalCounts } from "../../../../proxy/records/counts.ts";

const LIMITS = {
  ...DEFAULT_LIMITS,
  maxConnections: 2,
  maxConnectionsPerClient: 2,
  maxUnauthenticated: 2,
  maxAnonymousConnections: 2,
  maxPendingDials: 5,
  maxPendingDialsPerClient: 3,
  maxPendingDialsPerDestination: 2,
  maxMintsPerClientPerMinute: 2,
};

Deno.test("each try of Admission gives what the limit holds, no more, and again after a release", async (t) => {
  type Try = (admission: Admission, key: string) => (() => void) | undefined;
  const rows: readonly (readonly [string, Try, isPerKey: boolean])[] = [
    ["tryConnection", (admission) => admission.tryConnection(), false],
    ["tryUnauthenticated", (admission) => admission.tryUnauthenticated(), false],
    ["tryClient", (admission, key) => admission.tryClient(key), true],
    ["tryAnonymous", (admission) => admission.tryAnonymous(), false],
  ];
  for (const [name, attempt, isPerKey] of rows) {
    await t.step(name, () => {
      const admission = new Admission(LIMITS);
      const first = attempt(admission, "a");
      assertEquals(typeof attempt(admission, "a"), "function");
      assertEquals(attempt(admission, "a"), undefined);
      assertEquals(typeof attempt(admission, "b"), isPerKey ? "function" : "undefined");
      first?.();
      first?.(); // gives back once
      assertEquals(typeof attempt(admission, "a"), "function");
      assertEquals(attempt(admission, "a"), undefined);
    });
  }
});

/** A proxy of 4,700 places; each of `taker`'s connections has a place of its own, as the server gives it. */
function house(maxConnections = DEFAULT_LIMITS.maxConnections) {
  const counts = new LocalCounts();
  const admission = new Admission({ ...DEFAULT_LIMITS, maxConnections }, counts);
  /** How many connections a client gets, when it takes all that it can, `most` at most. */
  const take = (client: string, most = Infinity) => {
    let taken = 0;
    for (; taken < most; taken++) {
      const place = admission.tryConnection();
      if (!place) break;
      const known = admission.tryClient(client);
      if (known) continue;
      place();
      break;
    }
    return taken;
  };
  return { counts, admission, take };
}

Deno.test("tryClient() leaves places for those who come later, whatever others take", async (t) => {
  await t.step("one client gets a quarter", () => {
    const { take } = house();
    assertEquals(take("greedy"), 1_175);
    assertEquals(take("greedy"), 0);
  });
  await t.step("a quarter of few places too", () => assertEquals(house(100).take("greedy"), 25));
  await t.step("the limit of each holds where there are very many places", () => {
    assertEquals(house(50_000).take("greedy"), 1_200);
  });
  await t.step("four leave a third, ten enough for a browser", () => {
    const { take } = house();
    const taken = Array.from({ length: 4 }, (_, nth) => take(`greedy-${nth}`));
    assert(taken.reduce((sum, count) => sum + count) < 4_700 * 0.7, String(taken));
    for (let nth = 4; nth < 10; nth++) take(`greedy-${nth}`);
    assert(take("innocent", 60) === 60);
  });
  await t.step("who came first and has much gets no more while places are scarce, and again after", () => {
    const { take, admission } = house(100);
    assertEquals(take("first", 20), 20);
    for (const name of ["a", "b", "c", "d", "e", "f"]) take(name);
    assertEquals([take("first", 1), take("late", 1)], [0, 1]);
    assertEquals(typeof admission.tryConnection(), "function"); // places are left
  });
});

Deno.test("tryClient() counts the places of newcomers as free: a flood of them takes nothing from those who are known", () => {
  const { admission, take } = house(100);
  for (let i = 0; i < 50; i++) {
    admission.tryConnection();
    admission.tryUnauthenticated();
  }
  assertEquals(take("one"), 25);
});

Deno.test("tryClient() gives a client with few connections all places that are left", () => {
  const { take } = house(20);
  assertEquals([take("a"), take("b"), take("c"), take("d")], [8, 8, 4, 0]);
});

Deno.test("tryDial() keeps a client to its quota and everyone to the shared limits", () => {
  const admission = new Admission(LIMITS);
  const dial = (client: string, host: string) => {
    const release = admission.tryDial(client, { host, port: 443 });
    return typeof release === "string" ? release : "ok";
  };
  const first = admission.tryDial("a", { host: "x", port: 443 });
  assertEquals(dial("a", "x"), "ok");
  assertEquals(dial("b", "x"), "overload"); // the destination is full, for everyone
  assertEquals(dial("a", "y"), "ok");
  assertEquals(dial("a", "z"), "quota");
  assertEquals(dial("b", "y"), "ok");
  assertEquals(dial("b", "z"), "ok");
  assertEquals(dial("b", "w"), "overload"); // five in all
  if (typeof first === "function") first();
  assertEquals(dial("b", "x"), "ok");
});

Deno.test("tryExtraConnect() leaves the second half of every cap to whole dials", () => {
  const admission = new Admission({
    ...LIMITS,
    maxPendingDials: 20,
    maxPendingDialsPerClient: 8,
    maxPendingDialsPerDestination: 6,
  });
  const extra = (client: string, host: string) => admission.tryExtraConnect(client, { host, port: 443 });
  const taken = [extra("a", "x"), extra("a", "x"), extra("a", "x")];
  assertEquals(extra("b", "x"), undefined); // half of the destination's cap
  taken.push(extra("a", "y"));
  assertEquals(extra("a", "z"), undefined); // half of the client's
  assertEquals(typeof admission.tryDial("a", { host: "x", port: 443 }), "function");
  assertEquals(taken.map((release) => typeof release), Array(4).fill("function"));
  taken.forEach((release) => release?.());
  assertEquals(typeof extra("b", "x"), "function");
});

Deno.test("tryNewHost() starts anew with every minute of the clock, per client, and counts a host once", () => {
  const admission = new Admission(LIMITS);
  const minute = 60_000;
  const tries = (client: string, ...at: readonly (readonly [host: string, nowMs: number])[]) =>
    at.map(([host, nowMs]) => admission.tryNewHost(client, host, nowMs));
  const [x, y, z] = ["x", "y", "z"] as const;
  assertEquals(tries("a", [x, 0], [y, 1], [z, 2], [x, 3], [z, minute - 1]), [true, true, false, true, false]);
  assertEquals(tries("b", [z, minute - 1]), [true]);
  assertEquals(tries("a", [z, minute], [x, minute], [y, minute], [z, minute]), [true, true, false, true]);
});

Deno.test("tryNewHost() takes past minutes and what it refused out of the counts, and only what it has counted itself", () => {
  const counts = new LocalCounts();
  const [admission, other] = [new Admission(LIMITS, counts), new Admission(LIMITS, counts)];
  admission.tryNewHost("a", "x", 0);
  admission.tryNewHost("a", "y", 1);
  assertEquals(other.tryNewHost("a", "z", 2), false);
  assertEquals(other.tryNewHost("a", "x", 3), true);
  assertEquals([counts.of("new hosts 0 a"), counts.of("new hosts 0 a z")], [2, 0]);
  other.tryNewHost("c", "x", 4);
  admission.tryNewHost("b", "x", 60_000);
  assertEquals(["0 a", "0 a x", "0 c", "1 b"].map((key) => counts.of(`new hosts ${key}`)), [0, 0, 1, 1]);
  other.tryNewHost("b", "x", 60_000);
  assertEquals(["0 c", "0 c x", "1 b"].map((key) => counts.of(`new hosts ${key}`)), [0, 0, 1]);
});

Deno.test("addTunnel() counts until it is given back", () => {
  const counts = new LocalCounts();
  const admission = new Admission(LIMITS, counts);
  const release = admission.addTunnel();
  admission.addTunnel();
  assertEquals(countersIn(counts).openTunnels, 2);
  release();
  release();
  assertEquals(countersIn(counts).openTunnels, 1);
});

Deno.test("tryStream() bounds a client over all its connections, and no other", () => {
  const admission = new Admission({ ...LIMITS, maxHttp2StreamsPerClient: 2 });
  const first = admission.tryStream("a");
  const held = [admission.tryStream("a"), admission.tryStream("a"), admission.tryStream("b")];
  assertEquals(held.map((release) => typeof release), ["function", "undefined", "function"]);
  first?.();
  assertEquals([typeof admission.tryStream("a"), admission.tryStream("a")], ["function", undefined]);
});

Deno.test("tryAsk() holds 16 requests of a client and 256 in all, and what it refuses takes no place", () => {
  const counts = new LocalCounts();
  const admission = new Admission(LIMITS, counts);
  const first = admission.tryAsk("client 0");
  for (let nth = 1; nth < 16; nth++) assertEquals(typeof admission.tryAsk("client 0"), "function");
  assertEquals(admission.tryAsk("client 0"), undefined);
  for (let nth = 16; nth < 256; nth++) {
    assertEquals(typeof admission.tryAsk(`client ${Math.floor(nth / 16)}`), "function");
  }
  assertEquals(admission.tryAsk("late"), undefined);
  assertEquals(["asks", "asks of client 0", "asks of late"].map((key) => counts.of(key)), [256, 16, 0]);
  first?.();
  first?.(); // gives back once
  assertEquals(["asks", "asks of client 0"].map((key) => counts.of(key)), [255, 15]);
  assertEquals([typeof admission.tryAsk("late"), admission.tryAsk("late")], ["function", undefined]);
});

Deno.test("kept bytes are bounded in all, to the byte, and what is refused is not counted", () => {
  const { kept } = new Admission({ ...LIMITS, maxKeptBytes: 10 });
  assertEquals([kept.take(11), kept.take(10), kept.take(1)], [false, true, false]);
  kept.give(4);
  assertEquals([kept.take(5), kept.take(4), kept.take(1)], [false, true, false]);
});

Deno.test("held bytes are bounded for a client and in all, and what is refused is not counted", () => {
  const admission = new Admission({ ...LIMITS, maxHeldBytes: 15, maxHeldBytesPerClient: 10 });
  const [a, again, b] = ["a", "a", "b"].map((name) => admission.held(name));
  assert(a && again && b);
  assertEquals([a.take(11), a.take(10), again.take(1)], [false, true, false]);
  assertEquals([b.take(6), b.take(5), b.take(1)], [false, true, false]);
  a.give(10);
  assertEquals([b.take(6), b.take(5), a.take(6), a.take(5)], [false, true, false, true]);
});

Deno.test("what a client may give up, and begin in a turn, is one over all its connections, as the limits say", async () => {
  const limits = {
    ...LIMITS,
    maxHttp2ResetsPerClient: 3,
    http2ResetsPerClientPerSecond: 0,
    maxHttp2HeadsInTurn: 2,
  };
  const admission = new Admission(limits);
  assert(
    admission.resetsOf("a") === admission.resetsOf("a") && admission.turnsOf("a") === admission.turnsOf("a"),
  );
  assert(
    admission.resetsOf("a") !== admission.resetsOf("b") && admission.turnsOf("a") !== admission.turnsOf("b"),
  );
  const budget = admission.resetsOf("a");
  assertEquals(Array.from({ length: 4 }, () => budget.take()), [true, true, true, false]);
  const done: number[] = [];
  const all = Promise.withResolvers<void>();
  for (let nth = 0; nth < 3; nth++) {
    admission.turnsOf("a").run(() => {
      done.push(nth);
      if (nth === 2) all.resolve();
    });
  }
  assertEquals(done, [0, 1]);
  await all.promise;
});

Deno.test("clients of HTTP/2 are forgotten when there are 1,024, but for those for whom something waits", async () => {
  const admission = new Admission({ ...LIMITS, maxHttp2HeadsInTurn: 1 });
  const idle = admission.resetsOf("idle");
  const busy = admission.turnsOf("busy");
  const waited = Promise.withResolvers<void>();
  busy.run(() => {});
  busy.run(() => waited.resolve());
  for (let nth = 2; nth < 1_024; nth++) admission.resetsOf(`client ${nth}`);
  assert(admission.resetsOf("idle") === idle);
  admission.resetsOf("one more");
  assert(admission.resetsOf("idle") !== idle && admission.turnsOf("busy") === busy);
  await waited.promise;
});

Deno.test("addUnauthenticated() counts beyond the limit, which tryUnauthenticated() keeps", () => {
  const admission = new Admission({ ...LIMITS, maxUnauthenticated: 1 });
  const [one, two] = [admission.addUnauthenticated(), admission.addUnauthenticated()];
  one();
  assertEquals(admission.tryUnauthenticated(), undefined);
  two();
  assertEquals(typeof admission.tryUnauthenticated(), "function");
});

Deno.test("tryNewHost() gives a past minute back once, and counts a host as one", () => {
  const counts = new LocalCounts();
  const admission = new Admission(LIMITS, counts);
  admission.tryNewHost("a", "x", 0);
  assertEquals(["new hosts 0 a", "new hosts 0 a x"].map((key) => counts.of(key)), [1, 1]);
  for (const minute of [1, 2, 3]) admission.tryNewHost("a", "x", minute * 60_000);
  assertEquals([0, 1, 2, 3].map((minute) => counts.of(`new hosts ${minute} a`)), [0, 0, 0, 1]);
});
