/**
 * Storing and deleting secrets.
 *
 * Not here: rows and sealing (`secrets.ts`), and the form of values (`secrets/kinds.ts`).
 *
 * @module
 */
import { parseEnvNames } from "../../core/env_names.ts";
import { ProxyError } from "../../core/errors.ts";
import { parseName } from "../../core/names.ts";
import { MAX_SECRETS } from "../limits.ts";
import type { SecretInput, SecretRecord, SecretUpdate } from "../records.ts";
import { checkRoom, quoted, refuseConflict, refuseNotFound } from "../refuse.ts";
import { checkStorable, parseSecretHost, removeSecret, writeSecret } from "../secrets.ts";
import type { Writer } from "../writer.ts";

/** See `State.putSecret`. */
export async function putSecret(writer: Writer, input: SecretInput, force: boolean): Promise<SecretRecord> {
  const name = parseName("secret", input.name);
  const host = parseSecretHost(input.host);
  checkStorable(input.value, input.sourceFile);
  const old = writer.view.secret(name)?.record;
  if (old && !force) {
    refuseConflict(`Cannot create secret ${name}: the name is taken`, "replace it with --force");
  }
  for (const other of writer.view.secrets()) {
    const value = writer.view.secret(other.name)?.value;
    if (other.name === name || value === undefined || !input.isRival?.({ type: other.type, value })) continue;
    refuseConflict(
      `Cannot create secret ${name}: secret ${other.name} holds the same login, and each would end the other's`,
      "use that secret, or log in once more for this one",
    );
  }
  if (!old) checkRoom("secret", writer.view.secretCount, MAX_SECRETS);
  const now = writer.clock.now();
  const record: SecretRecord = {
    name,
    host,
    type: input.type,
    version: crypto.randomUUID(),
    cleartext: input.cleartext,
    createdAt: old?.createdAt ?? now,
    ...(old ? { updatedAt: now } : {}),
    ...(input.isAdopted ? { adoptedAt: now } : {}),
    ...(input.env === undefined || input.env.length === 0 ? {} : { env: parseEnvNames(input.env) }),
    ...(input.sourceFile === undefined ? {} : { sourceFile: input.sourceFile }),
    ...(input.sourceFile === undefined || input.sourceUid === undefined
      ? {}
      : { sourceUid: input.sourceUid }),
  };
  const stored = { record, value: input.value };
  await writer.commit([await writeSecret(writer.keys.sealing, stored)], () => writer.view.setSecret(stored));
  return record;
}

/** See `State.updateSecret`. */
export async function updateSecret(
  writer: Writer,
  name: string,
  { ifVersion, ifValue, lease, value, isReplacement, ...change }: SecretUpdate,
): Promise<SecretRecord | undefined> {
  const old = writer.view.secret(name);
  if (old?.record.version !== ifVersion) return undefined;
  if (ifValue !== undefined && old.value !== ifValue) {
    throw new ProxyError("input.conflict", `Cannot change secret ${name}: another host has renewed it`, {
      reason: "renewed",
    });
  }
  const held = await holdLease(writer, old.record, lease);
  if (value !== undefined) checkStorable(value, undefined);
  const replaced = isReplacement ? { version: crypto.randomUUID(), updatedAt: writer.clock.now() } : {};
  const fields = Object.entries({ ...old.record, ...change, ...replaced, ...held }).filter(([, field]) =>
    field !== null && field !== undefined
  );
  const record = Object.fromEntries(fields) as unknown as SecretRecord;
  const stored = { record, value: value ?? old.value };
  await writer.commit([await writeSecret(writer.keys.sealing, stored)], () => writer.view.setSecret(stored));
  return record;
}

/** See `State.deleteSecret`. */
export async function deleteSecret(writer: Writer, name: string): Promise<void> {
  if (!writer.view.secret(name)) refuseNotFound(`Cannot delete secret ${quoted(name)}: unknown secret`);
  await writer.commit([removeSecret(name)], () => writer.view.deleteSecret(name));
}

/**
 * The lease after a change. All of it happens under the fleet's lock, on the row as it is in the store: so two hosts never have
 * one at a time, and a host whose lease has ended, however long it was paused, changes nothing while another's runs.
 *
 * @throws ProxyError `input.conflict` while another renewal has it; `store.away`
 */
async function holdLease(
  writer: Writer,
  { name, lease, leaseUntil = 0 }: SecretRecord,
  wanted: SecretUpdate["lease"],
): Promise<Pick<Partial<SecretRecord>, "lease" | "leaseUntil"> | undefined> {
  if (!writer.isShared) return undefined;
  const nowMs = await writer.storeTime();
  if (lease !== undefined && lease !== wanted?.id && nowMs < leaseUntil) {
    throw new ProxyError("input.conflict", `Cannot change secret ${name}: another host renews it`, {
      reason: "leased",
      retryAfterSeconds: Math.ceil((leaseUntil - nowMs) / 1_000),
    });
  }
  const isHeld = wanted?.forMs !== undefined;
  return {
    lease: isHeld ? wanted.id : undefined,
    leaseUntil: isHeld ? nowMs + (wanted.forMs ?? 0) : undefined,
  } as Pick<Partial<SecretRecord>, "lease" | "leaseUntil">;
}
