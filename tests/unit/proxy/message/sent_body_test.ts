import { assert, assertEquals } from "@std/assert";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import { SentBody } from "../../../../proxy/message/sent_body.ts";

Deno.test("kept bodies have one budget: what does not fit is not kept, and what is let go makes room", () => {
  const { kept } = new Admission({ ...DEFAULT_LIMITS, maxKeptBytes: 10 });
  const [first, second] = [new SentBody(kept), new SentBody(kept)];
  first.add(new Uint8Array([1, 2, 3]));
  first.add(new Uint8Array([4, 5, 6]));
  second.add(new Uint8Array(4));
  second.add(new Uint8Array(1)); // and its 4 bytes are free
  assertEquals([first.isWhole, second.isWhole, [...first.join()]], [true, false, [1, 2, 3, 4, 5, 6]]);
  second.drop();
  second.add(new Uint8Array(1)); // it stays what it is
  const third = new SentBody(kept);
  third.add(new Uint8Array(4));
  assertEquals([third.isWhole, second.isWhole], [true, false]);
  first.drop();
  first.drop();
  third.add(new Uint8Array(6));
  assertEquals([third.isWhole, third.join().length], [true, 10]);
  third.add(new Uint8Array(1));
  assertEquals([third.isWhole, third.join().length, kept.take(10)], [false, 0, true]);
});

Deno.test("a body over 1 MiB is not kept, whatever the budget", () => {
  const { kept } = new Admission(DEFAULT_LIMITS);
  const body = new SentBody(kept);
  body.add(new Uint8Array(1_048_576));
  assertEquals(body.isWhole, true);
  body.add(new Uint8Array(1));
  assertEquals([body.isWhole, kept.take(DEFAULT_LIMITS.maxKeptBytes)], [false, true]);
});

Deno.test("a kept body costs its own size, however small the pieces are in which it comes", () => {
  const body = new SentBody(new Admission(DEFAULT_LIMITS).kept);
  const piece = new Uint8Array([7]);
  const before = Deno.memoryUsage();
  for (let i = 0; i < 300_000; i++) body.add(piece);
  const after = Deno.memoryUsage();
  assertEquals([body.join().length, body.join().at(-1)], [300_000, 7]);
  assert(after.heapUsed + after.external - before.heapUsed - before.external < 20_000_000);
});
