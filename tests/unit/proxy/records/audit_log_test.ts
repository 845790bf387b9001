import { assertEquals } from "@std/assert";
import { Deadlines } from "../../../../core/deadlines.ts";
import { RECORD_LIMITS } from "../../../../core/limits.ts";
import { type AuditRecord, formatStored, sizeOfRecord } from "../../../../policy/audit_record.ts";
import { AuditLog, type WriteWay } from "../../../../proxy/records/audit_log.ts";

const ALLOW: AuditRecord = {
  verdict: "allow",
  client: "ci-1",
  method: "GET",
  scheme: "https",
  host: "api.example.com",
  port: 443,
  path: "/v1/models",
  status: 200,
  secret: "llm-key",
  sent: 0,
  received: 5120,
  durationMs: 34.2,
};
const DENY: AuditRecord = {
  verdict: "deny",
  client: "ci-1",
  method: "GET",
  host: "a.test",
  port: 443,
  mode: "strict",
  reason: "no-rule",
};

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

/** A log whose sink fails while `failing` holds an error. */
function startLog() {
  const written: string[][] = [];
  const state: { failing: Error | undefined } = { failing: undefined };
  const log = new AuditLog({
    now: () => 0,
    deadlines: new Deadlines(),
    sink: {
      write: (records) => {
        if (state.failing) return Promise.reject(state.failing);
        written.push(records.map((record) => formatStored(record, "text")));
        return Promise.resolve();
      },
    },
  });
  return { log, written, state, lines: () => written.flat() };
}

Deno.test("AuditLog writes records in order, those of one turn at once", async () => {
  const { log, written, lines } = startLog();
  for (let port = 1; port <= 3; port++) log.write({ ...ALLOW, port });
  await log.flush();
  assertEquals(written.length, 1);
  log.write({ ...ALLOW, port: 4 });
  await log[Symbol.asyncDispose]();
  assertEquals(lines().map((line) => /port=(\d+)/.exec(line)?.[1]), ["1", "2", "3", "4"]);
});

Deno.test("AuditLog counts what is denied again and again, and never what is allowed", async () => {
  const { log, lines } = startLog();
  for (let i = 0; i < 100; i++) {
    log.write(DENY);
    log.write({ ...DENY, host: `b${i % 2}.test` });
    log.write(ALLOW);
  }
  await log[Symbol.asyncDispose]();
  const count = (pattern: RegExp) => lines().filter((line) => pattern.test(line)).length;
  assertEquals(count(/^allow /), 100);
  assertEquals(count(/host=a\.test.*reason=no-rule$/), 5);
  assertEquals(lines().filter((line) => line.includes("repeated=")).sort(), [
    "deny client=ci-1 method=GET host=a.test port=443 mode=strict reason=no-rule repeated=95",
    "deny client=ci-1 method=GET host=b0.test port=443 mode=strict reason=no-rule repeated=45",
    "deny client=ci-1 method=GET host=b1.test port=443 mode=strict reason=no-rule repeated=45",
  ]);
});

Deno.test("AuditLog adds up what it is given, coalesced or not", async () => {
  const { log } = startLog();
  for (let i = 0; i < 10; i++) log.write(DENY);
  log.write(ALLOW);
  log.write({ verdict: "passthrough", sent: 10, received: 20 });
  await log[Symbol.asyncDispose]();
  const { allow, deny, passthrough, denials, sentBytes, receivedBytes } = log.totals;
  assertEquals([allow, deny, passthrough, denials["no-rule"]], [1, 10, 1, 10]);
  assertEquals([sentBytes, receivedBytes], [10, 5_140]);
  assertEquals(log.health, { isWritable: true, queued: 0, writeFailures: 0, coalesced: 5 });
});

Deno.test("AuditLog is not writable while its sink fails, and loses no record once it recovers", async () => {
  const { log, state, lines } = startLog();
  state.failing = new Error("disk full");
  log.write({ ...ALLOW, port: 1 });
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(log.isWritable, false);
  log.write({ ...ALLOW, port: 2 });
  assertEquals(log.health, { isWritable: false, queued: 2, writeFailures: 1, coalesced: 0 });
  state.failing = undefined;
  await log.flush();
  assertEquals(log.isWritable, true);
  log.write({ ...ALLOW, port: 3 });
  await log[Symbol.asyncDispose]();
  assertEquals(lines().map((line) => /port=(\d+)/.exec(line)?.[1]), ["1", "2", "3"]);
});

Deno.test("AuditLog is not writable while its sink is far behind, says when that changes, and loses nothing", async () => {
  const most = Math.floor(RECORD_LIMITS.maxQueuedBytes / sizeOfRecord(ALLOW));
  const written: number[] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  const log = new AuditLog({
    now: () => 0,
    deadlines: new Deadlines(),
    sink: {
      write: async (records) => {
        const gate = Promise.withResolvers<void>();
        gates.push(gate);
        await gate.promise;
        written.push(...records.map(({ port }) => port ?? -1));
      },
    },
  });
  const said: boolean[] = [];
  log.onWritable = (isWritable) => said.push(isWritable);
  log.write({ ...ALLOW, port: 0 });
  await Promise.resolve(); // the sink has that one, and the others wait
  await Promise.resolve();
  for (let port = 1; port < most; port++) log.write({ ...ALLOW, port });
  assertEquals([log.isWritable, said], [true, []]);
  for (let port = most; port < most + 5; port++) log.write({ ...ALLOW, port }); // of requests admitted before
  assertEquals([log.isWritable, said], [false, [false]]);
  const flushed = log.flush();
  gates.shift()?.resolve();
  let isFlushed = false;
  flushed.then(() => isFlushed = true);
  while (!isFlushed) {
    gates.shift()?.resolve();
    await Promise.resolve();
  }
  assertEquals([log.isWritable, said], [true, [false, true]]);
  assertEquals(written, Array.from({ length: most + 5 }, (_, port) => port));
});

Deno.test("AuditLog.written() waits for the records so far, not for those after, nor for a sink that fails", async () => {
  const writes: PromiseWithResolvers<void>[] = [];
  const log = new AuditLog({
    now: () => 0,
    deadlines: new Deadlines(),
    sink: {
      write: () => {
        const write = Promise.withResolvers<void>();
        if (writes.push(write) > 3) write.resolve();
        return write.promise;
      },
    },
  });
  await log.written(); // nothing to wait for
  const order: string[] = [];
  log.write({ ...DENY, path: "/first" });
  await turn();
  log.write({ ...DENY, path: "/second" }); // while the first is being written
  const second = log.written().then(() => order.push("second"));
  await turn();
  writes[0]?.resolve();
  await turn();
  log.write({ ...DENY, path: "/third" });
  order.push("third is on its way");
  writes[1]?.resolve();
  await second;
  assertEquals(order, ["third is on its way", "second"]);
  const third = log.written();
  await turn();
  writes[2]?.reject(new Error("no space left on device"));
  await third;
  assertEquals(log.isWritable, false);
  await log.flush();
  assertEquals(log.isWritable, true);
});

Deno.test("AuditLog when disposed does not wait for a sink that keeps failing", async () => {
  const { log, state, lines } = startLog();
  state.failing = new Error("disk full");
  log.write(ALLOW);
  await log[Symbol.asyncDispose]();
  assertEquals(lines(), []);
});

Deno.test("AuditLog: a flood of denials with long paths costs details of its own, and no line of anybody else", async () => {
  const pieces: number[] = [];
  const kept: AuditRecord[] = [];
  const log = new AuditLog({
    now: () => 0,
    deadlines: new Deadlines(),
    sink: {
      write: (records) => {
        pieces.push(records.reduce((sum, record) => sum + sizeOfRecord(record), 0));
        kept.push(...records);
        return Promise.resolve();
      },
    },
  });
  const path = "p".repeat(60_000);
  const from = { origin: { src: "10.0.0.66:1", proxyPort: 3128 } };
  for (let i = 0; i < 7_000; i++) {
    log.write({ verdict: "deny", reason: "auth-missing", path: `/${i}/${path}`, ...from });
    log.write({ verdict: "deny", client: "bad", reason: "no-rule", path: `/${i}/${path}`, ...from });
    if (i % 100 === 0) {
      log.write({ ...ALLOW, port: i + 1 });
      log.write({ verdict: "deny", reason: "auth-missing", path: "/other", origin: { src: "10.0.0.7:1" } });
      log.write({ ...DENY, port: i + 1 });
    }
  }
  await log[Symbol.asyncDispose]();
  const of = (matches: (record: AuditRecord) => boolean) => kept.filter(matches);
  assertEquals(of(({ verdict }) => verdict === "allow").length, 70);
  assertEquals(of(({ client, verdict }) => client === "ci-1" && verdict === "deny").length, 70);
  const floods = of(({ client, origin }) => client === "bad" || origin?.src.startsWith("10.0.0.66") === true);
  const bytes = floods.reduce((sum, record) => sum + sizeOfRecord(record), 0);
  assertEquals(bytes < 6 * 1_048_576, true, `${bytes} bytes`);
  // What had no line is counted: by client or source, and reason.
  for (const client of ["bad", undefined]) {
    const own = floods.filter((record) => record.client === client);
    assertEquals(own.reduce((sum, { repeated = 1 }) => sum + repeated, 0), 7_000);
    const { path, origin } = own.at(-1) ?? {};
    assertEquals([path, origin?.src], [undefined, "10.0.0.66"]);
  }
  const others = of(({ origin }) => origin?.src.startsWith("10.0.0.7") === true);
  assertEquals(others.reduce((sum, { repeated = 1 }) => sum + repeated, 0), 70);
  assertEquals(Math.max(...pieces) < 1_100_000, true, "a piece is too large");
  assertEquals(log.totals.deny, 14_140);
});

Deno.test("AuditLog writes nothing of what only this process understands", async () => {
  const fields: string[][] = [];
  const sink = {
    write: (records: readonly object[]) => {
      fields.push(...records.map((record) => Object.keys(record)));
      return Promise.resolve();
    },
  };
  const log = new AuditLog({ now: () => 0, deadlines: new Deadlines(), sink });
  log.write({ ...DENY, verdict: "allow", opened: 7 });
  log.write({ ...DENY, verdict: "allow" });
  await log[Symbol.asyncDispose]();
  const expected = [...Object.keys(DENY), "timeMs", "repeated"].toSorted();
  assertEquals(fields.map((each) => each.toSorted()), [expected, expected]);
});

Deno.test("AuditLog adds up what other threads have counted, and knows who used a secret last", async () => {
  const log = new AuditLog({
    now: () => 1_234,
    deadlines: new Deadlines(),
    sink: { write: () => Promise.resolve() },
  });
  log.writeAll([{ ...DENY, repeated: 7 }, ALLOW, { ...ALLOW, client: "ci-2" }, { ...DENY, secret: "other" }]);
  assertEquals([log.health.coalesced, log.totals.deny, log.totals.allow], [7, 8, 2]);
  assertEquals([log.lastUse("llm-key"), log.lastUse("other")], [{ atMs: 1_234, client: "ci-2" }, undefined]);
  for (let i = 0; i < 6; i++) log.write({ ...DENY, path: "/same" });
  assertEquals(log.health.coalesced, 8); // and its own
  await log[Symbol.asyncDispose]();
});

Deno.test("AuditLog writes the first record after a rest at once, and gathers those that follow", async () => {
  const { log, written } = startLog();
  log.write({ ...ALLOW, port: 1 });
  await Promise.resolve();
  await Promise.resolve();
  assertEquals(written.length, 1);
  log.write({ ...ALLOW, port: 2 });
  await Promise.resolve();
  log.write({ ...ALLOW, port: 3 });
  await Promise.resolve();
  assertEquals(written.length, 1);
  await log.written(); // who waits for them does not wait for others
  assertEquals(written.map((lines) => lines.length), [1, 2]);
  log.write({ ...ALLOW, port: 4 });
  await turn();
  while (written.length < 3) await turn(); // by itself, a few milliseconds later
  await log[Symbol.asyncDispose]();
});

Deno.test("AuditLog only counts denials from the moment on when half of the queue waits", async () => {
  const gate = Promise.withResolvers<void>();
  const kept: AuditRecord[] = [];
  const log = new AuditLog({
    now: () => 0,
    deadlines: new Deadlines(),
    sink: {
      write: async (records) => {
        await gate.promise;
        kept.push(...records);
      },
    },
  });
  const half = Math.ceil(RECORD_LIMITS.maxQueuedBytes / 2 / sizeOfRecord(ALLOW));
  for (let i = 1; i < half; i++) log.write(ALLOW);
  log.write({ ...DENY, path: "/before" });
  log.write(ALLOW);
  assertEquals([log.health.coalesced, log.isWritable], [0, true]);
  log.write({ ...DENY, path: "/after" });
  assertEquals([log.health.coalesced, log.health.queued], [1, half + 1]);
  gate.resolve();
  await log[Symbol.asyncDispose]();
  const denials = kept.filter(({ verdict }) => verdict === "deny");
  assertEquals(denials.map(({ path }) => path), ["/before", undefined]);
});

Deno.test("AuditLog tells time and number of each record, and that it is written, once all of them are", async () => {
  const kept: { timeMs: number; repeated: number }[] = [];
  let nowMs = 5;
  const log = new AuditLog({
    now: () => nowMs++,
    deadlines: new Deadlines(),
    sink: { write: (records) => Promise.resolve(void kept.push(...records)) },
  });
  log.write({ verdict: "passthrough" });
  log.write({ verdict: "passthrough", repeated: 3 });
  assertEquals([log.health.queued, kept.length], [2, 0]);
  await log.flush();
  assertEquals(kept.map(({ timeMs, repeated }) => [timeMs, repeated]), [[5, 1], [6, 3]]);
  assertEquals(log.health, { isWritable: true, queued: 0, writeFailures: 0, coalesced: 0 });
  await log[Symbol.asyncDispose]();
});

Deno.test("AuditLog has records printed as they come, 128 KiB of them, and pauses unless somebody waits", async () => {
  const printed: number[] = [];
  let ways: WriteWay | undefined;
  const first = Promise.withResolvers<void>();
  const log = new AuditLog({
    now: () => 0,
    deadlines: new Deadlines(),
    sink: {
      print: ({ port = 0 }) => [String(printed.push(port))],
      write: async (_records, way) => {
        ways = way;
        await first.promise;
      },
    },
  });
  const bytes = sizeOfRecord(ALLOW);
  const most = Math.floor(131_072 / bytes);
  for (let port = 0; port < most + 10; port++) log.write({ ...ALLOW, port });
  assertEquals(printed.length, most);
  await turn();
  assertEquals(ways?.printed.length, most);
  let isOver = false;
  const pausing = ways?.pause().then(() => isOver = true);
  await Promise.resolve();
  assertEquals(isOver, false);
  const flushed = log.flush(); // ends the pause, and has none begin
  await pausing;
  await ways?.pause();
  first.resolve();
  await flushed;
  await log[Symbol.asyncDispose]();
});
