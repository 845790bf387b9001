import { assertEquals } from "@std/assert";
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
