/**
 * The store of `up --store`: its password and CA are read, and what lies in the state folder beside it is pointed out.
 *
 * Not here: joining the fleet (`store/fleet/open.ts`).
 *
 * @module
 */
import { join } from "node:path";
import { logger } from "../../core/log.ts";
import type { FleetOptions } from "../../store/fleet/open.ts";
import { VERSION } from "../command/cmd_version.ts";
import { type FleetStore, readPassword, readStoreCa } from "../store/place.ts";

/** How the fleet is joined. @throws ProxyError `input.invalid` for a file that cannot be read */
export async function openFleetStore(store: FleetStore): Promise<FleetOptions> {
  await readPassword(store); // now, rather than at some dial
  return {
    address: store.address,
    password: () => readPassword(store),
    caPem: await readStoreCa(store),
    fleet: store.fleet,
    hostName: store.hostName,
    graceMs: store.graceMs,
    version: VERSION,
    log: logger("store"),
  };
}

/** A host that joins a fleet leaves the policy behind that it had alone. */
export async function warnOfUnusedState(stateDir: string): Promise<void> {
  const path = join(stateDir, "state.kv");
  const isThere = await Deno.lstat(path).then(() => true, () => false);
  if (isThere) {
    logger("store").warn(`${path} is not used with --store; slicer-proxy store migrate copies what is in it`);
  }
}
