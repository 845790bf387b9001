// deno-lint-ignore-file no-console
/** `up --bind` in a real network namespace: the address appears, and goes again. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { hasProgram, runProgram } from "../support/programs.ts";
import { Collected, Program, programCommand } from "../support/program.ts";

const NAMESPACE = `slicer-test-${Deno.pid}`;

async function ip(...args: string[]): Promise<{ success: boolean; stdout: string }> {
  try {
    const { success, stdout } = await new Deno.Command("ip", { args, stdout: "piped", stderr: "null" })
      .output();
    return { success, stdout: new TextDecoder().decode(stdout) };
  } catch {
    return { success: false, stdout: "" };
  }
}

Deno.test("up --bind makes the address and removes it when it stops", async () => {
  if (!(await ip("netns", "add", NAMESPACE)).success) {
    console.log("skipped: network namespaces are not permitted here");
    return;
  }
  const dir = await Deno.makeTempDir();
  try {
    await ip("-n", NAMESPACE, "link", "set", "lo", "up");
    const { command, args } = programCommand(["up", "--bind", "192.168.222.1/24"]);
    const child = new Deno.Command("ip", {
      args: ["netns", "exec", NAMESPACE, command, ...args],
      cwd: dir,
      clearEnv: true,
      env: new Program(dir, { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }).environment(),
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const words = new Collected(child.stderr);
    await words.wait(/listening on 192\.168\.222\.1:3128/, 30_000);
    assertStringIncludes(words.text, "made the address 192.168.222.1 on ");
    // On loopback a network would be this machine as a whole, and no VM in it would get an answer.
    const isOnLoopback = words.text.includes("192.168.222.1 on lo;");
    const made = `inet 192.168.222.1/${isOnLoopback ? 32 : 24} `;
    assertStringIncludes((await ip("-n", NAMESPACE, "address")).stdout, made);
    const local = (await ip("-n", NAMESPACE, "route", "show", "table", "local")).stdout;
    assert(!local.includes("local 192.168.222.0/24"), local);
    child.kill("SIGTERM");
    await words.ended;
    assert((await child.status).success);
    const after = await ip("-n", NAMESPACE, "address");
    assert(after.success && !after.stdout.includes("192.168.222.1"), after.stdout);
  } finally {
    await ip("netns", "delete", NAMESPACE);
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test({
  name: "a bound address that goes is said, made again or waited for, and served when it is back",
  ignore: !hasProgram("curl"),
}, async (t) => {
  const namespace = `${NAMESPACE}-back`;
  if (!(await ip("netns", "add", namespace)).success) {
    console.log("skipped: network namespaces are not permitted here");
    return;
  }
  const inside = (...args: string[]) => runProgram("ip", ["netns", "exec", namespace, ...args]);
  const dir = await Deno.makeTempDir();
  try {
    await inside("ip", "link", "set", "lo", "up");
    for (const isMade of [true, false]) {
      await t.step(isMade ? "one that the proxy had made" : "one that somebody else had", async () => {
        const address = isMade ? "192.168.222.1" : "10.9.0.1";
        if (!isMade) await inside("ip", "address", "add", `${address}/32`, "dev", "lo");
        const { command, args } = programCommand([
          "up",
          "--bind",
          address,
          "--state-dir",
          `${dir}/${isMade}`,
        ]);
        const child = new Deno.Command("ip", {
          args: ["netns", "exec", namespace, command, ...args],
          cwd: dir,
          clearEnv: true,
          env: new Program(dir, { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }).environment(),
          stdout: "null",
          stderr: "piped",
        }).spawn();
        const words = new Collected(child.stderr);
        const answered = async () =>
          (await inside(
            "curl",
            "-sS",
            "-m",
            "5",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-x",
            `${address}:3128`,
            "http://a.test/",
          )).stdout;
        try {
          await words.wait(new RegExp(` listening on ${address}:3128`), 60_000);
          assertEquals(await answered(), "407");
          const adapter = isMade ? /made the address \S+ on ([a-z0-9-]+);/.exec(words.text)?.[1] ?? "" : "lo";
          await inside("ip", "address", "flush", "dev", adapter, "to", `${address}/32`);
          await words.wait(new RegExp(`the address ${address} has gone: `), 30_000);
          if (!isMade) await inside("ip", "address", "add", `${address}/32`, "dev", "lo");
          await words.wait(new RegExp(`the address ${address} is back, and served again`), 30_000);
          assertEquals(await answered(), "407");
          assertEquals(words.text.match(/has gone:|is back,/g), ["has gone:", "is back,"]);
        } finally {
          child.kill("SIGTERM");
          await words.ended;
          assert((await child.status).success, words.text);
        }
      });
    }
  } finally {
    await ip("netns", "delete", namespace);
    await Deno.remove(dir, { recursive: true });
  }
});
