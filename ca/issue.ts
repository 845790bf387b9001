/**
 * Certificates that people ask for: `ca issue` writes one with its key into two files.
 *
 * Not here: the leaves of the data plane, which are never written (`leaf_cache.ts`).
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { messageOf, ProxyError } from "../core/errors.ts";
import { generateLeafKey, mintLeaf } from "./leaf.ts";
import type { Authority } from "./signer.ts";

/** A year: somebody installs it by hand. Below the 398 days after which some clients refuse. */
export const ISSUED_LIFE_MS = 365 * 86_400_000;

/** See {@linkcode issueToFiles}. */
export interface IssueOptions {
  /** Host names and IP literals; the first also becomes the common name where it fits. */
  readonly hosts: readonly string[];
  /** Path without extension. */
  readonly out: string;
  readonly clock: Clock;
}

/** What was written. */
export interface IssuedFiles {
  /** The leaf and the CA's chain. */
  readonly certPath: string;
  /** PKCS#8, mode 0600. */
  readonly keyPath: string;
  readonly notAfterMs: number;
}

/**
 * Writes `<out>.crt` and `<out>.key` for a certificate with a key of its own, or neither. Nothing is overwritten.
 *
 * @throws ProxyError `input.conflict` when either file exists, `input.invalid`, `ca.expired`, `ca.write-failed`
 */
export async function issueToFiles(
  authority: Authority,
  { hosts, out, clock }: IssueOptions,
): Promise<IssuedFiles> {
  const leaf = await mintLeaf(authority, hosts, {
    nowMs: clock.now(),
    lifeMs: ISSUED_LIFE_MS,
    key: await generateLeafKey(),
  });
  const certPath = `${out}.crt`;
  const keyPath = `${out}.key`;
  await writeNew(keyPath, leaf.keyPem, 0o600);
  try {
    await writeNew(certPath, leaf.certPem, 0o644);
  } catch (error) {
    await Deno.remove(keyPath).catch(() => {});
    throw error;
  }
  return { certPath, keyPath, notAfterMs: leaf.notAfterMs };
}

async function writeNew(path: string, text: string, mode: number): Promise<void> {
  try {
    await Deno.writeTextFile(path, text, { createNew: true, mode });
  } catch (cause) {
    if (cause instanceof Deno.errors.AlreadyExists) {
      throw new ProxyError("input.conflict", `Cannot write ${path}: it exists`, {
        cause,
        hint: "choose another --out, or move the file away",
      });
    }
    await Deno.remove(path).catch(() => {}); // half a file on a full disk
    throw new ProxyError("ca.write-failed", `Cannot write ${path}: ${messageOf(cause)}`, { cause });
  }
}
