/**
 * The CA that signs what the proxy shows: where it is found, and how it gets into the VM's trust store.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, X509Certificate } from "node:crypto";
import { messageOf, ProxyError } from "../core/errors.ts";
import { formatHostPort, type HostPort } from "../core/host_port.ts";
import { exists, readIfThere } from "./files.ts";
import { readHttpResponse } from "./http.ts";
import { findProgram, runProgram, whyFailed } from "./programs.ts";
import { closeQuietly, writeAll } from "./proxy_link.ts";

/** Where Slicer puts the CA into a microVM. */
export const RUNNER_CA = "/runner/ca.crt";

/** A distribution's trust store. */
export interface TrustStore {
  /** The folder for certificates that the administrator adds. */
  readonly anchors: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Beside `args`, after something was taken away: else its links would stay, leading nowhere. */
  readonly removalArgs: readonly string[];
  /** All of it in one file. */
  readonly bundle: string;
}

const STORES: readonly TrustStore[] = [
  { // Debian, Ubuntu, Alpine
    anchors: "/usr/local/share/ca-certificates",
    program: "update-ca-certificates",
    args: [],
    removalArgs: ["--fresh"],
    bundle: "/etc/ssl/certs/ca-certificates.crt",
  },
  { // Fedora, RHEL, Amazon Linux
    anchors: "/etc/pki/ca-trust/source/anchors",
    program: "update-ca-trust",
    args: ["extract"],
    removalArgs: [],
    bundle: "/etc/pki/tls/certs/ca-bundle.crt",
  },
  { // Arch
    anchors: "/etc/ca-certificates/trust-source/anchors",
    program: "trust",
    args: ["extract-compat"],
    removalArgs: [],
    bundle: "/etc/ssl/certs/ca-certificates.crt",
  },
];

const ANCHOR = "slicer-proxy-agent.crt";

/** The file of ours in a trust store. */
export function anchorPath(store: TrustStore): string {
  return `${store.anchors}/${ANCHOR}`;
}

/** The trust store of this VM, or undefined where there is none, as in very small images. */
export async function findTrustStore(): Promise<TrustStore | undefined> {
  for (const store of STORES) {
    if (await findProgram(store.program) !== undefined && await exists(store.bundle)) return store;
  }
  return undefined;
}

/**
 * Makes the store take in what is in its folder.
 *
 * @throws ProxyError `agent.failed`
 */
export async function updateTrustStore({ program, args }: TrustStore): Promise<void> {
  await update(program, args);
}

/**
 * Makes the store let go of what was taken out of its folder. Java's keystore is another: Debian's hook puts the CA into it
 * and never takes it out.
 *
 * @throws ProxyError `agent.failed`
 */
export async function cleanTrustStore({ program, args, removalArgs }: TrustStore): Promise<void> {
  await update(program, [...args, ...removalArgs]);
  for (const alias of [`debian:${ANCHOR.replace(/crt$/, "pem")}`, JAVA_ALIAS]) {
    await runProgram("keytool", ["-delete", ...JAVA_STORE, "-alias", alias]);
  }
}

/** The JDK's own keystore; its password is known to everyone. */
export const JAVA_STORE: readonly string[] = ["-cacerts", "-storepass", "changeit"];
/** The name that `agent doctor --fix` gives to the CA there. */
export const JAVA_ALIAS = "slicer-proxy";

/** The CA of ours in Java's keystore (PEM), empty where there is none. */
export async function caInJava(): Promise<string> {
  if (await findProgram("keytool") === undefined) return "";
  for (const alias of [JAVA_ALIAS, `debian:${ANCHOR.replace(/crt$/, "pem")}`]) {
    const ran = await runProgram("keytool", ["-exportcert", "-rfc", ...JAVA_STORE, "-alias", alias]);
    if (ran.isOk) return ran.stdout;
  }
  return "";
}

async function update(program: string, args: readonly string[]): Promise<void> {
  await waitForOthers(program);
  const ran = await runProgram(program, args, { timeoutMs: 180_000 });
  if (!ran.isOk) {
    throw new ProxyError("agent.failed", `Cannot update the trust store: ${program}: ${whyFailed(ran)}`);
  }
}

/**
 * Waits until nobody else runs the store's program: it takes no lock, and two at a time mix up their output. One may be left
 * over from an installation that was killed.
 */
async function waitForOthers(program: string): Promise<void> {
  const name = program.slice(0, 15); // what the kernel keeps of it (proc(5), comm)
  for (const end = performance.now() + OTHERS_MS; performance.now() < end;) {
    // Running or waiting, but not ended: some containers have no init that would reap it.
    if (!(await runProgram("pgrep", ["-r", "R,S,D", "-x", name])).isOk) return; // none, or no such pgrep
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

const OTHERS_MS = 60_000;

/** Which CA to use. */
export interface CaChoice {
  /** A PEM file. */
  readonly file?: string | undefined;
  /** The SHA-256 of the certificate (DER), hexadecimal; it is fetched from the proxy then. */
  readonly sha256?: string | undefined;
}

/**
 * The certificates to verify the proxy with: those of `--ca`, that of `--ca-sha256`, that which Slicer has put into the VM,
 * that which the proxy names when the VM trusts it, or all that the VM trusts.
 *
 * @returns `pem`, and `isSystem` when it is the whole trust store
 * @throws ProxyError `input.invalid`, `upstream.*`
 */
export async function findCa(
  { file, sha256 }: CaChoice,
  proxy: HostPort,
): Promise<{ readonly pem: string; readonly isSystem: boolean }> {
  const wanted = sha256 === undefined ? undefined : parseFingerprint(sha256);
  if (file !== undefined || (wanted === undefined && await exists(RUNNER_CA))) {
    const path = file ?? RUNNER_CA;
    const pem = parseCertificates(await readCa(path), path);
    if (wanted !== undefined) mustMatch(pem, wanted, path);
    return { pem, isSystem: false };
  }
  if (wanted !== undefined) {
    const pem = parseCertificates(await fetchCa(proxy), `the answer of ${formatHostPort(proxy)}`);
    mustMatch(pem, wanted, "the proxy's CA");
    return { pem, isSystem: false };
  }
  const store = await findTrustStore();
  const bundle = store && await readIfThere(store.bundle);
  if (bundle) {
    // Of all that the VM trusts, only the one that the proxy names: no public authority can stand in for it.
    const named = await fetchCa(proxy).catch(() => "");
    const isKnown = holdsCertificates(bundle, named);
    return isKnown
      ? { pem: parseCertificates(named, "the proxy's CA"), isSystem: false }
      : { pem: bundle, isSystem: true };
  }
  throw new ProxyError("input.invalid", "Cannot verify the proxy: no CA was named, and this VM trusts none", {
    hint: `name it with --ca FILE or --ca-sha256 HEX, or put it at ${RUNNER_CA}`,
  });
}

/** True when every certificate of `pem` stands in `bundle`. */
export function holdsCertificates(bundle: string, pem: string): boolean {
  const known = new Set(bodiesOf(bundle));
  const wanted = bodiesOf(pem);
  return wanted.length > 0 && wanted.every((body) => known.has(body));
}

/** SHA-256 over the DER of each certificate, lower-case hexadecimal. */
export function fingerprintsOf(pem: string): readonly string[] {
  return bodiesOf(pem).map((body) => createHash("sha256").update(Buffer.from(body, "base64")).digest("hex"));
}

/** From when until when the first certificate is valid, in milliseconds since the epoch. */
export function validityOf(pem: string): { readonly from: number; readonly to: number } | undefined {
  try {
    const certificate = new X509Certificate(pem);
    return { from: Date.parse(certificate.validFrom), to: Date.parse(certificate.validTo) };
  } catch {
    return undefined;
  }
}

function bodiesOf(pem: string): readonly string[] {
  const blocks = pem.matchAll(/-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/g);
  return [...blocks].map(([, body = ""]) => body.replace(/\s/g, ""));
}

/** Each certificate of `pem` by itself, as PEM. */
export function splitCertificates(pem: string): readonly string[] {
  return bodiesOf(pem).map((body) =>
    `-----BEGIN CERTIFICATE-----\n${body.match(/.{1,64}/g)?.join("\n") ?? ""}\n-----END CERTIFICATE-----\n`
  );
}

/** Only the certificates of a file: the runtime ignores in silence what it cannot read, so it is read here. */
function parseCertificates(text: string, where: string): string {
  const pems = splitCertificates(text);
  try {
    for (const pem of pems) new X509Certificate(pem);
  } catch (cause) {
    throw new ProxyError("input.invalid", `Cannot use ${where} as the CA: a certificate is damaged`, {
      cause,
    });
  }
  if (pems.length === 0) {
    throw new ProxyError("input.invalid", `Cannot use ${where} as the CA: it holds no certificate (PEM)`);
  }
  return pems.join("");
}

function parseFingerprint(text: string): string {
  const digits = text.replace(/^sha256:/i, "").replaceAll(":", "").toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(digits)) {
    throw new ProxyError("input.invalid", "Cannot read --ca-sha256: it takes 64 hexadecimal digits", {
      hint: "slicer-proxy ca show prints it, on the host",
    });
  }
  return digits;
}

function mustMatch(pem: string, wanted: string, what: string): void {
  const found = fingerprintsOf(pem);
  if (found.length === 1 && found[0] === wanted) return;
  throw new ProxyError("input.invalid", `Cannot trust ${what}: its SHA-256 is not the one given`, {
    hint: "is this the right proxy? slicer-proxy ca show prints the hash, on the host",
  });
}

async function readCa(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    const words = cause instanceof Deno.errors.NotFound ? "there is no such file" : messageOf(cause);
    throw new ProxyError("input.invalid", `Cannot read ${path}: ${words}`, { cause });
  }
}

/** The CA as the proxy hands it out, in clear: whether it is the right one, only its hash says. */
async function fetchCa(proxy: HostPort): Promise<string> {
  const where = formatHostPort(proxy);
  const late = new AbortController();
  let conn: Deno.TcpConn | undefined;
  const timer = setTimeout(() => {
    late.abort();
    closeQuietly(conn);
  }, 10_000);
  try {
    conn = await Deno.connect({ hostname: proxy.host, port: proxy.port, signal: late.signal });
    await writeAll(
      conn,
      new TextEncoder().encode(`GET /ca.crt HTTP/1.1\r\nHost: ${where}\r\nConnection: close\r\n\r\n`),
    );
    const { status, body } = await readHttpResponse(conn);
    if (status === 200) return new TextDecoder().decode(body);
  } catch (cause) {
    throw new ProxyError("upstream.unreachable", `Cannot fetch the CA from ${where}: it does not answer`, {
      cause,
      hint: "is slicer-proxy up running on the host, and its TLS port open to this VM?",
    });
  } finally {
    clearTimeout(timer);
    closeQuietly(conn);
  }
  throw new ProxyError("upstream.refused", `Cannot fetch the CA from ${where}: it hands out none`, {
    hint: "copy it into the VM and name it with --ca FILE",
  });
}
