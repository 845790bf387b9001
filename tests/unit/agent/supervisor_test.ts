import { assert, assertEquals, assertRejects } from "@std/assert";
import { isSupervised, stopSupervisor, supervise } from "../../../agent/supervisor.ts";
import { ProxyError } from "../../../core/errors.ts";
import { withFolder } from "./support.ts";

Deno.test("supervise() starts a helper again when it ends, and stops it when asked", () =>
  withFolder(async (dir) => {
    const socket = `${dir}/socket`;
    await Deno.writeTextFile(socket, ""); // as kill -9 leaves one behind
    const log: string[] = [];
    const command = ["sh", "-c", `echo $$ >> ${dir}/pids; exec cat`];
    const never = new Promise<void>(() => {});
    assert(!await isSupervised(socket));
    const running = supervise({ command, socket, log: (line) => log.push(line), stopAsked: never });
    const pids = async () =>
      (await Deno.readTextFile(`${dir}/pids`).catch(() => "")).split("\n").filter(Boolean).map(Number);
    await until(async () => (await pids()).length === 1);
    assert(await isSupervised(socket));
    const second = supervise({ command, socket, log: () => {}, stopAsked: never });
    assertEquals((await assertRejects(() => second, ProxyError)).code, "agent.failed");
    Deno.kill((await pids())[0] ?? 0, "SIGKILL");
    await until(async () => (await pids()).length === 2);
    assertEquals(log.length, 1);
    await stopSupervisor(socket);
    await running;
    assert(!await isSupervised(socket));
    for (const pid of await pids()) assert(!isAlive(pid));
    await stopSupervisor(socket); // nothing to stop is fine
  }));

function isAlive(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT");
    return true;
  } catch {
    return false;
  }
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 8_000; performance.now() < end;) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`it did not come true: ${isSo}`);
}
