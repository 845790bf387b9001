import { assertEquals, assertFalse, assertRejects } from "@std/assert";
import { promptSecret } from "../../../../cli/terminal/prompt.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { fakeIo } from "./fake_io.ts";

Deno.test("promptSecret() edits a line that is never shown, whatever the pieces", async (t) => {
  const rows: readonly (readonly [string, string, string])[] = [
    ["Enter ends", "hunter2\rmore", "hunter2"],
    ["line feed ends", "hunter2\n", "hunter2"],
    ["backspace", "hunterX\x7f2\r", "hunter2"],
    ["backspace on nothing", "\x7f\x08a\r", "a"],
    ["backspace takes a whole character", "é€\x7f\r", "é"],
    ["Ctrl-U", "wrong\x15right\r", "right"],
    ["arrow keys", "a\x1b[Db\x1bOCc\x1b[3~d\r", "abcd"],
    ["other control keys", "a\x01\x00b\r", "ab"],
    ["a tab and spaces stay", "a b\tc\r", "a b\tc"],
    ["nothing", "\r", ""],
  ];
  for (const [name, typed, expected] of rows) {
    for (const pieceBytes of [1, 3, 100]) {
      await t.step(`${name}, in pieces of ${pieceBytes}`, async () => {
        const io = fakeIo({ stdin: typed, isTerminal: true, pieceBytes });
        assertEquals(await promptSecret("token", io), expected);
        assertEquals(io.rawModes, [true, false]);
        assertEquals([io.stdout(), io.stderr()], ["", "token (not shown): \n"]);
      });
    }
  }
});

Deno.test("promptSecret() gives up and puts the terminal back", async (t) => {
  const rows: readonly (readonly [string, string | Uint8Array<ArrayBuffer>])[] = [
    ["Ctrl-C", "hunter2\x03"],
    ["Ctrl-D", "\x04"],
    ["the terminal goes away", "hunter2"],
    ["what is no text", new Uint8Array([0xff, 0x0d])],
    ["16,385 bytes", "x".repeat(16_385) + "\r"],
  ];
  for (const [name, stdin] of rows) {
    await t.step(name, async () => {
      const io = fakeIo({ stdin, isTerminal: true });
      const error = await assertRejects(() => promptSecret("token", io), ProxyError);
      assertEquals(error.code, "input.invalid");
      assertFalse(error.message.includes("hunter2"));
      assertEquals(io.rawModes, [true, false]);
    });
  }
  await t.step("16,384 bytes are fine", async () => {
    const io = fakeIo({ stdin: "x".repeat(16_384) + "\r", isTerminal: true });
    assertEquals((await promptSecret("token", io)).length, 16_384);
  });
});
