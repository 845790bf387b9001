/**
 * A file of certificates that the proxy is to trust. Whoever can write to it decides who may pose as an upstream, and gets
 * its credentials.
 *
 * Not here: when files are read (`upstream_trust.ts`).
 *
 * @module
 */
import { X509Certificate } from "node:crypto";
import { messageOf, ProxyError } from "../../core/errors.ts";

/** The roots of a whole distribution are a quarter of that. */
const MAX_BYTES = 1_048_576;

/**
 * The certificates of a PEM file, each checked: the TLS library would ignore a damaged one without a word.
 *
 * @param options.refusedPem the proxy's own CA, which is never trusted upstream
 * @param options.ownerUid who may own it beside root and the user that this runs as; absent: anybody may
 * @throws ProxyError `input.invalid`
 */
export async function readCertificates(
  file: string,
  { refusedPem, ownerUid }: { readonly refusedPem?: string; readonly ownerUid?: number | null } = {},
): Promise<{ readonly pem: readonly string[]; readonly ownerUid: number | null }> {
  const refuse = (verb: "read" | "use", problem: string, hint?: string): never => {
    throw new ProxyError("input.invalid", `Cannot ${verb} the upstream CA ${file}: ${problem}`, {
      ...(hint === undefined ? {} : { hint }),
    });
  };
  const { text, mode, uid } = await readText(file).catch((error) => refuse("read", messageOf(error)));
  if (mode !== null && (mode & 0o002) !== 0) {
    refuse("use", "everybody can write to it", "run: chmod o-w FILE");
  }
  if (ownerUid !== undefined && uid !== null && ![0, Deno.uid(), ownerUid].includes(uid)) {
    refuse("use", "it belongs to another user now");
  }
  const hint = "give a PEM file with one or more CERTIFICATE blocks";
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) refuse("use", "it holds no PEM certificate", hint);
  if (blocks.length !== text.split("-----BEGIN CERTIFICATE-----").length - 1) {
    refuse("use", "one of its certificates has no end", hint);
  }
  const own = refusedPem === undefined ? undefined : new X509Certificate(refusedPem).fingerprint256;
  for (const block of blocks) {
    if (fingerprintOf(block, (problem) => refuse("use", problem, hint)) === own) {
      throw new ProxyError("input.invalid", `Cannot trust ${file} upstream: it is the proxy's own CA`, {
        hint: "leave it out: whoever holds the proxy's key could pose as any upstream",
      });
    }
  }
  return { pem: blocks, ownerUid: uid };
}

function fingerprintOf(block: string, refuse: (problem: string) => never): string {
  try {
    return new X509Certificate(block).fingerprint256;
  } catch (error) {
    return refuse(messageOf(error));
  }
}

/** The text of the file that was looked at, and whose it is. */
async function readText(
  path: string,
): Promise<{ readonly text: string; readonly mode: number | null; readonly uid: number | null }> {
  using file = await Deno.open(path);
  const { isFile, size, mode, uid } = await file.stat();
  if (isFile && size > MAX_BYTES) throw new Error(`it is above ${MAX_BYTES} bytes`);
  const bytes = new Uint8Array(MAX_BYTES + 1);
  let length = 0;
  while (length < bytes.length) {
    const count = await file.read(bytes.subarray(length));
    if (count === null) break;
    length += count;
  }
  if (length > MAX_BYTES) throw new Error(`it is above ${MAX_BYTES} bytes`);
  return { text: new TextDecoder().decode(bytes.subarray(0, length)), mode, uid };
}
