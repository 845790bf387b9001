/** Connections that are reset before anybody can accept them: connect, then RST, with nothing in between. Deno cannot, Python can. */
import { hasProgram } from "./programs.ts";

const RESET = `import socket, struct, sys, time
host, port, rate, most = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
for i in range(1, most + 1):
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    try:
        s.connect((host, port))
    except OSError as error:
        print("failed", error, flush=True)
        break
    s.close()
    if i % 10 == 0: print(i, flush=True)
    time.sleep(1 / rate)
sys.stdin.read()`;

/** Whether they can be made here. */
export const hasResets = Deno.build.os === "linux" && hasProgram("python3");

/** See {@linkcode startResets}. */
export interface Resets extends AsyncDisposable {
  /** How many were made so far, to the last ten; -1 once nobody listens any more. */
  readonly made: number;
}

/** Makes them in a process of its own, `perSecond` of them and at most `most`, until it is disposed. */
export function startResets(
  port: number,
  { host = "127.0.0.1", perSecond = 500, most = 50_000 } = {},
): Resets {
  const child = new Deno.Command("python3", {
    args: ["-c", RESET, host, String(port), String(perSecond), String(most)],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  let made = 0;
  const reading = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const last = text.trim().split("\n").at(-1) ?? "";
      made = last.startsWith("failed") ? -1 : Number(last);
    }
  })();
  let ended: Promise<void> | undefined;
  const end = async () => {
    child.kill("SIGKILL"); // it waits for us when it has made all
    await child.stdin.close().catch(() => {});
    await reading;
    await child.status;
  };
  return {
    get made() {
      return made;
    },
    [Symbol.asyncDispose]: () => ended ??= end(),
  };
}
