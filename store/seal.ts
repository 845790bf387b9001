/**
 * Authenticated encryption at rest: AES-256-GCM (NIST SP 800-38D) under a key derived from the seal key.
 *
 * An envelope is one version byte (1), a random 96-bit IV, and the ciphertext with its 128-bit tag. What the envelope
 * belongs to is its associated data, so that it opens nowhere else.
 *
 * Not here: where the seal key comes from (`seal_key.ts`), and which fields are sealed (`secrets.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";

const VERSION = 1;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** The keys of a store, and the name of all. None tells anything about another or about the seal key (RFC 5869). */
export interface StoreKeys {
  /** AES-256-GCM, not extractable. */
  readonly sealing: CryptoKey;
  /** HMAC-SHA-256 key for token digests. Raw, because the request path needs the synchronous HMAC. */
  readonly token: Uint8Array<ArrayBuffer>;
  /** HMAC-SHA-256 key of what hosts of a fleet show each other (`fleet/log_proof.ts`). With another seal key it is another. */
  readonly peers: Uint8Array<ArrayBuffer>;
  /** Tells one seal key from another, and nothing else about it: 16 hex digits. May be shown. */
  readonly id: string;
}

/** Derives them by HKDF-SHA-256 and then overwrites `sealKey`. */
export async function deriveKeys(sealKey: Uint8Array<ArrayBuffer>): Promise<StoreKeys> {
  const master = await crypto.subtle.importKey("raw", sealKey, "HKDF", false, ["deriveBits", "deriveKey"]);
  sealKey.fill(0);
  return {
    sealing: await crypto.subtle.deriveKey(
      hkdf("slicer-proxy v1 sealing"),
      master,
      { name: "AES-GCM", length: 256 },
      false,
      ["encrypt", "decrypt"],
    ),
    token: new Uint8Array(await crypto.subtle.deriveBits(hkdf("slicer-proxy v1 token digest"), master, 256)),
    peers: new Uint8Array(await crypto.subtle.deriveBits(hkdf("slicer-proxy v1 fleet peers"), master, 256)),
    id: Buffer.from(await crypto.subtle.deriveBits(hkdf("slicer-proxy v1 key id"), master, 64)).toString(
      "hex",
    ),
  };
}

/** Seals `plaintext` so that it opens only with the same key and the same `binding`. */
export async function seal(
  key: CryptoKey,
  binding: readonly string[],
  plaintext: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const sealed = await crypto.subtle.encrypt(gcm(iv, binding), key, plaintext);
  const envelope = new Uint8Array(1 + IV_BYTES + sealed.byteLength);
  envelope[0] = VERSION;
  envelope.set(iv, 1);
  envelope.set(new Uint8Array(sealed), 1 + IV_BYTES);
  return envelope;
}

/**
 * What was sealed, or undefined when the envelope is damaged, of another version, or was sealed with another key or
 * binding; which of these it was cannot be told.
 */
export async function unseal(
  key: CryptoKey,
  binding: readonly string[],
  envelope: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (envelope[0] !== VERSION || envelope.length < 1 + IV_BYTES + TAG_BYTES) return undefined;
  const iv = envelope.slice(1, 1 + IV_BYTES);
  try {
    return new Uint8Array(
      await crypto.subtle.decrypt(gcm(iv, binding), key, envelope.slice(1 + IV_BYTES)),
    );
  } catch (error) {
    if (error instanceof DOMException && error.name === "OperationError") return undefined;
    throw error;
  }
}

function hkdf(purpose: string): HkdfParams {
  // No salt: the seal key is uniformly random already (RFC 5869 §3.1).
  return { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: new TextEncoder().encode(purpose) };
}

function gcm(iv: Uint8Array<ArrayBuffer>, binding: readonly string[]): AesGcmParams {
  // A JSON list of strings reads back in one way only, so no two bindings share their bytes.
  const additionalData = new TextEncoder().encode(JSON.stringify(binding));
  return { name: "AES-GCM", iv, additionalData, tagLength: TAG_BYTES * 8 };
}
