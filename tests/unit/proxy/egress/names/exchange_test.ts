import { assert, assertEquals } from "@std/assert";
import { TYPE_A } from "../../../../../core/dns_message.ts";
import { makeExchange } from "../../../../../proxy/egress/names/exchange.ts";

Deno.test("makeExchange() gives each question an id of its own that nobody can guess", () => {
  const ids = new Set<number>();
  for (let at = 0; at < 100; at++) {
    const [high = 0, low = 0] = makeExchange({ name: "up.test", type: TYPE_A }).query;
    ids.add(high * 256 + low);
  }
  assert(ids.size > 90, `${ids.size} of 100`);
  assert([...ids].some((id) => id > 255));
});

Deno.test("makeExchange() takes the id that it is given", () => {
  assertEquals(
    makeExchange({ name: "up.test", type: TYPE_A }, 0x0102).query.subarray(0, 2),
    Uint8Array.of(1, 2),
  );
});
