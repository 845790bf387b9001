import { assertEquals, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../../core/deadlines.ts";
import { NAME_LIMITS } from "../../../../../core/limits.ts";
import { type NameCounters, NO_NAMES } from "../../../../../proxy/egress/names/asker.ts";
import { FailedLookup } from "../../../../../proxy/egress/names/failed_lookup.ts";
import { parseDnsServers } from "../../../../../proxy/egress/names/name_server.ts";
import { isLocal, Resolver, type ResolverOptions } from "../../../../../proxy/egress/names/resolver.ts";
import { holdTimers } from "../../../../support/held_timers.ts";
import {
  a,
  type Asked,
  cname,
  reply,
  soa,
  startNameServer,
  type TestAnswer,
  TYPE,
} from "../../../../support/name_server.ts";
import { soon, waitUntil } from "../../../../support/sockets.ts";
import { watchSignal } from "../../../../support/watched_signal.ts";

const ONE = { client: "one", signal: new AbortController().signal };
const NXDOMAIN = 3;
const [FIRST_MS, FAMILY_MS] = [1_500, 500];

type Rule = (asked: Asked) => TestAnswer | Promise<TestAnswer>;

interface Opened extends Disposable {
  readonly resolver: Resolver;
  readonly counters: NameCounters;
  /** What was asked of nobody's zone. */
  readonly outside: string[];
  later(seconds: number): void;
}

function open(values: readonly string[], more: Partial<ResolverOptions> = {}): Opened {
  let nowMs = 1_000_000;
  const counters: NameCounters = { ...NO_NAMES };
  const outside: string[] = [];
  const resolver = new Resolver({
    zones: parseDnsServers(values),
    limitMs: 10_000,
    counters,
    caCertsFor: () => [],
    log: { warn: () => {}, info: () => {} },
    now: () => nowMs,
    deadlines: new Deadlines(),
    systemResolve: () => Promise.reject(new Error("nobody asks")),
    outside: {
      addresses: (name) => {
        outside.push(name);
        return Promise.resolve(["93.184.216.34"]);
      },
      records: (name, type) => {
        outside.push(`${name} ${type}`);
        return Promise.resolve([{ type: "TXT", texts: ["outside"] }]);
      },
    },
    ...more,
  });
  return {
    resolver,
    counters,
    outside,
    later: (seconds) => nowMs += seconds * 1_000,
    [Symbol.dispose]: () => resolver[Symbol.dispose](),
  };
}

async function kindOf(looking: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => soon("the look-up", looking), FailedLookup)).kind;
}

const aaaa = (name: string) => ({
  name,
  type: TYPE.AAAA,
  data: Uint8Array.from([0xfd, ...new Array(14).fill(0), 1]),
});

/** One IPv4 address, and no other. */
const only = (address: string, ttl = 60): Rule => (asked) =>
  asked.type === TYPE.A
    ? reply(asked, { answers: [a(asked.name, address, ttl)] })
    : reply(asked, { authority: [soa("test", ttl, ttl)] });

Deno.test("addresses() tells the failure of the family that says most, whichever comes first", async (t) => {
  const code = { nxdomain: NXDOMAIN, "no-data": 0, servfail: 2, refused: 5 } as const;
  type Kind = keyof typeof code;
  const rows: readonly (readonly [Kind, Kind, Kind])[] = [
    ["nxdomain", "nxdomain", "nxdomain"],
    ["nxdomain", "no-data", "no-data"],
    ["no-data", "no-data", "no-data"],
    ["no-data", "servfail", "servfail"],
    ["nxdomain", "refused", "refused"],
  ];
  for (const [one, other, expected] of rows) {
    for (const [v4, v6] of [[one, other], [other, one]] as const) {
      for (const late of [TYPE.A, TYPE.AAAA]) {
        await t.step(`A ${v4}, AAAA ${v6}, ${late} last`, async () => {
          const { promise: wait, resolve: go } = Promise.withResolvers<void>();
          await using server = startNameServer(async (asked) => {
            if (asked.type === late) await wait;
            return reply(asked, { rcode: code[asked.type === TYPE.A ? v4 : v6] });
          });
          using opened = open([`127.0.0.1:${server.port}`]);
          const looking = opened.resolver.addresses("up.test", ONE);
          await waitUntil("both were asked", () => server.asked.length === 2);
          go();
          assertEquals(await kindOf(looking), expected);
        });
      }
    }
  }
});

Deno.test("addresses() waits for the second family while the first has none, and not for long when it has some", async (t) => {
  const rows: readonly (readonly [string, first: number, expected: readonly string[]])[] = [
    ["IPv4 alone", TYPE.A, ["10.0.0.1"]],
    ["IPv6 alone", TYPE.AAAA, ["fd00::1"]],
  ];
  for (const [name, first, expected] of rows) {
    await t.step(name, async () => {
      using timers = holdTimers(FAMILY_MS, FIRST_MS);
      await using server = startNameServer((asked) =>
        asked.type !== first
          ? undefined
          : reply(asked, { answers: [first === TYPE.A ? a(asked.name, "10.0.0.1") : aaaa(asked.name)] })
      );
      using opened = open([`127.0.0.1:${server.port}`]);
      const looking = opened.resolver.addresses("up.test", ONE);
      await waitUntil("the first is there", () => timers.pending.includes(FAMILY_MS));
      timers.fire(FAMILY_MS);
      assertEquals(await soon("the addresses", looking), expected);
    });
  }
  await t.step("the second in time", async () => {
    using timers = holdTimers(FAMILY_MS, FIRST_MS);
    const { promise: wait, resolve: go } = Promise.withResolvers<void>();
    await using server = startNameServer(async (asked) => {
      if (asked.type === TYPE.A) return reply(asked, { answers: [a(asked.name, "10.0.0.1")] });
      await wait;
      return reply(asked, { answers: [aaaa(asked.name)] });
    });
    using opened = open([`127.0.0.1:${server.port}`]);
    const looking = opened.resolver.addresses("up.test", ONE);
    await waitUntil("the first is there", () => timers.pending.includes(FAMILY_MS));
    go();
    assertEquals(await soon("the addresses", looking), ["10.0.0.1", "fd00::1"]);
    assertEquals(timers.pending, [], "no timer is left");
  });
  await t.step("the first has none", async () => {
    using timers = holdTimers(FAMILY_MS, FIRST_MS);
    const { promise: wait, resolve: go } = Promise.withResolvers<void>();
    await using server = startNameServer(async (asked) => {
      if (asked.type === TYPE.A) await wait;
      return only("10.0.0.1")(asked);
    });
    using opened = open([`127.0.0.1:${server.port}`]);
    const looking = opened.resolver.addresses("up.test", ONE);
    await waitUntil("one is left", () => server.asked.length === 2 && timers.pending.length === 1);
    go();
    assertEquals(await soon("the addresses", looking), ["10.0.0.1"]);
  });
});

Deno.test("addresses() of a name that no server is for is no name server's answer", async () => {
  await using server = startNameServer(only("10.0.0.1"));
  using opened = open([`corp.test=127.0.0.1:${server.port}`]);
  assertEquals([opened.resolver.knows("db.corp.test"), opened.resolver.knows("up.test")], [true, false]);
  const failure = await assertRejects(() => opened.resolver.addresses("up.test", ONE), FailedLookup);
  assertEquals([failure.kind, failure.message], ["away", "no name server is named for it"]);
  assertEquals([server.asked.length, opened.counters.questions], [0, 0]);
});

Deno.test("addresses() believes a server of an alias in its own zone, and no code about one outside", async (t) => {
  const rows: readonly (readonly [string, alias: string, rcode: number, expected: string])[] = [
    ["in the zone, and there is no such name", "gone.corp.test", NXDOMAIN, "nxdomain"],
    ["in the zone, and it has no address", "bare.corp.test", 0, "no-data"],
    ["outside", "cdn.test", 0, "outside"],
    ["outside, and there is no such name", "cdn.test", NXDOMAIN, "outside"],
  ];
  for (const [name, alias, rcode, expected] of rows) {
    await t.step(name, async () => {
      await using server = startNameServer((asked) =>
        asked.name === "app.corp.test"
          ? reply(asked, { answers: [cname(asked.name, alias)], rcode })
          : reply(asked, { rcode })
      );
      using opened = open([`corp.test=127.0.0.1:${server.port}`]);
      const looking = opened.resolver.addresses("app.corp.test", ONE);
      if (expected === "outside") assertEquals(await looking, ["93.184.216.34"]);
      else assertEquals(await kindOf(looking), expected);
      assertEquals(opened.outside, expected === "outside" ? ["cdn.test"] : []);
    });
  }
});

Deno.test("addresses() follows so many aliases from server to server, and no more", async (t) => {
  for (const [name, count] of [["just inside", 15], ["just outside", 16]] as const) {
    await t.step(name, async () => {
      const next = (asked: Asked): TestAnswer => {
        const [nth = "", zone = ""] = asked.name.split(".");
        return Number(nth) === count ? only("10.0.0.1")(asked) as TestAnswer : reply(asked, {
          answers: [cname(asked.name, `${Number(nth) + 1}.${zone === "x" ? "y" : "x"}.test`)],
        });
      };
      await using x = startNameServer(next);
      await using y = startNameServer(next);
      using opened = open([`x.test=127.0.0.1:${x.port}`, `y.test=127.0.0.1:${y.port}`]);
      const looking = opened.resolver.addresses("0.x.test", ONE);
      if (count === 15) assertEquals(await looking, ["10.0.0.1"]);
      else assertEquals(await kindOf(looking), "garbage");
    });
  }
});

Deno.test("records() gives those of a name, none where there are none, and those of an alias outside", async () => {
  await using server = startNameServer((asked) => {
    if (asked.name === "alias.corp.test") return reply(asked, { answers: [cname(asked.name, "cdn.test")] });
    if (asked.name !== "db.corp.test") return reply(asked, { authority: [soa("test", 60, 60)] });
    return reply(asked, {
      answers: [{ name: asked.name, type: TYPE.TXT, data: Uint8Array.of(2, 0x68, 0x69) }],
    });
  });
  using opened = open([`corp.test=127.0.0.1:${server.port}`]);
  const records = (name: string) => opened.resolver.records(name, TYPE.TXT, ONE);
  assertEquals(await records("db.corp.test"), [{ type: "TXT", texts: ["hi"] }]);
  assertEquals(await records("bare.corp.test"), []);
  assertEquals(await records("alias.corp.test"), [{ type: "TXT", texts: ["outside"] }]);
  assertEquals(opened.outside, [`cdn.test ${TYPE.TXT}`]);
  assertEquals(await records("db.corp.test"), [{ type: "TXT", texts: ["hi"] }]);
  assertEquals([opened.counters.questions, opened.counters.cacheHits], [3, 1]);
});

Deno.test("answers are kept within bounds: a name, an alias, and that there is nothing", async (t) => {
  const alias = (ttl: number): Rule => (asked) =>
    reply(asked, { answers: [cname(asked.name, "cdn.test", ttl)] });
  const nothing = (rcode: number, ttl: number): Rule => (asked) =>
    reply(asked, { rcode, authority: [soa("test", ttl, ttl)] });
  const rows: readonly (readonly [string, Rule, seconds: number])[] = [
    ["an alias", alias(100), 100],
    ["an alias, for a week", alias(604_800), 3_600],
    ["an alias, for no time", alias(0), 1],
    ["a name", only("10.0.0.1", 100), 100],
    ["a name, for a week", only("10.0.0.1", 604_800), 3_600],
    ["no such name, for a week", nothing(NXDOMAIN, 604_800), 300],
    ["no address, for a week", nothing(0, 604_800), 300],
    ["a failure", (asked) => reply(asked, { rcode: 2 }), 1],
  ];
  for (const [name, rule, seconds] of rows) {
    await t.step(name, async () => {
      const questions: number[] = [];
      await using server = startNameServer((asked) => {
        if (asked.type === TYPE.A) questions.push(asked.type);
        return rule(asked);
      });
      using opened = open([`corp.test=127.0.0.1:${server.port}`]);
      const ask = () => opened.resolver.addresses("app.corp.test", ONE).then(() => {}, () => {});
      await ask();
      opened.later(seconds - 0.001);
      await ask();
      assertEquals(questions.length, 1, "just inside");
      opened.later(0.001);
      await ask();
      assertEquals(questions.length, 2, "just outside");
    });
  }
});

Deno.test("a client's questions wait for their turn, and give it back whatever they found meanwhile", async () => {
  const max = 16;
  let isOpen = Promise.withResolvers<void>();
  await using server = startNameServer(async (asked) => {
    if (asked.name.startsWith("slow")) await isOpen.promise;
    return reply(asked, { answers: [asked.type === TYPE.A ? a(asked.name, "10.0.0.1") : aaaa(asked.name)] });
  });
  using opened = open([`127.0.0.1:${server.port}`]);
  const ask = (name: string, client: string) => opened.resolver.addresses(name, { ...ONE, client });
  for (let round = 0; round < 3; round++) {
    isOpen = Promise.withResolvers();
    const before = server.asked.length;
    const slow = Array.from({ length: max / 2 }, (_, at) => ask(`slow${round}-${at}.test`, "one"));
    await waitUntil("the places are taken", () => server.asked.length === before + max);
    const names = Array.from({ length: max }, (_, at) => `up${round}-${at}.test`);
    const waiting = names.map((name) => ask(name, "one"));
    for (const name of names) await ask(name, "two"); // these are known by the time that it is their turn
    const asked = server.asked.length;
    isOpen.resolve();
    await soon("all of them", Promise.all([...slow, ...waiting]));
    assertEquals(server.asked.length, asked, "nothing is asked for twice");
  }
});

Deno.test("a question that another asks when its turn comes is shared", async () => {
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  await using server = startNameServer(async (asked) => {
    await (asked.name === "up.test" ? second : first).promise;
    return only("10.0.0.1")(asked);
  });
  using opened = open([`127.0.0.1:${server.port}`]);
  const slow = Array.from({ length: 8 }, (_, at) => opened.resolver.addresses(`slow${at}.test`, ONE));
  await waitUntil("the places are taken", () => server.asked.length === 16);
  const waiting = opened.resolver.addresses("up.test", ONE);
  const other = opened.resolver.addresses("up.test", { ...ONE, client: "two" });
  await waitUntil("the other asks", () => server.asked.length === 18);
  first.resolve();
  await Promise.all(slow);
  second.resolve();
  assertEquals([await waiting, await other], [["10.0.0.1"], ["10.0.0.1"]]);
  assertEquals(server.asked.length, 18);
});

Deno.test("who waits for a turn gives up with its signal: busy when that was a time limit", async () => {
  await using server = startNameServer(() => undefined);
  using opened = open([`127.0.0.1:${server.port}`]);
  const end = new AbortController();
  const slow = Array.from(
    { length: 8 },
    (_, at) => opened.resolver.addresses(`slow${at}.test`, { client: "one", signal: end.signal }),
  );
  await waitUntil("the places are taken", () => server.asked.length === 16);
  const [late, gone] = [watchSignal(), watchSignal()];
  const looking = [late, gone].map(({ signal }) =>
    opened.resolver.addresses("up.test", { client: "one", signal })
  );
  late.abort(new FailedLookup("timeout"));
  gone.abort(new Error("gone"));
  assertEquals(await kindOf(looking[0] ?? Promise.resolve()), "busy");
  await assertRejects(() => looking[1] ?? Promise.resolve(), Error, "gone");
  assertEquals([late.listeners, gone.listeners], [0, 0]);
  end.abort(new Error("the end"));
  await Promise.allSettled(slow);
});

Deno.test("an old answer is used for a while when no server answers, and what a server says ends it", async () => {
  using timers = holdTimers(FIRST_MS, 300, 3_000, 5_000);
  let mode: "good" | "mute" | "refusing" = "good";
  await using server = startNameServer((asked) =>
    mode === "mute" ? undefined : mode === "good" ? only("10.0.0.1", 10)(asked) : reply(asked, { rcode: 5 })
  );
  using opened = open([`127.0.0.1:${server.port}`]);
  const { resolver, counters } = opened;
  assertEquals(await resolver.addresses("up.test", ONE), ["10.0.0.1"]);
  mode = "mute";
  opened.later(11);
  const looking = resolver.addresses("up.test", ONE);
  await waitUntil("both were asked", () => server.asked.length === 4);
  opened.later(1.5);
  timers.fire(FIRST_MS);
  await waitUntil("both were asked again", () => server.asked.length === 6);
  assertEquals(timers.pending, [300, 300], "1.8 seconds are all there is");
  opened.later(0.3);
  timers.fire(300);
  assertEquals(await soon("the old answer", looking), ["10.0.0.1"]);
  assertEquals({ ...counters }, { questions: 4, failures: 2, cacheHits: 0, stale: 2 });
  opened.later(29.999);
  assertEquals(await resolver.addresses("up.test", ONE), ["10.0.0.1"]);
  assertEquals({ ...counters }, { questions: 4, failures: 2, cacheHits: 2, stale: 2 });
  mode = "refusing";
  opened.later(0.001);
  assertEquals(await kindOf(resolver.addresses("up.test", ONE)), "refused");
  assertEquals({ ...counters }, { questions: 6, failures: 4, cacheHits: 2, stale: 2 });
});

Deno.test("forget() opens connections anew, and has everything asked again", async () => {
  await using server = startNameServer(only("10.0.0.1", 3_600));
  using opened = open([`tcp://127.0.0.1:${server.port}`]);
  await opened.resolver.addresses("up.test", ONE);
  const before = server.connections;
  await opened.resolver.addresses("up.test", ONE);
  assertEquals(server.asked.length, 2);
  opened.resolver.forget();
  await opened.resolver.addresses("up.test", ONE);
  assertEquals([server.asked.length, server.connections > before], [4, true]);
});

Deno.test("the end gives up what is under way", async () => {
  await using server = startNameServer(() => undefined);
  using opened = open([`127.0.0.1:${server.port}`]);
  const looking = opened.resolver.addresses("up.test", ONE);
  await waitUntil("it was asked", () => server.asked.length === 2);
  opened.resolver[Symbol.dispose]();
  assertEquals(await kindOf(looking), "away");
});

Deno.test("who gives up gets its signal's reason, and leaves nothing on it", async () => {
  await using server = startNameServer((
    asked,
  ) => (asked.name === "up.test" ? only("10.0.0.1")(asked) : undefined));
  using opened = open([`127.0.0.1:${server.port}`]);
  const watched = watchSignal();
  const asker = { client: "one", signal: watched.signal };
  await opened.resolver.addresses("up.test", asker);
  assertEquals(watched.listeners, 0);
  const looking = opened.resolver.addresses("slow.test", asker);
  const shared = opened.resolver.addresses("slow.test", asker);
  await waitUntil("it was asked", () => server.asked.length === 4);
  watched.abort(new Error("gone"));
  await assertRejects(() => soon("the end", looking), Error, "gone");
  await assertRejects(() => soon("the end", shared), Error, "gone");
  assertEquals(watched.listeners, 0);
});

Deno.test("isLocal() is true of names that no name server has a say in", () => {
  const rows: readonly (readonly [string, boolean])[] = [
    ["localhost", true],
    ["a.localhost", true],
    ["invalid", true],
    ["probe.invalid", true],
    ["notlocalhost", false],
    ["localhost.test", false],
    ["invalid.test", false],
  ];
  for (const [name, expected] of rows) assertEquals(isLocal(name), expected, name);
  assertEquals(NAME_LIMITS.secondFamilyMs, FAMILY_MS);
});
