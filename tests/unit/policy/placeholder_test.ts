import { assert, assertEquals, assertFalse } from "@std/assert";
import {
  hasPlaceFor,
  hasPlaceholder,
  hasSegmentPlace,
  makePlaceholder,
  PLACEHOLDER_MARK,
} from "../../../policy/placeholder.ts";

Deno.test("makePlaceholder() has the shape of the credential that it stands for", async (t) => {
  const rows: [name: string, made: string, shape: RegExp][] = [
    ["an Anthropic key", makePlaceholder("sk-ant-api03-", 108), /^sk-ant-api03-[a-z0-9]{95}$/],
    ["a GitHub token", makePlaceholder("ghp_", 40), /^ghp_[A-Za-z0-9]{36}$/],
    ["an AWS access key id", makePlaceholder("AKIA", 20), /^AKIA[A-Z2-7]{16}$/],
    ["no prefix and no length", makePlaceholder(""), /^slicerproxydummy$/],
    ["less room than the mark needs", makePlaceholder("key-", 5), /^key-slicerproxydummy$/],
  ];
  for (const [name, made, shape] of rows) {
    await t.step(name, () => {
      assert(shape.test(made), made);
      assert(hasPlaceholder(made));
    });
  }
});

Deno.test("hasPlaceholder() finds one wherever a credential can stand", async (t) => {
  const token = makePlaceholder("ghp_", 40);
  const rows: [name: string, text: string, expected: boolean][] = [
    ["bearer", `Bearer ${token}`, true],
    ["the signature of an AWS request", `AWS4-HMAC-SHA256 Credential=${makePlaceholder("AKIA", 20)}/x`, true],
    ["basic", `Basic ${btoa(`x-access-token:${token}`)}`, true],
    ["basic in capitals, with more spaces", `BASIC   ${btoa(`u:${token}`)}`, true],
    ["base64 under another scheme", `Other ${btoa(`u:${token}`)}`, false],
    ["basic that is not base64", "Basic ====!", false],
    ["basic of something else", `Basic ${btoa("x-access-token:ghp_0123456789abcdef")}`, false],
    ["the mark alone", PLACEHOLDER_MARK, true],
    ["all but its last letter", PLACEHOLDER_MARK.slice(0, -1), false],
    ["a real token", "Bearer sk-ant-api03-AAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false],
    ["nothing", "", false],
  ];
  for (const [name, text, expected] of rows) {
    await t.step(name, () => assertEquals(hasPlaceholder(text), expected));
  }
  assertFalse(hasPlaceholder("Bearer " + "x".repeat(60_000)));
});

Deno.test("hasPlaceFor() wants one place in each path for a secret that goes into paths", () => {
  assertEquals(
    ["/a", "/{}", "/{}/{}", "/{}{}{}", "/%7B%7d", "/{}/%7b%7D", "/{", "/a{}b/*"].filter(hasSegmentPlace),
    [
      "/{}",
      "/%7B%7d",
      "/a{}b/*",
    ],
  );
  assertEquals([hasPlaceFor("path", ["/{}"]), hasPlaceFor("path", ["/{}", "/a{}/*"])], [true, true]);
  assertEquals([hasPlaceFor("path", []), hasPlaceFor("path", ["/{}", "/a"])], [false, false]);
  assertEquals([hasPlaceFor("bearer", []), hasPlaceFor("bearer", ["/a"])], [true, true]);
});
