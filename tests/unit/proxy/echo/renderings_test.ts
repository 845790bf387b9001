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

Deno.test("renderingsOf() knows how each writer escapes: a credential with all that is escaped somewhere", async (t) => {
  const text = `p4 s/'"<>&=+~!()*\u00e9\``;
  const json = String.raw`p4 s/'\"<>&=+~!()*` + "\u00e9`";
  const rows: readonly [string, string][] = [
    ["encodeURIComponent", "p4%20s%2F'%22%3C%3E%26%3D%2B~!()*%C3%A9%60"],
    ["lower case", "p4%20s%2f'%22%3c%3e%26%3d%2b~!()*%c3%a9%60"],
    ["a form", "p4+s%2F'%22%3C%3E%26%3D%2B~!()*%C3%A9%60"],
    ["Python's quote()", "p4%20s/'%22%3C%3E%26%3D%2B~!()*%C3%A9%60"],
    ["encodeURI", "p4%20s/'%22%3C%3E&=+~!()*%C3%A9%60"],
    ["RFC 3986", "p4%20s%2F%27%22%3C%3E%26%3D%2B~%21%28%29%2A%C3%A9%60"],
    ["Java and PHP", "p4+s%2F%27%22%3C%3E%26%3D%2B%7E%21%28%29%2A%C3%A9%60"],
    ["JSON", json],
    ["JSON with slashes escaped", json.replace("/", "\\/")],
    ["Python's JSON", json.replace("\u00e9", "\\u00e9")],
    ["Go's JSON", json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")],
    [
      "Gson",
      json.replace("'", "\\u0027").replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        .replace("=", "\\u003d"),
    ],
    [
      ".NET's JSON",
      json.replace("'", "\\u0027").replace("<", "\\u003C").replace(">", "\\u003E").replace("&", "\\u0026")
        .replace("+", "\\u002B").replace("\u00e9", "\\u00E9").replace("`", "\\u0060"),
    ],
    ...["&#39;", "&#x27;", "&#039;", "&apos;"].map((quote) =>
      [`HTML with ${quote}`, `p4 s/${quote}&quot;&lt;&gt;&amp;=+~!()*\u00e9\``] as [string, string]
    ),
  ];
  const needles = new Needles(renderingsOf([text]));
  for (const [name, rendered] of rows) {
    await t.step(name, () => {
      assert(needles.isIn(latin1(rendered)), rendered);
      // Known from its first letter to its last.
      assertEquals(needles.mask(`<${latin1(rendered)}>`).replace(/^<\*+>$/, ""), "", rendered);
    });
  }
  await t.step("and not what is another text", () => assert(!needles.isIn(latin1(text.slice(1)))));
});

Deno.test("renderingsOf() knows a credential of the shortest length", () => {
  assert(renderingsOf(["abc123"]).includes("abc123"));
});

Deno.test("renderingsOf() knows of base64 exactly what does not depend on its neighbours", async (t) => {
  const rows: readonly (readonly [text: string, base64: readonly string[]])[] = [
    ["secret", ["c2VjcmV0", "NlY3Jl"]], // the third has five letters, which is too short
    ["secret-1", ["c2VjcmV0", "NlY3JldC0x", "zZWNyZXQt"]],
    ["secret?1", ["c2VjcmV0", "NlY3JldD8x", "zZWNyZXQ/", "zZWNyZXQ_"]],
  ];
  for (const [text, base64] of rows) {
    await t.step(text, () => {
      const forms = renderingsOf([text]).filter((form) => /^(?:c2Vj|NlY3|zZWN)/.test(form));
      assertEquals(forms, base64);
      for (const before of ["", "x", "xy"]) {
        const whole = Buffer.from(`${before}${text}and more`).toString("base64");
        if (base64.length > 2) assert(forms.some((form) => whole.includes(form)), whole);
      }
    });
  }
});
