import { assertEquals } from "@std/assert";
import { EQUIVALENT, isStale, whyEquivalent } from "../../../scripts/equivalent_mutants.ts";
import { mutantsOf } from "../../../scripts/mutants.ts";

Deno.test("each equivalent mutant is exactly one of its file, for as long as its line stands there", async (t) => {
  for (const row of EQUIVALENT) {
    await t.step(`${row.file}: ${row.about}`, async () => {
      const source = await Deno.readTextFile(new URL(`../../../${row.file}`, import.meta.url));
      const fits = (text: string) =>
        mutantsOf(row.file, text).filter((mutant) =>
          mutant.about === row.about && whyEquivalent(mutant, text) === row.why
        ).length;
      assertEquals(fits(source), isStale(row, source) ? 0 : 1);
      assertEquals(fits(source.replaceAll(row.at, "")), 0);
    });
  }
});
