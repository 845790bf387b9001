import { assertEquals } from "@std/assert";
import { judgeAnswer, readLines, readPasted } from "../../../../cli/oauth/answer.ts";

const EXPECTED = { state: "state-of-this-login", issuer: "https://auth.example" };

Deno.test("judgeAnswer() takes exactly one answer with our state", async (t) => {
  const rows: readonly [name: string, query: string, verdict: string][] = [
    ["a code", "code=abc&state=state-of-this-login", "ours"],
    ["an error", "error=access_denied&state=state-of-this-login", "ours"],
    ["another state", "code=abc&state=state-of-this-logiN", "foreign"],
    ["a state that begins with ours", "code=abc&state=state-of-this-login2", "foreign"],
    ["no state", "code=abc", "foreign"],
    ["an empty state", "code=abc&state=", "foreign"],
    ["nothing", "", "incomplete"],
    ["only our state", "state=state-of-this-login", "incomplete"],
    ["an empty code", "code=&state=state-of-this-login", "incomplete"],
    ["two codes", "code=abc&code=def&state=state-of-this-login", "incomplete"],
    ["a code and an error", "code=abc&error=x&state=state-of-this-login", "incomplete"],
    ["two states", "code=abc&state=state-of-this-login&state=x", "incomplete"],
  ];
  for (const [name, query, verdict] of rows) {
    await t.step(name, () => assertEquals(judgeAnswer(new URLSearchParams(query), EXPECTED), verdict));
  }
});

Deno.test("readPasted() takes the whole address or a bare code", async (t) => {
  const bare = (code: string) => ({ code, state: EXPECTED.state, iss: EXPECTED.issuer });
  const rows: readonly [name: string, line: string, answer: Record<string, string> | RegExp][] = [
    [
      "an address",
      " http://127.0.0.1:56121/callback?code=a%2Bb&state=state-of-this-login ",
      { code: "a+b", state: "state-of-this-login" },
    ],
    [
      "an address with an error",
      "http://127.0.0.1:1/callback?error=access_denied&state=state-of-this-login",
      { error: "access_denied", state: "state-of-this-login" },
    ],
    ["an address of another login", "http://127.0.0.1:1/callback?code=abc&state=x", /another login/],
    ["an address without a state", "http://127.0.0.1:1/callback?code=abc", /another login/],
    [
      "the address that was to be opened",
      "https://auth.example/a?state=state-of-this-login",
      /holds no code/,
    ],
    ["no address at all", "http://[", /holds no code/],
    ["a code of 16 characters", "0123456789abcdef", bare("0123456789abcdef")],
    ["a code of every kind of character", "AZaz09._~+/=-AZaz09", bare("AZaz09._~+/=-AZaz09")],
    ["a word of 15", "0123456789abcde", /neither/],
    ["4,096 characters", "x".repeat(4_096), bare("x".repeat(4_096))],
    ["4,097 characters", "x".repeat(4_097), /neither/],
    ["a query alone", "code=0123456789abcdef&state=x", /neither/],
    ["a sentence", "what should I paste here?", /neither/],
  ];
  for (const [name, line, expected] of rows) {
    await t.step(name, () => {
      const found = readPasted(line, EXPECTED);
      if (expected instanceof RegExp) assertEquals(typeof found === "string" && expected.test(found), true);
      else assertEquals(typeof found === "string" ? found : Object.fromEntries(found), expected);
    });
  }
});

Deno.test("readLines() gives the same lines however the bytes arrive", async (t) => {
  const rows: readonly [name: string, text: string, lines: readonly string[]][] = [
    ["nothing", "", []],
    ["one line", "one\n", ["one"]],
    ["a last line without an end", "one\ntwo", ["one", "two"]],
    ["lines of Windows", "one\r\ntwo\r\n", ["one", "two"]],
    ["characters of several bytes", "héllo\n€\n", ["héllo", "€"]],
    ["a line of 8,192 characters", `${"x".repeat(8_192)}\ny\n`, ["x".repeat(8_192), "y"]],
    ["a line of 8,193 characters", `${"x".repeat(8_193)}\ny\n`, ["x".repeat(8_192), "y"]],
    ["a line that never ends", "x".repeat(100_000), ["x".repeat(8_192)]],
  ];
  for (const [name, text, lines] of rows) {
    for (const pieceBytes of [1, 3, 5_000]) {
      await t.step(`${name}, ${pieceBytes} bytes at a time`, async () => {
        const found: string[] = [];
        for await (const line of readLines(inputOf(text, pieceBytes))) if (line !== "") found.push(line);
        assertEquals(found, lines);
      });
    }
  }
});

function inputOf(text: string, pieceBytes: number): { read(buffer: Uint8Array): Promise<number | null> } {
  let rest = new TextEncoder().encode(text);
  return {
    read(buffer) {
      const piece = rest.subarray(0, Math.min(pieceBytes, buffer.length));
      if (piece.length === 0) return Promise.resolve(null);
      buffer.set(piece);
      rest = rest.subarray(piece.length);
      return Promise.resolve(piece.length);
    },
  };
}
