import { assertEquals } from "@std/assert";
import { fakeIo } from "./fake_io.ts";

Deno.test("Output.table() aligns columns and shows control characters escaped", () => {
  const io = fakeIo();
  io.output.table(["NAME", "HOST"], [["ci-1", "a.example"], ["x\x1b[31m\n", "\u202eb"]]);
  assertEquals(
    io.stdout(),
    "NAME               HOST\nci-1               a.example\nx\\u{1b}[31m\\u{a}   \\u{202e}b\n",
  );
});

Deno.test("Output.data() keeps lines and escapes the rest", () => {
  const io = fakeIo();
  io.output.data("a\nb\x9b2J");
  assertEquals(io.stdout(), "a\nb\\u{9b}2J\n");
});

Deno.test("Output.json() is the same value with nothing that drives a terminal", () => {
  const io = fakeIo();
  const value = { a: "\x1b[2J\x9b\u202e\u2028é" };
  io.output.json(value);
  assertEquals(JSON.parse(io.stdout()), value);
  assertEquals(io.stdout(), '{\n  "a": "\\u001b[2J\\u009b\\u202e\\u2028é"\n}\n');
});

Deno.test("Output.lines() has colours only where they are wanted, and no others", () => {
  const lines = [[{ text: "a\x1b[31m", style: "green" as const }, { text: " b" }], [{ text: "c" }]];
  const plain = fakeIo();
  plain.output.lines(lines);
  assertEquals(plain.stdout(), "a\\u{1b}[31m b\nc\n");
  const styled = fakeIo({ hasStyles: true });
  styled.output.lines(lines);
  assertEquals(styled.stdout(), "\x1b[32ma\\u{1b}[31m\x1b[0m b\nc\n");
});

Deno.test("Output.jsonLines() keeps each line, with nothing that drives a terminal", () => {
  const io = fakeIo();
  io.output.jsonLines(['{"a":"\x9b2J\u202eé"}', '{"b":"\x1b"}']);
  assertEquals(io.stdout(), '{"a":"\\u009b2J\\u202eé"}\n{"b":"\\u001b"}\n');
});

Deno.test("Output.error() writes error and hint on a line each", () => {
  const io = fakeIo();
  io.output.error("Cannot use x: Cannot\nstay", "try\ty");
  assertEquals(io.stderr(), "error: cannot use x: Cannot\\u{a}stay\nhint: try\\u{9}y\n");
  assertEquals(io.stdout(), "");
});
