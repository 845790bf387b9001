/** Where the content lies among framing, what is looked for in it, and what may still become one. */
import { assertEquals } from "@std/assert";
import {
  contentText,
  extensionsAmong,
  movedBy,
  spansBehind,
  wholeOf,
} from "../../../../proxy/echo/content.ts";
import { Needles } from "../../../../proxy/echo/needles.ts";
import { Search } from "../../../../proxy/echo/search.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const span = (start: number, end: number) => ({ start, end });

Deno.test("spans: all of a piece, moved, and cut off at the front", () => {
  assertEquals([wholeOf(bytes("")), wholeOf(bytes("a")), wholeOf(bytes("abc"))], [[], [span(0, 1)], [
    span(0, 3),
  ]]);
  assertEquals(movedBy([span(1, 3), span(5, 6)], 10), [span(11, 13), span(15, 16)]);
  assertEquals(spansBehind([span(0, 4), span(6, 8), span(9, 12)], 7), [span(0, 1), span(2, 5)]);
  assertEquals(spansBehind([span(0, 4), span(6, 8)], 4), [span(2, 4)]);
  assertEquals(spansBehind([span(0, 4)], 0), [span(0, 4)]);
});

Deno.test("contentText() has the place of each character, in one span and in many", () => {
  const view = bytes("xx0123456789").subarray(2);
  const one = contentText(view, [span(2, 5)]);
  assertEquals([one.text, one.at(0), one.at(2)], ["234", 2, 4]);
  const many = contentText(view, [span(0, 2), span(4, 5), span(7, 10)]);
  assertEquals(many.text, "014789");
  assertEquals([0, 1, 2, 3, 4, 5].map(many.at), [0, 1, 4, 7, 8, 9]);
  assertEquals([many.at(6), contentText(view, []).text, contentText(view, []).at(0)], [10, "", 10]);
  assertEquals(contentText(Uint8Array.of(0xe9, 0xff), [span(0, 2)]).text, "\u00e9\u00ff");
});

Deno.test("extensionsAmong() finds framing of more than 16 bytes: before, between and behind", () => {
  assertEquals(extensionsAmong(100, [span(16, 40), span(56, 84)]), []);
  assertEquals(extensionsAmong(101, [span(17, 40), span(57, 84)]), [
    span(0, 17),
    span(40, 57),
    span(84, 101),
  ]);
  assertEquals([extensionsAmong(16, []), extensionsAmong(17, [])], [[], [span(0, 17)]]);
});

Deno.test("Needles.find() has every place of every text, which may overlap with those of others", () => {
  const needles = new Needles(["abcd", "cdef"]);
  assertEquals(needles.find("abcdef abcd"), [span(0, 4), span(7, 11), span(2, 6)]);
  assertEquals([needles.find("abcxdef"), needles.longest, new Needles([]).longest], [[], 4, 0]);
  assertEquals(new Needles(["aaaa"]).find("aaaaaaaa"), [span(0, 4), span(4, 8)]);
  assertEquals([needles.isIn("xcdefx"), needles.isIn("abc"), new Needles([]).isIn("x")], [
    true,
    false,
    false,
  ]);
  assertEquals(needles.mask("1abcd2abcdef"), "1****2******");
});

Deno.test("Needles.begun() counts a beginning of four characters or more, the longest one, and no whole text", () => {
  const rows: readonly (readonly [text: string, begun: number])[] = [
    ["", 0],
    ["x abc", 0],
    ["x abcd", 4],
    ["abcd", 4],
    ["x abcde", 5],
    ["x abcdefg", 7],
    ["x abcdefgh", 0],
    ["abcdx", 0],
    ["abcdefgh abcde", 5],
  ];
  const needles = new Needles(["abcdefgh"]);
  for (const [text, begun] of rows) assertEquals(needles.begun(text), begun, text);
  const several = new Needles(["cdefgh", "abcdefgh", "efghij"]);
  assertEquals([several.begun("x abcdef"), several.begun("x cdef"), several.begun("x efgh")], [6, 4, 4]);
  assertEquals(new Needles(["aaaabc"]).begun("x aaaaa"), 4);
  // A text that repeats its own beginning may begin anew within.
  assertEquals(new Needles(["ababababx"]).begun("abababababab"), 8);
});

Deno.test("Search finds what left in part, and says what of it is in the next piece", () => {
  const search = new Search(new Needles(["abcdef"]));
  assertEquals(search.find("x abcdef"), [span(2, 8)]);
  search.leave("x abc");
  assertEquals(search.find("def abcdef"), [span(0, 3), span(4, 10)]);
  search.leave("d");
  assertEquals(search.find("ef"), [span(0, 2)]);
  assertEquals(search.find("xef"), []);
  // What has left as a whole is not found again.
  const over = new Search(new Needles(["abcdef"]));
  over.leave("abcdef");
  assertEquals(over.find("x"), []);
  // Nor what is in the next piece as a whole found twice.
  over.leave("x");
  assertEquals(over.find("abcdef"), [span(0, 6)]);
});

Deno.test("Search finds a shorter text once, wherever the cut is beside it", () => {
  const search = new Search(new Needles(["abcdefghij", "vwxyz"]));
  search.leave("vwxyz");
  assertEquals(search.find("ab"), []);
  search.leave("1");
  assertEquals(search.find("vwxyz"), [span(0, 5)]);
  search.leave("vw");
  assertEquals(search.find("xyz vwxyz"), [span(0, 3), span(4, 9)]);
  search.leave("xyz vwx"); // more than is kept of it
  assertEquals([search.pending, search.find("yz")], [0, [span(0, 2)]]);
});

Deno.test("Search knows what may still become a text, in what has left and in what has not", () => {
  const search = new Search(new Needles(["abcdef"]));
  assertEquals([search.begun("x abcd"), search.begun("x abc"), search.pending], [4, 0, 0]);
  search.leave("x abcd");
  assertEquals([search.pending, search.begun("e"), search.begun("x")], [4, 1, 0]);
  search.leave("xx");
  assertEquals([search.pending, search.begun("abcde")], [0, 5]);
  search.leave("abc");
  assertEquals(search.begun("de"), 2);
  assertEquals(search.begun("de abcd"), 4);
  const none = new Search(new Needles([]));
  none.leave("abc");
  assertEquals([none.find("abc"), none.begun("abc"), none.pending], [[], 0, 0]);
});
