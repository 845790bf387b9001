/** Private keys that sign tokens: which are taken, from where, and what they sign. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { ProxyError } from "../../../core/errors.ts";
import { Fields } from "../../../secrets/fields.ts";
import { currentKey, keyPlaceOf, resolveKeyFile, signJwt } from "../../../secrets/signing_key.ts";
import { RenewalFailure } from "../../../secrets/token_answer.ts";

const rsa = (modulusLength: number) => generateKeyPairSync("rsa", { modulusLength }).privateKey;
const KEY = rsa(2_048);
const PKCS8 = KEY.export({ type: "pkcs8", format: "pem" }).toString();
const PKCS1 = KEY.export({ type: "pkcs1", format: "pem" }).toString();
const EC = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({
  type: "pkcs8",
  format: "pem",
})
  .toString();
const fields = (value: Record<string, unknown>) => new Fields("value", "hint", value);

function refusal(run: () => unknown): string {
  const error = assertThrows(run, ProxyError);
  assertEquals([error.code, error.message.includes("PRIVATE KEY")], ["input.invalid", false]);
  return error.message;
}

Deno.test("keyPlaceOf() keeps a key as PKCS#8, or where it lies and whose it was", () => {
  assertEquals(keyPlaceOf(fields({ private_key: PKCS1 })), { private_key: PKCS8 });
  assertEquals(keyPlaceOf(fields({ private_key: PKCS8, private_key_file: "x" })), { private_key: PKCS8 });
  assertEquals(keyPlaceOf(fields({ private_key_file: "/k" })), { private_key_file: "/k" });
  assertEquals(keyPlaceOf(fields({ private_key_file: "/k", private_key_owner: 0 })), {
    private_key_file: "/k",
    private_key_owner: 0,
  });
  assertEquals(
    refusal(() => keyPlaceOf(fields({}))),
    "Cannot use this value: it has no private_key_file and no private_key",
  );
  const relative = assertThrows(() => keyPlaceOf(fields({ private_key_file: "k" })), ProxyError);
  assertEquals([relative.message, relative.hint], [
    "Cannot use this value: its private_key_file is a relative path",
    "write the absolute path of the key file",
  ]);
});

Deno.test("a key is RSA of 2,048 bits or more", () => {
  const of = (pem: string) => refusal(() => keyPlaceOf(fields({ private_key: pem })));
  const words = "Cannot use this value: its private key is no RSA key of 2048 bits or more";
  const short = rsa(2_040).export({ type: "pkcs8", format: "pem" }).toString();
  assertEquals([of(short), of(EC)], [words, words]);
  const publicPem = createPublicKey(KEY).export({ type: "spki", format: "pem" }).toString();
  for (const none of [" ", "planted", publicPem]) {
    assertEquals(of(none), "Cannot use this value: its private key is no PEM of PKCS#1 or PKCS#8");
  }
});

Deno.test("resolveKeyFile() and currentKey() read a key file, under the rules for files with credentials", async (t) => {
  const dir = await Deno.realPath(await Deno.makeTempDir());
  await using _ = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
  const path = `${dir}/key.pem`;
  await Deno.writeTextFile(path, PKCS1, { mode: 0o600 });
  const uid = Deno.uid();
  const place = { private_key_file: path, ...(uid === null ? {} : { private_key_owner: uid }) };
  await t.step("absolute, beside a folder, and from none", async () => {
    assertEquals(await resolveKeyFile(fields({ private_key_file: path }), undefined), place);
    assertEquals(await resolveKeyFile(fields({ private_key_file: path }), "/elsewhere"), place);
    assertEquals(await resolveKeyFile(fields({ private_key_file: "key.pem" }), dir), place);
    assertEquals(await resolveKeyFile(fields({}), dir), undefined);
    assertEquals(
      await resolveKeyFile(fields({ private_key: PKCS8, private_key_file: "none" }), dir),
      undefined,
    );
    const relative = await assertRejects(
      () => resolveKeyFile(fields({ private_key_file: "key.pem" }), undefined),
      ProxyError,
    );
    assertEquals(relative.message, "Cannot use this value: its private_key_file is a relative path");
    await assertRejects(
      () => resolveKeyFile(fields({ private_key_file: "none" }), dir),
      ProxyError,
      "no such file",
    );
  });
  await t.step("the key as it is now", async () => {
    const pem = async (key: Parameters<typeof currentKey>[0]) =>
      (await currentKey(key)).export({ type: "pkcs8", format: "pem" });
    assertEquals([await pem({ private_key: PKCS8 }), await pem(place)], [PKCS8, PKCS8]);
    assertEquals(await pem({ private_key: PKCS8, private_key_file: "/none" }), PKCS8);
  });
  await t.step("no key: the operator hears where, and nobody else", async () => {
    await Deno.writeTextFile(path, EC);
    await assertRejects(
      () => resolveKeyFile(fields({ private_key_file: path }), undefined),
      ProxyError,
      "no RSA key",
    );
    const failure = await assertRejects(() => currentKey(place), RenewalFailure);
    assertEquals([failure.message, failure.isFinal, failure.isAnswered], [
      "its private key file cannot be used",
      false,
      true,
    ]);
    assertEquals(
      failure.atHome,
      "Cannot use this private key file: its private key is no RSA key of 2048 bits or more",
    );
    const gone = await assertRejects(() => currentKey({ private_key_file: `${dir}/none` }), RenewalFailure);
    assert(gone.atHome?.includes(`${dir}/none`) && !gone.message.includes(dir));
  });
});

Deno.test("signJwt() signs RS256, and names the key where it has a name", async () => {
  const claims = { iss: "a/b?", n: 1, sub: undefined };
  for (const keyId of [undefined, "k1"]) {
    const jwt = await signJwt(KEY, { claims, keyId });
    const [head = "", payload = "", signature = ""] = jwt.split(".");
    const decode = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString());
    assertEquals(decode(head), { alg: "RS256", typ: "JWT", ...(keyId === undefined ? {} : { kid: keyId }) });
    assertEquals(decode(payload), { iss: "a/b?", n: 1 });
    assert(!/[+/=]/.test(jwt));
    const bytes = Buffer.from(signature, "base64url");
    assert(verify("RSA-SHA256", new TextEncoder().encode(`${head}.${payload}`), createPublicKey(KEY), bytes));
  }
});
