/** The demonstration tells the truth: it passes as it is, says what is wrong when something is, and leaves nothing. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { Report } from "../../scripts/demo_report.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Runs `deno task demo` with a temporary folder of its own, which must be empty afterwards. */
async function runDemo(env: Record<string, string> = {}): Promise<{ code: number; text: string }> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-demo-test-" });
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "demo"],
      cwd: ROOT,
      env: { TMPDIR: dir, ...env },
    }).output();
    assertEquals(
      [...Deno.readDirSync(dir)].map(({ name }) => name),
      [],
      "the demonstration left files behind",
    );
    return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("deno task demo shows every step and ends with 0", async () => {
  const { code, text } = await runDemo();
  assertEquals(code, 0, text);
  assertStringIncludes(text, "All 8 steps went as they should.");
  assertMatch(text, /upstream saw[^]*Authorization: Bearer sk-/);
  assertMatch(text, /log +allow client=demo-vm method=POST .* status=200 secret=llm-key /);
  assertMatch(text, /log +deny client=demo-vm .* path=\/v1\/models mode=audit reason=no-rule/);
  assert(!/spi_[\w-]{43}/.test(text), "the demonstration shows the token");
});

Deno.test("deno task demo names what is wrong and ends with 1", async () => {
  const { code, text } = await runDemo({ DENO_INSPECT: "no" });
  assertEquals(code, 1, text);
  assertMatch(text, /Not as it should be:\n +step 0 \(start\): .*cannot run with DENO_INSPECT set/);
});

Deno.test("Report names the steps in which something was not as expected", async () => {
  let text = "";
  const report = new Report((more) => text += more);
  await report.step("good", () => Promise.resolve(report.expect("this", true)));
  assertEquals(text, "\n1. good\n   ok\n");
  await report.step("bad", () => Promise.resolve(report.expect("status 200", false)));
  report.fail(new Error("the proxy is gone"));
  assertEquals(report.finish(), 1);
  assertStringIncludes(text, "\n2. bad\n   WRONG expected: status 200\n   WRONG the proxy is gone\n");
  assertStringIncludes(text, "Not as it should be:\n   step 2 (bad): expected: status 200\n");
});

Deno.test("the task start opens nothing as a whole but network and files", () => {
  const flags = config.tasks.start.split(" ").filter((word) => word.startsWith("-"));
  const open = flags.filter((flag) => !flag.includes("="));
  assertEquals(open, ["--no-prompt", "--allow-net", "--allow-read", "--allow-write"]);
  const named = flags.filter((flag) => flag.includes("=")).map((flag) => flag.split("=", 1)[0] ?? "");
  assertEquals(named.sort(), ["--allow-env", "--allow-ffi", "--allow-run", "--allow-sys", "--v8-flags"]);
});
