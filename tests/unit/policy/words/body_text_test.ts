import { assert, assertEquals } from "@std/assert";
import { isUnreadable, textOf } from "../../../../policy/words/body_text.ts";
import { readLfs } from "../../../../policy/words/lfs.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("textOf() takes UTF-8 with or without a mark", () => {
  assertEquals(textOf(bytes("\ufeff{}")), "{}");
  assertEquals(textOf(bytes("\ufeff\ufeff{}")), "\ufeff{}");
  assertEquals(textOf(bytes("é")), "é");
  assert(isUnreadable(textOf(Uint8Array.of(0xff))));
  assert(isUnreadable(textOf(Uint8Array.of(0xc0, 0xae))));
});

Deno.test("readLfs() knows two operations", async (t) => {
  assertEquals(readLfs(bytes('{"operation":"download","objects":[]}')), "download");
  assertEquals(readLfs(bytes('{"operation":"upload"}')), "upload");
  const bad = [
    '{"operation":"download","operation":"upload"}',
    '{"operation":"download","Operation":"upload"}',
    '{"operation":"delete"}',
    '{"operation":["upload"]}',
    "{}",
    "[]",
    "",
    "operation=upload",
  ];
  for (const text of bad) await t.step(text, () => assert(isUnreadable(readLfs(bytes(text)))));
});
