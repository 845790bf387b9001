/**
 * CAs of host groups as rows, so that every host of a fleet shows VMs the same one.
 *
 *     ["ca", hostgroup] → { version, certificate, importedAt, renewedAt?, sealed }
 *
 * `sealed` holds the private key. The host group and the certificate are its associated data, so that a row cannot be moved to
 * another group, nor its key be given another certificate.
 *
 * Not here: what a certificate and its key must be like (`ca/`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import type { Mutation, Row } from "./engine.ts";
import { RowReader } from "./row.ts";
import { seal, unseal } from "./seal.ts";

/** The prefix of all rows of CAs. */
export const CA_PREFIX: Deno.KvKey = ["ca"];

/** A CA without its key: nothing of it is secret. */
export interface CaRecord {
  readonly hostgroup: string;
  /** Changes with every import and renewal. */
  readonly version: string;
  /** PEM; the CA's own certificate first. */
  readonly certPem: string;
  /** Epoch milliseconds, as is `renewedAt`. */
  readonly importedAt: number;
  /** When its certificate was made anew for the same key. */
  readonly renewedAt?: number;
}

/** A CA with its key. Never log one. */
export interface StoredCa {
  readonly record: CaRecord;
  /** PEM. */
  readonly keyPem: string;
}

/** Seals a CA's key and writes its row. */
export async function writeCa(key: CryptoKey, { record, keyPem }: StoredCa): Promise<Mutation> {
  const { hostgroup, version, certPem, importedAt, renewedAt } = record;
  return {
    key: [...CA_PREFIX, hostgroup],
    value: {
      version,
      certificate: certPem,
      importedAt,
      ...(renewedAt === undefined ? {} : { renewedAt }),
      sealed: await seal(key, bindingOf(record), new TextEncoder().encode(keyPem)),
    },
  };
}

/**
 * The inverse of {@linkcode writeCa}.
 *
 * @throws ProxyError `seal.row-damaged` when the row was changed or moved, `state.damaged`
 */
export async function readCa(key: CryptoKey, row: Row): Promise<StoredCa> {
  const record = readCaRecord(row);
  const fields = new RowReader(`the CA of ${record.hostgroup}`, row.value);
  const plaintext = await unseal(key, bindingOf(record), fields.bytes("sealed"));
  if (!plaintext) {
    throw new ProxyError(
      "seal.row-damaged",
      `Cannot unseal the CA of host group ${record.hostgroup}: its row was damaged, changed or moved`,
      { hint: "restore the state folder from a backup" },
    );
  }
  return { record, keyPem: new TextDecoder().decode(plaintext) };
}

/** What of a row needs no key. @throws ProxyError `state.damaged` */
export function readCaRecord({ key, value }: Row): CaRecord {
  const hostgroup = String(key[1]);
  const fields = new RowReader(`the CA of ${hostgroup}`, value);
  const renewedAt = fields.optionalNumber("renewedAt");
  return {
    hostgroup,
    version: fields.string("version"),
    certPem: fields.string("certificate"),
    importedAt: fields.number("importedAt"),
    ...(renewedAt === undefined ? {} : { renewedAt }),
  };
}

/** What a CA's row is sealed to. @throws ProxyError `state.damaged` */
export function caBinding(row: Row): readonly string[] {
  return bindingOf(readCaRecord(row));
}

function bindingOf({ hostgroup, certPem }: Pick<CaRecord, "hostgroup" | "certPem">): readonly string[] {
  return ["ca", hostgroup, certPem];
}
