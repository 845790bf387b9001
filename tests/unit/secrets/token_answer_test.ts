import { assertEquals, assertThrows } from "@std/assert";
import {
  errorCode,
  failureOf,
  formBody,
  jsonFields,
  lifeOf,
  readTokenAnswer,
  RenewalFailure,
  retryAfter,
} from "../../../secrets/token_answer.ts";

const NOW = Date.UTC(2026, 0, 2);

function failure(status: number, body: unknown = {}, headers: Record<string, string> = {}): RenewalFailure {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return assertThrows(() => readTokenAnswer({ status, body: text, headers }, NOW), RenewalFailure);
}

Deno.test("a RenewalFailure passes, and was answered, unless it says otherwise", () => {
  const { message, isFinal, isAnswered, retryAfterMs, atHome } = new RenewalFailure("x");
  assertEquals([message, isFinal, isAnswered, retryAfterMs, atHome], [
    "x",
    false,
    true,
    undefined,
    undefined,
  ]);
});

Deno.test("readTokenAnswer() reads what servers answer", () => {
  const fields = { access_token: "a", refresh_token: "r", expires_in: 60 };
  for (const status of [200, 201]) {
    assertEquals(readTokenAnswer({ status, body: JSON.stringify(fields), headers: {} }, NOW), {
      accessToken: "a",
      refreshToken: "r",
      expiresInMs: 60_000,
      fields,
    });
  }
  const id = { status: 200, body: '{"id_token":"i","refresh_token":""}', headers: {} };
  const { accessToken, refreshToken, expiresInMs } = readTokenAnswer(id, NOW, "id_token");
  assertEquals([accessToken, refreshToken, expiresInMs], ["i", undefined, undefined]);
});

Deno.test("readTokenAnswer() counts an answer without a token as lost, and an error in a 200 as an error", () => {
  for (const body of [{}, { access_token: "" }, { access_token: 1 }, { access_token: "a\nb" }, "text"]) {
    const { isAnswered, isFinal, message } = failure(200, body);
    assertEquals([isAnswered, isFinal, message.includes("no access token")], [false, false, true]);
  }
  assertEquals(failure(200, { access_token: "a", error: "slow_down" }).isFinal, false);
  assertEquals(failure(200, { access_token: "a", error: "invalid_grant" }).isFinal, true);
  assertEquals(failure(202, { access_token: "a" }).isFinal, false);
});

Deno.test("a refusal is final for each code that says so, and for a 401, unless the server is in trouble", async (t) => {
  const codes = [
    ...["invalid_grant", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"],
    ...["refresh_token_expired", "refresh_token_reused", "refresh_token_invalidated", "bad_refresh_token"],
    "incorrect_client_credentials",
  ];
  for (const code of codes) {
    await t.step(code, () => {
      for (const body of [{ error: code }, { error: { code } }, { error: { type: code } }, { code }]) {
        const { isFinal, message } = failure(400, body);
        assertEquals([isFinal, message.includes(`refused it (${code})`)], [true, true]);
      }
    });
  }
  await t.step("others are not", () => {
    for (
      const body of [{ error: "slow_down" }, { error: { message: "invalid_grant" } }, {
        message: "invalid_grant",
      }]
    ) {
      assertEquals(errorCode(body), undefined);
      assertEquals(failure(400, body).isFinal, false);
    }
  });
  await t.step("by status", () => {
    for (const status of [408, 429, 500, 503]) {
      assertEquals(failure(status, { error: "invalid_grant" }).isFinal, false);
    }
    assertEquals([
      failure(401).isFinal,
      failure(403).isFinal,
      failure(499, { error: "invalid_grant" }).isFinal,
    ], [
      true,
      false,
      true,
    ]);
    assertEquals(failureOf({ status: 401, body: "", headers: {} }, undefined, NOW, false).isFinal, false);
  });
});

Deno.test("a refusal says how far this machine's clock is off, where that is far", () => {
  const words = (seconds: number) =>
    failure(401, {}, { date: new Date(NOW + seconds * 1_000).toUTCString() }).message;
  assertEquals([words(60).includes("clock"), words(-60).includes("clock")], [false, false]);
  assertEquals(words(61).endsWith("; the clock of this machine is 61 s behind the provider's"), true);
  assertEquals(words(-61).endsWith("; the clock of this machine is 61 s ahead of the provider's"), true);
  assertEquals(words(86_400).includes(" 86400 s behind "), true);
  assertEquals(failure(401, {}, { date: "never" }).message.includes("clock"), false);
});

Deno.test("lifeOf() takes spans that a token can have", () => {
  const tenYears = 315_360_000;
  const none = [0, -1, "0", tenYears + 1, "1.5", "", "x", null, undefined, NaN, Infinity];
  const rows: readonly (readonly [unknown, number | undefined])[] = [
    [1, 1_000],
    ["60", 60_000],
    [0.5, 500],
    [tenYears, tenYears * 1_000],
    ...none.map((each) => [each, undefined] as const),
  ];
  for (const [value, expected] of rows) assertEquals(lifeOf(value), expected, String(value));
});

Deno.test("retryAfter() takes seconds and times, an hour at most", () => {
  const rows: readonly [string | undefined, number | undefined][] = [
    ["0", 0],
    ["90", 90_000],
    ["3600", 3_600_000],
    ["3601", 3_600_000],
    ["999999999", 3_600_000],
    [new Date(NOW + 5_000).toUTCString(), 5_000],
    [new Date(NOW - 5_000).toUTCString(), 0],
    ["soon", undefined],
    [undefined, undefined],
  ];
  for (const [text, expected] of rows) assertEquals(retryAfter(text, NOW), expected, String(text));
  assertEquals(failure(503, {}, { "retry-after": "90" }).retryAfterMs, 90_000);
});

Deno.test("jsonFields() and formBody() are plain about what is none", () => {
  assertEquals([jsonFields('{"a":1}'), jsonFields("null"), jsonFields("1"), jsonFields("{")], [
    { a: 1 },
    {},
    {},
    {},
  ]);
  assertEquals(formBody({ a: "b c", d: undefined, e: "" }), "a=b+c&e=");
});
