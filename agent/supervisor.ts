/**
 * Keeps the helper running where there is no systemd: starts it, and starts it again when it ends. A socket that only root
 * may open stands for it: who can connect knows that it runs, and may ask it to stop.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { startAccepting } from "../core/accept_loop.ts";
import { messageOf, ProxyError } from "../core/errors.ts";
import { currentNames } from "./names.ts";
import { SELF, SMALL_ENVIRONMENT } from "./programs.ts";
import { closeQuietly } from "./proxy_link.ts";

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;
/** A helper that has run for so long was well: the next pause is the first again. */
const WELL_AFTER_MS = 30_000;

/** The command, with the compiled program by the one name that it has the right to run. */
function throughSelf([program = "", ...args]: readonly string[]): readonly string[] {
  return [Deno.build.standalone && program === Deno.execPath() ? SELF : program, ...args];
}

/** Starts a supervisor that outlives this process. */
export function startSupervisor(command: readonly string[]): void {
  const [program = "", ...args] = throughSelf(command);
  const log = openSync(currentNames().log, "a", 0o600);
  try {
    // Only node:child_process can put a process into a session of its own, where no terminal's end reaches it.
    spawn(program, args, { detached: true, stdio: ["ignore", log, log], cwd: "/", env: SMALL_ENVIRONMENT })
      .unref();
  } finally {
    closeSync(log);
  }
}

/** True when a supervisor answers. */
export async function isSupervised(socket = currentNames().socket): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path: socket })).close();
    return true;
  } catch {
    return false;
  }
}

/** Asks the supervisor to stop, and waits until it and its helper have. None running is no failure. */
export async function stopSupervisor(socket = currentNames().socket): Promise<void> {
  let conn: Deno.UnixConn;
  try {
    conn = await Deno.connect({ transport: "unix", path: socket });
  } catch {
    return;
  }
  const timer = setTimeout(() => closeQuietly(conn), 15_000);
  try {
    await conn.write(new TextEncoder().encode("stop\n"));
    while (await conn.read(new Uint8Array(16)) !== null); // it closes when the helper has ended
  } catch {
    // It went away at once.
  } finally {
    clearTimeout(timer);
    closeQuietly(conn);
  }
}

export interface SuperviseOptions {
  /** Starts one helper; it is ended by `kill`, and ends by itself when its standard input does. */
  readonly command: readonly string[];
  readonly socket?: string;
  readonly log: (line: string) => void;
  /** Ends the supervision from outside: a signal. */
  readonly stopAsked: Promise<unknown>;
}

/**
 * Supervises until it is asked to stop.
 *
 * @throws ProxyError `agent.failed` when another one is running
 */
export async function supervise(options: SuperviseOptions): Promise<void> {
  const { command, socket = currentNames().socket, log } = options;
  if (await isSupervised(socket)) {
    throw new ProxyError("agent.failed", "Cannot supervise the helper: another supervisor is running");
  }
  await Deno.remove(socket).catch(() => {}); // left behind by kill -9
  const listener = Deno.listen({ transport: "unix", path: socket });
  await Deno.chmod(socket, 0o600);
  const asked = Promise.withResolvers<void>();
  const open = new Set<Deno.UnixConn>();
  const accepting = startAccepting(listener, {
    name: socket,
    serve: async (conn) => {
      open.add(conn);
      if (await asksToStop(conn)) return asked.resolve(); // and learns by the end of its connection that it is done
      open.delete(conn);
      closeQuietly(conn);
    },
    onServeError: (error) => log(`unexpected: ${messageOf(error)}`),
    warn: log,
  });
  options.stopAsked.then(() => asked.resolve());
  try {
    await keepRunning(command, asked.promise, log);
  } finally {
    await accepting[Symbol.asyncDispose]();
    await Deno.remove(socket).catch(() => {});
    for (const conn of open) closeQuietly(conn);
  }
}

/** True when the connection says that the supervisor is to stop. */
async function asksToStop(conn: Deno.UnixConn): Promise<boolean> {
  const buffer = new Uint8Array(16);
  const count = await conn.read(buffer).catch(() => null);
  return count !== null && new TextDecoder().decode(buffer.subarray(0, count)).startsWith("stop");
}

async function keepRunning(
  command: readonly string[],
  stop: Promise<void>,
  log: (line: string) => void,
): Promise<void> {
  const [program = "", ...args] = throughSelf(command);
  let isStopping = false;
  stop.then(() => isStopping = true);
  for (let pauseMs = FIRST_PAUSE_MS; !isStopping;) {
    const startedAt = performance.now();
    const child = new Deno.Command(program, {
      args: [...args],
      cwd: "/",
      stdin: "piped", // ends with us, and the helper with it
      stdout: "inherit",
      stderr: "inherit",
    }).spawn();
    await Promise.race([child.status, stop]);
    if (isStopping) {
      kill(child);
      await child.stdin.close().catch(() => {});
      await child.status;
      return;
    }
    await child.stdin.close().catch(() => {});
    const { code, signal } = await child.status;
    if (performance.now() - startedAt > WELL_AFTER_MS) pauseMs = FIRST_PAUSE_MS;
    log(`the helper ended (${signal ?? `code ${code}`}); it starts again in ${pauseMs} ms`);
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([stop, new Promise<void>((resolve) => timer = setTimeout(resolve, pauseMs))]);
    clearTimeout(timer);
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
  }
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGTERM");
  } catch (error) {
    if (!(error instanceof TypeError)) throw new Error(messageOf(error), { cause: error }); // it has ended already
  }
}
