/** Records on their way from a worker, with a main thread that takes them or does not. */
import { assert, assertEquals } from "@std/assert";
import { RECORD_LIMITS } from "../../../core/limits.ts";
import type { AuditRecord } from "../../../policy/audit_record.ts";
import { RecordSender } from "../../../workers/record_sender.ts";
import { makeExchangesMemory, NO_SLOT, SharedExchanges } from "../../../workers/shared_exchanges.ts";

const ASKED: AuditRecord = { verdict: "allow", client: "one", method: "POST", host: "a.test", port: 443 };
const LONG: AuditRecord = { ...ASKED, path: `/${"p".repeat(2_000)}` };

/** A sender, and a main thread that takes nothing until it is told to. */
function start(isWritable = () => true) {
  const memory = makeExchangesMemory();
  const batches: (readonly AuditRecord[])[] = [];
  const sender = new RecordSender({
    send: (records) => batches.push(records),
    exchanges: new SharedExchanges(memory),
    isWritable,
  });
  const main = new SharedExchanges(memory); // of its own, as in another thread
  const takeAll = () => {
    const taken = batches.splice(0);
    for (const batch of taken) main.take(batch);
    return taken.flat();
  };
  return { sender, main, takeAll, [Symbol.dispose]: () => sender.end() };
}

/** What is said of each, without what is absent. */
function lostOf(main: SharedExchanges) {
  return main.lost().map(({ verdict, client, reason, repeated }) => [verdict, client, reason, repeated]);
}

Deno.test("RecordSender: what is open when its thread is lost is known, and what was taken is not", () => {
  using stage = start();
  const { sender, main, takeAll } = stage;
  const opened = [sender.begin(ASKED), sender.begin({ ...ASKED, client: "two" })];
  sender.write({ ...ASKED, status: 200, opened: opened[0] });
  sender.flush();
  const both = [["allow", "one", "worker-lost", 1], ["allow", "two", "worker-lost", 1]];
  assertEquals(lostOf(main), both); // its record is on its way, and may never come
  takeAll();
  assertEquals(lostOf(main), both.slice(1));
  sender.write({ ...ASKED, status: 200, opened: opened[1] });
  sender.end();
  takeAll();
  assertEquals(lostOf(main), []);
});

Deno.test("RecordSender: a slot serves again once its record was taken, and not before", () => {
  using stage = start();
  const { sender, takeAll } = stage;
  const first = sender.begin(ASKED);
  sender.write({ ...ASKED, opened: first });
  sender.flush();
  assert(sender.begin(ASKED) !== first);
  takeAll();
  assertEquals(sender.begin(ASKED), first);
});

Deno.test("RecordSender: exchanges beyond the slots, or too long for one, are counted", () => {
  using stage = start();
  const { sender, main, takeAll } = stage;
  for (let i = 0; i < RECORD_LIMITS.openSlots; i++) assert(sender.begin(ASKED) !== NO_SLOT);
  assertEquals(sender.begin(ASKED), NO_SLOT);
  assertEquals(sender.begin(ASKED), NO_SLOT);
  assertEquals(lostOf(main).length, RECORD_LIMITS.openSlots + 1);
  assertEquals(lostOf(main).at(-1), ["allow", undefined, "worker-lost", 2]);
  sender.write({ ...ASKED, opened: NO_SLOT });
  sender.flush();
  takeAll();
  assertEquals(lostOf(main).at(-1), ["allow", undefined, "worker-lost", 1]);
  using other = start();
  assertEquals(other.sender.begin({ ...ASKED, host: "h".repeat(RECORD_LIMITS.openSlotBytes) }), NO_SLOT);
  assertEquals(lostOf(other.main), [["allow", undefined, "worker-lost", 1]]);
});

Deno.test("RecordSender: denials are counted until the main thread knows of them, with a line or without", () => {
  using stage = start();
  const { sender, main, takeAll } = stage;
  const denied: AuditRecord = { ...ASKED, verdict: "deny", reason: "no-rule" };
  for (let i = 0; i < 8; i++) {
    sender.write({ ...denied, opened: i === 2 || i === 7 ? sender.begin(ASKED) : undefined });
  }
  sender.flush();
  const open = ["allow", "one", "worker-lost", 1]; // of the third, which has a line; the eighth was counted and left its slot
  assertEquals(lostOf(main), [open, ["deny", undefined, "worker-lost", 7]]);
  assertEquals(takeAll().length, 5);
  assertEquals(lostOf(main), [["deny", undefined, "worker-lost", 3]]);
  sender.end();
  assertEquals(takeAll().map(({ repeated, opened }) => [repeated, opened]), [[3, undefined]]);
  assertEquals(lostOf(main), []);
});

Deno.test("RecordSender: while the main thread takes nothing denials are counted, then requests refused, and it recovers", () => {
  using stage = start();
  const { sender, takeAll } = stage;
  let count = 0;
  const fill = () => sender.write({ ...LONG, opened: sender.begin(LONG), status: ++count });
  const denied = (path: string): AuditRecord => ({ ...ASKED, path, verdict: "deny", reason: "no-rule" });
  const each = RECORD_LIMITS.baseBytes + 2_001 + "a.test".length;
  const toHalf = Math.ceil(RECORD_LIMITS.maxUntakenBytes / 2 / each);
  for (let i = 0; i < toHalf - 1; i++) fill();
  sender.write(denied("/a")); // the last that has a line
  fill();
  sender.flush();
  for (let i = 0; i < 100_000; i++) sender.write(denied(`/${i}`));
  assertEquals(sender.isWritable, true);
  while (sender.isWritable) {
    fill();
    assert(count <= 2 * toHalf, "nothing is refused");
  }
  assert(count >= 2 * toHalf - 2, `refused after ${count} records`);
  sender.flush();
  const taken = takeAll();
  assertEquals(taken.length, count + 1);
  assertEquals(sender.isWritable, true);
  sender.write(denied("/b"));
  sender.end();
  const rest = takeAll();
  assertEquals(rest.reduce((sum, { repeated = 1 }) => sum + repeated, 0), 100_001);
  assertEquals(rest.map(({ path, repeated }) => [path, repeated]), [["/b", undefined], [undefined, 100_000]]);
});

Deno.test("RecordSender: is writable only while the main thread's log is", () => {
  let isWritable = true;
  using stage = start(() => isWritable);
  assertEquals(stage.sender.isWritable, true);
  isWritable = false;
  assertEquals(stage.sender.isWritable, false);
});
