import { assertEquals, assertMatch } from "@std/assert";
import { errorResponse, refuse } from "../../../api/errors.ts";
import { type ErrorCode, ProxyError } from "../../../core/errors.ts";

Deno.test("errorResponse() gives each code its status, and reports failures of the host", async (t) => {
  const rows: [code: ErrorCode, status: number][] = [
    ["input.invalid", 400],
    ["input.not-found", 404],
    ["input.conflict", 409],
    ["seal.key-missing", 400],
    ["seal.key-invalid", 400],
    ["limit.reached", 507],
    ["state.write-failed", 507],
    ["state.damaged", 500],
    ["credential.unavailable", 500],
  ];
  for (const [code, status] of rows) {
    await t.step(code, async () => {
      const logged: string[] = [];
      const error = new ProxyError(code, "Cannot do it: no", { hint: "do that" });
      const answer = errorResponse(error, "GET /x", { error: (line) => logged.push(line) });
      assertEquals([answer.status, await answer.text()], [status, "Cannot do it: no\nhint: do that\n"]);
      assertEquals(logged, status < 500 ? [] : ["Cannot answer GET /x: Cannot do it: no"]);
    });
  }
});

Deno.test("errorResponse() tells nobody but the log what was not expected", async (t) => {
  const rows: [name: string, thrown: unknown, logged: RegExp][] = [
    [
      "an error",
      new TypeError("detail\nforged line"),
      /^Cannot answer POST \/x: TypeError: detail\\u\{a\}forged line < at /,
    ],
    ["a syntax error", new SyntaxError("detail"), /^Cannot answer POST \/x: SyntaxError < at /],
    ["a string", "detail", /^Cannot answer POST \/x: something that is no Error was thrown \(string\)$/],
    ["nothing", undefined, /\(undefined\)$/],
  ];
  for (const [name, thrown, expected] of rows) {
    await t.step(name, async () => {
      const logged: string[] = [];
      const answer = errorResponse(thrown, "POST /x", { error: (line) => logged.push(line) });
      assertEquals([answer.status, (await answer.text()).includes("detail")], [500, false]);
      assertEquals(logged.length, 1);
      assertMatch(logged[0] ?? "", expected);
    });
  }
});

Deno.test("refuse() keeps one line one line", async () => {
  const answer = refuse(400, "a\nb\u001b[31m", { hint: "c\r\nd", headers: { allow: "GET" } });
  assertEquals(await answer.text(), "a\\u{a}b\\u{1b}[31m\nhint: c\\u{d}\\u{a}d\n");
  assertEquals(Object.fromEntries(answer.headers), {
    allow: "GET",
    "cache-control": "no-store",
    "content-type": "text/plain; charset=utf-8",
  });
});
