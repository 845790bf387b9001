import { assert, assertEquals, assertFalse, assertStringIncludes, assertThrows } from "@std/assert";
import { type CommandSpec, splitCommas, splitPaths } from "../../../../cli/command/command.ts";
import { COMMANDS } from "../../../../cli/command/commands.ts";
import { commandHelp } from "../../../../cli/command/help.ts";
import { asksForHelp, HELP_FLAG, parseCommandLine } from "../../../../cli/command/parse.ts";
import { ProxyError } from "../../../../core/errors.ts";

const SPEC: CommandSpec = {
  name: "paint",
  summary: "paint a wall",
  arguments: [{ name: "WALL", description: "which" }],
  flags: [
    { name: "colour", placeholder: "C", description: "", isRequired: true },
    { name: "method", placeholder: "M", description: "", isRepeatable: true, split: splitCommas },
    { name: "path", placeholder: "P", description: "", isRepeatable: true, split: splitPaths },
    { name: "ca", placeholder: "FILE", description: "", isRepeatable: true },
    { name: "mode", placeholder: "MODE", description: "", choices: ["strict", "audit"], default: "strict" },
    { name: "no-ca", placeholder: "HOST", description: "", isRepeatable: true },
    { name: "file", short: "f", placeholder: "FILE", description: "" },
    { name: "dry-run", short: "n", description: "" },
  ],
  examples: ["paint"],
  load: () => Promise.reject(new Error("not called")),
};

Deno.test("parseCommandLine() reads values literally", async (t) => {
  const rows: readonly (readonly [string, readonly string[], string, readonly string[]])[] = [
    ["a value apart", ["w", "--colour", "red"], "colour", ["red"]],
    ["a value attached", ["w", "--colour=red"], "colour", ["red"]],
    ["a number stays text", ["w", "--colour", "007"], "colour", ["007"]],
    ["a lone dash", ["w", "--colour", "-"], "colour", ["-"]],
    ["a value with one dash", ["w", "--colour", "-red"], "colour", ["-red"]],
    ["dashes when attached", ["w", "--colour=--red"], "colour", ["--red"]],
    ["equals signs, newlines and dots", ["w", "--colour", "a=b\n=c.d"], "colour", ["a=b\n=c.d"]],
    ["flags before the argument", ["--colour", "red", "w"], "colour", ["red"]],
    ["repeats and comma lists", ["w", "--colour=r", "--method", "GET,POST", "--method", "PUT"], "method", [
      "GET",
      "POST",
      "PUT",
    ]],
    ["a path with a comma", ["w", "--colour=r", "--path", "/a,b,/c/*,*"], "path", ["/a,b", "/c/*", "*"]],
    ["no splitting of files", ["w", "--colour=r", "--ca", "a,b", "--ca=h=f"], "ca", ["a,b", "h=f"]],
    [
      "a flag that begins with no-, and is not the other one",
      ["w", "--colour=r", "--no-ca=a", "--ca", "b"],
      "no-ca",
      [
        "a",
      ],
    ],
    ["a short flag", ["w", "--colour=r", "-f", "x"], "file", ["x"]],
    ["a choice", ["w", "--colour=r", "--mode", "audit"], "mode", ["audit"]],
    ["a switch does not swallow `true`", ["--colour=r", "--dry-run", "true"], "dry-run", [""]],
    ["absent", ["w", "--colour=r"], "method", []],
  ];
  for (const [name, tokens, flag, expected] of rows) {
    await t.step(name, () => assertEquals(parseCommandLine(SPEC, tokens).list(flag), expected));
  }
  await t.step("defaults", () => {
    const args = parseCommandLine(SPEC, ["w", "--colour=r"]);
    assertEquals(args.text("mode"), "strict");
    assertEquals(args.text("file"), undefined);
    assertFalse(args.has("mode"));
    assertFalse(args.has("dry-run"));
  });
  await t.step("after -- nothing is a flag", () => {
    assertEquals(parseCommandLine(SPEC, ["--colour=r", "--", "--colour"]).argument("WALL"), "--colour");
  });
  await t.step("an argument that looks like a number or a boolean", () => {
    assertEquals(parseCommandLine(SPEC, ["--colour=r", "1"]).argument("WALL"), "1");
    assertEquals(parseCommandLine(SPEC, ["--colour=r", "-n", "true"]).argument("WALL"), "true");
  });
});

Deno.test("parseCommandLine() refuses what it would have to guess", async (t) => {
  const rows: readonly (readonly [string, readonly string[], string, string | undefined])[] = [
    ["an unknown flag", ["w", "--color", "x"], "--color: ", "did you mean --colour?"],
    ["an unknown flag with a value", ["w", "--tokn=spi_secret"], "--tokn: ", undefined],
    ["an unknown short flag", ["w", "-x"], "-x: ", undefined],
    ["a negated flag", ["w", "--no-dry-run"], "--no-dry-run: ", undefined],
    ["a nested flag", ["w", "--colour.x=1"], "--colour.x: ", "did you mean --colour?"],
    ["no value at the end", ["w", "--colour"], "it needs a value", undefined],
    ["a flag instead of a value", ["w", "--colour", "--method"], "it needs a value", "write --colour C; "],
    ["a short flag instead of a value", ["w", "--colour", "-n"], "it needs a value", undefined],
    ["-- instead of a value", ["w", "--colour", "--", "x"], "it needs a value", undefined],
    ["an empty value", ["w", "--colour", ""], "an empty value", "is a variable unset?"],
    ["an empty attached value", ["w", "--colour="], "an empty value", undefined],
    ["an empty piece", ["w", "--colour=r", "--method", "GET,"], "an empty value", undefined],
    ["an empty path piece", ["w", "--colour=r", "--path", "/a,"], "an empty value", undefined],
    ["a value for a switch", ["w", "--colour=r", "--dry-run=true"], "it is a switch", "write --dry-run or"],
    ["a single flag twice", ["w", "--colour=r", "--colour=r"], "2 times", undefined],
    [
      "a value that is no choice",
      ["w", "--colour=r", "--mode=stict"],
      "takes strict, audit",
      "did you mean strict?",
    ],
    ["no required flag", ["w"], "--colour is missing", "usage: slicer-proxy paint WALL --colour C [flags]"],
    ["no argument", ["--colour=r"], "WALL is missing", "usage: "],
    ["an empty argument", ["", "--colour=r"], "WALL is empty", "is a variable unset?"],
    ["too many arguments", ["w", "spi_secret", "--colour=r"], "takes one argument, and got 2", "usage: "],
  ];
  for (const [name, tokens, message, hint] of rows) {
    await t.step(name, () => {
      const error = assertThrows(() => parseCommandLine(SPEC, tokens), ProxyError);
      assertEquals(error.code, "cli.usage");
      assertStringIncludes(error.message, message);
      if (hint !== undefined) assertStringIncludes(error.hint ?? "", hint);
      assertFalse(`${error.message} ${error.hint}`.includes("spi_secret"));
    });
  }
});

Deno.test("asksForHelp() sees the flag but not a value", () => {
  assert(asksForHelp(SPEC, ["w", "--help"]));
  assert(asksForHelp(SPEC, ["-h"]));
  assert(asksForHelp(SPEC, ["--nonsense", "-h"]));
  assert(asksForHelp(SPEC, ["--colour", "--help"]));
  assertFalse(asksForHelp(SPEC, ["--", "--help"]));
  assertFalse(asksForHelp(SPEC, ["w", "--colour=--help"]));
});

Deno.test("COMMANDS have distinct names, complete rows and help with an example", async (t) => {
  assertEquals(new Set(COMMANDS.map((each) => each.name)).size, COMMANDS.length);
  for (const spec of COMMANDS) {
    await t.step(spec.name, () => {
      const names = (spec.flags ?? []).map((flag) => flag.name);
      assertEquals(new Set(names).size, names.length);
      for (const flag of spec.flags ?? []) {
        if (flag.split) assert(flag.isRepeatable, flag.name);
        if (flag.choices && flag.default) assert(flag.choices.includes(flag.default), flag.name);
        assertFalse(/^[A-Z][a-z]|\.$/.test(flag.description), flag.description);
      }
      const help = commandHelp(spec, HELP_FLAG);
      for (const name of names) assertStringIncludes(help, `--${name}`);
      for (const example of spec.examples) {
        assertStringIncludes(help, example);
        assertStringIncludes(example, `slicer-proxy ${spec.name}`);
      }
    });
  }
});

Deno.test("COMMANDS' examples are command lines that parse", async (t) => {
  for (const spec of COMMANDS) {
    for (const example of spec.examples) {
      await t.step(example, () => {
        // The shell takes redirections and pipes for itself; what follows a pipe is another row's example.
        const [command = ""] = example.split(/ [>|] /);
        const line = command.replace(/^.*?slicer-proxy /, "").replace(/\)$/, "").slice(spec.name.length);
        const tokens = line.match(/'[^']*'|\S+/g) ?? [];
        parseCommandLine(spec, tokens.map((token) => token.replaceAll("'", "")));
      });
    }
  }
});

Deno.test("CommandArgs throws when a command asks for what its row does not declare", () => {
  const args = parseCommandLine(SPEC, ["w", "--colour=r"]);
  assertThrows(() => args.text("color"), TypeError);
  assertThrows(() => args.has("x"), TypeError);
  assertThrows(() => args.argument("FLOOR"), TypeError);
  assertThrows(() => args.textOf("file"), TypeError);
});
