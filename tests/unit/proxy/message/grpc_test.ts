import { assertEquals } from "@std/assert";
import { makeField } from "../../../../proxy/message/fields.ts";
import { grpcStatusIn, isGrpc } from "../../../../proxy/message/grpc.ts";

Deno.test("isGrpc() knows the media type with or without its codec, and no other", () => {
  const rows: readonly (readonly [string, boolean])[] = [
    ["application/grpc", true],
    ["Application/GRPC+proto", true],
    ["application/grpc;charset=utf-8", true],
    ["application/grpc-web", false],
    ["application/grpcx", false],
    ["x/application/grpc", false],
    ["application/json", false],
  ];
  for (const [type, expected] of rows) {
    assertEquals(isGrpc([makeField("Accept", "a"), makeField("Content-Type", type)]), expected, type);
  }
  assertEquals(isGrpc([makeField("Accept", "application/grpc")]), false);
});

Deno.test("grpcStatusIn() reads one or two digits of the field, and nothing else", () => {
  const rows: readonly (readonly [string, number | undefined])[] = [
    ["0", 0],
    ["16", 16],
    ["", undefined],
    ["100", undefined],
    ["-1", undefined],
    ["7 ", undefined],
    ["x", undefined],
  ];
  for (const [value, expected] of rows) {
    const fields = [makeField("Grpc-Message", "1"), { name: "", key: "grpc-status", value }];
    assertEquals(grpcStatusIn(fields), expected, value);
  }
  assertEquals(grpcStatusIn([makeField("Grpc-Message", "1")]), undefined);
});
