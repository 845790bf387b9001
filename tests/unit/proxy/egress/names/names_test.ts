import { assert, assertEquals, assertRejects } from "@std/assert";
import { NAME_LIMITS } from "../../../../../core/limits.ts";
import { FailedLookup } from "../../../../../proxy/egress/names/failed_lookup.ts";
import { type Names, type NamesOptions, openNames } from "../../../../../proxy/egress/names/names.ts";
import { parseDnsServers } from "../../../../../proxy/egress/names/name_server.ts";
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

interface Opened extends Disposable {
  readonly names: Names;
  readonly log: string[];
  /** Moves the clock that answers and servers are judged by. */
  later(seconds: number): void;
}

function openOptions(values: readonly string[], log: string[] = []): NamesOptions {
  return {
    servers: parseDnsServers(values),
    limitMs: 10_000,
    caCertsFor: () => [],
    log: { warn: (line) => log.push(line), info: (line) => log.push(line) },
    system: (host) => Promise.reject(Object.assign(new Error(`system: ${host}`), { code: "ENOTFOUND" })),
    hostsPath: "/nonexistent",
    hasIpv6: () => false,
  };
}

function open(values: readonly string[], more: Partial<NamesOptions> = {}): Opened {
  const log: string[] = [];
  let offsetMs = 0;
  const names = openNames({ ...openOptions(values, log), now: () => performance.now() + offsetMs, ...more });
  return {
    names,
    log,
    later: (seconds) => offsetMs += seconds * 1_000,
    [Symbol.dispose]: () => names[Symbol.dispose](),
  };
}

async function kindOf(looking: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => soon("the look-up", looking), FailedLookup)).kind;
}

/** An address for A, nothing for AAAA. */
function only(address: string, ttl = 60): (asked: Asked) => TestAnswer {
  return (asked) =>
    asked.type === TYPE.A
      ? reply(asked, { answers: [a(asked.name, address, ttl)] })
      : reply(asked, { authority: [soa("test", ttl, ttl)] });
}

const asA = (asked: readonly Asked[]) => asked.filter(({ type }) => type === TYPE.A).map(({ name }) => name);

Deno.test("resolve() gives the addresses of both families, in the order that suits this machine", async () => {
  const v6 = Uint8Array.from([0xfd, 0, ...new Array(13).fill(0), 1]);
  await using server = startNameServer((asked) =>
    reply(asked, {
      answers: asked.type === TYPE.A
        ? [a(asked.name, "10.0.0.1"), a(asked.name, "10.0.0.2")]
        : [{ name: asked.name, type: TYPE.AAAA, data: v6 }],
    })
  );
  for (const hasIpv6 of [false, true]) {
    using opened = open([`udp://127.0.0.1:${server.port}`], { hasIpv6: () => hasIpv6 });
    const v4 = ["10.0.0.1", "10.0.0.2"];
    assertEquals(await opened.names.resolve("up.test"), hasIpv6 ? ["fd00::1", ...v4] : [...v4, "fd00::1"]);
  }
});

Deno.test("resolve() says why there is no address", async (t) => {
  const rows: readonly (readonly [string, (asked: Asked) => TestAnswer, string])[] = [
    ["no such name", (asked) => reply(asked, { rcode: 3 }), "nxdomain"],
    ["no address", (asked) => reply(asked), "no-data"],
    [
      "no IPv4 address, and nobody knows of IPv6",
      (asked) => reply(asked, { rcode: asked.type === TYPE.A ? 0 : 2 }),
      "servfail",
    ],
    ["the server fails", (asked) => reply(asked, { rcode: 2 }), "servfail"],
    ["the server refuses", (asked) => reply(asked, { rcode: 5 }), "refused"],
    [
      "1,000 addresses",
      (asked) =>
        asked.transport === "udp"
          ? reply(asked, { flags: 0x200 })
          : reply(asked, { answers: Array.from({ length: 300 }, () => a(asked.name, "10.0.0.1")) }),
      "too-large",
    ],
    ["garbage", (asked) => reply(asked, { answers: [cname(asked.name, asked.name)] }), "garbage"],
    [
      "an alias that is no host",
      (asked) => reply(asked, { answers: [cname(asked.name, "a b.test")] }),
      "garbage",
    ],
    [
      "an alias of this machine",
      (asked) => reply(asked, { answers: [cname(asked.name, "localhost")] }),
      "garbage",
    ],
  ];
  for (const [name, answer, expected] of rows) {
    await t.step(name, async () => {
      await using server = startNameServer(answer);
      using opened = open([`127.0.0.1:${server.port}`]);
      assertEquals(await kindOf(opened.names.resolve("up.test")), expected);
    });
  }
});

Deno.test("resolve() asks nobody about localhost, .invalid, and what /etc/hosts says", async () => {
  const hostsPath = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(hostsPath, "10.9.9.9 db.corp.test\n");
    await using server = startNameServer(only("10.0.0.1"));
    using opened = open([`127.0.0.1:${server.port}`], { hostsPath });
    assertEquals(await opened.names.resolve("db.corp.test"), ["10.9.9.9"]);
    assertEquals(await opened.names.resolve("a.localhost"), ["127.0.0.1", "::1"]);
    assertEquals(await kindOf(opened.names.resolve("probe.invalid")), "nxdomain");
    assertEquals(await opened.names.resolveRecords("x.invalid", "TXT", ONE), []);
    assertEquals(server.asked, []);
  } finally {
    await Deno.remove(hostsPath);
  }
});

const ONE = { client: "one", signal: new AbortController().signal };

Deno.test("resolve() asks about a zone's names the servers of the longest zone, and nobody else when they fail", async () => {
  await using outside = startNameServer(only("93.184.216.34"));
  await using corp = startNameServer(only("10.0.0.1"));
  await using lab = startNameServer((asked) => reply(asked, { rcode: 2 }));
  using opened = open([
    `127.0.0.1:${outside.port}`,
    `corp.test=127.0.0.1:${corp.port}`,
    `lab.corp.test=127.0.0.1:${lab.port}`,
  ]);
  assertEquals(await opened.names.resolve("corp.test"), ["10.0.0.1"]);
  assertEquals(await opened.names.resolve("db.corp.test"), ["10.0.0.1"]);
  assertEquals(await opened.names.resolve("notcorp.test"), ["93.184.216.34"]);
  assertEquals(await kindOf(opened.names.resolve("x.lab.corp.test")), "servfail");
  assertEquals(asA(outside.asked), ["notcorp.test"]);
  assertEquals(asA(corp.asked), ["corp.test", "db.corp.test"]);
});

Deno.test("resolve() asks the system about names outside of all zones, and never about those inside", async () => {
  await using corp = startNameServer((asked) => reply(asked, { rcode: 5 }));
  const system: string[] = [];
  using opened = open([`corp.test=127.0.0.1:${corp.port}`], {
    system: (host) => {
      system.push(host);
      return Promise.resolve(["93.184.216.34"]);
    },
  });
  assertEquals(await opened.names.resolve("up.test"), ["93.184.216.34"]);
  assertEquals(await kindOf(opened.names.resolve("db.corp.test")), "refused");
  assertEquals(system, ["up.test"]);
});

Deno.test("resolve() asks a zone's servers about an alias into it, whatever the others say of it", async () => {
  await using outside = startNameServer((asked) =>
    reply(asked, { answers: [cname(asked.name, "db.corp.test"), a("db.corp.test", "203.0.113.66")] })
  );
  await using corp = startNameServer(only("10.0.0.1"));
  using opened = open([`127.0.0.1:${outside.port}`, `corp.test=127.0.0.1:${corp.port}`]);
  assertEquals(await opened.names.resolve("up.test"), ["10.0.0.1"]);
  assertEquals(asA(corp.asked), ["db.corp.test"]);
});

Deno.test("resolve() asks the system about an alias out of all zones, whatever the zone's servers say of it", async () => {
  await using corp = startNameServer((asked) =>
    reply(asked, { answers: [cname(asked.name, "cdn.test"), a("cdn.test", "10.0.0.66")] })
  );
  const system: string[] = [];
  using opened = open([`corp.test=127.0.0.1:${corp.port}`], {
    system: (host) => {
      system.push(host);
      return Promise.resolve(["93.184.216.34"]);
    },
  });
  assertEquals(await opened.names.resolve("app.corp.test"), ["93.184.216.34"]);
  assertEquals(system, ["cdn.test"]);
});

Deno.test("resolve() bounds aliases that lead on from zone to zone", async () => {
  const next = (asked: Asked) =>
    cname(
      asked.name,
      `${Number(asked.name.split(".")[0]) + 1}.${asked.name.endsWith("one.test") ? "two" : "one"}.test`,
    );
  await using one = startNameServer((asked) => reply(asked, { answers: [next(asked)] }));
  await using two = startNameServer((asked) => reply(asked, { answers: [next(asked)] }));
  using opened = open([`one.test=127.0.0.1:${one.port}`, `two.test=127.0.0.1:${two.port}`]);
  assertEquals(await kindOf(opened.names.resolve("0.one.test")), "garbage");
  assertEquals(asA([...one.asked, ...two.asked]).length, NAME_LIMITS.maxAliases);
});

Deno.test("resolve() asks the next server when one fails, refuses or says nothing, and that one last from then on", async () => {
  let isMute = true;
  await using mute = startNameServer((asked) => (isMute ? undefined : only("10.0.0.9")(asked)));
  await using failing = startNameServer((asked) => reply(asked, { rcode: 2 }));
  await using good = startNameServer(only("10.0.0.1"));
  using opened = open([mute, failing, good].map(({ port }) => `127.0.0.1:${port}`));
  assertEquals(await opened.names.resolve("a.test"), ["10.0.0.1"]);
  assertEquals(await opened.names.resolve("b.test"), ["10.0.0.1"]);
  assertEquals(asA(mute.asked), ["a.test"], "asked once, and then no more");
  assertEquals(opened.log, [
    `the name server udp://127.0.0.1:${mute.port} does not answer: the name server did not answer in time`,
  ]);
  isMute = false;
  opened.later(31);
  assertEquals(await opened.names.resolve("c.test"), ["10.0.0.9"]);
  assertEquals(opened.log.at(-1), `the name server udp://127.0.0.1:${mute.port} answers again`);
});

Deno.test("resolve() asks the next server while the name of one cannot be found, and looks that up once at a time", async () => {
  await using server = startNameServer(only("10.0.0.1"));
  let looks = 0;
  using opened = open(["tls://dns.test", `udp://127.0.0.1:${server.port}`], {
    system: () => {
      looks++;
      return new Promise(() => {});
    },
    limitMs: 4_000,
  });
  const found = ["a.test", "b.test"].map((name) => opened.names.resolve(name));
  assertEquals(await soon("the addresses", Promise.all(found)), [["10.0.0.1"], ["10.0.0.1"]]);
  assertEquals(looks, 1);
});

Deno.test("resolve() keeps an answer for its TTL, within bounds", async (t) => {
  const rows: readonly (readonly [string, (asked: Asked) => TestAnswer, seconds: number])[] = [
    ["its own", only("10.0.0.1", 100), 100],
    ["0, as rebinding has it", only("10.0.0.1", 0), NAME_LIMITS.minTtlSeconds],
    ["a week", only("10.0.0.1", 604_800), NAME_LIMITS.maxTtlSeconds],
    ["that there is none", (asked) => reply(asked, { rcode: 3, authority: [soa("test", 60, 20)] }), 20],
    ["for ever", (asked) => reply(asked, { rcode: 3, authority: [soa("test", 90_000, 90_000)] }), 300],
    ["none, without a time", (asked) => reply(asked, { rcode: 3 }), 1],
    ["a failure", (asked) => reply(asked, { rcode: 2 }), 1],
  ];
  for (const [name, answer, seconds] of rows) {
    await t.step(name, async () => {
      await using server = startNameServer(answer);
      using opened = open([`127.0.0.1:${server.port}`]);
      const ask = () => opened.names.resolve("up.test").then(() => {}, () => {});
      await ask();
      const first = asA(server.asked).length;
      opened.later(seconds - 0.5);
      await ask();
      assertEquals(asA(server.asked).length, first, "just inside");
      opened.later(0.5);
      await ask();
      assert(asA(server.asked).length > first, "just outside");
    });
  }
});

Deno.test("resolve() uses an old answer only while every server is away, and not for long", async () => {
  let mode: "good" | "mute" | "failing" = "good";
  await using server = startNameServer((asked) =>
    mode === "mute"
      ? undefined
      : mode === "failing"
      ? reply(asked, { rcode: 2 })
      : only("10.0.0.1", 10)(asked)
  );
  using opened = open([`127.0.0.1:${server.port}`], { limitMs: 3_000 });
  assertEquals(await opened.names.resolve("up.test"), ["10.0.0.1"]);
  assertEquals(await opened.names.resolve("other.test"), ["10.0.0.1"]);
  mode = "mute";
  opened.later(11);
  assertEquals(await soon("the old answer", opened.names.resolve("up.test")), ["10.0.0.1"]);
  const asked = server.asked.length;
  assertEquals(await opened.names.resolve("up.test"), ["10.0.0.1"]);
  assertEquals(server.asked.length, asked, "the server is left alone for a while");
  assertEquals(opened.names.counters.stale, 2, "one for each family");
  mode = "failing";
  assertEquals(await kindOf(opened.names.resolve("other.test")), "servfail");
  mode = "mute";
  opened.later(NAME_LIMITS.maxStaleSeconds);
  assertEquals(await kindOf(opened.names.resolve("up.test")), "timeout");
});

Deno.test("resolve() asks once for everybody who asks at the same time", async () => {
  const { promise: wait, resolve: go } = Promise.withResolvers<void>();
  await using server = startNameServer(async (asked) => {
    await wait;
    return only("10.0.0.1")(asked);
  });
  using opened = open([`127.0.0.1:${server.port}`]);
  const signal = ONE.signal;
  const all = Array.from(
    { length: 50 },
    (_, at) => opened.names.resolve("up.test", { client: `c${at}`, signal }),
  );
  await waitUntil("the questions", () => server.asked.length >= 2);
  go();
  assertEquals(new Set((await Promise.all(all)).flat()), new Set(["10.0.0.1"]));
  assertEquals(server.asked.length, 2);
  assertEquals(opened.names.counters.questions, 2);
});

Deno.test("a question whose asker has gone is answered for the others", async () => {
  const { promise: wait, resolve: go } = Promise.withResolvers<void>();
  await using server = startNameServer(async (asked) => {
    await wait;
    return only("10.0.0.1")(asked);
  });
  using opened = open([`127.0.0.1:${server.port}`]);
  const gone = new AbortController();
  const first = opened.names.resolve("up.test", { client: "one", signal: gone.signal });
  await waitUntil("the questions", () => server.asked.length >= 2);
  const second = opened.names.resolve("up.test", { client: "two", signal: ONE.signal });
  gone.abort(new Error("gone"));
  await assertRejects(() => first, Error, "gone");
  go();
  assertEquals(await second, ["10.0.0.1"]);
});

Deno.test("a client that asks for a thousand names that nobody answers holds up no other", async () => {
  await using server = startNameServer((asked) =>
    asked.name.endsWith("slow.test") ? undefined : only("10.0.0.1")(asked)
  );
  using opened = open([`127.0.0.1:${server.port}`], { limitMs: 4_000 });
  const hostile = Array.from(
    { length: 1_000 },
    (_, at) =>
      opened.names.resolve(`n${at}.slow.test`, { client: "hostile", signal: ONE.signal }).catch((error) =>
        error.kind
      ),
  );
  await waitUntil("its share", () => server.asked.length >= NAME_LIMITS.maxQuestionsPerClient);
  const startedAt = performance.now();
  for (let at = 0; at < 20; at++) {
    assertEquals(await opened.names.resolve(`n${at}.test`, { client: "innocent", signal: ONE.signal }), [
      "10.0.0.1",
    ]);
  }
  assert(performance.now() - startedAt < 3_000, "the innocent one does not wait for the slow names");
  const kinds = new Set(await Promise.all(hostile));
  assertEquals(kinds, new Set(["timeout", "busy"]));
});

Deno.test("an old client's names do not push those of others out of memory", async () => {
  await using server = startNameServer(only("10.0.0.1", 3_600));
  using opened = open([`127.0.0.1:${server.port}`]);
  await opened.names.resolve("up.test", { client: "innocent", signal: ONE.signal });
  const names = Array.from({ length: NAME_LIMITS.maxAnswers / 2 + 50 }, (_, at) => `n${at}.wide.test`);
  for (let at = 0; at < names.length; at += 100) {
    await Promise.all(
      names.slice(at, at + 100).map((name) =>
        opened.names.resolve(name, { client: "hostile", signal: ONE.signal })
      ),
    );
  }
  const asked = server.asked.length;
  await opened.names.resolve("up.test", { client: "innocent", signal: ONE.signal });
  assertEquals(server.asked.length, asked, "it is still there");
});

Deno.test("forged answers are not taken: another id, name, type or sender; a flood of them sends the question to TCP", async () => {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  await using server = startNameServer(async (asked) => {
    if (asked.type !== TYPE.A) return reply(asked);
    if (asked.transport === "tcp") return only("10.0.0.1")(asked);
    const forged = reply(asked, { answers: [a(asked.name, "203.0.113.66")] });
    const to = { transport: "udp", hostname: "127.0.0.1", port: asked.from } as const;
    await socket.send(forged, to); // right in everything but its sender
    const id = asked.bytes[1] ?? 0;
    const wrong = [
      reply(asked, {
        id: (asked.bytes[0] ?? 0) * 256 + ((id + 1) & 0xff),
        answers: [a(asked.name, "203.0.113.66")],
      }),
      forged.map((byte, at) => (at === 13 ? byte ^ 1 : byte)), // another name
      forged.map((byte, at) => (at === 2 ? byte & 0x7f : byte)), // no answer
    ];
    return Array.from({ length: 40 }, (_, at) => wrong[at % wrong.length] ?? forged);
  });
  try {
    using opened = open([`127.0.0.1:${server.port}`]);
    assertEquals(await opened.names.resolve("up.test"), ["10.0.0.1"]);
    assert(server.asked.some(({ transport }) => transport === "tcp"));
  } finally {
    socket.close();
  }
});

Deno.test("every question has a port and an id of its own", async () => {
  await using server = startNameServer(only("10.0.0.1"));
  using opened = open([`127.0.0.1:${server.port}`]);
  for (let at = 0; at < 20; at++) await opened.names.resolve(`n${at}.test`);
  const ids = new Set(server.asked.map(({ bytes }) => (bytes[0] ?? 0) * 256 + (bytes[1] ?? 0)));
  const ports = new Set(server.asked.map(({ from }) => from));
  assertEquals(server.asked.length, 40);
  assert(ids.size > 35 && ports.size > 35, `${ids.size} ids and ${ports.size} ports of 40 questions`);
});

Deno.test("over TCP connections are used again, one question at a time, and opened anew when the server has closed them", async () => {
  await using server = startNameServer(only("10.0.0.1"));
  using opened = open([`tcp://127.0.0.1:${server.port}`]);
  for (let at = 0; at < 10; at++) await opened.names.resolve(`n${at}.test`);
  assertEquals(server.asked.length, 20);
  assert(server.connections <= 2, `${server.connections} connections`);
  server.closeConnections();
  assertEquals(await opened.names.resolve("again.test"), ["10.0.0.1"]);
  assertEquals(opened.log, [], "that is no failure");
});

Deno.test("over TCP a connection that went dead without a word costs one attempt, and none after a sleep", async () => {
  const dead = new Set<number>();
  await using server = startNameServer((asked) => dead.has(asked.from) ? undefined : only("10.0.0.1")(asked));
  using opened = open([`tcp://127.0.0.1:${server.port}`]);
  await Promise.all(["a", "b", "c"].map((name) => opened.names.resolve(`${name}.test`)));
  for (const { from } of server.asked) dead.add(from);
  assertEquals(await opened.names.resolve("up.test"), ["10.0.0.1"]);
  assert(server.asked.filter(({ from }) => dead.has(from)).length <= 6 + 2, "one each for the two families");
  for (const { from } of server.asked) dead.add(from);
  opened.names.forget();
  const before = server.asked.length;
  assertEquals(await opened.names.resolve("up.test"), ["10.0.0.1"]);
  assert(
    server.asked.slice(before).every(({ from }) => !dead.has(from)),
    "nothing was asked on an old connection",
  );
});

Deno.test("the second family is not waited for when the first is there", async () => {
  await using server = startNameServer((asked) =>
    asked.type === TYPE.A ? only("10.0.0.1")(asked) : undefined
  );
  using opened = open([`127.0.0.1:${server.port}`], { limitMs: 30_000 });
  const startedAt = performance.now();
  assertEquals(await opened.names.resolve("up.test"), ["10.0.0.1"]);
  const tookMs = performance.now() - startedAt;
  assert(tookMs >= NAME_LIMITS.secondFamilyMs - 5 && tookMs < 5_000, `${tookMs} ms`);
});

Deno.test("the system's resolver is asked for no more names of a client at once than there is room for", async () => {
  const waiting: (() => void)[] = [];
  const asked: string[] = [];
  using opened = open([], {
    system: (host) => {
      asked.push(host);
      return new Promise((resolve) => waiting.push(() => resolve(["10.0.0.1"])));
    },
  });
  const hostile = Array.from(
    { length: 40 },
    (_, at) => opened.names.resolve(`n${at}.test`, { client: "hostile", signal: ONE.signal }),
  );
  const again = opened.names.resolve("n0.test", { client: "innocent", signal: ONE.signal });
  const other = opened.names.resolve("up.test", { client: "innocent", signal: ONE.signal });
  await waitUntil("the questions", () => asked.includes("up.test"));
  assertEquals(asked.length, NAME_LIMITS.maxQuestionsPerClient + 1, "the same name is asked for once");
  const all = Promise.all([...hostile, again, other]);
  while (asked.length < 41 || waiting.length > 0) {
    for (const go of waiting.splice(0)) go();
    await new Promise((next) => setTimeout(next, 1));
  }
  await all;
});

Deno.test("resolveRecords() asks the same servers, and says of a name without records that it has none", async () => {
  await using server = startNameServer((asked) =>
    asked.name === "db.test"
      ? reply(asked, {
        answers: [{ name: asked.name, type: asked.type, data: Uint8Array.from([2, 0x68, 0x69]) }],
      })
      : reply(asked, { rcode: asked.name === "broken.test" ? 2 : 3 })
  );
  using opened = open([`127.0.0.1:${server.port}`]);
  assertEquals(await opened.names.resolveRecords("db.test", "TXT", ONE), [{ type: "TXT", texts: ["hi"] }]);
  assertEquals(await opened.names.resolveRecords("none.test", "TXT", ONE), []);
  assertEquals(await kindOf(opened.names.resolveRecords("broken.test", "TXT", ONE)), "servfail");
});

Deno.test("forget() has every name looked up again, whatever its TTL", async () => {
  let address = "10.0.0.1";
  await using server = startNameServer((asked) => only(address, 3_600)(asked));
  using opened = open([`udp://127.0.0.1:${server.port}`]);
  assertEquals(await opened.names.resolve("up.test"), ["10.0.0.1"]);
  address = "10.0.0.2";
  assertEquals(await opened.names.resolve("up.test"), ["10.0.0.1"]);
  opened.names.forget();
  assertEquals(await opened.names.resolve("up.test"), ["10.0.0.2"]);
});

Deno.test("over TCP what is no answer to the question is not taken", async (t) => {
  const rows: readonly (readonly [string, (asked: Asked) => TestAnswer, string])[] = [
    [
      "another id",
      (asked) => reply(asked, { id: 1 + (asked.bytes[0] ?? 0) * 256 + (asked.bytes[1] ?? 0) & 0xffff }),
      "garbage",
    ],
    ["another name", (asked) => reply({ bytes: renamed(asked.bytes) }), "garbage"],
    ["an answer that is cut short", (asked) => reply(asked, { flags: 0x200 }), "garbage"],
    ["one byte more than is read", () => new Uint8Array(NAME_LIMITS.maxAnswerBytes + 1), "too-large"],
  ];
  for (const [name, answer, expected] of rows) {
    await t.step(name, async () => {
      await using server = startNameServer(answer);
      using opened = open([`tcp://127.0.0.1:${server.port}`]);
      assertEquals(await kindOf(opened.names.resolve("up.test")), expected);
    });
  }
});

/** A question about another name of the same length. */
function renamed(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, i) => i === 13 ? byte ^ 1 : byte);
}

Deno.test("resolve() puts the addresses of IPv6 first where an adapter is on the Internet with it, and looks that up now and then", async () => {
  await using server = startNameServer((asked) =>
    reply(asked, {
      answers: asked.type === TYPE.A ? [a(asked.name, "10.0.0.1")] : [{
        name: asked.name,
        type: TYPE.AAAA,
        data: Uint8Array.from([0xfd, 0, ...new Array(13).fill(0), 1]),
      }],
    })
  );
  const clock = { now: 1e12 };
  const { hasIpv6: _, ...options } = { ...openOptions([`127.0.0.1:${server.port}`]), now: () => clock.now };
  using names = openNames(options);
  assertEquals(await names.resolve("localhost"), ["127.0.0.1", "::1"]);
  const real = Deno.networkInterfaces;
  const adapters: { family: "IPv4" | "IPv6"; address: string }[] = [];
  let looks = 0;
  Deno.networkInterfaces = () => (looks++, adapters as unknown as Deno.NetworkInterfaceInfo[]);
  try {
    const isV6First = async () => (await soon("the addresses", names.resolve("up.test")))[0] === "fd00::1";
    const rows = [
      ["IPv4", "20.0.0.1", false],
      ["IPv6", "fe80::1", false],
      ["IPv6", "fd00::2", false],
      ["IPv6", "2001:db8::1", true],
      ["IPv6", "3fff::1", true],
      ["IPv6", "4000::1", false],
    ] as const;
    for (const [at, [family, address, isFirst]] of rows.entries()) {
      adapters.splice(0, 1, { family, address });
      assertEquals([await isV6First(), looks], [isFirst, at + 1], address);
      clock.now += NAME_LIMITS.hostsCheckMs - 1;
      adapters.splice(0, 1, { family: "IPv6", address: isFirst ? "::1" : "2001:db8::2" });
      assertEquals([await isV6First(), looks], [isFirst, at + 1], "as was seen last");
      clock.now += 1;
    }
  } finally {
    Deno.networkInterfaces = real;
  }
});
