/**
 * Secrets as rows.
 *
 *     ["secret", name] → { host, type, version, createdAt, updatedAt?, adoptedAt?, refreshedAt?, refreshingSince?,
 *                          lease?, leaseUntil?, error?, sealed }
 *
 * `sealed` holds the value and whatever would weaken it when changed on disk: `cleartext`, `sourceFile`, `sourceUid`, `env`. Name,
 * host and type are its associated data, so a row cannot be moved to another name, nor aimed at another host.
 *
 * Not here: what a value must look like for its type (`secrets/kinds.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { parseHostPattern } from "../policy/rule.ts";
import type { Mutation, Row } from "./engine.ts";
import { MAX_SECRET_VALUE_BYTES, MAX_SOURCE_FILE_BYTES } from "./limits.ts";
import type { SecretRecord } from "./records.ts";
import { RowReader } from "./row.ts";
import { seal, unseal } from "./seal.ts";

/** The prefix of all secret rows. */
export const SECRET_PREFIX: Deno.KvKey = ["secret"];

/** A secret with its value. Never log one. */
export interface StoredSecret {
  readonly record: SecretRecord;
  readonly value: string;
}

/**
 * A secret's host in canonical form: a name, an IP literal, or `*.` and at least two labels. `*` and `*.com` would
 * send the credential to anyone.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseSecretHost(text: string): string {
  const host = parseHostPattern(text);
  if (host === "*" || (host.startsWith("*.") && !host.slice(2).includes("."))) {
    throw new ProxyError(
      "input.invalid",
      `Cannot bind a secret to ${host}: it would be sent almost anywhere`,
      {
        hint: "write api.example.com or *.example.com",
      },
    );
  }
  return host;
}

/**
 * Checks what this file cannot store faithfully, whatever the type.
 *
 * @throws ProxyError `input.invalid`, without the value
 */
export function checkStorable(value: string, sourceFile: string | undefined): void {
  if (!value.isWellFormed() || new TextEncoder().encode(value).length > MAX_SECRET_VALUE_BYTES) {
    throw new ProxyError(
      "input.invalid",
      `Cannot store this value: a value is text of at most ${MAX_SECRET_VALUE_BYTES} bytes`,
    );
  }
  if (sourceFile === undefined) return;
  // deno-lint-ignore no-control-regex
  const isPath = /^[^\x00-\x1f\x7f]+$/.test(sourceFile) && sourceFile.isWellFormed() &&
    new TextEncoder().encode(sourceFile).length <= MAX_SOURCE_FILE_BYTES;
  if (!isPath) {
    throw new ProxyError(
      "input.invalid",
      "Cannot use this source file: its path is empty, too long or unprintable",
    );
  }
}

/** Seals a secret and writes its row. */
export async function writeSecret(key: CryptoKey, { record, value }: StoredSecret): Promise<Mutation> {
  const { name, cleartext, sourceFile, sourceUid, env, ...open } = record;
  const sealedFields = JSON.stringify({ cleartext, sourceFile, sourceUid, env }); // leaves out what is undefined
  // JSON has no raw line feed, so the first one ends it; the value stays as it is and does not grow by escaping.
  const plaintext = new TextEncoder().encode(`${sealedFields}\n${value}`);
  return {
    key: [...SECRET_PREFIX, name],
    value: { ...open, sealed: await seal(key, bindingOf(record), plaintext) },
  };
}

/** Removes a secret's row. */
export function removeSecret(name: string): Mutation {
  return { key: [...SECRET_PREFIX, name] };
}

/**
 * The inverse of {@linkcode writeSecret}.
 *
 * @throws ProxyError `seal.row-damaged` when the row was changed or moved, `state.damaged`
 */
export async function readSecret(key: CryptoKey, row: Row): Promise<StoredSecret> {
  const name = String(row.key[1]);
  const fields = new RowReader(`secret ${name}`, row.value);
  const bound = { name, host: fields.string("host"), type: fields.string("type") };
  const plaintext = await unseal(key, bindingOf(bound), fields.bytes("sealed"));
  if (!plaintext) {
    throw new ProxyError(
      "seal.row-damaged",
      `Cannot unseal secret ${name}: its row was damaged, changed or moved`,
      { hint: "restore the state folder from a backup" },
    );
  }
  const text = new TextDecoder().decode(plaintext);
  const end = text.indexOf("\n");
  const sealed = new RowReader(`secret ${name}`, JSON.parse(text.slice(0, end)));
  const optional = {
    updatedAt: fields.optionalNumber("updatedAt"),
    adoptedAt: fields.optionalNumber("adoptedAt"),
    refreshedAt: fields.optionalNumber("refreshedAt"),
    refreshingSince: fields.optionalNumber("refreshingSince"),
    lease: fields.optionalString("lease"),
    leaseUntil: fields.optionalNumber("leaseUntil"),
    sourceFile: sealed.optionalString("sourceFile"),
    sourceUid: sealed.optionalNumber("sourceUid"),
    error: fields.optionalString("error"),
    env: sealed.optionalStrings("env"),
  };
  const record: SecretRecord = {
    ...bound,
    version: fields.string("version"),
    cleartext: sealed.boolean("cleartext"),
    createdAt: fields.number("createdAt"),
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
  };
  return { record, value: text.slice(end + 1) };
}

/** What a secret's row is sealed to. @throws ProxyError `state.damaged` */
export function secretBinding({ key, value }: Row): readonly string[] {
  const name = String(key[1]);
  const fields = new RowReader(`secret ${name}`, value);
  return bindingOf({ name, host: fields.string("host"), type: fields.string("type") });
}

function bindingOf({ name, host, type }: Pick<SecretRecord, "name" | "host" | "type">): readonly string[] {
  return ["secret", name, host, type];
}
