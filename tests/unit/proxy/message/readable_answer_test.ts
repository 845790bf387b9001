import { assertEquals } from "@std/assert";
import { makeField } from "../../../../proxy/message/fields.ts";
import { answeredReadably } from "../../../../proxy/message/readable_answer.ts";

Deno.test("answeredReadably() asks for nothing that cannot be read, and leaves the rest as it is", async (t) => {
  const rows: readonly [string, string | undefined][] = [
    ["Accept-Encoding: gzip, br", "gzip, br"],
    ["Accept-Encoding: gzip, deflate, br, zstd", "gzip, deflate, br"],
    ["accept-encoding: ZSTD;q=0.9,gzip;q=0.5", "gzip;q=0.5"],
    ["Accept-Encoding: zstd", "identity"],
    ["Accept-Encoding: x-zstd-like", "x-zstd-like"],
    ["Sec-WebSocket-Extensions: permessage-deflate", undefined],
    ["Accept: zstd", "zstd"],
  ];
  for (const [line, expected] of rows) {
    await t.step(line, () => {
      const [name = "", value = ""] = line.split(": ");
      assertEquals(answeredReadably([makeField(name, value)]).map(({ value }) => value)[0], expected);
    });
  }
});
