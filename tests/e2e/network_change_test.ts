// deno-lint-ignore-file no-console
/** A host that loses the address from which it has dialled, in network namespaces: whoever waits on such a connection is told. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Collected, Program, programCommand } from "../support/program.ts";
import { hasProgram, runProgram } from "../support/programs.ts";

const [HOST, OUTSIDE] = [`slicer-host-${Deno.pid}`, `slicer-out-${Deno.pid}`];

/** Takes requests and never answers. */
const SILENT = `const l = Deno.listen({ hostname: "10.8.0.2", port: 8080 }); console.log("ready");
  for await (const c of l) c.read(new Uint8Array(9999)).then(() => console.log("asked"), () => {});`;

function within(namespace: string, command: string, args: readonly string[], dir: string): Deno.ChildProcess {
  return new Deno.Command("ip", {
    args: ["netns", "exec", namespace, command, ...args],
    cwd: dir,
    clearEnv: true,
    env: new Program(dir, { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }).environment(),
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

Deno.test({
  name: "a request whose connection leaves from an address that goes is told so, and soon",
  ignore: !hasProgram("curl"),
}, async () => {
  const ip = (...args: string[]) => runProgram("ip", args).catch(() => ({ code: 1, stderr: "no ip" }));
  if ((await ip("netns", "add", HOST)).code !== 0) {
    console.log("skipped: network namespaces are not permitted here");
    return;
  }
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => void await ip("netns", "delete", HOST));
  await ip("netns", "add", OUTSIDE);
  stack.defer(async () => void await ip("netns", "delete", OUTSIDE));
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-network-" }));
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  await ip("-n", HOST, "link", "set", "lo", "up");
  await ip("-n", HOST, "link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", OUTSIDE);
  for (
    const [namespace, link, address] of [[HOST, "up0", "10.8.0.1/24"], [
      OUTSIDE,
      "up1",
      "10.8.0.2/24",
    ]] as const
  ) {
    await ip("-n", namespace, "address", "add", address, "dev", link);
    await ip("-n", namespace, "link", "set", link, "up");
  }
  const run = (child: Deno.ChildProcess) => {
    const out = { stdout: new Collected(child.stdout), stderr: new Collected(child.stderr) };
    stack.defer(async () => {
      child.kill("SIGTERM");
      await Promise.all([child.status, out.stdout.ended, out.stderr.ended]);
    });
    return out;
  };
  const upstream = run(within(OUTSIDE, Deno.execPath(), ["eval", SILENT], dir));
  await upstream.stdout.wait(/ready/, 60_000);
  const { command, args } = programCommand(["up", "--workers", "1"]);
  const proxy = run(within(HOST, command, args, dir));
  await proxy.stderr.wait(/ listening on /, 60_000);
  const program = new Program(dir);
  const token = await program.ok(["client", "create", "one"]);
  await program.ok(["allow", "one", "--host", "10.8.0.2", "--port", "8080"]);
  const asking = runProgram("ip", [
    ...["netns", "exec", HOST, "curl", "-sS", "-m", "60", "-i", "-x", `http://proxy:${token}@127.0.0.1:3128`],
    "http://10.8.0.2:8080/",
  ], { ms: 90_000 });
  await upstream.stdout.wait(/asked/, 30_000);
  await ip("-n", HOST, "address", "del", "10.8.0.1/24", "dev", "up0");
  const { code, stdout } = await asking;
  assertEquals(code, 0, stdout);
  assertStringIncludes(stdout, "HTTP/1.1 502 ");
  assertStringIncludes(stdout, "X-Slicer-Proxy-Reason: upstream-closed");
});
