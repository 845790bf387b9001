import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { parseFields } from "../../../../proxy/http1/head_reader.ts";
import type { HttpVersion, RequestHead } from "../../../../proxy/message/message.ts";
import {
  isRefusedMethod,
  parseConnectTarget,
  parseTarget,
  parseUpgrade,
} from "../../../../proxy/message/target.ts";

const TUNNEL = { scheme: "https", host: "up.test", port: 443 } as const;

function headOf(line: string, ...fields: string[]): RequestHead {
  const [method = "", target = "", version = "HTTP/1.1"] = line.split(" ");
  return {
    method,
    target,
    version: version as HttpVersion,
    fields: parseFields(fields, { maxHeaderCount: 100 }, "client.malformed"),
  };
}

function reasonOf(call: () => unknown): string | undefined {
  return assertThrows(call, ProxyError).reason;
}

Deno.test("parseTarget() reads an absolute target on a proxy port", async (t) => {
  const rows = [
    { target: "http://a.test", host: "a.test", is: ["http", "a.test", 80, "/", "/", undefined] },
    { target: "http://A.test:80/b?c?d", host: "a.test", is: ["http", "a.test", 80, "/b?c?d", "/b", "c?d"] },
    { target: "HTTPS://a.test/b", host: "A.TEST:443", is: ["https", "a.test", 443, "/b", "/b", undefined] },
    { target: "http://a.test?b", host: "a.test", is: ["http", "a.test", 80, "/?b", "/", "b"] },
    { target: "http://a.test/?", host: "a.test", is: ["http", "a.test", 80, "/?", "/", ""] },
    { target: "http://[::1]:8080/", host: "[0:0::1]:8080", is: ["http", "::1", 8080, "/", "/", undefined] },
    {
      target: "http://a.test//b/../c",
      host: "a.test",
      is: ["http", "a.test", 80, "//b/../c", "//b/../c", undefined],
    },
  ];
  for (const { target, host, is } of rows) {
    await t.step(target, () => {
      const { scheme, host: name, port, originForm, path, query } = parseTarget(
        headOf(`GET ${target}`, `Host: ${host}`),
        undefined,
      );
      assertEquals([scheme, name, port, originForm, path, query], is);
    });
  }
});

Deno.test("parseTarget() takes origin-form in a tunnel, and there the tunnel's place", () => {
  const target = parseTarget(headOf("GET /a?b", "Host: up.test"), TUNNEL);
  assertEquals(target, { ...TUNNEL, originForm: "/a?b", path: "/a", query: "b" });
  assertEquals(parseTarget(headOf("OPTIONS *", "Host: up.test"), TUNNEL).originForm, "*");
  assertEquals(parseTarget(headOf("OPTIONS https://up.test", "Host: up.test"), TUNNEL).originForm, "*");
});

Deno.test("parseTarget() tells a wrong place from a target that is none", async (t) => {
  const rows = [
    { line: "GET /", host: "other.test", reason: "host-mismatch" },
    { line: "GET /", host: "up.test:444", reason: "host-mismatch" },
    { line: "GET https://other.test/", host: "up.test", reason: "host-mismatch" },
    { line: "GET http://up.test/", host: "up.test", reason: "host-mismatch" },
    { line: "GET *", host: "up.test", reason: "malformed" },
    { line: "options *", host: "up.test", reason: "malformed" },
    { line: "GET up.test:443", host: "up.test", reason: "malformed" },
    { line: "GET https://a@up.test/", host: "up.test", reason: "malformed" },
    { line: "GET /", host: "a@up.test", reason: "malformed" },
    { line: "GET /", host: "", reason: "malformed" },
  ];
  for (const { line, host, reason } of rows) {
    await t.step(`${line} with ${host}`, () => {
      assertEquals(reasonOf(() => parseTarget(headOf(line, `Host: ${host}`), TUNNEL)), reason);
    });
  }
  await t.step("no Host", () => {
    assertEquals(reasonOf(() => parseTarget(headOf("GET / HTTP/1.1"), TUNNEL)), "malformed");
    assertEquals(reasonOf(() => parseTarget(headOf("GET http://up.test/ HTTP/1.1"), undefined)), "malformed");
  });
  await t.step("no Host in HTTP/1.0 means the host of the URL", () => {
    const { host, port, originForm } = parseTarget(headOf("GET http://up.test:81/a HTTP/1.0"), undefined);
    assertEquals([host, port, originForm], ["up.test", 81, "/a"]);
  });
});

Deno.test("parseConnectTarget() needs host:port, and a Host that agrees when there is one", async (t) => {
  const rows: { line: string; fields: string[]; is: { host: string; port: number } | string }[] = [
    { line: "CONNECT a.test:443", fields: [], is: { host: "a.test", port: 443 } },
    { line: "CONNECT A.test.:22", fields: ["Host: a.test"], is: { host: "a.test", port: 22 } },
    { line: "CONNECT [::1]:443", fields: ["Host: [::1]:443"], is: { host: "::1", port: 443 } },
    { line: "CONNECT a.test:443", fields: ["Content-Length: 0"], is: { host: "a.test", port: 443 } },
    { line: "CONNECT a.test", fields: [], is: "malformed" },
    { line: "CONNECT ::1:443", fields: [], is: "malformed" },
    { line: "CONNECT /a", fields: [], is: "malformed" },
    { line: "CONNECT a.test:443", fields: ["Host: b.test"], is: "host-mismatch" },
    { line: "CONNECT a.test:443", fields: ["Host: a.test:80"], is: "host-mismatch" },
    { line: "CONNECT a.test:443", fields: ["Host: a.test", "Host: a.test"], is: "malformed" },
    { line: "CONNECT a.test:443", fields: ["Content-Length: 1"], is: "malformed" },
    { line: "CONNECT a.test:443", fields: ["Transfer-Encoding: chunked"], is: "malformed" },
  ];
  for (const { line, fields, is } of rows) {
    await t.step(`${line} ${fields}`, () => {
      const head = headOf(line, ...fields);
      if (typeof is === "string") assertEquals(reasonOf(() => parseConnectTarget(head)), is);
      else assertEquals(parseConnectTarget(head), is);
    });
  }
});

Deno.test("a host with a hyphen at the end of a label is called that, wherever it stands", () => {
  const words = "Cannot read the request: a label of its host begins or ends with a hyphen";
  const messageOf = (call: () => unknown) => assertThrows(call, ProxyError).message;
  assertEquals(messageOf(() => parseConnectTarget(headOf("CONNECT foo-.host:443"))), words);
  assertEquals(
    messageOf(() => parseTarget(headOf("GET http://foo-.host/", "Host: foo-.host"), undefined)),
    words,
  );
  assertEquals(messageOf(() => parseTarget(headOf("GET http://foo-.host:81/", "Host: a"), undefined)), words);
  assertEquals(
    messageOf(() => parseConnectTarget(headOf("CONNECT foo-.host"))), // the port is missing, but one fault at a time
    words,
  );
});

Deno.test("isRefusedMethod() refuses them in any case", () => {
  for (const method of ["TRACE", "trace", "Track", "CONNECT", "connect", "PRI"]) {
    assertEquals(isRefusedMethod(method), true, method);
  }
  for (const method of ["GET", "PATCH", "TRACES", "PURGE", "PROPFIND"]) {
    assertEquals(isRefusedMethod(method), false, method);
  }
});

Deno.test("parseUpgrade() finds the protocol, and none where there must be none", async (t) => {
  const rows = [
    { fields: ["Connection: Upgrade", "Upgrade: websocket"], is: "websocket" },
    { fields: ["Connection: keep-alive, UPGRADE", "upgrade: WebSocket"], is: "websocket" },
    { fields: ["Connection: upgrade", "Upgrade: SPDY/3.1"], is: "spdy/3.1" },
    { fields: ["Upgrade: websocket"], is: undefined },
    { fields: ["Connection: upgrade"], is: undefined },
    { fields: ["Connection: upgrade", "Upgrade: h2c"], is: undefined },
    { fields: ["Connection: upgrade", "Upgrade: H2C, websocket"], is: undefined },
    { fields: ["Connection: upgrade", "Upgrade: TLS/1.0"], is: undefined },
    { fields: ["Connection: upgrade", "Upgrade: HTTP/2.0"], is: undefined },
    { fields: ["Connection: upgrade", "Upgrade: h2"], is: undefined },
    { fields: ["Connection: upgrade", "Upgrade: websocket"], version: "HTTP/1.0", is: undefined },
  ];
  for (const { fields, version, is } of rows) {
    await t.step(`${fields} ${version ?? ""}`, () => {
      assertEquals(parseUpgrade(headOf(`GET / ${version ?? "HTTP/1.1"}`, ...fields))?.protocol, is);
    });
  }
  for (const fields of [["Connection: upgrade", "Upgrade: websocket, a"], ["Connection: host"]]) {
    await t.step(`${fields} is refused`, () => {
      assertEquals(reasonOf(() => parseUpgrade(headOf("GET /", ...fields))), "malformed");
    });
  }
});
