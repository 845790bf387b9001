import { assertEquals } from "@std/assert";
import { isUnreadable } from "../../../../policy/words/body_text.ts";
import { narrowEvents, narrowJson, toolsToShow } from "../../../../policy/words/mcp_list.ts";

const list = (...names: unknown[]) =>
  JSON.stringify({
    jsonrpc: "2.0",
    id: 1,
    result: { tools: names.map((name) => ({ name })), nextCursor: "x" },
  });

Deno.test("narrowJson() takes out the tools that no pattern names, and leaves all else", async (t) => {
  const rows: readonly [string, string, string][] = [
    ["one of two", list("read_file", "write_file"), list("read_file")],
    ["all", list("write_file"), list()],
    ["none: the very same text", ` ${list("read_file")} `, ` ${list("read_file")} `],
    ["a tool without a name", list("read_file", 7, undefined), list("read_file")],
    ["a name in another case", list("READ_file"), list()],
    ["a batch", `[${list("write_file")},${list("read_a")}]`, `[${list()},${list("read_a")}]`],
    ["an error", '{"id":1,"error":{"message":"tools"}}', '{"id":1,"error":{"message":"tools"}}'],
    ["tools that are no list", '{"result":{"tools":{"a":1}}}', '{"result":{"tools":{"a":1}}}'],
    [
      "a number that JavaScript cannot hold",
      '{"id":12345678901234567890,"result":{"tools":[{"name":"w"}],"x":1.0}}',
      '{"id":12345678901234567890,"result":{"tools":[],"x":1.0}}',
    ],
  ];
  for (const [name, text, wanted] of rows) {
    await t.step(name, () => assertEquals(narrowJson(["read_*"], text), wanted));
  }
  const unreadable: readonly [string, string][] = [
    ["no JSON", "tools"],
    ["two lists in one", '{"result":{"tools":[],"tools":[{"name":"write_file"}]}}'],
    ["nested too deeply", "[".repeat(65) + "]".repeat(65)],
  ];
  for (const [name, text] of unreadable) {
    await t.step(`not read: ${name}`, () => assertEquals(isUnreadable(narrowJson(["read_*"], text)), true));
  }
});

Deno.test("narrowEvents() narrows messages and leaves other events", async (t) => {
  const both = list("read_file", "write_file");
  const one = list("read_file");
  const rows: readonly [string, string, string][] = [
    ["an event", `id: 1\nevent: message\ndata: ${both}\n\n`, `id: 1\nevent: message\ndata: ${one}\n\n`],
    ["without a name", `data:${both}\n\n`, `data: ${one}\n\n`],
    ["an empty name", `event:\ndata: ${both}\n\n`, `event:\ndata: ${one}\n\n`],
    ["CRLF", `data: ${both}\r\n\r\n`, `data: ${one}\n\n`],
    ["CR", `data: ${both}\r\r`, `data: ${one}\n\n`],
    ["data on two lines", `data: ${both.slice(0, 17)}\ndata: ${both.slice(17)}\n\n`, `data: ${one}\n\n`],
    ["one that does not end", `data: ${both}`, `data: ${one}`],
    ["one to begin with, and a comment", `id: 0\ndata: \n\n: x\n\n`, `id: 0\ndata: \n\n: x\n\n`],
    ["another name", `event: other\ndata: text\n\n`, `event: other\ndata: text\n\n`],
    ["nothing", "", ""],
    ["half a million lines", `${":\n".repeat(500_000)}\n`, `${":\n".repeat(500_000)}\n`],
  ];
  for (const [name, text, wanted] of rows) {
    await t.step(name, () => assertEquals(narrowEvents(["read_*"], text), wanted));
  }
  await t.step("not read: a message that is no JSON", () => {
    assertEquals(isUnreadable(narrowEvents(["read_*"], `data: ${both}\n\ndata: x\n\n`)), true);
  });
});

Deno.test("toolsToShow() is about requests for the list under rules that say so", () => {
  const rule = { mcpTool: ["read_*"], mcpFilterList: true } as const;
  const asked = (...methods: string[]) => ({ mcp: methods.map((method) => ({ method })) });
  assertEquals(toolsToShow(rule, asked("ping", "tools/list")), ["read_*"]);
  assertEquals(toolsToShow(rule, asked("tools/call")), undefined);
  assertEquals(toolsToShow({ mcpTool: ["read_*"] }, asked("tools/list")), undefined);
  assertEquals(toolsToShow(rule, undefined), undefined);
});
