import { assertEquals } from "@std/assert";
import { escapeLogValue, escapeTerminal, quoteShell, quoteText } from "../../../core/escape.ts";

Deno.test("escapeLogValue() keeps a value one word on one line", async (t) => {
  const rows: readonly [string, string, string][] = [
    ["plain", "/v1/models?a=b", "/v1/models?a=b"],
    ["empty", "", "-"],
    ["space", "a status=200", "a%20status=200"],
    ["line break", "a\r\nallow client=x", "a%0D%0Aallow%20client=x"],
    ["quote", 'a"b', "a%22b"],
    ["escape sequence", "\x1b[2J", "%1B[2J"],
    ["DEL", "\x7f", "%7F"],
    ["Unicode as UTF-8", "é", "%C3%A9"],
    ["beyond the BMP", "😀", "%F0%9F%98%80"],
    ["line separator", "\u2028", "%E2%80%A8"],
    ["lone surrogate", "\ud800", "%EF%BF%BD"],
  ];
  for (const [name, text, escaped] of rows) {
    await t.step(name, () => assertEquals(escapeLogValue(text), escaped));
  }
});

Deno.test("quoteShell() makes one inert word", async (t) => {
  const rows: readonly [string, string, string][] = [
    ["plain", "/v1/models", "/v1/models"],
    ["flag", "--host", "--host"],
    ["empty", "", "''"],
    ["space", "a b", "'a b'"],
    ["substitution", "$(id)`id`", "'$(id)`id`'"],
    ["quote", "a'b", "'a'\\''b'"],
    ["star", "/v1/*", "'/v1/*'"],
    ["tilde", "~root", "'~root'"],
    ["zsh's =command", "=ls", "'=ls'"],
    ["inner equals sign", "a=b", "a=b"],
    ["hash", "#a", "'#a'"],
    ["line break is dropped", "a\nb", "ab"],
    ["escape sequence", "\x1b[2J", "'[2J'"],
    ["bidirectional override", "a\u202eb", "ab"],
    ["zero-width space", "a\u200bb", "ab"],
    ["tag character", "a\u{e0041}b", "ab"],
  ];
  for (const [name, text, quoted] of rows) await t.step(name, () => assertEquals(quoteShell(text), quoted));
});

Deno.test("escapeTerminal() shows what a terminal would act on or hide", async (t) => {
  const rows: readonly [string, string, string][] = [
    ["plain Unicode stays", "bücher 😀", "bücher 😀"],
    ["escape sequence", "\x1b[31m", "\\u{1b}[31m"],
    ["C1 control", "\x9b31m", "\\u{9b}31m"],
    ["line break", "a\r\nb", "a\\u{d}\\u{a}b"],
    ["bidirectional override", "\u202e", "\\u{202e}"],
    ["Arabic letter mark", "\u061c", "\\u{61c}"],
    ["byte order mark", "\ufeff", "\\u{feff}"],
    ["tag character", "\u{e0041}", "\\u{e0041}"],
    ["lone surrogate", "\ud800", "\\u{d800}"],
  ];
  for (const [name, text, escaped] of rows) {
    await t.step(name, () => assertEquals(escapeTerminal(text), escaped));
  }
});

Deno.test("quoteText() cuts, quotes and escapes", () => {
  assertEquals(quoteText('a"\n\u202ebcd', 5), '"a\\"\\n\\u{202e}b"');
});
