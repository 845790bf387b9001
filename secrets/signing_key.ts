/**
 * Private keys that sign JWTs (RFC 7515): in a value, or in a file of which only the path is kept, and whose it was. A file is
 * checked when the secret is created, and read anew for each signature, under the rules of `source_file.ts`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, type KeyObject } from "node:crypto";
import { isAbsolute, resolve } from "node:path";
import { messageOf } from "../core/errors.ts";
import { Fields } from "./fields.ts";
import { ownerOf, readTrustedFile } from "./source_file.ts";
import { RenewalFailure } from "./token_answer.ts";

const KEY_FILE = "private key file";

/** RFC 7518 §3.3 wants 2048 and more; GitHub and Google make keys of that size. */
const SMALLEST_KEY_BITS = 2_048;

/** PKCS#8, as PEM; or else the absolute path of a file that holds it, and the user that its operator vouched for. */
export interface KeyPlace {
  readonly private_key?: string;
  readonly private_key_file?: string;
  readonly private_key_owner?: number;
}

/** The key that a value holds or names. @throws ProxyError `input.invalid` */
export function keyPlaceOf(fields: Fields): KeyPlace {
  const pem = fields.text("private_key");
  if (pem !== undefined) {
    return { private_key: readKey(fields, pem).export({ type: "pkcs8", format: "pem" }).toString() };
  }
  const file = fields.text("private_key_file") ??
    fields.refuse("it has no private_key_file and no private_key");
  if (!isAbsolute(file)) refuseRelative(fields);
  const owner = fields.number("private_key_owner");
  return { private_key_file: file, ...(owner === undefined ? {} : { private_key_owner: owner }) };
}

/** The key file that a value names, once it was found to be usable. See `OAuthKind.resolveFiles`. */
export async function resolveKeyFile(
  fields: Fields,
  folder: string | undefined,
): Promise<KeyPlace | undefined> {
  const file = fields.text("private_key_file");
  if (file === undefined || fields.has("private_key")) return undefined;
  if (!isAbsolute(file) && folder === undefined) refuseRelative(fields);
  const path = resolve(folder ?? "/", file);
  const owner = await ownerOf(path);
  readKey(fields, await readTrustedFile(path, KEY_FILE, owner));
  return { private_key_file: path, ...(owner === undefined ? {} : { private_key_owner: owner }) };
}

/** The key as it is now. @throws RenewalFailure for a file that is gone, no key, or not trusted */
export async function currentKey(
  { private_key, private_key_file = "", private_key_owner }: KeyPlace,
): Promise<KeyObject> {
  if (private_key !== undefined) return createPrivateKey(private_key);
  try {
    const pem = await readTrustedFile(private_key_file, KEY_FILE, private_key_owner);
    return readKey(new Fields(KEY_FILE, "", {}), pem);
  } catch (error) {
    // Where the file lies is no business of whoever sent the request.
    throw new RenewalFailure(`its ${KEY_FILE} cannot be used`, { atHome: messageOf(error) });
  }
}

/** A signed JWT (RFC 7519), RS256. */
export async function signJwt(
  key: KeyObject,
  { claims, keyId }: {
    readonly claims: Readonly<Record<string, unknown>>;
    readonly keyId?: string | undefined;
  },
): Promise<string> {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const der = new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
  const imported = await crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
  const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const signed = `${encode({ alg: "RS256", typ: "JWT", kid: keyId })}.${encode(claims)}`;
  const signature = await crypto.subtle.sign(algorithm, imported, new TextEncoder().encode(signed));
  return `${signed}.${Buffer.from(signature).toString("base64url")}`;
}

function refuseRelative(fields: Fields): never {
  return fields.refuse("its private_key_file is a relative path", "write the absolute path of the key file");
}

function readKey(fields: Fields, pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    return fields.refuse("its private key is no PEM of PKCS#1 or PKCS#8");
  }
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType !== "rsa" || bits < SMALLEST_KEY_BITS) {
    fields.refuse(`its private key is no RSA key of ${SMALLEST_KEY_BITS} bits or more`);
  }
  return key;
}
