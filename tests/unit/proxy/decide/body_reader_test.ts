import { assertEquals } from "@std/assert";
import { ReadBody } from "../../../../proxy/decide/body_reader.ts";
import type { MessageBody } from "../../../../proxy/message/message.ts";

Deno.test("ReadBody gives what was read once, and leaves nothing on the connection", async () => {
  const inner = { trailers: [] } as unknown as MessageBody; // of what was read only the trailers are left
  const bytes = new Uint8Array([1, 2]);
  const body = new ReadBody(bytes, inner);
  assertEquals([body.done, body.isReleased, body.closeDelimited], [false, true, false]);
  assertEquals(await body.fill(), true);
  assertEquals(body.takeFirst(), bytes);
  assertEquals(body.take().length, 0);
  body.release();
  assertEquals([body.done, body.isReleased, body.trailers], [true, true, []]);
});
