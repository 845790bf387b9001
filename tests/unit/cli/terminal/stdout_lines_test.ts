import { assertEquals } from "@std/assert";
import { startLog } from "../../../../core/log.ts";
import { Output } from "../../../../cli/terminal/output.ts";
import { StdoutLines } from "../../../../cli/terminal/stdout_lines.ts";

/** A stdout that takes one write each time it is told to. */
function makeStdout() {
  const written: string[] = [];
  const taken: (() => void)[] = [];
  const output = new Output(() => {}, () => {}, {
    slowStdout: async (bytes) => {
      await new Promise<void>((resolve) => taken.push(resolve));
      written.push(new TextDecoder().decode(bytes));
    },
  });
  return { output, written, take: () => taken.shift()?.() };
}

/** Until what is ready now is done. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

Deno.test("StdoutLines writes in order, what waits at once", async () => {
  const { output, written, take } = makeStdout();
  await using lines = new StdoutLines(output);
  for (const line of ["1\n", "2\n", "3\n"]) await lines.write(line);
  take();
  await turn();
  take();
  await turn();
  assertEquals(written, ["1\n", "2\n3\n"]);
});

Deno.test("StdoutLines keeps a bounded number of lines for a reader who is slow, and says how many are left out", async () => {
  const said: string[] = [];
  startLog((line) => said.push(line));
  const { output, written, take } = makeStdout();
  await using lines = new StdoutLines(output);
  const block = "x\n".repeat(262_144);
  for (let i = 0; i < 4; i++) await lines.write(block); // the first is under way, two more may wait
  await lines.write("more\n");
  for (let i = 0; i < 2; i++) {
    take();
    await turn();
  }
  assertEquals(written, [block, block + block]);
  assertEquals(said.map((line) => line.replace(/^\S+ /, "")), [
    "warning up: 262145 audit lines are not on stdout, which is read too slowly; they are in the log",
  ]);
  await lines.write("again\n");
  take();
  await turn();
  assertEquals(written.at(-1), "again\n");
});

Deno.test("StdoutLines goes on without a reader, and does not wait for one for ever", async () => {
  let writes = 0;
  const gone = new Output(() => {}, () => {}, {
    slowStdout: () => Promise.reject(new Deno.errors.BrokenPipe(`${++writes}`)),
  });
  await using lines = new StdoutLines(gone);
  for (let i = 0; i < 3; i++) {
    await lines.write("a\n");
    await turn();
  }
  assertEquals(writes, 1);
  const { output, written } = makeStdout();
  const stuck = new StdoutLines(output);
  await stuck.write("a\n");
  await stuck[Symbol.asyncDispose]();
  assertEquals(written, []);
});
