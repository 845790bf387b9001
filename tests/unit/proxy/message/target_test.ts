import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { parseFields } from "../../../../proxy/http1/head_reader.ts";
import type { HttpVersion, RequestHead } from "../../../../proxy/message/message.ts";
import {
  authorityOf,
  defaultPort,
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

/** A head of HTTP/2, as `http2/head.ts` makes it. */
function http2Head(more: Partial<RequestHead>, ...fields: string[]): RequestHead {
  return { ...headOf("GET /a HTTP/2", ...fields), scheme: "https", authority: "up.test", ...more };
}

Deno.test("parseTarget() of HTTP/2: scheme, authority and a Host beside it have to agree with the tunnel", async (t) => {
  const rows: readonly (readonly [string, RequestHead, reason?: string])[] = [
    ["authority alone", http2Head({})],
    ["its scheme in another case", http2Head({ scheme: "HTTPS" })],
    ["a Host that agrees", http2Head({}, "Host: UP.test:443")],
    ["a Host in place of the authority", http2Head({ authority: undefined }, "Host: up.test")],
    ["another scheme", http2Head({ scheme: "http" }), "malformed"],
    ["no scheme", http2Head({ scheme: undefined }), "malformed"],
    ["another authority", http2Head({ authority: "other.test" }), "host-mismatch"],
    ["another port", http2Head({ authority: "up.test:444" }), "host-mismatch"],
    ["a Host that does not agree", http2Head({}, "Host: other.test"), "host-mismatch"],
    ["a Host that is none", http2Head({}, "Host: a@b"), "malformed"],
    ["two Hosts beside it", http2Head({}, "Host: up.test", "Host: up.test"), "malformed"],
    ["neither", http2Head({ authority: undefined }), "malformed"],
    [
      "framing with _",
      http2Head({ fields: [{ name: "content_length", key: "content_length", value: "1" }] }),
      "malformed",
    ],
  ];
  for (const [name, head, reason] of rows) {
    await t.step(name, () => {
      if (reason !== undefined) assertEquals(reasonOf(() => parseTarget(head, TUNNEL)), reason);
      else {assertEquals(parseTarget(head, TUNNEL), {
          ...TUNNEL,
          originForm: "/a",
          path: "/a",
          query: undefined,
        });}
    });
  }
});

Deno.test("parseTarget() of HTTP/1.1 knows of no scheme, and HTTP/1.0 with two Hosts is refused", () => {
  const head = { ...headOf("GET /a", "Host: up.test"), scheme: "http" };
  assertEquals(parseTarget(head, TUNNEL).scheme, "https");
  assertEquals(
    reasonOf(() => parseTarget(headOf("GET /a HTTP/1.0", "Host: a", "Host: a"), TUNNEL)),
    "malformed",
  );
  assertEquals(parseTarget(headOf("GET /a HTTP/1.0"), TUNNEL).host, "up.test");
});

Deno.test("parseTarget() reads ws and wss as the HTTP that they begin with, and OPTIONS for a whole server", () => {
  const of = (line: string, tunnel?: typeof TUNNEL) => {
    const { scheme, port, originForm } = parseTarget(headOf(line, "Host: up.test"), tunnel);
    return [scheme, port, originForm];
  };
  assertEquals(of("GET ws://up.test/a"), ["http", 80, "/a"]);
  assertEquals(of("GET WSS://up.test/a"), ["https", 443, "/a"]);
  assertEquals(of("OPTIONS http://up.test"), ["http", 80, "*"]);
  assertEquals(of("OPTIONS http://up.test/"), ["http", 80, "/"]);
  assertEquals(of("OPTIONS http://up.test?a"), ["http", 80, "/?a"]);
  assertEquals(of("GET wss://up.test:443/b?c", TUNNEL), ["https", 443, "/b?c"]);
  assertEquals(reasonOf(() => of("GET https://up.test:444/", TUNNEL)), "host-mismatch");
});

Deno.test("parseTarget() says how to use a proxy to who took it for a server, and to others what it wants", () => {
  const messageOf = (target: string) =>
    assertThrows(() => parseTarget(headOf(`GET ${target}`, "Host: a"), undefined), ProxyError).message;
  assertEquals(messageOf("/a").includes("this is a proxy"), true);
  for (const target of ["ftp://a/", "a:443", "*", "://a"]) {
    assertEquals(messageOf(target).includes("no absolute http, https, ws or wss URL"), true, target);
  }
});

Deno.test("authorityOf() leaves the scheme's own port out, and writes IPv6 in brackets", () => {
  const of = (scheme: "http" | "https", host: string, port: number) => authorityOf({ scheme, host, port });
  assertEquals([of("http", "a.test", 80), of("https", "a.test", 443)], ["a.test", "a.test"]);
  assertEquals([of("http", "a.test", 443), of("https", "::1", 80), of("https", "::1", 443)], [
    ...["a.test:443", "[::1]:80", "[::1]"],
  ]);
  assertEquals([defaultPort("http"), defaultPort("https")], [80, 443]);
});

Deno.test("parseUpgrade() gives the fields that carry it, and of HTTP/2 the protocol alone", () => {
  const fields = ["Connection: upgrade", "A: b", "Upgrade: websocket"];
  assertEquals(parseUpgrade(headOf("GET /", ...fields))?.fields.map(({ line }) => line), [
    "Upgrade: websocket",
  ]);
  assertEquals(parseUpgrade(http2Head({ protocol: "WebSocket" })), { protocol: "websocket", fields: [] });
  for (const protocol of ["h2", "h2c", "tls/1.2", "HTTP/1.1"]) {
    assertEquals(parseUpgrade(http2Head({ protocol })), undefined, protocol);
  }
  assertEquals(parseUpgrade(http2Head({ protocol: "h2x" }))?.protocol, "h2x");
  const many = `Connection: ${",".repeat(64)}`;
  const { message } = assertThrows(() => parseUpgrade(headOf("GET /", many)), ProxyError);
  assertEquals(message, "Cannot read the request: Connection names too many fields");
  assertEquals(
    assertThrows(() => parseUpgrade(headOf("GET /", "Connection: a, Cookie")), ProxyError).message,
    "Cannot read the request: Connection must not name cookie",
  );
});
