import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { shownKey, YamlSource } from "../../../policy/yaml_tree.ts";

const read = (text: string) => new YamlSource(text, "t.yaml");

Deno.test("YamlSource knows where each value begins, also an empty one", () => {
  const { root } = read("-\n- a\n- 'b'\n-\n");
  assertEquals(root.kind === "list" && root.items.map(({ at }) => at), [0, 4, 8, 10]);
  const scalar = read("a").root;
  assertEquals(scalar, { kind: "scalar", at: 0, text: "a", isPlain: true });
  assertEquals(read("'a'").root, { kind: "scalar", at: 0, text: "a", isPlain: false });
});

Deno.test("YamlSource counts lines and columns from 1, whatever ends a line", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const source = read(["a: 1", "b:", "  c: 2", ""].join(end));
    const at = (character: string) => `a: 1${end}b:${end}  c: 2`.indexOf(character);
    assertEquals([source.place(0), source.place(at("b")), source.place(at("c"))], [
      ...["t.yaml:1:1", "t.yaml:2:1", "t.yaml:3:3"],
    ]);
  }
});

Deno.test("YamlSource refuses what lets a file mean something else than it shows", async (t) => {
  const plain = "write plain YAML: texts, lists and maps, without anchors, aliases, merge keys and tags";
  const rows: readonly [string, string, string][] = [
    ["an anchor at a text", "&a x", `1:1: it has an anchor | ${plain}`],
    ["an anchor at a list", "- &a [x]", `1:3: it has an anchor | ${plain}`],
    ["an anchor at a map", "- &a {x: 1}", `1:3: it has an anchor | ${plain}`],
    ["a tag at a text", "!!str x", `1:1: it has a tag | ${plain}`],
    ["a tag at a list", "- !!seq [x]", `1:3: it has a tag | ${plain}`],
    ["a tag at a map", "- !!map {x: 1}", `1:3: it has a tag | ${plain}`],
    ["a key that is a list", "? [a]\n: 1", `1:3: a key is a list or a map | ${plain}`],
    [
      "a text that is too long",
      " ".repeat(1_048_577),
      "1:1: it is longer than 1048576 characters | split it over several files",
    ],
  ];
  for (const [name, text, expected] of rows) {
    await t.step(name, () => {
      const { message, hint } = assertThrows(() => read(text), ProxyError);
      assertEquals(`${message.replace("Cannot read t.yaml:", "")} | ${hint}`, expected);
    });
  }
  await t.step("a text of the longest length", () => {
    assertEquals(read("a".padEnd(1_048_576)).root.at, 0);
  });
});

Deno.test("shownKey() shows 40 characters of a key", () => {
  const shown = `"${"k".repeat(40)}"`;
  assertEquals([shownKey("k".repeat(40)), shownKey("k".repeat(41))], [shown, shown]);
});
