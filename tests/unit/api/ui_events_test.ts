import { assertEquals } from "@std/assert";
import { EventReader } from "../../../api/ui/events.js";

const TEXT = [
  "id: 1-0\n\n",
  ": still here\n\n",
  'id: 2-1\ndata: {"a":1}\n\n',
  'id: 3-1\r\ndata:{"b":2}\r\n\r\n',
  "event: missed\ndata: one\ndata:  two\n\n",
  "id: 4-1\ndata: not complete\n",
].join("");

Deno.test("EventReader gives the data of complete events, wherever the text is cut", () => {
  for (let cut = 0; cut <= TEXT.length; cut++) {
    const reader = new EventReader();
    const events = [TEXT.slice(0, cut), TEXT.slice(cut)].flatMap((piece) => reader.read(piece));
    assertEquals(events, ['{"a":1}', '{"b":2}', "one\n two"], `cut at ${cut}`);
    assertEquals(reader.lastId, "3-1");
  }
});

Deno.test("EventReader knows where to go on before the first record", () => {
  const reader = new EventReader();
  assertEquals([reader.read("id: 1-0\n"), reader.lastId], [[], ""]);
  assertEquals([reader.read("\n"), reader.lastId], [[], "1-0"]);
});

Deno.test("EventReader keeps a line only up to a bound", () => {
  const reader = new EventReader();
  for (let i = 0; i < 3; i++) {
    assertEquals(reader.read(i === 0 ? `data: ${"x".repeat(999_994)}` : "y".repeat(10)), []);
  }
  assertEquals(reader.read("\n\n")[0]?.length, 999_994);
});
