/**
 * The engine of this proxy without the proxy (`engine.ts`): the floor of what TypeScript can do here.
 *
 * @module
 */
import type { Peer } from "./peer.ts";
import type { Rig } from "./rig.ts";
import { UPSTREAM_PORT } from "./settings.ts";

/** Its column. */
export const ENGINE = "engine alone";

/** Starts it. */
export async function startEngine(rig: Rig, v8Flags?: string): Promise<Peer> {
  const dir = await rig.folder("engine");
  const port = rig.port();
  const leaf = `${rig.dir}/intercept/leaf`;
  const program = new URL("./engine.ts", import.meta.url).pathname;
  const args = [`${port}`, `${leaf}.crt`, `${leaf}.key`, rig.upstreamCa, `${UPSTREAM_PORT}`];
  const flags = [
    ...v8Flags === undefined ? [] : [`--v8-flags=${v8Flags}`],
    ...["--no-prompt", "--allow-net", "--allow-read"],
  ];
  const command = [Deno.execPath(), "run", ...flags, program, ...args];
  const started = await rig.start(command, { dir, port });
  return {
    name: ENGINE,
    inspected: { proxyPort: port, originPort: UPSTREAM_PORT, caFile: rig.interceptCa },
    passthrough: undefined,
    pids: [started.pid],
    startMs: started.startMs,
    settings: command.join(" "),
    logFile: undefined, // it keeps none
    stop: started.stop,
  };
}
