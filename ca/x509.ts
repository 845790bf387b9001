/**
 * The X.509 library, loaded when the first certificate is read or made: it costs well over 100 ms, which `--help` and
 * `version` must not pay. Everything else in `ca/` imports only its types.
 *
 * Not here: which certificates are made. See `authority.ts` and `leaf.ts`.
 *
 * @module
 */
import type * as X509 from "@peculiar/x509";

let loading: Promise<typeof X509> | undefined;

/** The library, with Deno's WebCrypto as its only crypto provider. */
export function loadX509(): Promise<typeof X509> {
  loading ??= (async () => {
    await import("reflect-metadata"); // the library's dependency injection needs it first
    const x509 = await import("@peculiar/x509");
    x509.cryptoProvider.set(crypto);
    return x509;
  })();
  return loading;
}

/**
 * A serial number as hex: 16 random bytes, positive and of fixed length. RFC 5280 §4.1.2.2 allows 20 bytes; 64 random
 * bits is the floor of the CA/Browser Forum.
 */
export function randomSerial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toHex();
}
