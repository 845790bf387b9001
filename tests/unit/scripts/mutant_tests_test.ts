import { assertEquals } from "@std/assert";
import { linesOf, type TestFile, testsOf } from "../../../scripts/mutant_tests.ts";

Deno.test("linesOf() joins what several processes ran, of the folders asked for", () => {
  const lcov = [
    "SF:/clone/policy/path.ts",
    "DA:1,1",
    "DA:2,0",
    "DA:9,0",
    "end_of_record",
    "SF:/clone/api/app.ts",
    "DA:1,1",
    "end_of_record",
    "SF:/clone/policy/path.ts",
    "DA:1,0",
    "DA:9,3",
    "end_of_record",
  ].join("\n");
  assertEquals(linesOf(lcov, "/clone", ["policy"]), {
    ran: { "policy/path.ts": [1, 9] },
    code: { "policy/path.ts": [1, 2, 9] },
  });
});

Deno.test("testsOf() gives the tests that run a line, the file's own first, then the quick ones", () => {
  const make = (path: string, ms: number, ran: readonly number[]): TestFile => ({
    path,
    ms,
    ran: { "policy/path.ts": ran },
    code: { "policy/path.ts": [1, 3, 4, 5, 8, 9, 10, 11, 12, 20] },
  });
  const tests = [
    make("tests/e2e/slow_test.ts", 9_000, [1, 3, 9, 20]),
    make("tests/e2e/quick_test.ts", 100, [1, 3, 9, 20]),
    make("tests/unit/policy/path_test.ts", 500, [1, 3, 4, 5, 8, 9, 10, 11, 12]),
    make("tests/unit/policy/other_test.ts", 50, [1]),
  ];
  const pathsFor = (line: number) => testsOf(tests, "policy/path.ts", line).map(({ path }) => path);
  const all = ["tests/unit/policy/path_test.ts", "tests/e2e/quick_test.ts", "tests/e2e/slow_test.ts"];
  assertEquals(pathsFor(9), all);
  assertEquals(pathsFor(12), all); // perhaps a guard whose end was not run: a line near it was
  assertEquals(pathsFor(30), all); // the middle of an expression that begins on line 20
  assertEquals(pathsFor(1), [
    "tests/unit/policy/path_test.ts",
    "tests/unit/policy/other_test.ts",
    ...all.slice(1),
  ]);
  assertEquals(testsOf(tests, "policy/rule.ts", 1), []);
});
