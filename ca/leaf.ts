/**
 * Server certificates that the CA signs: for intercepted hosts, and for the proxy's own TLS port.
 *
 * Not here: keeping leaves (`leaf_cache.ts`), certificates that people ask for as files (`issue.ts`).
 *
 * @module
 */
import type * as X509 from "@peculiar/x509";
import { cidrContains, parseCidr, parseIp } from "../core/cidr.ts";
import { ProxyError } from "../core/errors.ts";
import { isIpLiteral, parseHost } from "../core/host_port.ts";
import { formatPem } from "./pem.ts";
import { type Authority, BACKDATE_MS } from "./signer.ts";
import { loadX509 } from "./x509.ts";

/**
 * How long a leaf is good for: long enough for a guest whose clock runs days ahead, far below the 398 days after which
 * some clients refuse, and short because there is no revocation.
 */
export const LEAF_LIFE_MS = 7 * 86_400_000;

/** RFC 5280 appendix A: ub-common-name. A longer name stands in the subject alternative names alone. */
const MAX_COMMON_NAME = 64;

/** What a TLS listener needs. */
export interface Leaf {
  /** The leaf, then the CA's chain. */
  readonly certPem: string;
  /** PKCS#8. Secret. */
  readonly keyPem: string;
  /** Milliseconds since the epoch. */
  readonly notAfterMs: number;
  /** Milliseconds since the epoch from which on it should be replaced: a quarter of its life is left. */
  readonly renewAt: number;
}

/** A key pair of a leaf: P-256, which every TLS client of the last decade accepts. */
export interface LeafKey {
  /** SubjectPublicKeyInfo. */
  readonly publicKey: ArrayBuffer;
  /** PKCS#8. Secret. */
  readonly keyPem: string;
}

/** See {@linkcode mintLeaf}. */
export interface LeafOptions {
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  /** Default {@linkcode LEAF_LIFE_MS}. Cut at the CA's own end. */
  readonly lifeMs?: number;
  /** Default the key of this process. */
  readonly key?: LeafKey;
}

let processKey: Promise<LeafKey> | undefined;

/**
 * Mints a server certificate for the names, DNS or IP. All leaves of a process share one key, made at the first use
 * and never written anywhere: a fresh key for each would cost as much as the certificate and protect nothing, since
 * whoever reads this process's memory has the CA's key as well.
 *
 * @param names at least one; host names of up to 253 bytes and IP literals without brackets
 * @throws ProxyError `input.invalid` for what is no host, `ca.expired` when the CA has ended
 */
export async function mintLeaf(
  authority: Authority,
  names: readonly string[],
  { nowMs, lifeMs = LEAF_LIFE_MS, key }: LeafOptions,
): Promise<Leaf> {
  const hosts = parseNames(names);
  const notAfterMs = Math.min(nowMs + lifeMs, authority.notAfterMs);
  if (notAfterMs <= nowMs) {
    const end = new Date(authority.notAfterMs).toISOString();
    throw new ProxyError("ca.expired", `Cannot issue a certificate: the CA ended at ${end}`, {
      hint: "slicer-proxy up renews the CA at its next start",
    });
  }
  const { publicKey, keyPem } = key ?? await keyOfProcess();
  const [first = ""] = hosts;
  const hasCommonName = first.length <= MAX_COMMON_NAME;
  const certPem = await authority.sign({
    subject: hasCommonName ? [{ CN: [first] }] : [],
    publicKey,
    // Not before the CA itself, for clients that check that the lives of a chain are nested.
    notBeforeMs: Math.max(nowMs - BACKDATE_MS, Math.min(authority.notBeforeMs, nowMs)),
    notAfterMs,
    extensions: await serverExtensions(hosts, publicKey, !hasCommonName),
  });
  return {
    certPem: certPem + authority.certPem,
    keyPem,
    notAfterMs,
    renewAt: notAfterMs - (notAfterMs - nowMs) / 4,
  };
}

/** A new key pair for a leaf. */
export async function generateLeafKey(): Promise<LeafKey> {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify",
  ]);
  return {
    publicKey: await crypto.subtle.exportKey("spki", pair.publicKey),
    keyPem: formatPem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", pair.privateKey)),
  };
}

/**
 * The names that the proxy's own TLS port answers to: the addresses it is bound to, `localhost` when that is where it
 * can be reached, and what the operator added.
 *
 * @param binds IP literals; the unspecified ones stand for loopback, for no client dials `0.0.0.0`
 * @param sans host names and IP literals
 * @returns canonical, each once, in the order given
 * @throws ProxyError `input.invalid`
 */
export function proxyPortNames(binds: readonly string[], sans: readonly string[]): readonly string[] {
  const names = binds.flatMap((bind) => {
    const ip = parseIp(bind);
    if (ip?.every((byte) => byte === 0)) return ["localhost", "127.0.0.1", "::1"];
    return ip && LOOPBACK.some((network) => cidrContains(network, ip)) ? [bind, "localhost"] : [bind];
  });
  return parseNames([...names, ...sans]);
}

const LOOPBACK = [parseCidr("127.0.0.0/8"), parseCidr("::1/128")];

function keyOfProcess(): Promise<LeafKey> {
  processKey ??= generateLeafKey().catch((error) => {
    processKey = undefined;
    throw error;
  });
  return processKey;
}

function parseNames(names: readonly string[]): readonly string[] {
  const hosts = names.map((name) => {
    const host = parseHost(name);
    if (host !== undefined) return host;
    const shown = JSON.stringify(name.slice(0, 80));
    throw new ProxyError(
      "input.invalid",
      `Cannot certify ${shown}: it is neither a host name nor an IP address`,
    );
  });
  if (hosts.length === 0) throw new RangeError("a certificate needs at least one name");
  return [...new Set(hosts)];
}

async function serverExtensions(
  hosts: readonly string[],
  publicKey: ArrayBuffer,
  isSubjectEmpty: boolean,
): Promise<readonly X509.Extension[]> {
  const x509 = await loadX509();
  const names = hosts.map((value) => ({ type: isIpLiteral(value) ? "ip" as const : "dns" as const, value }));
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
    // Critical when it is the only name (RFC 5280 §4.2.1.6).
    new x509.SubjectAlternativeNameExtension(names, isSubjectEmpty),
    await x509.SubjectKeyIdentifierExtension.create(publicKey),
  ];
}
