import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { generateSigningKeyPem, importSigningKey } from "../../../ca/private_key.ts";
import { Authority } from "../../../ca/signer.ts";
import { mintLeaf } from "../../../ca/leaf.ts";
import { ProxyError } from "../../../core/errors.ts";
import { handshake, openssl, opensslDo, selfSign, temporaryFolder, withOpenssl } from "./support.ts";

interface KeyRow {
  readonly name: string;
  readonly keyType: string;
  /** Each is one openssl command; `ca.key` is the outcome. */
  readonly make: readonly (readonly string[])[];
}

const ecSec1 = (curve: string) => ["ecparam", "-name", curve, "-genkey", "-noout", "-out", "ca.key"];
const toPkcs8 = [["pkcs8", "-topk8", "-nocrypt", "-in", "ca.key", "-out", "p8"], [
  "pkey",
  "-in",
  "p8",
  "-out",
  "ca.key",
]];

const ACCEPTED: readonly KeyRow[] = [
  { name: "P-256 in SEC1", keyType: "EC P-256", make: [ecSec1("prime256v1")] },
  { name: "P-384 in SEC1", keyType: "EC P-384", make: [ecSec1("secp384r1")] },
  { name: "P-521 in SEC1", keyType: "EC P-521", make: [ecSec1("secp521r1")] },
  { name: "P-256 in PKCS#8", keyType: "EC P-256", make: [ecSec1("prime256v1"), ...toPkcs8] },
  { name: "P-384 in PKCS#8", keyType: "EC P-384", make: [ecSec1("secp384r1"), ...toPkcs8] },
  { name: "P-521 in PKCS#8", keyType: "EC P-521", make: [ecSec1("secp521r1"), ...toPkcs8] },
  {
    name: "SEC1 after an EC PARAMETERS block",
    keyType: "EC P-256",
    make: [["ecparam", "-name", "prime256v1", "-genkey", "-out", "ca.key"]],
  },
  {
    name: "SEC1 without its public key",
    keyType: "EC P-384",
    make: [ecSec1("secp384r1"), ["ec", "-in", "ca.key", "-no_public", "-out", "ca.key"]],
  },
  {
    name: "SEC1 with a compressed point, and so in the certificate",
    keyType: "EC P-256",
    make: [ecSec1("prime256v1"), ["ec", "-in", "ca.key", "-conv_form", "compressed", "-out", "ca.key"]],
  },
  {
    name: "RSA 2048 in PKCS#1",
    keyType: "RSA 2048",
    make: [["genrsa", "-traditional", "-out", "ca.key", "2048"]],
  },
  { name: "RSA 2048 in PKCS#8", keyType: "RSA 2048", make: [["genrsa", "-out", "ca.key", "2048"]] },
  { name: "RSA 3072 in PKCS#8", keyType: "RSA 3072", make: [["genrsa", "-out", "ca.key", "3072"]] },
];

Deno.test(withOpenssl("importSigningKey() takes every documented kind, and its leaves verify"), async (t) => {
  for (const { name, keyType, make } of ACCEPTED) {
    await t.step(name, async () => {
      await using folder = await temporaryFolder();
      for (const args of make) await opensslDo(args, folder.path);
      await selfSign(folder.path);
      const certPem = await Deno.readTextFile(`${folder.path}/ca.crt`);
      const keyPem = await Deno.readTextFile(`${folder.path}/ca.key`);
      assertEquals((await importSigningKey(keyPem, "ca.key")).keyType, keyType);
      const authority = await Authority.fromPair({ certPem, keyPem }, folder.path);
      const leaf = await mintLeaf(authority, ["api.example.com"], { nowMs: Date.now() });
      await Deno.writeTextFile(`${folder.path}/leaf.crt`, leaf.certPem);
      const args = ["verify", "-x509_strict", "-verify_hostname", "api.example.com", "-CAfile", "ca.crt"];
      const verdict = await openssl([...args, "leaf.crt"], folder.path);
      assert(verdict.ok, verdict.text);
      await handshake(leaf, "api.example.com", certPem);
    });
  }
});

interface RefusalRow {
  readonly name: string;
  readonly says: string;
  readonly hint?: string;
  readonly make: readonly (readonly string[])[];
}

const REFUSED: readonly RefusalRow[] = [
  {
    name: "an encrypted PKCS#8 key",
    says: "encrypted",
    hint: "openssl pkcs8 -topk8 -nocrypt",
    make: [
      ["ecparam", "-name", "prime256v1", "-genkey", "-out", "plain"],
      ["pkcs8", "-topk8", "-in", "plain", "-passout", "pass:x", "-out", "ca.key"],
    ],
  },
  {
    name: "an encrypted SEC1 key",
    says: "encrypted",
    make: [ecSec1("prime256v1"), ["ec", "-in", "ca.key", "-aes128", "-passout", "pass:x", "-out", "ca.key"]],
  },
  { name: "RSA of 2047 bits", says: "RSA 2047", make: [["genrsa", "-out", "ca.key", "2047"]] },
  {
    name: "Ed25519",
    says: "ed25519",
    hint: "P-256",
    make: [["genpkey", "-algorithm", "ed25519", "-out", "ca.key"]],
  },
  { name: "secp256k1", says: "secp256k1", make: [ecSec1("secp256k1")] },
  {
    name: "explicit curve parameters",
    says: "damaged or of an unknown kind",
    make: [ecSec1("prime256v1"), ["ec", "-in", "ca.key", "-param_enc", "explicit", "-out", "ca.key"]],
  },
  {
    name: "a DSA key in its own format",
    says: "dsa private key",
    make: [
      ["dsaparam", "-out", "dsa", "1024"],
      ["gendsa", "-out", "p8", "dsa"],
      ["dsa", "-in", "p8", "-out", "ca.key"],
    ],
  },
  {
    name: "a certificate in place of the key",
    says: "0 private keys",
    make: [ecSec1("prime256v1"), [
      ...["req", "-x509", "-new", "-key", "ca.key"],
      "-subj",
      "/CN=x",
      "-out",
      "ca.key",
    ]],
  },
];

Deno.test(withOpenssl("importSigningKey() refuses other keys and says why"), async (t) => {
  for (const { name, says, hint, make } of REFUSED) {
    await t.step(name, async () => {
      await using folder = await temporaryFolder();
      for (const args of make) await opensslDo(args, folder.path);
      const pem = await Deno.readTextFile(`${folder.path}/ca.key`);
      const error = await assertRejects(() => importSigningKey(pem, "/d/ca.key"), ProxyError, says);
      assertEquals(error.code, "ca.invalid");
      assertStringIncludes(error.message, "/d/ca.key");
      assertStringIncludes(error.hint ?? "", hint ?? "");
    });
  }
});

Deno.test("importSigningKey() refuses damaged, doubled and absent keys without showing them", async (t) => {
  const pem = await generateSigningKeyPem();
  const body = pem.split("\n")[1] ?? "";
  const rows = [
    { name: "empty file", pem: "" },
    { name: "two keys", pem: pem + pem },
    { name: "half a key", pem: `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----\n` },
    { name: "cut file", pem: pem.slice(0, 100) },
    { name: "wrong label", pem: pem.replaceAll("PRIVATE", "RSA PRIVATE") },
  ];
  for (const { name, pem } of rows) {
    await t.step(name, async () => {
      const error = await assertRejects(() => importSigningKey(pem, "ca.key"), ProxyError);
      assertEquals(error.code, "ca.invalid");
      assertEquals(Deno.inspect(error).includes(body.slice(0, 20)), false);
    });
  }
});

Deno.test("importSigningKey() does not let the key out again", async () => {
  const { cryptoKey } = await importSigningKey(await generateSigningKeyPem(), "ca.key");
  assertEquals(cryptoKey.extractable, false);
  assertEquals(cryptoKey.usages, ["sign"]);
});
