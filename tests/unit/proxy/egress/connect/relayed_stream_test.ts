import { assertEquals } from "@std/assert";
import { BegunStream, RelayedStream } from "../../../../../proxy/egress/connect/relayed_stream.ts";
import { makePipe } from "../../../../wire/pipe.ts";

Deno.test("RelayedStream lets go of what lies behind when it is closed, and before", () => {
  const [, inner] = makePipe();
  const seen: string[] = [];
  new RelayedStream(inner, () => seen.push(inner.ended)).close();
  assertEquals([seen, inner.ended], [["no"], "closed"]);
});

Deno.test("BegunStream gives what was read before, in pieces that fit, and then the rest", async () => {
  const [peer, inner] = makePipe();
  const stream = new BegunStream(inner, Uint8Array.of(1, 2, 3, 4));
  await peer.write(Uint8Array.of(5, 6));
  const got: (readonly number[])[] = [];
  for (const size of [3, 8, 8]) {
    const into = new Uint8Array(size);
    const count = await stream.read(into) ?? 0;
    got.push([count, ...into]);
  }
  assertEquals(got, [[3, 1, 2, 3], [1, 4, 0, 0, 0, 0, 0, 0, 0], [2, 5, 6, 0, 0, 0, 0, 0, 0]]);
  const single = new BegunStream(inner, Uint8Array.of(9));
  const into = new Uint8Array(1);
  assertEquals([await single.read(into), into[0]], [1, 9]);
});
