import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { MAX_BODY_BYTES, parseStrictJson, readBody } from "../../../api/json_body.ts";
import { ProxyError } from "../../../core/errors.ts";
import { TestApi } from "./support.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

Deno.test("parseStrictJson() returns what JSON.parse() would", async (t) => {
  const texts = [
    "{}",
    '{"a":{"a":1},"b":[{"a":1},{"a":2}]}',
    '["a","a",":","{\\"a\\":1,\\"a\\":2}"]',
    '{"a":"a","b":"a,\\"b\\":"}',
    '{"a":[],"b":{},"c":"}"}',
    '{"":1," ":2}',
    '"\\\\"',
    "7",
    "null",
    `{"${"a".repeat(500_000)}":"${"b".repeat(500_000)}"}`,
    `"${"\\n".repeat(500_000)}"`,
  ];
  for (const text of texts) {
    await t.step(text.slice(0, 40), () => assertEquals(parseStrictJson(utf8(text)), JSON.parse(text)));
  }
});

Deno.test("parseStrictJson() refuses what can be read in two ways", async (t) => {
  const rows: [name: string, text: string | Uint8Array, says: string][] = [
    ["nothing", "", "is not JSON"],
    ["trailing text", '{"planted":1}x', "is not JSON"],
    ["two values", '{"planted":1}{}', "is not JSON"],
    ["a trailing comma", '{"planted":1,}', "is not JSON"],
    ["single quotes", "{'planted':1}", "is not JSON"],
    ["NaN", '{"planted":NaN}', "is not JSON"],
    ["invalid UTF-8", new Uint8Array([0x22, 0xc3, 0x28, 0x22]), "is not JSON"],
    ["UTF-16", new Uint8Array([0xff, 0xfe, 0x7b, 0, 0x7d, 0]), "is not JSON"],
    ["a name twice", '{"host":"planted","host":"b"}', 'the field "host" twice'],
    ["a name twice after other fields", '{"a":[{"b":1}],"b":{"c":2},"a":3}', 'the field "a" twice'],
    ["a name twice, once escaped", '{"host":"planted","ho\\u0073t":"b"}', 'the field "host" twice'],
    ["a name twice further in", '{"a":[0,{"b":1,"b":2}]}', 'the field "b" twice'],
    ["a quote in the name", '{"\\"":1,"\\u0022":2}', "twice"],
  ];
  for (const [name, text, says] of rows) {
    await t.step(name, () => {
      const bytes = typeof text === "string" ? utf8(text) : text;
      const error = assertThrows(() => parseStrictJson(bytes), ProxyError, says);
      assertEquals(error.code, "input.invalid");
      assertEquals([error.message, error.cause].join().includes("planted"), false);
    });
  }
});

Deno.test("jsonBody takes JSON by any name of it that clients use, and nothing else", async (t) => {
  await using api = await TestApi.start();
  const rows: [type: string, status: number][] = [
    ["application/json", 201],
    ["Application/JSON; charset=utf-8", 201],
    ["application/json;charset=UTF-8", 201],
    ["", 201],
    ["text/plain", 415],
    ["application/x-www-form-urlencoded", 415],
    ["multipart/form-data; boundary=x", 415],
    ["application/jsonx", 415],
    ["application/vnd.api+json", 415],
  ];
  for (const [i, [type, status]] of rows.entries()) {
    await t.step(type || "none", async () => {
      const answer = await api.call("/proxy/v1/clients", {
        body: `{"name":"c${i}"}`,
        headers: { "content-type": type },
      });
      assertEquals(answer.status, status, answer.text);
    });
  }
});

Deno.test("jsonBody takes a body of 1 MiB and refuses one byte more", async (t) => {
  await using api = await TestApi.start();
  const body = (bytes: number) => '{"name":"c"}' + " ".repeat(bytes - 12);
  const type = { "content-type": "application/json" };
  await t.step("one byte more by its length", async () => {
    const answer = await api.call("/proxy/v1/clients", { body: body(MAX_BODY_BYTES + 1), headers: type });
    assertEquals(answer.status, 413);
    assertStringIncludes(answer.text, "longer than 1048576 bytes");
  });
  await t.step("one byte more in chunks", async () => {
    const chunk = body(MAX_BODY_BYTES + 1);
    const answer = await api.call("/proxy/v1/clients", {
      body: `${chunk.length.toString(16)}\r\n${chunk}\r\n0\r\n\r\n`,
      headers: { ...type, "content-length": "", "transfer-encoding": "chunked" },
    });
    assertEquals(answer.status, 413);
  });
  await t.step("just 1 MiB in chunks", async () => {
    const chunk = body(MAX_BODY_BYTES);
    const answer = await api.call("/proxy/v1/clients", {
      body: `${chunk.length.toString(16)}\r\n${chunk}\r\n0\r\n\r\n`,
      headers: { ...type, "content-length": "", "transfer-encoding": "chunked" },
    });
    assertEquals(answer.status, 201);
  });
  await t.step("just 1 MiB by its length", async () => {
    const answer = await api.call("/proxy/v1/clients", { body: body(MAX_BODY_BYTES), headers: type });
    assertEquals(answer.status, 409);
  });
});

Deno.test("jsonBody reads no body for DELETE and for a POST that has none", async () => {
  await using api = await TestApi.start();
  await api.control.createClient("c");
  const odd = { body: "not { json", headers: { "content-type": "text/html" } };
  assertEquals((await api.call("/proxy/v1/clients/c/rotate", { method: "POST", ...odd })).status, 200);
  assertEquals((await api.call("/proxy/v1/clients/c", { method: "DELETE", ...odd })).status, 204);
});

Deno.test("jsonBody forgets a caller who leaves within the body", async () => {
  await using api = await TestApi.start();
  const connection = await Deno.connect({ transport: "unix", path: api.socketPath });
  await connection.write(utf8("POST /proxy/v1/clients HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"));
  await api.call("/healthz"); // by now the first call is waiting for its body
  connection.close();
  assertEquals((await api.call("/healthz")).status, 200);
  assertEquals(api.logged, []);
});

Deno.test("readBody() waits for a slow body as long as it may, and no longer", async (t) => {
  const { promise: address, resolve } = Promise.withResolvers<Deno.NetAddr>();
  await using _server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: resolve }, async (request) => {
    const body = await readBody(request, 300);
    return body instanceof Response ? body : new Response(body);
  });
  const rows: [name: string, pauseMs: number, says: string][] = [
    ["inside", 20, "HTTP/1.1 200 OK"],
    ["outside", 2_000, "HTTP/1.1 408 Request Timeout"],
  ];
  for (const [name, pauseMs, says] of rows) {
    await t.step(name, async () => {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port: (await address).port });
      await connection.write(
        utf8("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nab"),
      );
      const timer = setTimeout(() => connection.write(utf8("cd")).catch(() => {}), pauseMs);
      const buffer = new Uint8Array(4_096);
      const length = await connection.read(buffer) ?? 0;
      clearTimeout(timer);
      assertStringIncludes(new TextDecoder().decode(buffer.subarray(0, length)), says);
    });
  }
});

Deno.test("jsonBody survives a body that is nothing but nesting", async () => {
  await using api = await TestApi.start();
  const type = { "content-type": "application/json" };
  for (
    const body of ["[".repeat(1_000_000), "[".repeat(500_000) + "]".repeat(500_000), '{"a":'.repeat(170_000)]
  ) {
    assertEquals((await api.call("/proxy/v1/clients", { body, headers: type })).status, 400);
  }
  assertEquals(api.logged, []);
});
