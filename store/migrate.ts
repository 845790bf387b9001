/**
 * A policy from one store to another: rows as they are, sealed by the same key.
 *
 * Not here: where the two are (`cli/store/cmd_migrate.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { batchesOf } from "./batches.ts";
import { CA_PREFIX } from "./cas.ts";
import { CLIENT_PREFIX } from "./clients.ts";
import type { Engine, Mutation, SealedEngine } from "./engine.ts";
import { openKeys } from "./load.ts";
import { RULE_PREFIX } from "./rules.ts";
import { checkSealedRow } from "./sealed_rows.ts";
import { SECRET_PREFIX } from "./secrets.ts";
import { SUSPENSION_PREFIX } from "./suspensions.ts";

/** What is of the policy. What was used of budgets is a host's own, and stays. */
const PREFIXES = [CLIENT_PREFIX, RULE_PREFIX, SECRET_PREFIX, CA_PREFIX, SUSPENSION_PREFIX];

/** How much was copied. */
export interface Migrated {
  readonly clients: number;
  readonly rules: number;
  readonly secrets: number;
  /** Host groups whose CA is among it. */
  readonly cas: number;
}

/**
 * Copies everything from one database to a new one. The new one counts only when all of it is there: until then it is made
 * anew by the next try.
 *
 * @param sealKeyFile the key of both, which has to be there
 * @param nowMs what rules' ends are compared with
 * @throws ProxyError `input.conflict` when the target holds a policy already, `input.not-found` for an empty source, `seal.*`
 */
export async function migrate(
  { from, to }: { readonly from: Engine & SealedEngine; readonly to: Engine & SealedEngine },
  sealKeyFile: string,
  nowMs: number,
): Promise<Migrated> {
  if (from.sealCheck === undefined) {
    throw new ProxyError("input.not-found", "Cannot migrate: there is no policy in the source");
  }
  if (to.sealCheck !== undefined) {
    throw new ProxyError("input.conflict", "Cannot migrate: the target holds a policy already", {
      hint: "name another fleet with --fleet, or another state folder",
    });
  }
  const { id, sealing } = await openKeys(from, sealKeyFile);
  const mutations: Mutation[] = [];
  const counts: number[] = [];
  for (const prefix of PREFIXES) {
    const before = mutations.length;
    for await (const { key, value } of from.rows(prefix)) {
      await checkSealedRow({ key, value }, sealing); // another key may have come since the source was opened
      mutations.push(putBack(key, value, nowMs));
    }
    counts.push(mutations.length - before);
  }
  if (to.fill) await to.fill(from.sealCheck, id, mutations);
  else {
    for (const batch of batchesOf(mutations, to.commitBounds)) await to.commit(batch);
    await to.initialise(from.sealCheck, id);
  }
  const [clients = 0, rules = 0, secrets = 0, cas = 0] = counts;
  return { clients, rules, secrets, cas };
}

function putBack(key: Deno.KvKey, value: unknown, nowMs: number): Mutation {
  if (typeof value !== "object" || value === null) {
    throw new ProxyError("state.damaged", "Cannot migrate: a row of the source cannot be read", {
      hint: "restore it from a backup",
    });
  }
  const fields = Object.fromEntries(Object.entries(value));
  const { expiresAt } = fields;
  // An end that has passed already is looked at again at the next start.
  const expireInMs = typeof expiresAt === "number" ? { expireInMs: Math.max(1, expiresAt - nowMs) } : {};
  return { key, value: fields, ...expireInMs };
}
