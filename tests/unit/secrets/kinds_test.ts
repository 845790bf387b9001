import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { injectedForms } from "../../../secrets/injected_forms.ts";
import { parseSecretValue, staticInjection } from "../../../secrets/kinds.ts";

function assertInvalid(run: () => unknown): ProxyError {
  const error = assertThrows(run, ProxyError);
  assertEquals(error.code, "input.invalid");
  return error;
}

Deno.test("staticInjection() makes the header of each type", async (t) => {
  const rows: readonly (readonly [type: string, value: string, name: string, header: string])[] = [
    ["bearer", "sk-1.~+/=", "Authorization", "Bearer sk-1.~+/="],
    ["basic", "user:pass", "Authorization", "Basic dXNlcjpwYXNz"],
    ["basic", "user:pa:ss", "Authorization", "Basic dXNlcjpwYTpzcw=="],
    ["basic", ":only-password", "Authorization", "Basic Om9ubHktcGFzc3dvcmQ="],
    ["basic", "only-user:", "Authorization", "Basic b25seS11c2VyOg=="],
    ["basic", "test:123\u00a3", "Authorization", "Basic dGVzdDoxMjPCow=="], // RFC 7617 §2.1, its own example
    ["header", "x-api-key: k1", "x-api-key", "k1"],
    ["header", "X-Api-Key:k1", "X-Api-Key", "k1"],
    ["header", "Authorization: Token a:b c", "Authorization", "Token a:b c"],
    ["header", "Cookie: a=b; c=d", "Cookie", "a=b; c=d"],
  ];
  for (const [type, value, name, header] of rows) {
    await t.step(`${type} ${value}`, () => {
      assertEquals(staticInjection(type, value).headers, [[name, header]]);
      assertEquals(parseSecretValue(type, value), { type, value });
    });
  }
});

Deno.test("parseSecretValue() makes basic-auth basic, and names the types when it knows none", () => {
  assertEquals(parseSecretValue("basic-auth", "u:p"), { type: "basic", value: "u:p" });
  for (const type of ["", "Bearer", "oauth", "__proto__", "constructor"]) {
    const { hint } = assertInvalid(() => parseSecretValue(type, "u:p"));
    assertStringIncludes(hint ?? "", "bearer, basic, header");
    assertStringIncludes(hint ?? "", "basic-auth");
  }
});

Deno.test("parseSecretValue() refuses what would break or leave the header", async (t) => {
  const control = [..."\0\t\n\r\x1b\x7f\x85"].flatMap((char) =>
    [
      ["bearer", `sk-pl${char}anted`],
      ["bearer", `sk-planted${char}`],
      ["basic", `user:sk-pl${char}anted`],
      ["header", `x-api-key: sk-pl${char}anted`],
      ["header", `x-api${char}key: sk-planted`],
    ] as const
  );
  const rows: readonly (readonly [type: string, value: string])[] = [
    ...control,
    ...["bearer", "basic", "header", "query", "path"].map((type) => [type, ""] as const),
    ["bearer", " sk-planted"],
    ["bearer", "sk-planted "],
    ["bearer", "sk-plantéd"],
    ["bearer", "Bearer sk-planted"],
    ["bearer", "bearer  sk-planted"],
    ["bearer", "sk-planted\ud800"],
    ["basic", "sk-planted"],
    ["basic", "user:sk-planted\r\nX: y"],
    ["header", "sk-planted"],
    ["header", ": sk-planted"],
    ["header", "x-api-key:"],
    ["header", "x-api-key: "],
    ["header", "x api key: sk-planted"],
    ["header", "x-api-key : sk-planted"],
    ["header", "x-api-kéy: sk-planted"],
    ["header", ":authority: sk-planted"],
    ["header", `${"x".repeat(129)}: sk-planted`],
    ["header", "x-api-key: sk-planted\r\nX: y"],
    ["query", "sk-planted"],
    ["query", "=sk-planted"],
    ["query", "key="],
    ["query", "a&b=sk-planted"],
    ["query", "k%65y=sk-planted"],
    ["query", `${"x".repeat(129)}=sk-planted`],
    ["query", "key=sk-planted\n"],
    ["path", "sk/planted"],
    ["path", "sk-planted?"],
    ["path", "sk-planted#"],
    ["path", "sk%2fplanted"],
    ["path", "sk%5Cplanted"],
    ["path", "sk%planted"],
    ["path", "{sk-planted}"],
    ["path", "sk-plantéd"],
    ["path", ".."],
    ["path", "%2E."],
  ];
  for (const [type, value] of rows) {
    await t.step(`${type} ${JSON.stringify(value).slice(0, 40)}`, () => {
      const { message, hint } = assertInvalid(() => parseSecretValue(type, value));
      assert(!`${message} ${hint}`.includes("planted"), "the error holds the value");
    });
  }
});

Deno.test("parseSecretValue() says what is wrong with a query parameter", () => {
  const rows = [["sk", "it has no ="], ["=x", "its name is none"], ["k=", "its value is empty"]] as const;
  for (const [value, words] of rows) {
    const { message } = assertInvalid(() => parseSecretValue("query", value));
    assertEquals(message, `Cannot use this query parameter: ${words}`);
  }
});

Deno.test("parseSecretValue() refuses a header that frames the message or belongs to the connection", async (t) => {
  const names = [
    "Connection",
    "content-length",
    "Transfer-Encoding",
    "HOST",
    "Expect",
    "Upgrade",
    "TE",
    "Trailer",
  ];
  names.push("Keep-Alive", "HTTP2-Settings", "Proxy-Authorization", "proxy-connection", "Proxy-Anything");
  for (const name of names) {
    await t.step(name, () => {
      assertInvalid(() => parseSecretValue("header", `${name}: 1`));
      parseSecretValue("header", `x-${name}: 1`);
    });
  }
});

Deno.test("parseSecretValue() takes a value of the longest length and none longer", () => {
  for (const [type, start] of [["bearer", ""], ["basic", "u:"], ["header", "x: "]] as const) {
    parseSecretValue(type, start.padEnd(16_384, "x"));
    assertInvalid(() => parseSecretValue(type, start.padEnd(16_384 + 1, "x")));
  }
});

Deno.test("injectedForms() has every text by which a credential is known again", async (t) => {
  const rows: readonly (readonly [type: string, value: string, forms: readonly string[]])[] = [
    ["bearer", "sk-1", ["sk-1"]],
    ["basic", "user:pass", ["user:pass", "pass", "dXNlcjpwYXNz"]],
    ["basic", "sk-key:", ["sk-key:", "sk-key", "c2sta2V5Og=="]],
    ["basic", ":", [":", "Og=="]], // and never an empty text, which is everywhere
    ["header", "X-Api-Key: k1", ["k1"]],
    ["header", "Authorization: Token k1", ["k1"]],
    ["query", "key=a b+c", ["a b+c", "a%20b%2Bc"]],
    ["path", "123:abc", ["123:abc"]],
  ];
  for (const [type, value, forms] of rows) {
    await t.step(`${type} ${value}`, () => {
      const credential = { secret: "s", version: "1", host: "a.test", cleartext: false };
      assertEquals(injectedForms({ ...credential, ...staticInjection(type, value) }), forms);
    });
  }
});
