import { assertEquals } from "@std/assert";
import { findPlaceholder, unreplaced } from "../../../../proxy/inject/unreplaced.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import { makeRule } from "../../../support/make_rule.ts";

const DUMMY = "sk-slicerproxydummy";

Deno.test("findPlaceholder() names the header or the URL that would take a placeholder upstream", () => {
  const find = (fields: Readonly<Record<string, string>>, target = "/") =>
    findPlaceholder({
      fields: Object.entries(fields).map(([name, value]) => makeField(name, value)),
      target,
    });
  assertEquals(find({ A: "b" }), undefined);
  assertEquals(find({ A: "b", "X-Key": DUMMY }), "the header X-Key");
  assertEquals(
    find({ Authorization: `Basic ${btoa(`u:${DUMMY}`)}` }, `/?key=${DUMMY}`),
    "the header Authorization",
  );
  assertEquals(find({ A: "b" }, `/?key=${DUMMY}`), "the URL");
  assertEquals(find({ ["x".repeat(70)]: DUMMY }), `the header ${"x".repeat(64)}`);
});

Deno.test("unreplaced() says whether the rule has a secret at all", () => {
  const of = (input: { readonly secret?: string }) => {
    const { code, reason, message } = unreplaced("the URL", makeRule("r", { host: "a.test", ...input }));
    return [code, reason, message.replace(/^.*placeholder, and /, "")];
  };
  assertEquals(of({}), ["policy.placeholder", "placeholder", "the rule names no secret"]);
  assertEquals(of({ secret: "s" }), [
    "policy.placeholder",
    "placeholder",
    'the secret "s" does not go there',
  ]);
  assertEquals(
    unreplaced("the URL", makeRule("r", { host: "a.test" })).message,
    "Cannot forward the request of ci-1 under its rule for a.test: the URL holds a placeholder, and the rule names no secret",
  );
});
