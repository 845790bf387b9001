/**
 * The certificate authority of a host group: the one certificate that guests trust and the key that signs for it.
 *
 * Renewal keeps key and subject, so a guest that trusts the old certificate verifies new leaves until the old one ends,
 * and a guest that gets the new one verifies old leaves.
 *
 * Not here: how the pair is put on disk (`authority_files.ts`), signing (`signer.ts`), what is signed (`leaf.ts`), and
 * renewal while the process runs (`renewal.ts`).
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { ProxyError } from "../core/errors.ts";
import {
  type AuthorityPair,
  certificatePath,
  finishInterruptedWrite,
  makeFolder,
  readCertificate,
  readPair,
  withLock,
  writeCertificate,
  writePair,
} from "./authority_files.ts";
import { type CaDescription, describeCertificate } from "./description.ts";
import { formatPem } from "./pem.ts";
import { generateSigningKeyPem, importSigningKey } from "./private_key.ts";
import { Authority, AUTHORITY_LIFE_MS, BACKDATE_MS } from "./signer.ts";
import { loadX509, randomSerial } from "./x509.ts";

/** How long before its end a CA is renewed. */
export const RENEW_BEFORE_MS = 7 * 86_400_000;

/** Where a CA lives and what it is called when it is made. */
export interface AuthorityOptions {
  /** The folder of `ca.crt` and `ca.key`. */
  readonly dir: string;
  /** Goes into the subject of a new CA, for the people who find it in a trust store. */
  readonly hostgroup?: string;
  readonly clock: Clock;
}

/** A CA and how it came to be. */
export interface LoadedAuthority {
  readonly authority: Authority;
  readonly outcome: "loaded" | "created" | "renewed";
  /** Why a CA that ends soon could not be renewed. It still works: warn, and try again later. */
  readonly renewalError?: ProxyError;
}

/**
 * The CA in `dir`: loaded when it is there, renewed when it ends within {@linkcode RENEW_BEFORE_MS} or has ended, made
 * when neither file is there. Any number of processes may call this at once, and a call may die at any instant.
 *
 * @throws ProxyError `ca.invalid` for half a pair, a pair that does not match, a key that others can open, a CA that
 * has not begun; `ca.expired` for one that has ended and was issued by another CA; `ca.write-failed`
 */
export async function loadOrCreateAuthority(options: AuthorityOptions): Promise<LoadedAuthority> {
  const { dir, clock } = options;
  // Without the lock first: the usual case needs no right to write.
  const found = await readAuthority(options).catch(() => undefined);
  if (found && !isRenewalDue(found, clock)) return { authority: found, outcome: "loaded" };
  if (!found) await makeFolder(dir);
  return await withLock(dir, async () => {
    await finishInterruptedWrite(dir, (pair) => isPair(pair, dir));
    const authority = await readAuthority(options);
    if (!authority) return { authority: await create(options), outcome: "created" };
    if (!isRenewalDue(authority, clock)) return { authority, outcome: "loaded" };
    return await renew(authority, options);
  });
}

/**
 * The CA in `dir`, for commands that only use it: nothing is made or renewed.
 *
 * @throws ProxyError `input.not-found` when there is none, `ca.expired` when it has ended, `ca.invalid`
 */
export async function loadAuthority(options: AuthorityOptions): Promise<Authority> {
  const authority = await readAuthority(options);
  if (!authority) throw noAuthority(options.dir);
  if (authority.notAfterMs <= options.clock.now()) throw expired(authority, options.dir);
  return authority;
}

/**
 * Makes a new CA.
 *
 * @param options with `force` an existing CA is replaced: guests that trust it no longer trust the proxy
 * @throws ProxyError `input.conflict` when there is a CA, or half of one, and no `force`; `ca.write-failed`
 */
export async function createAuthority(
  options: AuthorityOptions & { readonly force?: boolean },
): Promise<Authority> {
  await makeFolder(options.dir);
  return await withLock(options.dir, async () => {
    if (!options.force && await isTaken(options.dir)) {
      throw new ProxyError("input.conflict", `Cannot make a CA in ${options.dir}: there is one`, {
        hint: "with --force it is replaced, and every guest has to trust the new one",
      });
    }
    return await create(options);
  });
}

/** What `ca show` says of a CA in files. */
export interface AuthorityDescription extends CaDescription {
  readonly path: string;
}

/**
 * Describes the CA in `dir` from `ca.crt` alone, also when it has ended or its key cannot be read.
 *
 * @throws ProxyError `input.not-found` when there is none, `ca.invalid`
 */
export async function describeAuthority(dir: string): Promise<AuthorityDescription> {
  const certPem = await readCertificate(dir);
  if (certPem === undefined) throw noAuthority(dir);
  return { path: certificatePath(dir), ...await describeCertificate(certPem, dir) };
}

/**
 * The CA of a certificate and its key, wherever they are kept. One that has ended and vouches for itself is given too: it can be
 * renewed.
 *
 * @param place for the messages, such as its folder
 * @throws ProxyError `ca.invalid` for a pair that does not match or is no CA, and for one that has not begun; `ca.expired`
 */
export async function openAuthority(pair: AuthorityPair, place: string, clock: Clock): Promise<Authority> {
  const authority = await Authority.fromPair(pair, place);
  if (authority.notBeforeMs > clock.now()) {
    const from = new Date(authority.notBeforeMs).toISOString();
    throw new ProxyError("ca.invalid", `Cannot use the CA in ${place}: it is not valid before ${from}`, {
      hint: `check the clock of this machine, which says ${new Date(clock.now()).toISOString()}`,
    });
  }
  if (authority.notAfterMs <= clock.now() && !authority.isSelfIssued) throw expired(authority, place);
  return authority;
}

/** As {@linkcode openAuthority} for who cannot renew it. @throws ProxyError `ca.invalid`, `ca.expired` for any that has ended */
export async function openValidAuthority(
  pair: AuthorityPair,
  place: string,
  clock: Clock,
): Promise<Authority> {
  const authority = await openAuthority(pair, place, clock);
  if (authority.notAfterMs <= clock.now()) throw expired(authority, place);
  return authority;
}

/** True when a CA is to be given a new certificate for its key, and can be. */
export function isRenewalDue(authority: Authority, clock: Pick<Clock, "now">): boolean {
  return authority.isSelfIssued && authority.notAfterMs - clock.now() <= RENEW_BEFORE_MS;
}

async function readAuthority({ dir, clock }: AuthorityOptions): Promise<Authority | undefined> {
  const pair = await readPair(dir);
  return pair && await openAuthority(pair, dir, clock);
}

async function renew(authority: Authority, { dir, clock }: AuthorityOptions): Promise<LoadedAuthority> {
  try {
    await writeCertificate(dir, await authority.renewedCertPem(clock.now()));
  } catch (error) {
    // Seven days are left to make a read-only folder writable; refusing to start would waste them.
    const canWait = error instanceof ProxyError && authority.notAfterMs > clock.now();
    if (!canWait) throw error;
    return { authority, outcome: "loaded", renewalError: error };
  }
  const renewed = await readAuthority({ dir, clock });
  if (!renewed) throw noAuthority(dir);
  return { authority: renewed, outcome: "renewed" };
}

async function create({ dir, hostgroup, clock }: AuthorityOptions): Promise<Authority> {
  const x509 = await loadX509();
  const keyPem = await generateSigningKeyPem();
  const key = await importSigningKey(keyPem, "the new CA key");
  const keyIdentifier = await x509.SubjectKeyIdentifierExtension.create(key.publicKey);
  // Part of the key's identifier: after `--force` two CAs of one name and different keys would confuse NSS and GnuTLS.
  const commonName = `Slicer Proxy CA ${keyIdentifier.keyId.slice(0, 8)}`;
  const name = new x509.Name([
    { O: ["Slicer Proxy"] },
    ...(hostgroup === undefined ? [] : [{ OU: [hostgroup] }]),
    { CN: [commonName] },
  ]);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: name,
    issuer: name,
    serialNumber: randomSerial(),
    notBefore: new Date(clock.now() - BACKDATE_MS),
    notAfter: new Date(clock.now() + AUTHORITY_LIFE_MS),
    publicKey: key.publicKey,
    signingKey: key.cryptoKey,
    signingAlgorithm: key.algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      keyIdentifier,
    ],
  });
  const pair: AuthorityPair = { certPem: formatPem("CERTIFICATE", certificate.rawData), keyPem };
  await writePair(dir, pair);
  return await Authority.fromPair(pair, dir);
}

async function isTaken(dir: string): Promise<boolean> {
  await finishInterruptedWrite(dir, (pair) => isPair(pair, dir));
  try {
    return await readPair(dir) !== undefined;
  } catch (error) {
    if (error instanceof ProxyError) return true; // half a pair, or one that may not be read
    throw error;
  }
}

/** True when the two belong together and can sign; false for anything that cannot be read. */
async function isPair(pair: AuthorityPair, dir: string): Promise<boolean> {
  try {
    await Authority.fromPair(pair, dir);
    return true;
  } catch (error) {
    if (error instanceof ProxyError) return false;
    throw error;
  }
}

function noAuthority(dir: string): ProxyError {
  return new ProxyError("input.not-found", `Cannot find a CA in ${dir}: there is no ca.crt`, {
    hint: "slicer-proxy up makes one at its first start, and slicer-proxy ca init at once",
  });
}

function expired(authority: Authority, dir: string): ProxyError {
  const end = new Date(authority.notAfterMs).toISOString();
  return new ProxyError("ca.expired", `Cannot use the CA in ${dir}: it ended at ${end}`, {
    hint: authority.isSelfIssued
      ? "slicer-proxy up renews it at its next start"
      : "it was issued by another CA: have that one renew ca.crt for the same key",
  });
}
