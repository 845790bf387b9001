/**
 * What a database keeps as the proof of its seal key. Once the seal key has been replaced it holds the key that digests tokens,
 * too: tokens are known to nobody, so their digests can never be made anew.
 *
 * @module
 */
import { seal, type StoreKeys, unseal } from "./seal.ts";

const BINDING = ["check"];
const WORDS = new TextEncoder().encode("slicer-proxy");

/** A proof of `keys`; with `carriesToken` it holds their token key, in the place of the one that the seal key gives. */
export function makeProof(
  { sealing, token }: StoreKeys,
  { carriesToken = false } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  return seal(sealing, BINDING, new Uint8Array([...WORDS, ...carriesToken ? token : []]));
}

/** The keys of a database with this proof, from those that a seal key gives; undefined when it is another seal key. */
export async function openProof(
  keys: StoreKeys,
  proof: Uint8Array<ArrayBuffer>,
): Promise<StoreKeys | undefined> {
  const plaintext = await unseal(keys.sealing, BINDING, proof);
  if (!plaintext) return undefined;
  const token = plaintext.slice(WORDS.length);
  return token.length === 0 ? keys : { ...keys, token };
}
