import { assertEquals } from "@std/assert";
import { RECORD_LIMITS } from "../../../../core/limits.ts";
import { type AuditRecord, sizeOfRecord } from "../../../../policy/audit_record.ts";
import { DenialGate } from "../../../../proxy/records/denial_gate.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";

function startGate() {
  const clock = { nowMs: 0 };
  const deadlines = new FakeDeadlines();
  const room = { isThere: true };
  const summaries: AuditRecord[] = [];
  const gate = new DenialGate({
    deadlines,
    monotonic: () => clock.nowMs,
    hasRoom: () => room.isThere,
    write: (summary) => summaries.push(summary),
  });
  let nth = 0;
  /** A denial like no other, of about 2,400 bytes. */
  const next = (more: Partial<AuditRecord> = {}): AuditRecord => ({
    verdict: "deny",
    client: "one",
    method: "GET",
    host: "a.test",
    port: 443,
    reason: "no-rule",
    path: `/${nth++}/`.padEnd(2_048, "p"),
    ...more,
  });
  /** How many get a line until one does not. */
  const spend = (more: Partial<AuditRecord> = {}): number => {
    for (let written = 0;; written++) if (!gate.admits(next(more))) return written;
  };
  return {
    gate,
    clock,
    deadlines,
    room,
    summaries,
    next,
    spend,
    bytes: sizeOfRecord(next()),
    [Symbol.dispose]: () => gate.flush(),
  };
}

Deno.test("DenialGate: a client's budget is spent once, and fills up with time as the limits say", () => {
  using made = startGate();
  const { clock, spend, bytes } = made;
  const { burstBytes, bytesPerSecond } = RECORD_LIMITS.denialsOfClient;
  assertEquals(spend(), Math.floor(burstBytes / bytes));
  assertEquals(spend(), 0);
  clock.nowMs += 1_500 * bytes / bytesPerSecond * 1_000;
  assertEquals(spend(), 1_500);
  clock.nowMs += 1_000 * burstBytes / bytesPerSecond * 1_000; // it never holds more than the burst
  assertEquals(spend(), Math.floor(burstBytes / bytes));
});

Deno.test("DenialGate: clients of one source have a budget each, sources without a client one of a /64", () => {
  using made = startGate();
  const { next, spend, gate, bytes } = made;
  const from = (src: string) => ({ origin: { src: `[${src}]:50000`, proxyPort: 3128 } });
  const nobody = (src: string) => {
    const { client: _, ...record } = next(from(src));
    return record;
  };
  spend({ ...from("2001:db8::1"), client: "one" });
  assertEquals(gate.admits(next({ ...from("2001:db8::1"), client: "two" })), true);
  for (let left = RECORD_LIMITS.denialsOfSource.burstBytes; left > 0; left -= bytes) {
    gate.admits(nobody("2001:db8::1"));
  }
  assertEquals(gate.admits(nobody("2001:db8::2")), false);
  assertEquals(gate.admits(nobody("2001:db8:0:1::1")), true);
});

Deno.test("DenialGate: what is over the budget is told at the end of a window, and none is missing", () => {
  const { gate, next, spend, summaries } = startGate();
  spend();
  for (let i = 0; i < 9; i++) gate.admits(next());
  gate.flush();
  assertEquals(gate.counted, 10);
  assertEquals(summaries.reduce((sum, { repeated = 1 }) => sum + repeated, 0), 10);
});

const DENIAL: AuditRecord = { verdict: "deny", client: "one", method: "GET", host: "a.test", port: 443 };

Deno.test("DenialGate: of what is the same five have a line in ten seconds, then one line tells of the rest", () => {
  const { gate, deadlines, summaries } = startGate();
  const ask = (times: number) => Array.from({ length: times }, () => gate.admits(DENIAL));
  assertEquals(ask(7), [true, true, true, true, true, false, false]);
  assertEquals(gate.admits({ ...DENIAL, repeated: 30 }), false); // of a worker, which has counted itself
  assertEquals([gate.counted, deadlines.left], [32, [10_000]]);
  deadlines.advance(9_999);
  assertEquals([summaries, ask(1)], [[], [false]]);
  deadlines.advance(1);
  assertEquals([summaries, deadlines.left], [[{ ...DENIAL, repeated: 33 }], []]);
  assertEquals(ask(2), [true, true]); // another window has begun
  deadlines.advance(10_000);
  assertEquals([summaries.length, deadlines.left], [1, []]); // which has nothing to tell
});

Deno.test("DenialGate: one that was counted once has a line in the end, and flush() writes it at once", () => {
  const { gate, deadlines, summaries } = startGate();
  for (let i = 0; i < 6; i++) gate.admits(DENIAL);
  gate.flush();
  assertEquals([summaries, deadlines.left], [[{ ...DENIAL, repeated: 1 }], []]);
  gate.flush();
  assertEquals([summaries.length, gate.admits(DENIAL)], [1, true]);
  gate.flush();
});

Deno.test("DenialGate: whatever tells one denial from another counts it apart, but for the port of its connection", async (t) => {
  const origin = { src: "10.0.0.7:4000", proxyPort: 3128, tls: "1.3" } as const;
  const full: AuditRecord = {
    ...{ ...DENIAL, auth: "none", scheme: "https", path: "/a", query: "b=c", says: "mcp:x", status: 429 },
    ...{ secret: "key", mode: "strict", reason: "quota", sent: 1, received: 2, durationMs: 3, origin },
  };
  const others: Partial<AuditRecord>[] = [
    ...[{ client: "two" }, { auth: undefined }, { method: "PUT" }, { scheme: "http" }, {
      host: "b.test",
    }] as const,
    ...[{ port: 80 }, { path: "/b" }, { query: "b=d" }, { says: "mcp:y" }, { status: 403 }, {
      secret: "kex",
    }],
    ...[{ mode: "audit" }, { reason: "no-rule" }, { sent: 9 }, { received: 9 }, { durationMs: 9 }] as const,
    ...[{ ...origin, src: "10.0.0.8:4000" }, { ...origin, proxyPort: 1 }, { ...origin, tls: "1.2" }]
      .map((origin) => ({ origin }) as Partial<AuditRecord>),
    { origin: undefined },
  ];
  for (const other of others) {
    await t.step(JSON.stringify(other), () => {
      using made = startGate();
      for (let i = 0; i < 5; i++) assertEquals(made.gate.admits(full), true);
      assertEquals(made.gate.admits({ ...full, ...other }), true);
      assertEquals(made.gate.admits({ ...full, origin: { ...origin, src: "10.0.0.7:4001" } }), false);
    });
  }
});

Deno.test("DenialGate: the source is the address without its port, in every form that it comes in", async (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ["10.0.0.7:4000", "10.0.0.7"],
    ["10.0.0.7", "10.0.0.7"],
    ["[2001:db8::1]:4000", "2001:db8::1"],
    ["[2001:db8::1]", "2001:db8::1"],
    ["2001:db8::1", "2001:db8::1"],
    ["::1", "::1"],
    [":4000", ""],
    ["", ""],
  ];
  for (const [src, address] of rows) {
    await t.step(src, () => {
      const { gate, room, summaries } = startGate();
      room.isThere = false;
      const origin = { src, proxyPort: 3128, tls: "1.3" } as const;
      const denial: AuditRecord = {
        verdict: "deny",
        method: "GET",
        reason: "auth-missing",
        path: "/",
        origin,
      };
      assertEquals(gate.admits(denial), false);
      gate.flush();
      assertEquals(summaries, [{
        ...{ verdict: "deny", client: undefined, auth: undefined, mode: undefined, reason: "auth-missing" },
        origin: { src: address, proxyPort: 3128 },
        repeated: 1,
      }]);
    });
  }
});

Deno.test("DenialGate: while there is no room all are counted by who and why, and the lines wait until there is", () => {
  const { gate, room, deadlines, summaries } = startGate();
  room.isThere = false;
  const asked: Partial<AuditRecord>[] = [{}, { client: "two" }, { reason: "quota" }, { host: "b.test" }];
  for (const more of asked) {
    gate.admits({ ...DENIAL, auth: "none", mode: "strict", reason: "no-rule", ...more });
  }
  deadlines.advance(10_000);
  assertEquals([summaries, deadlines.left], [[], [10_000, 10_000, 10_000]]);
  room.isThere = true;
  deadlines.advance(10_000);
  const line = { verdict: "deny", client: "one", auth: "none", mode: "strict", reason: "no-rule" } as const;
  assertEquals(summaries, [
    { ...line, origin: undefined, repeated: 2 },
    { ...line, origin: undefined, client: "two", repeated: 1 },
    { ...line, origin: undefined, reason: "quota", repeated: 1 },
  ]);
});

Deno.test("DenialGate: beyond 4,096 sources without room those that come share a line, and clients never do", () => {
  const { gate, room, summaries } = startGate();
  room.isThere = false;
  const from = (i: number): AuditRecord => ({
    ...{ verdict: "deny", reason: "auth-missing" },
    origin: { src: `10.${i >> 16}.${i >> 8 & 255}.${i & 255}:1` },
  });
  for (let i = 0; i < 4_098; i++) gate.admits(from(i));
  gate.admits(from(7)); // has its place
  gate.admits({ ...DENIAL, reason: "no-rule" });
  gate.flush();
  assertEquals(summaries.length, 4_098);
  assertEquals(summaries[7]?.repeated, 2);
  assertEquals(summaries.slice(-2), [
    { verdict: "deny", reason: "auth-missing", repeated: 2 },
    {
      ...{ verdict: "deny", client: "one", auth: undefined, mode: undefined, reason: "no-rule" },
      ...{ origin: undefined, repeated: 1 },
    },
  ]);
});

Deno.test("DenialGate: 1,024 kinds of denials are told apart at once, and others have lines as long as budgets last", () => {
  using made = startGate();
  const { gate, deadlines } = made;
  const kind = (port: number) => gate.admits({ ...DENIAL, port });
  for (let port = 1; port <= 1_025; port++) assertEquals(kind(port), true);
  assertEquals(deadlines.left.length, 1_024);
  assertEquals([kind(1_024), kind(1_024), kind(1_024), kind(1_024), kind(1_024)], [
    true,
    true,
    true,
    true,
    false,
  ]);
  assertEquals(Array.from({ length: 6 }, () => kind(1_025)), new Array(6).fill(true));
});

Deno.test("DenialGate: of 4,096 budgets the least recently used one is forgotten first", () => {
  using made = startGate();
  const { gate, spend, next } = made;
  const of = (client: string) => gate.admits(next({ client }));
  spend({ client: "first" });
  spend({ client: "second" });
  for (let i = 2; i < 4_096; i++) of(`client ${i}`);
  assertEquals([of("first"), of("second")], [false, false]);
  assertEquals(of("first"), false); // it is the latest now
  of("one more"); // than there is room for: client 2 goes
  assertEquals([of("second"), of("first")], [false, false]);
  for (let i = 0; i < 4_095; i++) of(`other ${i}`);
  assertEquals([of("first"), of("second")], [false, true]);
});

Deno.test("DenialGate: a denial that takes just what is left of a budget has its line, and one that does not spends nothing", () => {
  using made = startGate();
  const { gate, spend, next, clock, bytes } = made;
  spend();
  const { burstBytes, bytesPerSecond } = RECORD_LIMITS.denialsOfClient;
  const left = burstBytes - Math.floor(burstBytes / bytes) * bytes;
  clock.nowMs += (bytes - left) / bytesPerSecond * 1_000;
  assertEquals([gate.admits(next()), gate.admits(next())], [true, false]);
});
