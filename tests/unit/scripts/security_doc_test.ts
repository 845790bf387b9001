/** SECURITY.md names what keeps each promise and what would notice: those files have to be there. */
import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../../../", import.meta.url);
const TEXT = await Deno.readTextFile(new URL("SECURITY.md", ROOT));

Deno.test("SECURITY.md names only files that exist", async () => {
  const named = new Set(
    Array.from(TEXT.matchAll(/`([a-z][\w./-]*\/[\w.-]+\.(?:ts|js|txt))`/g), ([, path]) => path),
  );
  assert(named.size > 50, `${named.size} files were found in it`);
  const missing: string[] = [];
  for (const path of named) {
    const isThere = await Deno.stat(new URL(path ?? "", ROOT)).then((found) => found.isFile, () => false);
    if (!isThere) missing.push(path ?? "");
  }
  assertEquals(missing, []);
});

Deno.test("each invariant of SECURITY.md names what keeps it and a test that would notice", () => {
  const table = TEXT.slice(TEXT.indexOf("## Invariants"));
  const rows = table.split("\n").filter((line) => /^\| *(?:\d+|–) /.test(line));
  assert(rows.length >= 16, `${rows.length} rows were found in it`);
  for (const row of rows) {
    const [, number = "", , keeper = "", test = ""] = row.split(/(?<!\\)\|/);
    assert(/`[a-z]+\//.test(keeper), `invariant ${number.trim()} names no file that keeps it`);
    assert(
      /`tests\/[^`]*(?:_test\.ts|\.txt)`/.test(test) || test.includes("deno task attack"),
      `invariant ${number.trim()} names no test`,
    );
  }
});
