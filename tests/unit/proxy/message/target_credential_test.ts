import { assertEquals } from "@std/assert";
import { fillSegment, setParameter } from "../../../../proxy/message/target_credential.ts";

Deno.test("setParameter() puts the parameter first, in the place of all of its name", async (t) => {
  const rows: readonly (readonly [target: string, expected: string])[] = [
    ["/a", "/a?key=K%26%23+"],
    ["/a?", "/a?key=K%26%23+"],
    ["/a?x=1", "/a?key=K%26%23+&x=1"],
    ["/a?x=1&key=MINE&y=2", "/a?key=K%26%23+&x=1&y=2"],
    ["/a?key=MINE&KEY=MINE&%6Bey=MINE&key", "/a?key=K%26%23+"],
    ["/a?+key=MINE&%20key=MINE", "/a?key=K%26%23+"],
    ["/a?x=1;key=MINE;y=2", "/a?key=K%26%23+&x=1;y=2"],
    ["/a?&&x=%20+&", "/a?key=K%26%23+&&&x=%20+&"],
    ["/a?monkey=1&keys=2", "/a?key=K%26%23+&monkey=1&keys=2"],
    ["/a?x=/b?key=1", "/a?key=K%26%23+&x=/b?key=1"],
    ["/key=1", "/key=1?key=K%26%23+"],
    ["?x=1", "?key=K%26%23+&x=1"],
  ];
  for (const [target, expected] of rows) {
    await t.step(target, () => {
      assertEquals(
        setParameter(target, ["key", "K&# "]),
        expected.replaceAll("+", "%20").replace("%20%20", "%20+"),
      );
    });
  }
});

Deno.test("fillSegment() fills the path and leaves the query alone", async (t) => {
  const rows: readonly (readonly [target: string, expected: string])[] = [
    ["/bot{}/send", "/botA:$&/send"],
    ["/bot%7b%7D/send?x={}", "/botA:$&/send?x={}"],
    ["/bot/send?x={}", "/bot/send?x={}"],
    ["?x={}", "?x={}"],
  ];
  for (const [target, expected] of rows) {
    await t.step(target, () => assertEquals(fillSegment(target, "A:$&"), expected));
  }
});
