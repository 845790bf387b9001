import { assertEquals } from "@std/assert";
import { Http2Body } from "../../../../proxy/http2/body.ts";
import type { Http2Stream } from "../../../../proxy/http2/types.ts";

/** What a body uses of a stream: pieces, and how much of each was given back as credit. */
function openBody(pieces: readonly number[], isBodyless = false) {
  const consumed: number[] = [];
  let at = 0;
  const stream = {
    get available() {
      return new Uint8Array(pieces[at] ?? 0);
    },
    get isLast() {
      return at >= pieces.length - 1;
    },
    trailers: [],
    consume: (count: number) => {
      consumed.push(count);
      if (count > 0) at++;
    },
    fill: () => Promise.resolve(at < pieces.length),
  };
  return { consumed, body: new Http2Body(stream as unknown as Http2Stream, isBodyless) };
}

Deno.test("Http2Body gives credit for what was sent on, once, and is over when its last piece is", async () => {
  const { body, consumed } = openBody([5, 7]);
  assertEquals([body.done, body.isReleased, body.trailers, body.takeFirst().length], [
    false,
    false,
    undefined,
    0,
  ]);
  assertEquals([body.take().length, consumed], [5, []]);
  body.release();
  body.release();
  assertEquals(consumed.filter((count) => count > 0), [5]);
  assertEquals([await body.fill(), body.take().length, body.done], [true, 7, true]);
  assertEquals([body.isReleased, body.trailers], [false, []]); // what is not sent on holds credit
  body.release();
  assertEquals([body.isReleased, consumed.filter((count) => count > 0)], [true, [5, 7]]);
});

Deno.test("Http2Body has trailers once it is over, and its end is never told by a connection's", async () => {
  const { body } = openBody([5]);
  assertEquals([body.closeDelimited, body.trailers], [false, undefined]);
  assertEquals([await body.fill(), body.done], [true, false]);
  assertEquals([body.take().length, body.done, body.trailers], [5, true, []]);
  const longer = openBody([5, 7]).body;
  assertEquals([longer.take().length, longer.done, longer.trailers], [5, false, undefined]);
  assertEquals(openBody([], true).body.isReleased, true);
});

Deno.test("Http2Body is over when its stream has ended without more, or had no body", async () => {
  const { body } = openBody([]);
  assertEquals([body.done, await body.fill(), body.done], [false, true, true]);
  assertEquals(openBody([], true).body.done, true);
});
