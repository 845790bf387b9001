import { assertEquals, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../../core/deadlines.ts";
import { TYPE_A } from "../../../../../core/dns_message.ts";
import { NAME_LIMITS } from "../../../../../core/limits.ts";
import { FailedLookup, type LookupFailure } from "../../../../../proxy/egress/names/failed_lookup.ts";
import { parseNameServer } from "../../../../../proxy/egress/names/name_server.ts";
import { isSilence, ServerGroup } from "../../../../../proxy/egress/names/server_group.ts";
import { type HeldTimers, holdTimers } from "../../../../support/held_timers.ts";
import {
  a,
  type Asked,
  reply,
  startNameServer,
  type TestAnswer,
  type TestNameServer,
} from "../../../../support/name_server.ts";
import { soon, waitUntil } from "../../../../support/sockets.ts";

const REFUSED = 5;
const SERVFAIL = 2;
const [FIRST_MS, SECOND_MS, THIRD_MS] = [1_500, 3_000, 5_000];
const REST_MS = 25;

/** Servers that a test answers for, the group of them, and a clock and timers that only the test moves. */
interface Stage extends AsyncDisposable {
  readonly group: ServerGroup;
  readonly servers: readonly TestNameServer[];
  readonly log: string[];
  ask(name?: string, limitMs?: number): Promise<readonly string[]>;
  /** Waits until a server was asked so often, and then has the time of that attempt be over. */
  silence(at: number, count: number, ms: number): Promise<void>;
  later(ms: number): void;
}

type Rule = (asked: Asked) => TestAnswer | Promise<TestAnswer>;

const mute: Rule = () => undefined;
const good = (address: string): Rule => (asked) => reply(asked, { answers: [a(asked.name, address)] });
const says = (rcode: number): Rule => (asked) => reply(asked, { rcode });

function stage(scheme: "udp" | "tcp", ...rules: readonly Rule[]): Stage {
  const timers: HeldTimers = holdTimers(FIRST_MS, SECOND_MS, THIRD_MS, REST_MS, 1);
  const servers = rules.map((rule) => startNameServer(rule));
  const log: string[] = [];
  let nowMs = 1_000_000;
  const group = new ServerGroup(servers.map(({ port }) => parseNameServer(`${scheme}://127.0.0.1:${port}`)), {
    now: () => nowMs,
    log: { warn: (line) => log.push(`warn ${line}`), info: (line) => log.push(`info ${line}`) },
    deadlines: new Deadlines(),
    systemResolve: () => Promise.reject(new Error("nobody asks")),
    caCertsFor: () => [],
  });
  return {
    group,
    servers,
    log,
    ask: async (name = "up.test", limitMs = 60_000) =>
      (await group.ask({ name, type: TYPE_A }, () => true, limitMs)).addresses,
    silence: async (at, count, ms) => {
      await waitUntil(`server ${at} was asked`, () => servers[at]?.asked.length === count);
      nowMs += ms;
      timers.fire(ms);
    },
    later: (ms) => nowMs += ms,
    [Symbol.asyncDispose]: async () => {
      timers[Symbol.dispose]();
      group[Symbol.dispose]();
      for (const server of servers) await server[Symbol.asyncDispose]();
    },
  };
}

const asked = (s: Stage) => s.servers.map((each) => each.asked.length);

async function kindOf(asking: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => soon("the answer", asking), FailedLookup)).kind;
}

Deno.test("ask() gives silent servers three rounds, each longer", async () => {
  await using s = stage("udp", mute, mute);
  const asking = s.ask();
  let round = 0;
  for (const ms of [FIRST_MS, SECOND_MS, THIRD_MS]) {
    round++;
    await s.silence(0, round, ms);
    await s.silence(1, round, ms);
  }
  assertEquals(await kindOf(asking), "timeout");
  assertEquals(asked(s), [3, 3]);
});

Deno.test("ask() takes no longer than it may, and nothing of what is left is lost", async (t) => {
  await t.step("the time is over with the first attempt", async () => {
    await using s = stage("udp", mute);
    const asking = s.ask("up.test", FIRST_MS);
    await s.silence(0, 1, FIRST_MS);
    assertEquals(await kindOf(asking), "timeout");
    assertEquals(asked(s), [1]);
  });
  await t.step("less than an attempt is left", async () => {
    await using s = stage("udp", mute);
    const asking = s.ask("up.test", FIRST_MS + REST_MS);
    await s.silence(0, 1, FIRST_MS);
    await s.silence(0, 2, REST_MS);
    assertEquals(await kindOf(asking), "timeout");
    assertEquals(asked(s), [2]);
  });
  await t.step("there was next to none", async () => {
    await using s = stage("udp", good("10.0.0.1"));
    assertEquals(await s.ask("up.test", 1), ["10.0.0.1"]);
  });
  await t.step("there was none", async () => {
    await using s = stage("udp", good("10.0.0.1"));
    assertEquals(await kindOf(s.ask("up.test", 0)), "timeout");
    assertEquals(asked(s), [0]);
  });
});

Deno.test("ask() tells what a server said rather than that another is silent, and does not ask it again", async (t) => {
  const rows: readonly (readonly [string, readonly Rule[], LookupFailure])[] = [
    ["silent, then refused", [mute, says(REFUSED)], "refused"],
    ["refused, then silent", [says(REFUSED), mute], "refused"],
  ];
  for (const [name, rules, kind] of rows) {
    await t.step(name, async () => {
      await using s = stage("udp", ...rules);
      const silent = rules.indexOf(mute);
      const asking = s.ask();
      for (const [at, ms] of [FIRST_MS, SECOND_MS, THIRD_MS].entries()) await s.silence(silent, at + 1, ms);
      assertEquals(await kindOf(asking), kind);
      assertEquals(asked(s)[1 - silent], 1);
    });
  }
  await t.step("of two that say something the first", async () => {
    await using s = stage("udp", says(REFUSED), says(SERVFAIL));
    assertEquals(await kindOf(s.ask()), "refused");
    assertEquals(asked(s), [1, 1]);
  });
});

Deno.test("a silent server is asked last for a while, and the log says so once", async () => {
  let isMute = true;
  await using s = stage("udp", (each) => (isMute ? undefined : good("10.0.0.1")(each)), good("10.0.0.2"));
  const name = `the name server udp://127.0.0.1:${s.servers[0]?.port}`;
  const first = s.ask();
  await s.silence(0, 1, FIRST_MS);
  assertEquals(await first, ["10.0.0.2"]);
  assertEquals(s.log, [`warn ${name} does not answer: the name server did not answer in time`]);
  s.later(NAME_LIMITS.awayMs - 1);
  assertEquals(await s.ask(), ["10.0.0.2"]);
  assertEquals(asked(s), [1, 2], "just inside");
  s.later(1);
  const second = s.ask();
  await s.silence(0, 2, FIRST_MS);
  assertEquals(await second, ["10.0.0.2"], "just outside it is the first again");
  assertEquals(s.log.length, 1);
  isMute = false;
  s.later(NAME_LIMITS.awayMs);
  assertEquals(await s.ask(), ["10.0.0.1"]);
  assertEquals(await s.ask(), ["10.0.0.1"]);
  assertEquals(s.log.slice(1), [`info ${name} answers again`]);
});

Deno.test("a server that was away is asked last and not left out, and by its answer is the first again", async () => {
  let isMute = true;
  await using s = stage("udp", (each) => (isMute ? undefined : good("10.0.0.1")(each)), says(SERVFAIL));
  const first = s.ask();
  for (const [at, ms] of [FIRST_MS, SECOND_MS, THIRD_MS].entries()) await s.silence(0, at + 1, ms);
  await kindOf(first);
  isMute = false;
  assertEquals(await s.ask(), ["10.0.0.1"]);
  assertEquals(asked(s), [4, 2]);
  assertEquals(await s.ask(), ["10.0.0.1"]);
  assertEquals(asked(s), [5, 2]);
});

Deno.test("a server that fails, refuses or says no is heard: it is not away, and nothing is logged", async () => {
  await using s = stage("udp", says(SERVFAIL), good("10.0.0.2"));
  for (let at = 1; at <= 2; at++) {
    assertEquals(await s.ask(), ["10.0.0.2"]);
    assertEquals(asked(s), [at, at]);
  }
  assertEquals(s.log, []);
});

Deno.test("a server that fails to say something ends its absence", async () => {
  let rule = mute;
  await using s = stage("udp", (each) => rule(each), good("10.0.0.2"));
  const first = s.ask();
  await s.silence(0, 1, FIRST_MS);
  await first;
  rule = says(SERVFAIL);
  s.later(NAME_LIMITS.awayMs);
  await s.ask();
  assertEquals(s.log.length, 2);
  assertEquals(asked(s), [2, 2]);
});

Deno.test("a slow name is no fault of a server that answers for others meanwhile, or has just answered", async (t) => {
  for (const betweenMs of [0, 1]) {
    await t.step(`${betweenMs} ms`, async () => {
      await using s = stage(
        "udp",
        (each) => (each.name === "slow.test" ? undefined : good("10.0.0.1")(each)),
      );
      if (betweenMs === 0) await s.ask();
      const slow = s.ask("slow.test", FIRST_MS);
      await waitUntil("it was asked", () => s.servers[0]?.asked.at(-1)?.name === "slow.test");
      s.later(betweenMs);
      if (betweenMs > 0) await s.ask();
      await s.silence(0, 2, FIRST_MS);
      assertEquals(await kindOf(slow), "timeout");
      assertEquals(s.log, []);
    });
  }
});

Deno.test("leave() forgets which servers were away, and has connections opened anew", async (t) => {
  await t.step("away", async () => {
    await using s = stage("udp", mute, good("10.0.0.2"));
    const first = s.ask();
    await s.silence(0, 1, FIRST_MS);
    await first;
    s.group.leave();
    const second = s.ask();
    await s.silence(0, 2, FIRST_MS);
    assertEquals(await second, ["10.0.0.2"]);
  });
  await t.step("connections", async () => {
    await using s = stage("tcp", good("10.0.0.1"));
    for (let at = 0; at < 2; at++) await s.ask();
    assertEquals(s.servers[0]?.connections, 1);
    s.group.leave();
    await s.ask();
    assertEquals(s.servers[0]?.connections, 2);
  });
});

Deno.test("the end gives up what is under way, asks nobody more, and blames no server", async () => {
  await using s = stage("udp", mute, mute);
  const asking = s.ask();
  await waitUntil("it was asked", () => s.servers[0]?.asked.length === 1);
  s.group[Symbol.dispose]();
  assertEquals(await kindOf(asking), "away");
  assertEquals([asked(s), s.log], [[1, 0], []]);
});

Deno.test("the end closes connections that are kept", async () => {
  let ended = 0;
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    using conn = await listener.accept();
    const into = new Uint8Array(512);
    const count = await conn.read(into) ?? 0;
    const message = reply({ bytes: into.slice(2, count) }, { answers: [a("up.test", "10.0.0.1")] });
    await conn.write(Uint8Array.of(0, message.length, ...message));
    ended = await conn.read(into) ?? -1;
  })();
  const server = parseNameServer(`tcp://127.0.0.1:${listener.addr.port}`);
  const group = new ServerGroup([server], {
    now: () => 0,
    log: { warn: () => {}, info: () => {} },
    deadlines: new Deadlines(),
    systemResolve: () => Promise.reject(new Error("nobody asks")),
    caCertsFor: () => [],
  });
  await group.ask({ name: "up.test", type: TYPE_A }, () => true, 30_000);
  group[Symbol.dispose]();
  await soon("the end", serving);
  listener.close();
  assertEquals(ended, -1);
});

Deno.test("ask() looks up and opens nothing once the proxy stops", async () => {
  let looks = 0;
  const group = new ServerGroup([parseNameServer("https://dns.test")], {
    now: () => 0,
    log: { warn: () => {}, info: () => {} },
    deadlines: new Deadlines(),
    systemResolve: () => {
      looks++;
      return Promise.resolve([]);
    },
    caCertsFor: () => [],
  });
  group[Symbol.dispose]();
  await assertRejects(() => group.ask({ name: "up.test", type: TYPE_A }, () => true, 1_000), FailedLookup);
  assertEquals(looks, 0);
});

Deno.test("isSilence() is true of failures in which no server was heard", () => {
  const all: Readonly<Record<LookupFailure, boolean>> = {
    "timeout": true,
    "away": true,
    "nxdomain": false,
    "no-data": false,
    "missing": false,
    "servfail": false,
    "refused": false,
    "unanswered": false,
    "garbage": false,
    "too-large": false,
    "busy": false,
  };
  for (const [kind, expected] of Object.entries(all)) {
    assertEquals(isSilence(new FailedLookup(kind as LookupFailure)), expected, kind);
  }
});
