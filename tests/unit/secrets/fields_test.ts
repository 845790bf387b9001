import { assert, assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { Fields, isToken, jwtClaims, jwtExpiry } from "../../../secrets/fields.ts";
import { jwt } from "./support.ts";

const NOW = Date.UTC(2026, 0, 2);
const YEAR = 365 * 86_400_000;
/** What a credential may be long at most. */
const LONGEST = 16_000;
const of = (value: unknown) => new Fields("login", "get one", value);

function refusal(call: () => unknown): string {
  const error = assertThrows(call, ProxyError);
  assertEquals([error.code, error.hint], ["input.invalid", "get one"]);
  return error.message;
}

Deno.test("Fields takes an object, and says nothing of what else it was given", () => {
  for (const value of [null, [], "planted", 1, undefined]) {
    assertEquals(refusal(() => of(value)), "Cannot use this login: it is no JSON object");
  }
  assertEquals(
    refusal(() => Fields.parse("login", "get one", "{planted")),
    "Cannot use this login: it is no JSON object",
  );
  assertEquals(Fields.parse("login", "get one", '{"a":1,"b":null}').names(), ["a", "b"]);
});

Deno.test("Fields has no field that is absent, null or empty", () => {
  const fields = of({ a: null, b: "", c: "x", d: 0, e: false });
  assertEquals(["a", "b", "c", "d", "e", "f"].filter((name) => fields.has(name)), ["c", "d", "e"]);
  assertEquals([fields.text("f", "a", "b", "c"), fields.text("a"), fields.child("a")], [
    "x",
    undefined,
    undefined,
  ]);
  assertEquals(refusal(() => fields.needText("f", "a")), "Cannot use this login: it has no f");
  assertEquals(refusal(() => fields.needToken("b")), "Cannot use this login: it has no b");
});

Deno.test("Fields refuses what is not of the type that a field has", () => {
  const fields = of({
    list: [],
    object: { x: "y" },
    number: 1,
    lone: "\ud800",
    long: "x".repeat(LONGEST + 1),
    blank: "a b",
  });
  assertEquals(fields.child("object")?.text("x"), "y");
  for (const name of ["list", "number"]) {
    assert(refusal(() => fields.child(name)).endsWith(`its ${name} is no object`));
    assert(refusal(() => fields.text(name)).endsWith(`its ${name} is no text`));
  }
  for (const name of ["lone", "long"]) {
    assert(refusal(() => fields.text(name)).endsWith(`its ${name} is too long or no text`));
  }
  assertEquals(of({ a: "x".repeat(LONGEST) }).token("a")?.length, LONGEST);
  assert(
    refusal(() => fields.token("absent", "blank")).endsWith("its blank has characters that no token has"),
  );
  assert(refusal(() => fields.number("absent", "blank")).endsWith("its blank is no number"));
});

Deno.test("Fields reads numbers, words and flags as hosts' programs write them", () => {
  const fields = of({
    a: 1.5,
    b: "15",
    c: "1.5",
    d: Infinity,
    words: " x  y ",
    list: ["x", "y"],
    mixed: ["x", 1],
    on: true,
    off: "true",
  });
  assertEquals(["a", "b", "c"].map((name) => fields.number(name)), [1.5, 15, 1.5]);
  refusal(() => fields.number("d"));
  assertEquals([fields.numberOrText("a"), fields.numberOrText("b"), fields.numberOrText("z")], [
    1.5,
    "15",
    undefined,
  ]);
  assertEquals([fields.words("words"), fields.words("list"), fields.words("z")], [
    ["x", "y"],
    ["x", "y"],
    [],
  ]);
  assert(refusal(() => fields.words("mixed")).endsWith("its mixed is no text"));
  assertEquals([fields.flag("on"), fields.flag("off"), fields.flag("z")], [true, false, false]);
});

Deno.test("Fields.time() reads seconds, milliseconds and RFC 3339", async (t) => {
  const rows: readonly [unknown, number | undefined][] = [
    [NOW / 1_000, NOW],
    [String(NOW / 1_000), NOW],
    [NOW, NOW],
    [NOW + 0.4, NOW],
    [1e11, undefined], // as seconds, the year 5138
    [1e11 + 1, 1e11 + 1],
    ["2026-01-02T00:00:00Z", NOW],
    ["2026-01-02T00:00:00.123456789Z", NOW + 123],
    [0, undefined],
    [-1, undefined],
    [1, 1_000],
    ["0", undefined],
    [NOW + 10 * YEAR, NOW + 10 * YEAR],
    [NOW + 10 * YEAR + 1, undefined],
    [null, undefined],
  ];
  for (const [value, expected] of rows) {
    await t.step(String(value), () => assertEquals(of({ at: value }).time(NOW, "absent", "at"), expected));
  }
  await t.step("no time", () => {
    assert(refusal(() => of({ at: "soon" }).time(NOW, "at")).endsWith("its at is no time"));
  });
});

Deno.test("Fields.url() takes https without a credential", () => {
  const url = (text: string) => of({ u: text }).url("absent", "u");
  assertEquals([url("https://A.test"), url("https://[::1]:8443/x?y")], [
    "https://a.test/",
    "https://[::1]:8443/x?y",
  ]);
  for (
    const text of [
      "http://a.test/",
      "https://u@a.test/",
      "https://:p@a.test/",
      "https://a.test/#x",
      "a.test",
      "https://-/",
    ]
  ) {
    assert(refusal(() => url(text)).endsWith("its u is no https URL"), text);
  }
  assertEquals(of({}).url("u"), undefined);
});

Deno.test("isToken() is true for what can stand in a header", () => {
  assertEquals(["!", "~", "a".repeat(LONGEST)].map(isToken), [true, true, true]);
  assertEquals(["", " ", "\x7f", "a\n", "é", "a".repeat(LONGEST + 1)].filter(isToken), []);
});

Deno.test("jwtExpiry() reads the end of a JWT, and nothing of what is none", () => {
  assertEquals(jwtExpiry(jwt({ exp: NOW / 1_000 }), NOW), NOW);
  for (const token of ["", "a.b", "a.!.c", jwt({}), jwt({ exp: "soon" }), jwt([]), jwt({ exp: {} })]) {
    assertEquals(jwtExpiry(token, NOW), undefined, token);
  }
  assertEquals([jwtClaims(undefined), jwtClaims("a"), jwtClaims(jwt({ a: "b" }))?.text("a")], [
    undefined,
    undefined,
    "b",
  ]);
});
