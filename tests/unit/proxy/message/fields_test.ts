import { assertEquals } from "@std/assert";
import {
  findBadNomination,
  findOverride,
  isCredentialHeader,
  isHopByHop,
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
  const kept = removeHopByHop(
    fieldsOf(
      "A:1",
      "Connection: X-Hop, close",
      "x-hop: 1",
      "Proxy-Any: 1",
      "TE: trailers",
      "a:  2 ",
      "X-Hop: 2",
    ),
  );
  assertEquals(kept.map(({ line }) => line), ["A:1", "a:  2 "]);
});

Deno.test("removeHopByHop() keeps what Connection must not name: a response would lose its end", () => {
  const lines = ["Content-Length: 5", "Transfer-Encoding: chunked", "Set-Cookie: a", "Host: a"];
  const kept = removeHopByHop(
    fieldsOf("Connection: content-length, transfer-encoding, set-cookie, host", ...lines),
  );
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
