import { assertEquals, assertRejects } from "@std/assert";
import { join } from "node:path";
import { formatStored, type RecordFilter, type StoredRecord } from "../../../../policy/audit_record.ts";
import { makeRecord as record } from "../../../support/make_record.ts";
import { AuditStore, type AuditStoreOptions } from "../../../../store/audit/store.ts";

/** Bytes of a line of {@linkcode record}: every port has as many digits. */
const LINE_BYTES = formatStored(record(10_000), "json").length + 1;

function records(from: number, to: number): StoredRecord[] {
  return Array.from({ length: to - from }, (_, i) => record(from + i));
}

/** A folder with a store that may be opened again. */
class Place implements AsyncDisposable {
  readonly #stores: AuditStore[] = [];
  private constructor(readonly dir: string) {}

  static async make(): Promise<Place> {
    return new Place(await Deno.makeTempDir({ prefix: "slicer-test-store-" }));
  }

  get path(): string {
    return join(this.dir, "audit.jsonl");
  }

  async open(options: AuditStoreOptions = {}): Promise<AuditStore> {
    const store = await AuditStore.open(this.path, options);
    this.#stores.push(store);
    return store;
  }

  close(): void {
    for (const store of this.#stores.splice(0)) store[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await Deno.remove(this.dir, { recursive: true });
  }
}

async function portsOf(iterable: AsyncIterable<StoredRecord | { readonly missed: number }>) {
  const ports: (number | string)[] = [];
  for await (const each of iterable) ports.push("missed" in each ? `missed ${each.missed}` : each.port ?? 0);
  return ports;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

Deno.test("AuditStore gives back what was written, whole and in order, in a later run too", async () => {
  await using place = await Place.make();
  const full = record(10_000, {
    auth: "none",
    ruleOwner: "o",
    method: "GET",
    scheme: "https",
    path: "/é\n",
    query: "a=b",
    status: 200,
    secret: "s",
    mode: "audit",
    reason: "no-rule",
    sent: 0,
    received: 1,
    durationMs: 34,
    repeated: 7,
    cleartext: true,
    origin: { src: "10.0.0.2:40000", proxyPort: 3128, tls: "1.3" },
  });
  const first = await place.open();
  await first.write([full]);
  assertEquals(((await Deno.stat(place.path)).mode ?? 0) & 0o777, 0o600);
  place.close();
  const second = await place.open();
  await second.write([record(10_001)]);
  const [one, two] = await Array.fromAsync(second.records({}));
  assertEquals(one, full);
  assertEquals(two?.port, 10_001);
});

Deno.test("AuditStore.records() reads over all its files, and no more than so many are kept", async () => {
  await using place = await Place.make();
  const store = await place.open({ maxBytes: 10 * LINE_BYTES, kept: 2 });
  for (const each of records(10_000, 10_045)) await store.write([each]);
  assertEquals([...Deno.readDirSync(place.dir)].map(({ name }) => name).sort(), [
    "audit-unauthenticated.jsonl",
    "audit.jsonl",
    "audit.jsonl.1",
    "audit.jsonl.2",
  ]);
  assertEquals(await portsOf(store.records({})), range(10_020, 10_045));
});

Deno.test("AuditStore.records() filters, and takes the newest", async (t) => {
  await using place = await Place.make();
  const store = await place.open({ maxBytes: 10 * LINE_BYTES });
  for (const each of records(10_000, 10_030)) await store.write([each]);
  await store.write([record(10_030, { client: undefined, host: undefined })]);
  const at = (port: number) => record(port).timeMs;
  const rows: [name: string, filter: RecordFilter, limit: number | undefined, ports: readonly number[]][] = [
    ["nothing in particular", {}, undefined, range(10_000, 10_031)],
    ["denials", { denied: true }, undefined, range(10_000, 10_030).filter((port) => port % 2 === 1)],
    ["a client", { client: "c1" }, undefined, range(10_000, 10_030).filter((port) => port % 3 === 1)],
    ["nobody", { client: "-" }, undefined, [10_030]],
    ["a host", { host: "api.example.com" }, undefined, [10_000, 10_005, 10_010, 10_015, 10_020, 10_025]],
    ["hosts below", { host: "*.example.com" }, undefined, [10_000, 10_005, 10_010, 10_015, 10_020, 10_025]],
    ["not the apex", { host: "*.api.example.com" }, undefined, []],
    ["any host", { host: "*" }, undefined, range(10_000, 10_030)],
    ["all of it", { host: "a.test", client: "c0", denied: true }, undefined, [
      10_011,
      10_017,
      10_023,
      10_029,
    ]],
    ["since the first", { sinceMs: at(10_000) }, undefined, range(10_000, 10_031)],
    ["since just after", { sinceMs: at(10_000) + 1 }, undefined, range(10_001, 10_031)],
    ["since a file's last", { sinceMs: at(10_019) }, undefined, range(10_019, 10_031)],
    ["since the last", { sinceMs: at(10_030) }, undefined, [10_030]],
    ["since later", { sinceMs: at(10_030) + 1 }, undefined, []],
    ["the newest", {}, 3, [10_028, 10_029, 10_030]],
    ["as many as there are", {}, 31, range(10_000, 10_031)],
    ["more than there are", {}, 32, range(10_000, 10_031)],
    ["the newest denials", { denied: true }, 2, [10_027, 10_029]],
    ["the newest since", { sinceMs: at(10_029) }, 5, [10_029, 10_030]],
  ];
  for (const [name, filter, limit, ports] of rows) {
    await t.step(name, async () => assertEquals(await portsOf(store.records(filter, { limit })), [...ports]));
  }
});

Deno.test("AuditStore.records() skips to a time in files of many blocks, and misses none", async () => {
  await using place = await Place.make();
  const store = await place.open({ maxBytes: 3_000 * LINE_BYTES });
  await store.write(records(10_000, 13_000));
  await store.write(records(13_000, 16_000));
  await store.write(records(16_000, 17_000));
  for (let port = 10_000; port < 17_000; port += 501) {
    const found = await portsOf(store.records({ sinceMs: record(port).timeMs }));
    assertEquals([found.length, found[0], found.at(-1)], [17_000 - port, port, 16_999]);
  }
  assertEquals((await portsOf(store.records({}, { limit: 6_500 }))).slice(0, 2), [10_500, 10_501]);
});

Deno.test("AuditStore.records() sees the moment of the call, whatever is written and rotated while it reads", async () => {
  await using place = await Place.make();
  const store = await place.open({ maxBytes: 10 * LINE_BYTES, kept: 4 });
  for (const each of records(10_000, 10_035)) await store.write([each]);
  const early = store.records({});
  const begun = store.records({});
  const first = await begun.next();
  for (const each of records(10_035, 10_060)) await store.write([each]); // two rotations more
  assertEquals([first.value?.port, ...await portsOf(begun)], range(10_000, 10_035));
  // Not begun before: what has rotated away meanwhile is gone, and nothing is there that came after.
  assertEquals(await portsOf(early), range(10_010, 10_035));
});

Deno.test("AuditStore.records() reads a file once that a rotation moves on while it is looked for", async () => {
  await using place = await Place.make();
  const store = await place.open();
  await store.write(records(10_000, 10_003));
  await Deno.link(place.path, `${place.path}.1`); // the same file, under both of its numbers
  assertEquals(await portsOf(store.records({})), range(10_000, 10_003));
});

Deno.test("AuditStore passes over half lines, and never glues a record to one", async (t) => {
  const line = formatStored(record(10_001), "json");
  const rows: [name: string, left: string, ports: readonly number[]][] = [
    ["half a line", `${formatStored(record(10_000), "json")}\n${line.slice(0, 40)}`, [10_000, 10_002]],
    ["a line without its end", line, [10_001, 10_002]],
    ["bytes that are no text", "\xff\x00\n\n", [10_002]],
    ["a line of another version", `${line.replace('"v":1', '"v":2')}\n`, [10_002]],
    ["a line that never ends", "x".repeat(3_000_000), [10_002]],
  ];
  for (const [name, left, ports] of rows) {
    await t.step(name, async () => {
      await using place = await Place.make();
      await Deno.writeTextFile(place.path, left);
      const store = await place.open();
      await store.write([record(10_002)]);
      assertEquals(await portsOf(store.records({})), [...ports]);
      assertEquals(await portsOf(store.records({}, { limit: 9 })), [...ports]);
    });
  }
});

Deno.test("AuditStore reads lines that are longer than a block from both ends", async () => {
  await using place = await Place.make();
  const store = await place.open();
  const long = [10_000, 10_001, 10_002, 10_003].map((port) =>
    record(port, { path: `/${"é".repeat(40_000 + port)}` })
  );
  await store.write(long);
  assertEquals(await Array.fromAsync(store.records({}), ({ path }) => path), long.map(({ path }) => path));
  const newest = await Array.fromAsync(store.records({}, { limit: 3 }), ({ path }) => path);
  assertEquals(newest, long.slice(1).map(({ path }) => path));
});

Deno.test("AuditStore.records() holds only so much of the newest, however long they are", async () => {
  await using place = await Place.make();
  const store = await place.open();
  for (let port = 1; port <= 300; port++) {
    await store.write([record(port, { path: "/".padEnd(65_536, "p") })]);
  }
  const newest = await portsOf(store.records({}, { limit: 300 }));
  assertEquals([newest.length, newest.at(-1)], [256, 300]);
});

Deno.test("AuditStore.follow() and records() of one turn give every record once", async () => {
  await using place = await Place.make();
  const store = await place.open({ maxBytes: 10 * LINE_BYTES, kept: 9 });
  let next = 10_000;
  const writing = (async () => {
    while (next < 10_080) {
      const from = next;
      next += 4;
      await store.write(records(from, next));
    }
  })();
  for (let joined = 0; joined < 5; joined++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    const stop = new AbortController();
    const live = store.follow({}, stop.signal);
    const seen = await portsOf(store.records({}));
    while (seen.at(-1) !== 10_079) {
      const { value } = await live.next();
      seen.push(value && "port" in value ? value.port ?? 0 : "missed");
    }
    assertEquals(seen, range(10_000, 10_080));
    stop.abort();
  }
  await writing;
});

Deno.test("AuditStore.records() are those up to the call, whatever is rotated while its files are opened", async () => {
  await using place = await Place.make();
  const store = await place.open({ maxBytes: 10 * LINE_BYTES, kept: 9 });
  for (let port = 10_000; port < 10_025; port += 5) await store.write(records(port, port + 5));
  const asked = store.records({});
  const { open } = Deno;
  let rotations = 0;
  Deno.open = async (path, options) => { // between the first file and the second
    if (String(path).endsWith(".1") && rotations === 0) {
      rotations = 3;
      for (let port = 10_025; port < 10_055; port += 5) await store.write(records(port, port + 5));
    }
    return await open(path, options);
  };
  try {
    assertEquals(await portsOf(asked), range(10_000, 10_025));
    assertEquals(rotations, 3);
  } finally {
    Deno.open = open;
  }
});

Deno.test("AuditStore.follow() tells a slow reader how much it missed, and goes on", async () => {
  await using place = await Place.make();
  const store = await place.open({ maxWaiting: 3 });
  const stop = new AbortController();
  const live = store.follow({ denied: true }, stop.signal);
  await store.write(records(10_000, 10_020)); // ten denials
  assertEquals((await live.next()).value, record(10_001));
  await store.write([record(10_021)]); // still behind: counted with the others
  for (const port of [10_003, 10_005]) assertEquals((await live.next()).value, record(port));
  assertEquals((await live.next()).value, { missed: 8 });
  await store.write([record(10_023)]);
  assertEquals((await live.next()).value, record(10_023));
  stop.abort();
  assertEquals(await live.next(), { done: true, value: undefined });
});

Deno.test("AuditStore.follow() ends with its signal, its reader or the store", async (t) => {
  await using place = await Place.make();
  const store = await place.open();
  await t.step("the signal, while it waits", async () => {
    const stop = new AbortController();
    const waiting = store.follow({}, stop.signal).next();
    stop.abort();
    assertEquals((await waiting).done, true);
  });
  await t.step("a signal of the past", async () => {
    assertEquals((await store.follow({}, AbortSignal.abort()).next()).done, true);
  });
  await t.step("the reader", async () => {
    const live = store.follow({}, new AbortController().signal);
    await live.return?.();
    await store.write([record(10_000)]);
    assertEquals((await live.next()).done, true);
  });
  await t.step("the store", async () => {
    const waiting = store.follow({}, new AbortController().signal).next();
    place.close();
    assertEquals((await waiting).done, true);
  });
});

Deno.test("AuditStore gives followers nothing that is not stored", async () => {
  await using place = await Place.make();
  const store = await place.open({ maxBytes: 1, kept: 1 });
  await store.write([record(10_000)]);
  const stop = new AbortController();
  const live = store.follow({}, stop.signal);
  await Deno.mkdir(`${place.path}.new`); // in the way of the next file
  await assertRejects(() => store.write([record(10_001)]));
  await Deno.remove(`${place.path}.new`);
  await store.write([record(10_001), record(10_002)]);
  assertEquals([(await live.next()).value, (await live.next()).value], records(10_001, 10_003));
  assertEquals(await portsOf(store.records({})), [10_000, 10_001, 10_002]);
  stop.abort();
});

Deno.test("AuditStore: denials of nobody turn over their own file, and are read in their place", async () => {
  await using place = await Place.make();
  const store = await place.open({ maxBytes: 1_048_576, maxUnauthenticatedBytes: 10 * LINE_BYTES, kept: 2 });
  const nobody = (port: number) => record(port, { verdict: "deny", client: undefined });
  for (let port = 10_000; port < 10_100; port += 2) {
    await store.write([record(port, { client: "c1" }), nobody(port + 1)]);
  }
  const known = range(10_000, 10_100).filter((port) => port % 2 === 0);
  assertEquals(await portsOf(store.records({ client: "c1" })), known);
  const nobodies = await portsOf(store.records({ client: "-" }));
  assertEquals(nobodies.length < 31, true, "its file was not turned over");
  assertEquals(await portsOf(store.records({})), [...known, ...nobodies].sort());
  assertEquals(await portsOf(store.records({}, { limit: 5 })), range(10_095, 10_100));
  const main = await Deno.readTextFile(place.path);
  assertEquals(main.includes('"client":"-"'), false);
});

Deno.test("AuditStore turns over at 32 MiB, that of the unauthenticated at 8, and keeps five, when nothing else is said", async () => {
  await using place = await Place.make();
  const beside = join(place.dir, "audit-unauthenticated.jsonl");
  const known = record(10_000);
  const unknown: StoredRecord = {
    ...record(10_001),
    client: undefined,
    verdict: "deny",
    reason: "auth-missing",
  };
  const rows = [[place.path, known, 32 * 1_048_576], [beside, unknown, 8 * 1_048_576]] as const;
  for (let n = 0; n < 7; n++) {
    for (const [path, each, size] of rows) {
      await Deno.writeTextFile(path, "");
      await Deno.truncate(path, size - formatStored(each, "json").length - 2); // of holes: it takes no disk
    }
    const store = await place.open();
    for (const [path, each, size] of rows) {
      await store.write([each]); // the end of half a line, and this: just full
      assertEquals((await Deno.stat(path)).size, size);
      await store.write([each]);
      assertEquals((await Deno.stat(path)).size, formatStored(each, "json").length + 1);
    }
    place.close();
  }
  const old = (path: string) => [path, ...[1, 2, 3, 4, 5].map((n) => `${path}.${n}`)];
  const names = [...Deno.readDirSync(place.dir)].map(({ name }) => join(place.dir, name)).sort();
  assertEquals(names, [...old(beside), ...old(place.path)]);
});

Deno.test("AuditStore turns over before a line that would be a byte too much, when nothing else is said", async () => {
  await using place = await Place.make();
  const nobody = record(10_001, { client: undefined, verdict: "deny", reason: "auth-missing" });
  const rows = [
    [place.path, record(10_000), 32 * 1_048_576],
    [join(place.dir, "audit-unauthenticated.jsonl"), nobody, 8 * 1_048_576],
  ] as const;
  for (const [path, each, size] of rows) {
    await Deno.writeTextFile(path, "");
    await Deno.truncate(path, size - formatStored(each, "json").length);
    const store = await place.open();
    await store.write([each]);
    assertEquals((await Deno.stat(`${path}.1`)).size, size - formatStored(each, "json").length);
    place.close();
  }
});

Deno.test("AuditStore lets go of its files when it is closed", async () => {
  await using place = await Place.make();
  const store = await place.open();
  place.close();
  await assertRejects(() => store.write([record(10_000)]));
});
