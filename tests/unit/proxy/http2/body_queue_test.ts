import { assert, assertEquals, assertThrows } from "@std/assert";
import { BodyQueue } from "../../../../proxy/http2/body_queue.ts";

Deno.test("BodyQueue.peek() copies the first bytes over all chunks, and takes none", async (t) => {
  const queue = new BodyQueue();
  queue.add(new Uint8Array(1_020).fill(1), false);
  queue.add(new Uint8Array(10).fill(2), false);
  queue.add(new Uint8Array(2_000).fill(3), true);
  queue.consume(1_000);
  const all = [
    ...new Uint8Array(20).fill(1),
    ...new Uint8Array(10).fill(2),
    ...new Uint8Array(2_000).fill(3),
  ];
  for (const count of [0, 1, 20, 24, 25, 2_029, 2_030, 5_000]) {
    await t.step(`${count}`, () => assertEquals([...queue.peek(count)], all.slice(0, count)));
  }
  assertEquals(queue.size, all.length);
  queue.clear();
  assertEquals(queue.peek(5).length, 0);
});

Deno.test("BodyQueue.isOneChunk is true only when first is all of it: the rest would be lost", () => {
  const queue = new BodyQueue();
  assertEquals(queue.isOneChunk, true);
  queue.add(new Uint8Array(1_020).fill(1), false);
  queue.add(new Uint8Array(3_000).fill(2), true);
  for (const seen = []; queue.size > 0; queue.consume(queue.first.length)) {
    seen.push(queue.first.length);
    assertEquals(queue.isOneChunk, queue.first.length === queue.size, `${seen}`);
  }
});

Deno.test("BodyQueue gives all bytes in order, however they came and were taken", () => {
  const queue = new BodyQueue();
  let [added, taken] = [0, 0];
  // Pieces that fill a chunk to the byte, that leave one, and that need a new one, taken in parts and whole.
  for (const size of [1_000, 24, 1, 1_023, 0, 3_000, 5, 2_000, 1_024, 1_025, 7]) {
    queue.add(Uint8Array.from({ length: size }, () => added++ % 251), false);
    for (const part of [1, 999, Infinity]) {
      assertEquals(queue.size, added - taken);
      const { first } = queue;
      const count = Math.min(part, first.length);
      assert(first.length > 0 || queue.size === 0);
      assertEquals(first.every((byte, i) => byte === (taken + i) % 251), true);
      if (size % 2 === 0) continue; // lets some pile up
      queue.consume(count);
      taken += count;
    }
  }
  while (queue.size > 0) {
    const { first } = queue;
    assertEquals(first.every((byte, i) => byte === (taken + i) % 251), true);
    taken += first.length;
    queue.consume(first.length);
  }
  assertEquals([taken, queue.first.length, queue.isOneChunk], [added, 0, true]);
});

Deno.test("BodyQueue keeps no room for a body that is over, and a little for one that may go on", () => {
  const room = (size: number, isLast: boolean) => {
    const queue = new BodyQueue();
    queue.add(new Uint8Array(size), isLast);
    return queue.first.buffer.byteLength;
  };
  assertEquals([room(10, true), room(10, false), room(2_000, false)], [10, 1_024, 2_000]);
});

Deno.test("BodyQueue lets nobody take more than lies together, and a view stays as it was", () => {
  const queue = new BodyQueue();
  queue.add(new Uint8Array(1_020).fill(1), false);
  queue.add(new Uint8Array(100).fill(2), false);
  assertThrows(() => queue.consume(1_025), RangeError);
  assertEquals(queue.size, 1_120);
  const { first } = queue;
  queue.consume(1_024);
  const last = queue.first;
  queue.consume(96);
  queue.add(new Uint8Array(500).fill(3), false);
  const next = queue.first;
  assertEquals([first.at(0), first.at(-1), last.at(0), next.at(0)], [1, 2, 2, 3]);
  assertEquals([queue.clear(), queue.size, queue.clear()], [500, 0, 0]);
  queue.add(new Uint8Array(3).fill(4), false);
  assertEquals([...queue.first], [4, 4, 4]);
  assertEquals(next.at(0), 3);
});

Deno.test("BodyQueue keeps no memory for what was read: a thousand idle streams hold nothing", () => {
  const queue = new BodyQueue();
  queue.add(new Uint8Array(2_000), false);
  queue.consume(1_999);
  assertEquals(queue.first.buffer.byteLength > 0, true);
  queue.consume(1); // whole to its end
  assertEquals(queue.first.buffer.byteLength, 0);
  queue.add(new Uint8Array(10), false);
  queue.consume(10); // with room left behind it
  assertEquals(queue.first.buffer.byteLength, 0);
  queue.add(new Uint8Array(10), false);
  queue.clear();
  assertEquals(queue.first.buffer.byteLength, 0);
});
