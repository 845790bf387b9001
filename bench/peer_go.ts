/**
 * A small interception proxy on Go's standard library (`peer_go.go`, which says what it leaves out): what the Go peers of this
 * proxy run on. Built here, with the `go` that is installed and without modules; on one core, as one worker is.
 *
 * @module
 */
import { type Peer, RESERVED_TOKENS } from "./peer.ts";
import type { Rig } from "./rig.ts";
import { CREDENTIAL, HOST, TOKEN, UPSTREAM_PORT, USER } from "./settings.ts";

/** Its column. */
export const GO = "Go";

/** Builds and starts it. @throws Error when it does not compile */
export async function startGo(rig: Rig): Promise<Peer> {
  const dir = await rig.folder("go");
  const program = await build(dir);
  const port = rig.port();
  const command = [
    ...[program, `-listen=127.0.0.1:${port}`, `-allow=${HOST}:${UPSTREAM_PORT}`],
    ...[`-ca-dir=${rig.dir}/intercept`, `-upstream-ca=${rig.upstreamCa}`, `-log=${dir}/requests.log`],
    `-user=${USER}:${TOKEN}`,
    ...[`-secret-user=${USER}:${RESERVED_TOKENS.injected}`, `-credential=Bearer ${CREDENTIAL}`],
    `-passing-user=${USER}:${RESERVED_TOKENS.passthrough}`,
  ];
  // One core, as one worker has: with more of them Go gives the collector and the scheduler CPU of their own.
  const started = await rig.start(["env", "GOMAXPROCS=1", ...command], { dir, port });
  const route = { proxyPort: port, originPort: UPSTREAM_PORT };
  return {
    name: GO,
    inspected: { ...route, caFile: rig.interceptCa },
    injected: { ...route, caFile: rig.interceptCa, token: RESERVED_TOKENS.injected },
    passthrough: { ...route, caFile: rig.upstreamCa, token: RESERVED_TOKENS.passthrough },
    pids: [started.pid],
    startMs: started.startMs,
    settings: ["GOMAXPROCS=1", ...command].join(" "),
    logFile: `${dir}/requests.log`,
    stop: started.stop,
  };
}

async function build(dir: string): Promise<string> {
  const program = `${dir}/peer_go`;
  const source = new URL("./peer_go.go", import.meta.url).pathname;
  const { success, stderr } = await new Deno.Command("go", {
    args: ["build", "-o", program, source],
    cwd: dir, // no module's folder
    env: { GO111MODULE: "off", GOFLAGS: "", GOTOOLCHAIN: "local" },
  }).output();
  if (!success) throw new Error(`peer_go.go does not compile: ${new TextDecoder().decode(stderr)}`);
  return program;
}
