import { assertEquals } from "@std/assert";
import { Deadlines } from "../../../../core/deadlines.ts";
import { RECORD_LIMITS } from "../../../../core/limits.ts";
import { type AuditRecord, sizeOfRecord } from "../../../../policy/audit_record.ts";
import { DenialGate } from "../../../../proxy/records/denial_gate.ts";

function startGate() {
  const clock = { nowMs: 0 };
  const summaries: AuditRecord[] = [];
  const gate = new DenialGate({
    deadlines: new Deadlines(),
    monotonic: () => clock.nowMs,
    hasRoom: () => true,
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
