import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { authenticate, parseToken } from "../../../../proxy/who/auth.ts";
import { parseFields } from "../../../../proxy/http1/head_reader.ts";
import type { Client } from "../../../../proxy/policy_source.ts";

const CLIENT: Client = { name: "ci-1", version: "1" };

function who(...lines: string[]): Client {
  const fields = parseFields(lines, { maxHeaderCount: 10 }, "client.malformed");
  return authenticate(fields, (token) => {
    if (token === "tok:en") return CLIENT;
    throw new ProxyError("auth.invalid", "Cannot tell who is asking: no client has this token");
  });
}

Deno.test("authenticate() finds the client of a token, whatever the user", async (t) => {
  for (const user of ["proxy", "", "a b", "x\xe9"]) {
    await t.step(`user ${JSON.stringify(user)}`, () => {
      assertEquals(who(`Proxy-Authorization: Basic ${btoa(`${user}:tok:en`)}`), CLIENT);
    });
  }
  await t.step("scheme in another case, more spaces", () => {
    assertEquals(who(`PROXY-AUTHORIZATION:  bAsIc   ${btoa("a:tok:en")} `), CLIENT);
  });
});

Deno.test("authenticate() raises its codes and tells no token", async (t) => {
  const rows = [
    { name: "none", lines: [], code: "auth.missing" },
    {
      name: "Authorization is not for the proxy",
      lines: [`Authorization: Basic ${btoa("a:tok:en")}`],
      code: "auth.missing",
    },
    { name: "empty", lines: ["Proxy-Authorization:"], code: "auth.invalid" },
    { name: "wrong", lines: ["Proxy-Authorization: Bearer sekrit"], code: "auth.invalid" },
    { name: "another scheme", lines: ["Proxy-Authorization: Digest sekrit"], code: "auth.invalid" },
    {
      name: "the token as user",
      lines: [`Proxy-Authorization: Basic ${btoa("sekrit:")}`],
      code: "auth.invalid",
    },
    { name: "no colon", lines: [`Proxy-Authorization: Basic ${btoa("sekrit")}`], code: "auth.invalid" },
    {
      name: "twice",
      lines: [
        `Proxy-Authorization: Basic ${btoa("a:tok:en")}`,
        `proxy-authorization: Basic ${btoa("a:tok:en")}`,
      ],
      code: "client.malformed",
    },
  ];
  for (const { name, lines, code } of rows) {
    await t.step(name, () => {
      const error = assertThrows(() => who(...lines), ProxyError);
      assertEquals(error.code, code);
      assertEquals(error.message.includes("sekrit"), false);
    });
  }
});

Deno.test("parseToken() reads Basic and Bearer and nothing else", () => {
  const rows: [string, string | undefined][] = [
    ["Bearer abc-._~+/=", "abc-._~+/="],
    [`Basic ${btoa("u:p")}`, "p"],
    [`Basic ${btoa("u:")}`, ""],
    [`Basic ${btoa(":p:q")}`, "p:q"],
    ["Basic dTpw", "p"],
    ["Basic dTpw====", undefined],
    ["Basic dT-w", undefined],
    ["Bearer", undefined],
    ["Bearer ", undefined],
    ["Bearer a b", undefined],
    ["Bearer a,b", undefined],
    ["Bearer\tabc", undefined],
    ["", undefined],
  ];
  for (const [text, token] of rows) assertEquals(parseToken(text), token, JSON.stringify(text));
});
