import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { makeField } from "../../../proxy/message/fields.ts";
import { rpcAnswer } from "../../../proxy/rpc_answer.ts";

const OWN = [["X-Own", "1"], ["X-Two", "2"]] as const;

/** The answer to a request with one field. */
function answerTo(field: readonly [string, string], { status = 403, text = "no", version = "HTTP/2" } = {}) {
  return rpcAnswer({ status, text, fields: OWN }, {
    version,
    fields: [makeField("A", "b"), makeField(...field)],
  });
}

const GRPC = ["Content-Type", "application/grpc"] as const;
const WEB = ["Content-Type", "application/grpc-web"] as const;
const STREAM = ["Content-Type", "application/connect+json"] as const;
const UNARY = ["Connect-Protocol-Version", "1"] as const;

Deno.test("rpcAnswer() has one code for each status, as a number and as a word", async (t) => {
  const rows: readonly (readonly [status: number, number: string, word: string])[] = [
    [400, "13", "internal"],
    [403, "7", "permission_denied"],
    [404, "14", "unavailable"],
    [429, "8", "resource_exhausted"],
    [431, "8", "resource_exhausted"],
    [500, "13", "internal"],
    [502, "14", "unavailable"],
    [503, "14", "unavailable"],
    [504, "4", "deadline_exceeded"],
  ];
  for (const [status, number, word] of rows) {
    await t.step(String(status), () => {
      for (const form of [GRPC, WEB]) {
        const made = answerTo(form, { status });
        assertEquals([made?.status, made?.fields.find(({ key }) => key === "grpc-status")?.value], [
          200,
          number,
        ]);
      }
      const made = answerTo(UNARY, { status });
      assertEquals([made?.status, JSON.parse(Buffer.from(made?.body ?? []).toString())], [status, {
        code: word,
        message: "no",
      }]);
    });
  }
});

Deno.test("rpcAnswer() has each protocol's fields, in order, with those of the refusal behind them", () => {
  const lines = (form: readonly [string, string], more = {}) =>
    answerTo(form, more)?.fields.map(({ line }) => line);
  const own = ["X-Own: 1", "X-Two: 2"];
  const said = ["Grpc-Status: 7", "Grpc-Message: no"];
  assertEquals(lines(GRPC), ["Content-Type: application/grpc", ...said, ...own]);
  assertEquals(lines(WEB), ["Content-Type: application/grpc-web", ...said, "Content-Length: 0", ...own]);
  const last = '{"error":{"code":"permission_denied","message":"no"}}';
  assertEquals(lines(STREAM), [
    "Content-Type: application/connect+json",
    `Content-Length: ${5 + last.length}`,
    ...own,
  ]);
  assertEquals(lines(UNARY), [
    "Content-Type: application/json",
    `Content-Length: ${last.length - 10}`,
    ...own,
  ]);
  assertEquals(answerTo(GRPC)?.body.length, 0);
  assertEquals(answerTo(WEB)?.body.length, 0);
});

Deno.test("rpcAnswer() of a stream is one envelope: flags, four bytes of length, JSON", () => {
  const text = "x".repeat(70_000);
  const made = answerTo(STREAM, { text });
  assert(made);
  const bytes = Buffer.from(made.body);
  assertEquals([made.status, bytes[0], bytes.readUInt32BE(1)], [200, 2, bytes.length - 5]);
  assertEquals(JSON.parse(bytes.subarray(5).toString()), {
    error: { code: "permission_denied", message: text },
  });
});

Deno.test("rpcAnswer() knows a protocol by its type as it is written, and by its version of HTTP", async (t) => {
  const rows: readonly (readonly [string, string, version: string, type: string | undefined])[] = [
    ["Content-Type", "application/grpc+proto", "HTTP/2", "application/grpc"],
    ["Content-Type", "application/grpc", "HTTP/1.1", undefined],
    ["Content-Type", "application/grpc-web", "HTTP/1.1", "application/grpc-web"],
    ["Content-Type", "APPLICATION/GRPC-WEB-TEXT+proto", "HTTP/2", "application/grpc-web-text"],
    ["Content-Type", "application/grpc-web;a=b", "HTTP/1.1", "application/grpc-web"],
    ["Content-Type", "application/grpc-webs", "HTTP/1.1", undefined],
    ["Content-Type", "application/connect+json;a=b", "HTTP/1.1", "application/connect+json"],
    ["Content-Type", "application/Connect+Proto", "HTTP/1.1", "application/connect+proto"],
    ["Content-Type", "application/connect+xml", "HTTP/1.1", undefined],
    ["Content-Type", "application/connect+json2", "HTTP/1.1", undefined],
    ["Connect-Protocol-Version", "", "HTTP/1.1", "application/json"],
    ["Accept", "application/grpc", "HTTP/2", undefined],
  ];
  for (const [name, value, version, type] of rows) {
    await t.step(`${name}: ${value} ${version}`, () => {
      const made = answerTo([name, value], { version });
      assertEquals(made?.fields.find(({ key }) => key === "content-type")?.value, type);
    });
  }
});

Deno.test("rpcAnswer() writes gRPC's message so that no header can be forged with it", () => {
  const text = " ~a%\r\n\x1f\x7f\xfc\u20ac";
  const made = answerTo(GRPC, { text });
  assertEquals(
    made?.fields.find(({ key }) => key === "grpc-message")?.value,
    " ~a%25%0D%0A%1F%7F%C3%BC%E2%82%AC",
  );
});
