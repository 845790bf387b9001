/**
 * Whom the proxy trusts upstream: the roots that the runtime carries, or the host's, and what `--upstream-ca` adds.
 *
 * @module
 */
import { X509Certificate } from "node:crypto";
import { messageOf, ProxyError } from "../../core/errors.ts";
import { parseHostPattern } from "../../policy/rule.ts";
import type { TrustedFor } from "../../proxy/egress/trust.ts";

/**
 * Reads `--upstream-ca` values: `system`, `FILE`, or `HOST=FILE`. To be called before the first TLS connection, for the
 * runtime reads which roots to use only once.
 *
 * @param ownCaPem the proxy's own CA, which is never trusted upstream: its holder could be anyone
 * @throws ProxyError `input.invalid` for a file that cannot be read or holds no certificate
 */
export async function loadUpstreamTrust(
  values: readonly string[],
  ownCaPem: string,
): Promise<readonly TrustedFor[]> {
  Deno.env.set("DENO_TLS_CA_STORE", values.includes("system") ? "system" : "mozilla");
  const own = new X509Certificate(ownCaPem).fingerprint256;
  const trusted: TrustedFor[] = [];
  for (const value of values) {
    if (value === "system") continue;
    const equals = value.indexOf("=");
    const file = equals < 0 ? value : value.slice(equals + 1);
    const pem = await readCertificates(file);
    if (pem.some((each) => new X509Certificate(each).fingerprint256 === own)) {
      throw new ProxyError("input.invalid", `Cannot trust ${file} upstream: it is the proxy's own CA`, {
        hint: "leave it out: whoever holds the proxy's key could pose as any upstream",
      });
    }
    trusted.push({ pattern: equals < 0 ? "*" : parseHostPattern(value.slice(0, equals)), pem });
  }
  return trusted;
}

/**
 * The certificates of a PEM file, each checked: the TLS library would ignore a damaged one without a word.
 *
 * @throws ProxyError `input.invalid`
 */
export async function readCertificates(file: string): Promise<readonly string[]> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (cause) {
    throw new ProxyError("input.invalid", `Cannot read the upstream CA ${file}: ${messageOf(cause)}`, {
      cause,
    });
  }
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    if (blocks.length === 0) throw new Error("it holds no PEM certificate");
    for (const block of blocks) new X509Certificate(block);
  } catch (cause) {
    throw new ProxyError("input.invalid", `Cannot use the upstream CA ${file}: ${messageOf(cause)}`, {
      cause,
      hint: "give a PEM file with one or more CERTIFICATE blocks",
    });
  }
  return blocks;
}
