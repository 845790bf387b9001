/**
 * What a proxy's probe says of the requests that it is asked meanwhile.
 *
 * @module
 */
import type { Lab } from "./lab.ts";
import { type Measure, PROBE_SOCKET } from "./probe.ts";

/** The module that a lab has to load before the program. */
export const PROBE = new URL("./probe.ts", import.meta.url).pathname;

/** Runs `load` while the probe measures, and returns what it says. */
export async function probed(lab: Lab, measure: Measure, load: () => Promise<void>): Promise<unknown> {
  const conn = await Deno.connect({ transport: "unix", path: `${lab.dir}/${PROBE_SOCKET}` });
  await conn.write(new TextEncoder().encode(measure));
  await conn.read(new Uint8Array(1));
  await load();
  await conn.closeWrite();
  return await new Response(conn.readable).json();
}
