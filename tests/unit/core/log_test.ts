import { assertEquals } from "@std/assert";
import { logger, startLog } from "../../../core/log.ts";

Deno.test("logger() writes lines as they are, braces too, and safe for a terminal", () => {
  const lines: string[] = [];
  startLog((line) => lines.push(line.replace(/^\S+ /, "")));
  const log = logger("policy");
  log.info("write {} for none");
  log.warn("{line} {x} {{y}}");
  log.error("100% \u001b[31m");
  assertEquals(lines, [
    "info policy: write {} for none",
    "warning policy: {line} {x} {{y}}",
    "error policy: 100% \\u{1b}[31m",
  ]);
});
