import { assertEquals, assertRejects } from "@std/assert";
import { whyNot } from "../../../../cli/terminal/input_bytes.ts";
import { readLines } from "../../../../cli/terminal/input_lines.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { fakeIo } from "./fake_io.ts";

Deno.test("readLines() gives the same lines however the input is cut", async (t) => {
  const stdin = "one\n\nzwei ü\nlast, without an end";
  for (const pieceBytes of [1, 2, 7, 65_536]) {
    await t.step(`${pieceBytes} bytes`, async () => {
      const lines = await Array.fromAsync(readLines("-", fakeIo({ stdin, pieceBytes })));
      assertEquals(lines, ["one", "", "zwei ü", "last, without an end"]);
    });
  }
});

Deno.test("readLines() holds no more of a line than it may", async () => {
  const stdin = `${"x".repeat(1_000_000)}\nnext\n`;
  const [long = "", next] = await Array.fromAsync(readLines("-", fakeIo({ stdin })));
  assertEquals([long.length <= 262_144 + 65_536, next], [true, "next"]);
});

Deno.test("readLines() names the file that cannot be read", async (t) => {
  const dir = await Deno.makeTempDir();
  for (const [path, state] of [[`${dir}/none`, "there is no such file"], [dir, "it is a folder"]] as const) {
    await t.step(state, async () => {
      const reading = () => Array.fromAsync(readLines(path, fakeIo()));
      const error = await assertRejects(reading, ProxyError, `Cannot read ${path}: ${state}`);
      assertEquals(error.code, "input.invalid");
    });
  }
  await Deno.remove(dir);
});

Deno.test("whyNot() says what to write for /dev/stdin, which Deno keeps from programs", () => {
  // What opening it throws without --allow-all.
  const error = new Deno.errors.NotCapable('Requires all access to "/dev/stdin"');
  assertEquals(whyNot(error), "it is no ordinary file; for standard input write -");
});
