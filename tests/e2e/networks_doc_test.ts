// deno-lint-ignore-file no-console
/** The commands of docs/NETWORKS.md, as typed, each in a network namespace of its own: what they bind to is made there. */
import { assert, assertEquals } from "@std/assert";
import { runProgram } from "../support/programs.ts";
import { Collected, Program, programCommand } from "../support/program.ts";

const DOCUMENT = new URL("../../docs/NETWORKS.md", import.meta.url);

/** Every `slicer-proxy up …` of the document, with the lines that a backslash joins. */
function upCommands(text: string): readonly string[] {
  const joined = text.replaceAll(/\\\n\s*/g, "");
  return [...joined.matchAll(/^ {0,4}(slicer-proxy up .*)$/gm)].map(([, command = ""]) => command);
}

Deno.test("the commands of docs/NETWORKS.md start a proxy that listens where they say", async (t) => {
  const text = await Deno.readTextFile(DOCUMENT);
  const commands = upCommands(text);
  assertEquals(commands.length, (text.match(/^ {0,4}slicer-proxy up /gm) ?? []).length);
  assert(commands.length >= 3, "the examples are gone");
  const namespace = `slicer-doc-${Deno.pid}`;
  if ((await runProgram("ip", ["netns", "add", namespace]).catch(() => ({ code: 1 }))).code !== 0) {
    console.log("skipped: network namespaces are not permitted here");
    return;
  }
  const dir = await Deno.makeTempDir({ prefix: "slicer-networks-" });
  try {
    await runProgram("ip", ["-n", namespace, "link", "set", "lo", "up"]);
    await Deno.writeTextFile(`${dir}/corp-password`, "the password\n", { mode: 0o600 });
    for (const command of commands) {
      await t.step(command, async () => {
        const words = command.replaceAll("/etc/slicer", dir).replaceAll("'", "").split(/ +/).slice(1);
        const { command: program, args } = programCommand(words);
        const child = new Deno.Command("ip", {
          args: ["netns", "exec", namespace, program, ...args],
          cwd: dir,
          clearEnv: true,
          env: new Program(dir, { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }).environment(),
          stdout: "null",
          stderr: "piped",
        }).spawn();
        const said = new Collected(child.stderr);
        try {
          await said.wait(/ listening on .*, API on /, 60_000);
          const binds = [...command.matchAll(/--bind (\S+)/g)].map(([, address = ""]) => address);
          for (const address of binds.length > 0 ? binds : ["127.0.0.1"]) {
            const shown = address.includes(":") ? `[${address}]` : address;
            assert(said.text.includes(`${shown}:3128`), said.text);
          }
        } finally {
          child.kill("SIGTERM");
          await said.ended;
          assert((await child.status).success, said.text);
        }
      });
    }
  } finally {
    await runProgram("ip", ["netns", "delete", namespace]);
    await Deno.remove(dir, { recursive: true });
  }
});
