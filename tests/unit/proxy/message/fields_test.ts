import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import {
  findBadNomination,
  findOverride,
  hasTooManyNominations,
  injectCredential,
  isAmbiguousName,
  isCredentialHeader,
  isHopByHop,
  isOverride,
  listOf,
  makeField,
  removeHopByHop,
  valuesOf,
} from "../../../../proxy/message/fields.ts";
import { parseFields } from "../../../../proxy/http1/head_reader.ts";

function fieldsOf(...lines: string[]) {
  return parseFields(lines, { maxHeaderCount: 100 }, "client.malformed");
}

Deno.test("valuesOf() gives the values of a name in any case, in order", () => {
  const fields = fieldsOf("A: 1", "b: 2", "a:3", "A:");
  assertEquals(valuesOf(fields, "a"), ["1", "3", ""]);
  assertEquals(valuesOf(fields, "c"), []);
});

Deno.test("listOf() gives the members of every field, lower-case, without empty ones", () => {
  const fields = fieldsOf("Connection: Close , ,X-A", "connection:,\tTE\t,", "Connection:");
  assertEquals(listOf(fields, "connection"), ["close", "x-a", "te"]);
});

Deno.test("makeField() makes a line of its own", () => {
  assertEquals(makeField("X-A", "b"), { name: "X-A", key: "x-a", value: "b", line: "X-A: b" });
});

Deno.test("isHopByHop() is true for what RFC 9110 section 7.6.1 names, and for Proxy-*", () => {
  for (
    const key of [
      "connection",
      "keep-alive",
      "te",
      "upgrade",
      "proxy-connection",
      "proxy-x",
      "http2-settings",
    ]
  ) {
    assertEquals(isHopByHop(key), true, key);
  }
  for (
    const key of [
      "trailer",
      "transfer-encoding",
      "content-length",
      "host",
      "via",
      "x-proxy-a",
      "proxy",
      "date",
    ]
  ) {
    assertEquals(isHopByHop(key), false, key);
  }
});

Deno.test("removeHopByHop() removes what Connection names, and leaves every other line as it is", () => {
  const kept = removeHopByHop({
    version: "HTTP/1.1",
    fields: fieldsOf(
      "A:1",
      "Connection: X-Hop, close",
      "x-hop: 1",
      "Proxy-Any: 1",
      "TE: trailers",
      "a:  2 ",
      "X-Hop: 2",
    ),
  });
  assertEquals(kept.map(({ line }) => line), ["A:1", "a:  2 "]);
});

Deno.test("removeHopByHop() keeps what Connection must not name: a response would lose its end", () => {
  const lines = ["Content-Length: 5", "Transfer-Encoding: chunked", "Set-Cookie: a", "Host: a"];
  const kept = removeHopByHop({
    version: "HTTP/1.1",
    fields: fieldsOf("Connection: content-length, transfer-encoding, set-cookie, host", ...lines),
  });
  assertEquals(kept.map(({ line }) => line), lines);
});

Deno.test("findBadNomination() finds framing, routing and credentials", async (t) => {
  for (
    const name of [
      "Host",
      "content-length",
      "Transfer-Encoding",
      "trailer",
      "Expect",
      "COOKIE",
      "Authorization",
      "x-api-key",
      "Private-Token",
    ]
  ) {
    await t.step(
      name,
      () =>
        assertEquals(
          findBadNomination(fieldsOf("Connection: close", `connection: a, ${name}`)),
          name.toLowerCase(),
        ),
    );
  }
  await t.step("nothing", () => {
    assertEquals(
      findBadNomination(fieldsOf("Connection: keep-alive, Upgrade, TE, X-Mine", "Host: a")),
      undefined,
    );
  });
});

Deno.test("isCredentialHeader() knows the headers that the contract names", () => {
  for (const key of ["authorization", "x-api-key", "api-key", "x-goog-api-key", "private-token"]) {
    assertEquals(isCredentialHeader(key), true, key);
  }
  for (const key of ["cookie", "host", "x-request-id", "proxy-authorization"]) {
    assertEquals(isCredentialHeader(key), false, key);
  }
});

Deno.test("findOverride() finds the first header that changes method or path", () => {
  assertEquals(
    findOverride(fieldsOf("A: b", "X-HTTP-METHOD-OVERRIDE: PUT", "X-Original-URL: /"))?.name,
    "X-HTTP-METHOD-OVERRIDE",
  );
  for (const name of ["X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"]) {
    assertEquals(findOverride(fieldsOf(`${name}: a`))?.name, name);
  }
  assertEquals(findOverride(fieldsOf("X-Forwarded-For: a", "X-Request-URL: /")), undefined);
});

const CREDENTIALS = [
  "authorization",
  "x-api-key",
  "api-key",
  "apikey",
  "x-apikey",
  "x-goog-api-key",
  "x-goog-iam-authorization-token",
  "private-token",
  "job-token",
  "deploy-token",
  "x-auth-token",
  "x-access-token",
  "x-amz-security-token",
  "x-gitlab-token",
  "x-github-token",
  "x-vault-token",
  "x-figma-token",
  "x-shopify-access-token",
  "x-authorization",
  "x-original-authorization",
  "x-forwarded-authorization",
  "ocp-apim-subscription-key",
  "dd-api-key",
  "dd-application-key",
  "x-auth-key",
  "x-subscription-token",
];
const OVERRIDES = [
  "x-http-method-override",
  "x-http-method",
  "x-method-override",
  "x-original-method",
  "x-original-url",
  "x-original-uri",
  "x-rewrite-url",
  "x-forwarded-uri",
  "x-forwarded-path",
  "x-original-path",
  "x-forwarded-method",
  "x-forwarded-host",
  "x-forwarded-prefix",
  "x-envoy-original-path",
];
const NEVER_NOMINATED = [
  "host",
  "content-length",
  "transfer-encoding",
  "trailer",
  "expect",
  "content-type",
  "content-encoding",
  "cookie",
  "set-cookie",
];

Deno.test("each header that carries a credential is stripped under a secret, written with - or with _", async (t) => {
  const injection = { headers: [["Authorization", "Bearer real"]] as const };
  for (const name of CREDENTIALS.flatMap((name) => [name, name.replaceAll("-", "_").toUpperCase()])) {
    await t.step(name, () => {
      const fields = injectCredential(fieldsOf(`${name}: planted`, "A: b"), injection);
      assertEquals(fields.map(({ line }) => line), ["Authorization: Bearer real", "A: b"]);
    });
  }
});

Deno.test("each header that overrides method or path is found, written with - or with _", async (t) => {
  for (const name of OVERRIDES) {
    await t.step(name, () => {
      assertEquals(isOverride(name), true);
      assertEquals(
        findOverride(fieldsOf(`${name.replaceAll("-", "_").toUpperCase()}: a`)) !== undefined,
        true,
      );
    });
  }
});

Deno.test("each name that Connection must not nominate is found and stays, written with - or with _", async (t) => {
  for (const name of NEVER_NOMINATED) {
    await t.step(name, () => {
      const folded = name.replaceAll("-", "_");
      assertEquals(findBadNomination(fieldsOf(`Connection: ${name}`)), name);
      assertEquals(findBadNomination(fieldsOf(`Connection: ${folded}`)), folded);
      assertEquals(
        removeHopByHop({ version: "HTTP/1.1", fields: fieldsOf(`Connection: ${folded}`, `${name}: 1`) })
          .length,
        1,
      );
    });
  }
});

Deno.test("an injected header replaces the client's own of that name with _", () => {
  const fields = injectCredential(fieldsOf("My_Key: planted"), { headers: [["My-Key", "real"]] });
  assertEquals(fields.map(({ line }) => line), ["My-Key: real"]);
});

Deno.test("removeHopByHop() takes _ and - for one character", () => {
  const kept = removeHopByHop({
    version: "HTTP/1.1",
    fields: fieldsOf(
      "Connection: x_mine",
      "X-Mine: 1",
      "X_Mine: 2",
      "Keep_Alive: 1",
      "Proxy_Any: 1",
      "A_B: 1",
    ),
  });
  assertEquals(kept.map(({ line }) => line), ["A_B: 1"]);
});

Deno.test("parseFields() refuses framing and proxy credentials that are written with _", async (t) => {
  for (const name of ["Content_Length", "Transfer_Encoding", "TRANSFER_ENCODING", "Proxy_Authorization"]) {
    await t.step(name, () => {
      assertEquals(isAmbiguousName(name.toLowerCase()), true);
      assertThrows(() => fieldsOf(`${name}: 1`), ProxyError, "`_`");
    });
  }
  assertEquals(isAmbiguousName("content-length"), false);
});

Deno.test("hasTooManyNominations() has a limit over all Connection fields", () => {
  const many = (count: number) => `Connection: ${Array.from({ length: count }, () => "a").join()}`;
  assertEquals(hasTooManyNominations(fieldsOf(many(32), many(32))), false);
  assertEquals(hasTooManyNominations(fieldsOf(many(32), many(33))), true);
  assertEquals(hasTooManyNominations(fieldsOf(`Connection: ${",".repeat(64)}`)), true);
});

Deno.test("removeHopByHop() leaves HTTP/2 its te, which the other side has to know, and nothing else for one hop", () => {
  const fields = ["A: b", "Connection: a", "TE: trailers", "Upgrade: x", "Keep-Alive: 1", "Proxy-Any: 1"]
    .map((line) => line.split(": ")).map(([name = "", value = ""]) => makeField(name, value));
  const keys = (version: string) => removeHopByHop({ version, fields }).map(({ key }) => key);
  assertEquals([keys("HTTP/2"), keys("HTTP/1.1")], [["a", "te"], []]);
  assertEquals(
    removeHopByHop({ version: "HTTP/1.1", fields: fields.filter(({ key }) => key !== "connection") })
      .map(({ key }) => key),
    ["a"],
  );
});

Deno.test("injectCredential() puts it where the first of the client's own stood, once, or at the end", async (t) => {
  const headers = [["Authorization", "Bearer real"], ["X-Account", "7"]] as const;
  const rows: readonly (readonly [string, readonly string[], string[]])[] = [
    ["none", ["A: b"], ["A: b", "Authorization: Bearer real", "X-Account: 7"]],
    ["two", ["A: b", "x-api-key: FAKE", "B: c", "authorization: FAKE", "x-account: 8"], [
      ...["A: b", "Authorization: Bearer real", "X-Account: 7", "B: c"],
    ]],
  ];
  for (const [name, lines, expected] of rows) {
    await t.step(name, () => {
      assertEquals(injectCredential(fieldsOf(...lines), { headers }).map(({ line }) => line), expected);
    });
  }
});

Deno.test("injectCredential() adds what an API asks for beside it: members to lists, and fields that are not there", async (t) => {
  const injection = {
    headers: [],
    merge: [["X-Beta", "oauth-1"], ["X-Beta", "two"]],
    defaults: [["User-Agent", "ours"], ["X-Version", "3"]],
  } as const;
  const rows: readonly (readonly [string, readonly string[], string[]])[] = [
    ["nothing is there", [], ["X-Beta: oauth-1,two", "User-Agent: ours", "X-Version: 3"]],
    ["other members", ["x-beta: a", "user-agent: its"], [
      ...["x-beta: a,oauth-1,two", "user-agent: its", "X-Version: 3"],
    ]],
    ["on the last line of two", ["X-Beta: a", "X-Beta: b", "B: c"], [
      ...["X-Beta: a", "X-Beta: b,oauth-1,two", "B: c", "User-Agent: ours", "X-Version: 3"],
    ]],
    ["there already, in another case", ["X-Beta: OAUTH-1 , two", "x-version: 1", "User-Agent:"], [
      ...["X-Beta: OAUTH-1 , two", "x-version: 1", "User-Agent:"],
    ]],
    ["an empty list", ["X-Beta:"], ["X-Beta: oauth-1,two", "User-Agent: ours", "X-Version: 3"]],
  ];
  for (const [name, lines, expected] of rows) {
    await t.step(name, () => {
      assertEquals(injectCredential(fieldsOf(...lines), injection).map(({ line }) => line), expected);
    });
  }
});

Deno.test("isAmbiguousName() is about framing and identity, and only when they are written with _", () => {
  for (const name of ["content_length", "transfer_encoding", "proxy_authorization"]) {
    assertEquals([isAmbiguousName(name), isAmbiguousName(name.replace("_", "-"))], [true, false], name);
  }
  assertEquals([isAmbiguousName("x_mine"), isAmbiguousName("host")], [false, false]);
});
