import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { Needles } from "../../../../proxy/echo/needles.ts";
import { renderingsOf } from "../../../../proxy/echo/renderings.ts";

const latin1 = (text: string) => Buffer.from(text, "utf8").toString("latin1");

Deno.test("renderingsOf() is found in whatever renders the credential", () => {
  const credential = fc.string({ minLength: 12, maxLength: 60, unit: "grapheme-ascii" });
  fc.assert(
    fc.property(
      credential,
      fc.string({ maxLength: 9 }),
      fc.string({ maxLength: 9 }),
      (text, before, after) => {
        const needles = new Needles(renderingsOf([text]));
        const whole = before + text + after;
        const html = whole.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
          .replaceAll('"', "&quot;").replaceAll("'", "&#39;");
        const rows: Record<string, string> = {
          "as it is": whole,
          percent: encodeURIComponent(before) + encodeURIComponent(text) + encodeURIComponent(after),
          json: JSON.stringify(whole),
          "json with slashes escaped": JSON.stringify(whole).replaceAll("/", "\\/"),
          html,
          base64: Buffer.from(whole, "utf8").toString("base64"),
          base64url: Buffer.from(whole, "utf8").toString("base64url"),
          basic: Buffer.from(`user:${text}`, "utf8").toString("base64"),
        };
        for (const [name, rendered] of Object.entries(rows)) {
          assert(
            needles.isIn(latin1(rendered)),
            `${name}: ${rendered}`,
          );
        }
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("renderingsOf() leaves out what is too short to be known again", () => {
  assertEquals(renderingsOf(["abc12"]), []);
  assertEquals(new Needles(renderingsOf(["abc12"])).longest, 0);
});
