/**
 * All that a policy has sealed, as rows: the one place that names every kind of sealed row. Another seal key takes over what is
 * listed here, and nothing else.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { CA_PREFIX, caBinding, writeCa } from "./cas.ts";
import type { Mutation, Row } from "./engine.ts";
import { RowReader } from "./row.ts";
import { seal, unseal } from "./seal.ts";
import { SECRET_PREFIX, secretBinding, writeSecret } from "./secrets.ts";
import type { PolicyView } from "./view.ts";

/** Prefixes of the kinds of rows that have something sealed in them, each in its field `sealed`. */
export const SEALED_PREFIXES: readonly Deno.KvKey[] = [SECRET_PREFIX, CA_PREFIX];

/** Every row of the policy with something sealed in it, sealed anew with `sealing`. */
export async function sealedRows(view: PolicyView, sealing: CryptoKey): Promise<Mutation[]> {
  const secrets = view.secrets().flatMap(({ name }) => view.secret(name) ?? []);
  const cas = view.cas().flatMap(({ hostgroup }) => view.ca(hostgroup) ?? []);
  return await Promise.all([
    ...secrets.map((stored) => writeSecret(sealing, stored)),
    ...cas.map((stored) => writeCa(sealing, stored)),
  ]);
}

/**
 * Such a row as it is in a store, sealed with another key. All else in it stays, what a newer program has put there included.
 *
 * @throws ProxyError `seal.row-damaged` when it does not open with the key `from`, `state.damaged`
 */
export async function resealRow(
  row: Row,
  { from, to }: { readonly from: CryptoKey; readonly to: CryptoKey },
): Promise<Required<Pick<Mutation, "key" | "value">>> {
  const { binding, plaintext } = await openRow(row, from);
  const fields = Object.fromEntries(Object.entries(Object(row.value)));
  return { key: row.key, value: { ...fields, sealed: await seal(to, binding, plaintext) } };
}

/** @throws ProxyError `seal.row-damaged` when such a row does not open with the key, `state.damaged` */
export async function checkSealedRow(row: Row, key: CryptoKey): Promise<void> {
  if (SEALED_PREFIXES.some(([kind]) => kind === row.key[0])) await openRow(row, key);
}

async function openRow(row: Row, key: CryptoKey) {
  const what = row.key.join(" ");
  const binding = row.key[0] === CA_PREFIX[0] ? caBinding(row) : secretBinding(row);
  const plaintext = await unseal(key, binding, new RowReader(what, row.value).bytes("sealed"));
  if (plaintext) return { binding, plaintext };
  throw new ProxyError("seal.row-damaged", `Cannot unseal ${what}: its row was damaged, changed or moved`, {
    hint: "restore the database from a backup",
  });
}
