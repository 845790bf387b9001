import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { ProxyError } from "../../../core/errors.ts";
import { decryptKey } from "../../../secrets/kind_mtls.ts";
import { parseSecretValue, staticInjection } from "../../../secrets/kinds.ts";
import { upstreamAuthority } from "../../support/test_authority.ts";

const ca = await upstreamAuthority();
const { certPem, keyPem } = await ca.issue(["robot.test"]);
const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey
  .export({ type: "pkcs8", format: "pem" }).toString();
const locked = createPrivateKey(keyPem).export({
  ...{ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "planted" },
}).toString();

const weak = generateKeyPairSync("rsa", { modulusLength: 1_024 }).privateKey
  .export({ type: "pkcs8", format: "pem" }).toString();

Deno.test("mtls takes a certificate and its key in any order, and puts nothing into a request", () => {
  for (const value of [certPem + keyPem, `subject=x\n${keyPem}\n${certPem}${ca.caPem}`]) {
    assertEquals(parseSecretValue("mtls", value), { type: "mtls", value });
    const { clientCertificate, ...rest } = staticInjection("mtls", value);
    assertEquals(rest, { headers: [], material: [] });
    assert(clientCertificate?.certPem.startsWith("-----BEGIN CERTIFICATE-----"));
    assertStringIncludes(clientCertificate?.keyPem ?? "", "BEGIN PRIVATE KEY");
  }
});

Deno.test("mtls says which part is wrong, and shows none", async (t) => {
  const broken = "-----BEGIN CERTIFICATE-----\nplanted\n-----END CERTIFICATE-----\n";
  const rows: readonly (readonly [value: string, words: string])[] = [
    ["", "it has no certificate"],
    [keyPem, "it has no certificate"],
    [certPem, "it has no private key"],
    [certPem + keyPem + keyPem, "more than one private key"],
    [certPem + weak, "TLS here takes no key of its kind"],
    [certPem + other, "its private key is not that of its first certificate"],
    [certPem + locked, "its private key is encrypted"],
    [broken + keyPem, "its certificate cannot be read"],
    [
      `${certPem}-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n`,
      "its private key cannot be read",
    ],
  ];
  for (const [value, words] of rows) {
    await t.step(words, () => {
      const error = assertThrows(() => parseSecretValue("mtls", value), ProxyError);
      assertStringIncludes(error.message, words);
      assert(!`${error.message} ${error.hint} ${error.cause}`.includes("planted"));
    });
  }
});

Deno.test("decryptKey() opens the key with its passphrase alone", () => {
  const { clientCertificate } = staticInjection("mtls", decryptKey(certPem + locked, "planted"));
  assertEquals(clientCertificate, staticInjection("mtls", certPem + keyPem).clientCertificate);
  for (const [value, passphrase] of [[certPem + locked, "wrong"], [certPem + keyPem, "planted"]] as const) {
    const error = assertThrows(() => decryptKey(value, passphrase), ProxyError);
    assert(!`${error.message} ${error.hint} ${error.cause}`.includes("planted"));
  }
});
