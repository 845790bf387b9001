/**
 * Taking the CA of a host group into the store, and its renewal.
 *
 * Not here: rows and sealing (`store/cas.ts`), and whether a certificate and a key are a CA (`cli/up/ca_desk.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { parseName } from "../../core/names.ts";
import { type CaRecord, type StoredCa, writeCa } from "../cas.ts";
import { MAX_CA_CERT_CHARS, MAX_CA_KEY_CHARS, MAX_CAS } from "../limits.ts";
import type { Writer } from "../writer.ts";

/** A CA to be taken. The caller has found its certificate and its key to be one. */
export interface CaInput {
  readonly hostgroup: string;
  /** PEM; the CA's own certificate first. */
  readonly certPem: string;
  /** PEM. */
  readonly keyPem: string;
  /**
   * Looks at the certificate of the CA that the store has for that host group, undefined when it has none; throws to refuse
   * the import. Called when nobody else can change it any more.
   */
  readonly check: (present: string | undefined) => Promise<void>;
}

/** A certificate that takes the place of another for the same key. */
export interface CaRenewal {
  /** The version that it is for. Another one is left alone. */
  readonly ifVersion: string;
  /**
   * Makes it at that time, which is the store's, epoch milliseconds; undefined when that is too early. A host whose clock is ahead
   * must not give all others a CA that has not begun.
   */
  readonly make: (nowMs: number) => Promise<string | undefined>;
}

/** See `State.putCa`. */
export async function putCa(writer: Writer, input: CaInput): Promise<CaRecord> {
  const { certPem, keyPem, check } = input;
  const hostgroup = parseName("host group", input.hostgroup);
  checkStorable(certPem, MAX_CA_CERT_CHARS, "certificate");
  checkStorable(keyPem, MAX_CA_KEY_CHARS, "key");
  const old = writer.view.ca(hostgroup);
  await check(old?.record.certPem);
  if (old?.record.certPem === certPem) return old.record;
  if (!old && writer.view.cas().length >= MAX_CAS) {
    throw new ProxyError(
      "limit.reached",
      `Cannot store a CA: there are those of ${MAX_CAS} host groups already`,
    );
  }
  const record: CaRecord = {
    hostgroup,
    version: crypto.randomUUID(),
    certPem,
    importedAt: writer.clock.now(),
  };
  return await keep(writer, { record, keyPem });
}

/** See `State.renewCa`. */
export async function renewCa(
  writer: Writer,
  hostgroup: string,
  { ifVersion, make }: CaRenewal,
): Promise<void> {
  const old = writer.view.ca(hostgroup);
  if (old?.record.version !== ifVersion) return; // another host has done it, or there is another CA
  const certPem = await make(await writer.storeTime());
  if (certPem === undefined) return;
  checkStorable(certPem, MAX_CA_CERT_CHARS, "certificate");
  const renewed = { version: crypto.randomUUID(), certPem, renewedAt: writer.clock.now() };
  await keep(writer, { record: { ...old.record, ...renewed }, keyPem: old.keyPem });
}

async function keep(writer: Writer, stored: StoredCa): Promise<CaRecord> {
  await writer.commit([await writeCa(writer.keys.sealing, stored)], () => writer.view.setCa(stored));
  return stored.record;
}

/** @throws ProxyError `input.invalid`, without the text */
function checkStorable(text: string, maxChars: number, what: string): void {
  // deno-lint-ignore no-control-regex
  if (text.length <= maxChars && /^[\x00-\x7f]+$/.test(text)) return;
  throw new ProxyError(
    "input.invalid",
    `Cannot store this CA: its ${what} is not PEM of at most ${maxChars} characters`,
  );
}
