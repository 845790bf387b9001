import { assertEquals } from "@std/assert";
import {
  formatSpread,
  noteSpread,
  type SpreadNote,
  withSpreadNote,
} from "../../../../store/fleet/spread_note.ts";

Deno.test("noteSpread() leaves word for the call that it runs within, and for no other", async () => {
  const one: SpreadNote = {};
  const two: SpreadNote = {};
  const spread = { live: 3, waitingFor: ["a"] };
  const { promise, resolve } = Promise.withResolvers<void>();
  const calls = [
    withSpreadNote(one, async () => {
      await promise;
      noteSpread(spread);
      return "one";
    }),
    withSpreadNote(two, () => promise.then(() => "two")),
  ];
  resolve();
  assertEquals(await Promise.all(calls), ["one", "two"]);
  assertEquals([one.spread, two.spread], [spread, undefined]);
  noteSpread(spread); // within no call
});

Deno.test("formatSpread() says how many have it, and names ten at most of those that have not", () => {
  const names = (count: number) => Array.from({ length: count }, (_, i) => `h${i}`);
  const ten = names(10).join(", ");
  assertEquals(
    [
      { live: 8, waitingFor: [] },
      { live: 8, waitingFor: ["h1"] },
      { live: 20, waitingFor: names(10) },
      { live: 20, waitingFor: names(11) },
      { live: 0, waitingFor: [], isUnknown: true },
    ].map(formatSpread),
    [
      "8 of 8",
      "7 of 8, waiting for h1",
      `10 of 20, waiting for ${ten}`,
      `9 of 20, waiting for ${ten} and 1 more`,
      "unknown, the store stopped answering",
    ],
  );
});
