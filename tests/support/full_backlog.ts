/** A port where connects neither succeed nor fail: a listener of another process that never accepts and whose queue is full. */
import { closeQuietly } from "../../proxy/streams/byte_reader.ts";
import { hasProgram } from "./programs.ts";

const LISTEN = `import socket, sys
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(0)
print(s.getsockname()[1], flush=True)
sys.stdin.read()`;

/** See {@linkcode startFullBacklog}. */
export interface FullBacklog extends AsyncDisposable {
  readonly port: number;
}

/** Whether it can be had here: Deno cannot choose a backlog, Python can. */
export const hasFullBacklog = Deno.build.os === "linux" && hasProgram("python3");

/** Starts it. */
export async function startFullBacklog(): Promise<FullBacklog> {
  const child = new Deno.Command("python3", { args: ["-c", LISTEN], stdin: "piped", stdout: "piped" })
    .spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let line = "";
  while (!line.includes("\n")) line += (await reader.read()).value ?? "\n";
  const port = Number(line);
  const held: Deno.TcpConn[] = [];
  for (;;) {
    try {
      held.push(await Deno.connect({ hostname: "127.0.0.1", port, signal: AbortSignal.timeout(300) }));
    } catch {
      break;
    }
  }
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      held.forEach(closeQuietly);
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}
