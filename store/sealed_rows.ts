/**
 * All that a policy has sealed, as rows: the one place that names every kind of sealed row. Another seal key takes over what is
 * listed here, and nothing else.
 *
 * @module
 */
import { writeCa } from "./cas.ts";
import type { Mutation } from "./engine.ts";
import { writeSecret } from "./secrets.ts";
import type { PolicyView } from "./view.ts";

/** Every row of the policy with something sealed in it, sealed anew with `sealing`. */
export async function sealedRows(view: PolicyView, sealing: CryptoKey): Promise<Mutation[]> {
  const secrets = view.secrets().flatMap(({ name }) => view.secret(name) ?? []);
  const cas = view.cas().flatMap(({ hostgroup }) => view.ca(hostgroup) ?? []);
  return await Promise.all([
    ...secrets.map((stored) => writeSecret(sealing, stored)),
    ...cas.map((stored) => writeCa(sealing, stored)),
  ]);
}
