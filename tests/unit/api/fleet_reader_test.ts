/** The logs of all hosts as one: hosts are fakes that answer with bytes, good and bad. */
import { assert, assertEquals } from "@std/assert";
import type { Item } from "../../../api/audit_stream.ts";
import type { FleetLogs } from "../../../api/control.ts";
import { fleetForm, type FleetItem } from "../../../api/fleet_items.ts";
import { readAnswer } from "../../../api/fleet_answer.ts";
import { type FleetQuestion, readFleet } from "../../../api/fleet_reader.ts";
import { ProxyError } from "../../../core/errors.ts";
import { FLEET_LOG_LIMITS } from "../../../core/limits.ts";
import { formatStored, parseRecord, type StoredRecord } from "../../../policy/audit_record.ts";
import type { LogHost, LogHosts } from "../../../store/fleet/log_ways.ts";
import { makeRecord } from "../../support/make_record.ts";

const T0 = Date.UTC(2026, 0, 2, 3, 4, 5);
const LIVE = '{"live":true}\n';
const LIMITS = { ...FLEET_LOG_LIMITS, windowMs: 200, retryMs: 50, recordMs: 300 };

/** What a host answers to a question: lines, then the end, or what it throws. */
type Answering = (query: URLSearchParams, signal: AbortSignal) => AsyncGenerator<string>;

function at(ms: number, path = `/${ms}`): StoredRecord {
  return makeRecord(2, { path, client: "ci-1", timeMs: T0 + ms });
}

function line(ms: number, path?: string): string {
  return `${formatStored(at(ms, path), "json")}\n`;
}

/** Hosts that answer so, beside this one, which is called `own`. */
function fleetOf(
  hosts: Readonly<Record<string, Answering | string>>,
  more: Partial<LogHosts> = {},
): FleetLogs {
  const encoder = new TextEncoder();
  const listed = Object.entries(hosts).map(([label, how]): LogHost => ({
    id: `id-${label}`,
    label,
    isOwn: false,
    ...(typeof how === "string" ? { whyNot: how } : { way: { origin: label, caPem: "", token: "" } }),
  }));
  return {
    ownLabel: "own",
    hosts: () => Promise.resolve({ hosts: listed, isCut: false, ...more }),
    async *ask({ origin }, query, signal) {
      const how = hosts[origin];
      if (typeof how !== "function") throw new Error("nobody has a way there");
      for await (const text of how(query, signal)) yield encoder.encode(text);
    },
  };
}

/** A host that answers with these lines. */
function says(...lines: readonly string[]): Answering {
  return async function* () {
    for (const each of lines) yield await Promise.resolve(each);
  };
}

/** Until it is cut. */
function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

async function* own(...items: readonly Item[]): AsyncGenerator<Item> {
  for (const item of items) yield await Promise.resolve(item);
}

function question(logs: FleetLogs, more: Partial<FleetQuestion> = {}): FleetQuestion {
  return {
    filter: {},
    limit: undefined,
    isFollowing: false,
    query: new URLSearchParams({ mark: "1" }),
    own: own(),
    logs,
    limits: LIMITS,
    ...more,
  };
}

/** `host/path` of records, `host: why` of what is said of hosts. */
function shortOf(item: FleetItem): string {
  if ("record" in item) return `${item.host}${item.record.path}`;
  if ("missed" in item) return `${item.host} missed ${item.missed}`;
  return "unanswered" in item ? `${item.host}: ${item.unanswered}` : `${item.host} answers`;
}

async function all(asked: FleetQuestion): Promise<string[]> {
  const shown: string[] = [];
  for await (const item of readFleet(asked, new AbortController().signal)) shown.push(shortOf(item));
  return shown;
}

Deno.test("what is stored on all hosts comes in the order of its times, each record with its host", async () => {
  const logs = fleetOf({ b: says(line(2), line(5), line(6)), c: says(), d: says(line(1), line(3)) });
  assertEquals(await all(question(logs, { own: own(at(2), at(4)) })), [
    "d/1",
    "own/2",
    "b/2",
    "d/3",
    "own/4",
    "b/5",
    "b/6",
  ]);
});

Deno.test("a limit gives the newest of all hosts, and each is asked for no more", async () => {
  const asked: string[] = [];
  const logs = fleetOf({
    b: async function* (query) {
      asked.push(`${query}`);
      yield* says(line(1), line(4), line(9))(query, AbortSignal.any([]));
    },
    c: says(line(5), line(6)),
  });
  const query = new URLSearchParams({ limit: "3" });
  assertEquals(await all(question(logs, { own: own(at(2), at(3)), limit: 3, query })), ["c/5", "c/6", "b/9"]);
  assertEquals(asked, ["limit=3"]);
});

Deno.test("a host that does not answer as a host does is named, and the others lose nothing", async (t) => {
  const long = "x".repeat(LIMITS.maxLineChars + 1);
  const wide = JSON.stringify({ ...JSON.parse(line(3)), secret: "s".repeat(9_000) });
  const late = line(3).replace(/"time":"[^"]*"/, '"time":"+275760-09-13T00:00:00Z"');
  const rows: [name: string, how: Answering | string, why: string][] = [
    ["it has no way", "its API is not open", "its API is not open"],
    ["it cannot be reached", unreachable("connection refused"), "connection refused"],
    ["it breaks with something of its own", () => broken(), "it cannot be read"],
    ["it sends no record, only signs of life", heartbeats, "it gave no record within 0.3 s"],
    ["it hangs", (_, signal) => hanging(signal), "it gave no record within 0.3 s"],
    ["garbage", says("<html>\n"), "a line of it is no record that this version knows"],
    ["a record of another version", says('{"v":2}\n'), "a line of it is no record that this version knows"],
    ["a line without end", says(long), "a line of it is too long"],
    ["a line without end in small pieces", says(...pieces(long)), "a line of it is too long"],
    ["a field that is too long", says(`${wide}\n`), "a line of it is no record that this version knows"],
    ["a time that cannot be shown", says(late), "a line of it is no record that this version knows"],
    ["more than can be stored", flood, "it is longer than a log can be"],
    ["half a line", says(line(3).slice(0, 40)), "it broke off"],
    ["it goes live, unasked", says(LIVE), "it says that it goes on, and was not asked to"],
  ];
  for (const [name, how, why] of rows) {
    await t.step(name, async () => {
      const logs = fleetOf({ bad: how, good: says(line(3)) });
      const limits = { ...LIMITS, maxStoredChars: 200_000 };
      const shown = await all(question(logs, { own: own(at(1), at(9)), limits }));
      assertEquals(
        shown.filter((each) => !each.startsWith("bad/")),
        [
          ...shown.filter((each) => each.startsWith("bad:")).slice(0, 1),
          ...["own/1", "good/3", "own/9"],
        ].sort((a, b) => shown.indexOf(a) - shown.indexOf(b)),
      );
      assert(shown.includes(`bad: ${why}`), shown.at(-1));
    });
  }
  await t.step("more records than the limit", async () => {
    const logs = fleetOf({ bad: says(line(1), line(2), line(3)) });
    assertEquals(await all(question(logs, { limit: 2 })), [
      "bad: it has more records than were asked for",
      "bad/1",
      "bad/2",
    ]);
  });
});

Deno.test("records that were not asked for are passed over, and none passes for another host's", async () => {
  const forged = `${line(2).slice(0, -2)},"fleet_host":"good"}\n`;
  const other = `${formatStored({ ...at(1), client: "ci-2" }, "json")}\n`;
  const logs = fleetOf({ bad: says(other, forged) });
  assertEquals(await all(question(logs, { filter: { client: "ci-1" } })), ["bad/2"]);
  const form = fleetForm();
  const [first] = await Array.fromAsync(readFleet(question(logs), new AbortController().signal));
  assert(first);
  const shown = JSON.parse(form.format(first));
  assertEquals([shown.fleet_host, parseRecord(form.format(first))?.timeMs], ["bad", T0 + 1]);
});

Deno.test("an answer is the same however it is cut", async () => {
  const bytes = new TextEncoder().encode(line(1, "/…") + '{"missed":7}\n' + "\n" + LIVE + line(2));
  const asked = { filter: {}, limit: 1, isFollowing: true };
  const read = async (...pieces: readonly Uint8Array[]) => {
    const shown: unknown[] = [];
    for await (const item of readAnswer(inTurn(pieces), asked, LIMITS)) {
      shown.push("record" in item ? item.record.path : item);
    }
    return shown;
  };
  const whole = await read(bytes);
  assertEquals(whole, ["/…", { missed: 7 }, { live: true }, "/2"]);
  for (let i = 0; i <= bytes.length; i++) {
    assertEquals(await read(bytes.subarray(0, i), bytes.subarray(i)), whole);
  }
  assertEquals(await read(...Array.from(bytes, (byte) => new Uint8Array([byte]))), whole);
});

Deno.test("hosts that are known from before, or are too many, are said", async () => {
  const known = fleetOf({ b: says(line(1)) }, { asOf: T0, isCut: true });
  assertEquals(await all(question(known, { limits: { ...LIMITS, maxHosts: 1 } })), [
    "*: the store is away, these are the hosts as of 2026-01-02T03:04:05.000Z",
    "*: more than 0 hosts are not asked: 1 are",
    "b/1",
  ]);
  const many = fleetOf({ b: says(line(1)), c: says(line(2)), d: says(line(3)) });
  assertEquals(await all(question(many, { limits: { ...LIMITS, maxHosts: 1 } })), [
    "*: 2 hosts are not asked: 1 are",
    "b/1",
  ]);
  const unread = fleetOf({ b: says(line(1)) }, { unread: 3 });
  assertEquals(await all(question(unread)), ["*: 3 hosts are not asked: 1 are", "b/1"]);
  const away: FleetLogs = {
    ...many,
    hosts: () => Promise.reject(new ProxyError("store.away", "Cannot use the store: it is away")),
  };
  assertEquals(await all(question(away, { own: own(at(1)) })), [
    "*: the store is away, and has not said who there is",
    "own/1",
  ]);
});

Deno.test("live records of different hosts that come within a moment come in the order of their times", async () => {
  const now = Date.now() - T0 - 100; // later than it is, no time counts
  const logs = fleetOf({
    b: async function* (_, signal) {
      yield line(now - 500, "/stored");
      yield LIVE;
      yield line(now + 20, "/third") + line(now + 30, "/fourth");
      await hang(signal);
    },
    c: async function* (_, signal) {
      yield LIVE;
      yield line(now + 10, "/second");
      await hang(signal);
    },
    skewed: async function* (_, signal) {
      yield LIVE + line(now + 3_600_000, "/an-hour-on");
      await hang(signal);
    },
  });
  const ending = new AbortController();
  const shown: string[] = [];
  const asked = question(logs, {
    isFollowing: true,
    own: following(ending.signal, { live: true }, at(now, "/first")),
    limits: { ...LIMITS, windowMs: 1_500 }, // for a machine that is busy
  });
  for await (const item of readFleet(asked, ending.signal)) {
    if (shown.push(shortOf(item)) === 6) ending.abort();
  }
  assertEquals(shown[0], "b/stored");
  assertEquals(shown.slice(1).filter((each) => !each.startsWith("skewed")), [
    "own/first",
    "c/second",
    "b/third",
    "b/fourth",
  ]);
});

Deno.test("a host that ends or fails while it is followed is named once, asked again, and no record comes twice", async () => {
  const queries: URLSearchParams[] = [];
  const logs = fleetOf({
    b: async function* (query, signal) {
      queries.push(query);
      if (queries.length === 1) yield LIVE + line(1, "/one") + line(2, "/two");
      else if (queries.length < 4) {
        throw new ProxyError("api.unreachable", "Cannot read it: connection refused");
      } else {
        yield line(1, "/one") + line(2, "/two") + line(2, "/same-time") + LIVE + line(3, "/three");
        await hang(signal);
      }
    },
  });
  const ending = new AbortController();
  const shown: string[] = [];
  const query = new URLSearchParams({ follow: "1", limit: "5" });
  const asked = question(logs, { isFollowing: true, query, own: following(ending.signal, { live: true }) });
  for await (const item of readFleet(asked, ending.signal)) {
    if (shown.push(shortOf(item)) === 6) ending.abort();
  }
  assertEquals(shown, ["b/one", "b/two", "b: it has stopped", "b answers", "b/same-time", "b/three"]);
  assertEquals(`${queries[3]}`, "follow=1&since=2026-01-02T03%3A04%3A05.002Z");
});

Deno.test("a host that floods while it is followed is read no faster than it is shown, and misses its own", async () => {
  let given = 0;
  const logs = fleetOf({
    b: async function* (_, signal) {
      yield LIVE;
      for (; !signal.aborted; given++) yield line(Date.now() - T0, "/flood");
    },
  });
  const ending = new AbortController();
  const own = following(ending.signal, { live: true }, at(Date.now() - T0, "/own"));
  const limits = { ...LIMITS, maxWindowChars: 20_000 };
  for await (const item of readFleet(question(logs, { isFollowing: true, own, limits }), ending.signal)) {
    if (shortOf(item) === "own/own") break;
  }
  const most = 20_000 / 320 + 20; // records count for that at least
  assert(given > 10 && given < 2 * most, `${given}`);
  ending.abort();
});

Deno.test("a host whose clock was set back stays visible after it is asked again", async () => {
  let asked = 0;
  const logs = fleetOf({
    b: async function* (_, signal) {
      if (asked++ === 0) yield LIVE + line(9_000, "/far-on");
      else {
        yield line(9_000, "/far-on") + LIVE + line(1, "/set-back") + line(9_001, "/later");
        await hang(signal);
      }
    },
  });
  const ending = new AbortController();
  const own = following(ending.signal, { live: true }, at(1, "/own"));
  const asking = readFleet(question(logs, { isFollowing: true, own }), ending.signal);
  const shown = await takeUntil(asking, (each) => each === "b/later");
  ending.abort();
  assertEquals(shown.filter((each) => each.startsWith("b")), [
    "b/far-on",
    "b: it has stopped",
    "b answers",
    "b/set-back",
    "b/later",
  ]);
});

Deno.test("a store that lists other hosts each time fills no memory, and it is said how many are not named", async () => {
  let left = 0;
  let isListed = () => {};
  const logs: FleetLogs = {
    ...fleetOf({}),
    hosts: () => {
      if (left === 0) isListed();
      const hosts = Array.from({ length: left > 0 ? 50 : 0 }, (_, i): LogHost => {
        return { id: `${left}-${i}`, label: "x", isOwn: false, whyNot: "not open" };
      });
      left = Math.max(0, left - 1);
      return Promise.resolve({ hosts, isCut: false });
    },
  };
  const ending = new AbortController();
  const own = following(ending.signal, { live: true }, at(1, "/own"));
  const limits = { ...LIMITS, windowMs: 1, retryMs: 2, maxWindowChars: 32_000 };
  const asking = readFleet(question(logs, { isFollowing: true, own, limits }), ending.signal);
  await asking.next(); // and nothing is taken until all were listed
  left = 11;
  await new Promise<void>((resolve) => isListed = resolve);
  let most = 550;
  const shown = await takeUntil(asking, (each) => each.startsWith("*: ") || --most === 0);
  ending.abort();
  const named = shown.filter((each) => each === "x: not open").length;
  assertEquals([named, shown.at(-1)], [
    100,
    "*: 450 more hosts were not read, too many at once to name them",
  ]);
});

Deno.test("a host that the store lists no more is forgotten, but not how far it was read", async () => {
  let calls = 0;
  const closed: LogHost = { id: "id-c", label: "c", isOwn: false, whyNot: "not open" };
  const open: LogHost = {
    id: "id-b",
    label: "b",
    isOwn: false,
    way: { origin: "b", caPem: "", token: "" },
  };
  const logs: FleetLogs = {
    ...fleetOf({ b: says(line(1), LIVE) }),
    hosts: () => Promise.resolve({ hosts: ++calls === 2 ? [] : [open, closed], isCut: false }),
  };
  const ending = new AbortController();
  const own = following(ending.signal, { live: true });
  const asking = readFleet(question(logs, { isFollowing: true, own }), ending.signal);
  const shown = await takeUntil(asking, () => calls > 5);
  ending.abort();
  assertEquals(shown.filter((each) => each.startsWith("c")), ["c: not open", "c: not open"]);
  assertEquals(shown.filter((each) => each === "b/1").length, 1);
});

/** What comes, up to the first that is meant. The reading goes on. */
async function takeUntil(
  items: AsyncGenerator<FleetItem>,
  isMeant: (shown: string) => boolean,
): Promise<string[]> {
  const shown: string[] = [];
  for (;;) {
    const { done, value } = await items.next();
    if (done) return shown;
    shown.push(shortOf(value));
    if (isMeant(shown.at(-1) ?? "")) return shown;
  }
}

async function* inTurn<T>(all: readonly T[]): AsyncGenerator<T> {
  for (const each of all) yield await Promise.resolve(each);
}

async function* following(signal: AbortSignal, ...items: readonly Item[]): AsyncGenerator<Item> {
  yield* items;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
}

function unreachable(why: string): Answering {
  // deno-lint-ignore require-yield
  return async function* () {
    throw await Promise.resolve(new ProxyError("api.unreachable", `Cannot read the log of a host: ${why}`));
  };
}

// deno-lint-ignore require-yield
async function* broken(): AsyncGenerator<string> {
  throw await Promise.resolve(new Error("planted words"));
}

// deno-lint-ignore require-yield
async function* hanging(signal: AbortSignal): AsyncGenerator<string> {
  await hang(signal);
}

async function* heartbeats(_: URLSearchParams, signal: AbortSignal): AsyncGenerator<string> {
  while (!signal.aborted) {
    yield "\n";
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function* flood(): AsyncGenerator<string> {
  for (let i = 0; i < 1_000_000; i++) yield await Promise.resolve(line(2));
}

function pieces(text: string): string[] {
  return text.match(/.{1,100}/g) ?? [];
}
