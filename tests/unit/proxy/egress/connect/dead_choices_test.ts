import { assertEquals } from "@std/assert";
import { DeadChoices, MAX_DEAD_CHOICES } from "../../../../../proxy/egress/connect/dead_choices.ts";

const choice = (place: string) => ({ place, address: "2001:db8::1", instead: "192.0.2.1" });

Deno.test("list() has the latest first, a place once, for ten minutes", () => {
  let now = 0;
  const dead = new DeadChoices(() => now);
  for (const place of ["a:1", "b:1", "a:1"]) dead.note(choice(place));
  assertEquals(dead.list(), [choice("a:1"), choice("b:1")]);
  now = 599_999;
  dead.note(choice("b:1"));
  now = 600_000;
  assertEquals(dead.list(), [choice("b:1")]);
});

Deno.test("note() keeps a bounded number of places, the oldest goes", () => {
  const dead = new DeadChoices(() => 0);
  assertEquals(MAX_DEAD_CHOICES, 64);
  for (let i = 0; i <= MAX_DEAD_CHOICES; i++) dead.note(choice(`${i}:1`));
  assertEquals(dead.list().length, MAX_DEAD_CHOICES);
  assertEquals([dead.list()[0]?.place, dead.list().at(-1)?.place], [`${MAX_DEAD_CHOICES}:1`, "1:1"]);
});
