import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
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

Deno.test("mtls takes keys of the kinds that TLS takes for sure", async (t) => {
  const pem = (key: KeyObject) => key.export({ type: "pkcs8", format: "pem" }).toString();
  const ec = (namedCurve: string) => pem(generateKeyPairSync("ec", { namedCurve }).privateKey);
  const rows: readonly (readonly [name: string, pem: string, isUsable: boolean])[] = [
    ["RSA 2,048", pem(generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey), true],
    ["RSA 2,040", pem(generateKeyPairSync("rsa", { modulusLength: 2_040 }).privateKey), false],
    ["Ed25519", pem(generateKeyPairSync("ed25519").privateKey), true],
    ["P-256", ec("P-256"), true],
    ["P-384", ec("P-384"), true],
    ["secp256k1", ec("secp256k1"), false],
    ["X25519", pem(generateKeyPairSync("x25519").privateKey), false],
  ];
  for (const [name, key, isUsable] of rows) {
    await t.step(name, () => {
      const { message, hint } = assertThrows(() => parseSecretValue("mtls", certPem + key), ProxyError);
      const words = isUsable
        ? "its private key is not that of its first certificate"
        : "TLS here takes no key of its kind";
      assertEquals(message, `Cannot use this client certificate: ${words}`);
      if (!isUsable) assertStringIncludes(hint ?? "", "P-256, P-384 or Ed25519");
    });
  }
});

/** An RSA key of so many bits, whose factors are odd and no primes: true ones of this length take seconds to find. */
function largeRsa(bits: number): string {
  const e = 65_537n;
  const gcd = (a: bigint, b: bigint): bigint => b === 0n ? a : gcd(b, a % b);
  const oddOf = (bytes: number) => {
    const random = randomBytes(bytes);
    random[0] = 0xff;
    random[bytes - 1] = 0xff;
    return BigInt(`0x${random.toString("hex")}`);
  };
  const inverse = (a: bigint, modulus: bigint) => {
    let [r0, r1, s0, s1] = [modulus, a % modulus, 0n, 1n];
    while (r1 !== 0n) [r0, r1, s0, s1] = [r1, r0 % r1, s1, s0 - (r0 / r1) * s1];
    return (s0 % modulus + modulus) % modulus;
  };
  for (;;) {
    const [p, q] = [oddOf(512), oddOf(bits / 8 - 512)];
    if (gcd(p, q) !== 1n || gcd(e, (p - 1n) * (q - 1n)) !== 1n) continue;
    const d = inverse(e, (p - 1n) * (q - 1n));
    const parts = { n: p * q, e, d, p, q, dp: d % (p - 1n), dq: d % (q - 1n), qi: inverse(q, p) };
    const encoded = Object.entries(parts).map(([name, value]) => {
      const hex = value.toString(16);
      return [name, Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex").toString("base64url")];
    });
    const key = { kty: "RSA", ...Object.fromEntries(encoded) };
    return createPrivateKey({ key, format: "jwk" }).export({ type: "pkcs8", format: "pem" }).toString();
  }
}

Deno.test("mtls takes RSA of 8,192 bits and none longer", () => {
  const refusal = (bits: number) =>
    assertThrows(() => parseSecretValue("mtls", certPem + largeRsa(bits)), ProxyError).message;
  assertStringIncludes(refusal(8_192), "not that of its first certificate");
  assertStringIncludes(refusal(8_200), "TLS here takes no key of its kind");
});

Deno.test("mtls keeps every certificate in order, and nothing that stands between or is cut off", () => {
  const value = `x\r\n${certPem.replaceAll("\n", "\r\n")}between\n${ca.caPem}${keyPem}-----BEGIN X-----\nx`;
  const { clientCertificate } = staticInjection("mtls", value);
  const lines = (text: string) => text.split(/\s*\r?\n/).filter((line) => line !== "");
  assertEquals(lines(clientCertificate?.certPem ?? ""), [...lines(certPem), ...lines(ca.caPem)]);
  assertEquals(lines(clientCertificate?.keyPem ?? ""), lines(keyPem));
});

Deno.test("decryptKey() opens the key with its passphrase alone", () => {
  const { clientCertificate } = staticInjection("mtls", decryptKey(certPem + locked, "planted"));
  assertEquals(clientCertificate, staticInjection("mtls", certPem + keyPem).clientCertificate);
  for (const [value, passphrase] of [[certPem + locked, "wrong"], [certPem + keyPem, "planted"]] as const) {
    const error = assertThrows(() => decryptKey(value, passphrase), ProxyError);
    assert(!`${error.message} ${error.hint} ${error.cause}`.includes("planted"));
  }
});

/** The certificate without those parts of what is signed (RFC 5280 §4.1): the signature itself is not looked at here. */
function certificateWithout(...tags: readonly number[]): string {
  const [signed = Buffer.alloc(0), ...rest] = partsOf(
    Buffer.from(certPem.replace(/-----[^-]*-----/g, ""), "base64"),
  );
  const kept = partsOf(signed).filter(([tag = 0]) => !tags.includes(tag));
  const der = sequenceOf([sequenceOf(kept), ...rest]).toString("base64");
  return `-----BEGIN CERTIFICATE-----\n${der.replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
}

function partsOf(der: Buffer): Buffer[] {
  const [parts, ends] = [[] as Buffer[], (at: number) => {
    const first = der.readUInt8(at + 1);
    return first < 0x80 ? [at + 2, first] : [at + 2 + (first & 3), der.readUIntBE(at + 2, first & 3)];
  }];
  for (let [at = 0] = ends(0); at < der.length;) {
    const [from = 0, length = 0] = ends(at);
    parts.push(der.subarray(at, from + length));
    at = from + length;
  }
  return parts;
}

function sequenceOf(parts: readonly Buffer[]): Buffer {
  const { length } = Buffer.concat(parts);
  const head = length < 0x80
    ? [length]
    : length < 0x100
    ? [0x81, length]
    : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([0x30, ...head]), ...parts]);
}

Deno.test("mtls takes certificates of version 3, however long they are, and none of version 1", () => {
  const [version, extensions] = [0xa0, 0xa3];
  for (const whole of [certificateWithout(), certificateWithout(extensions)]) {
    assert(staticInjection("mtls", whole + keyPem).clientCertificate);
  }
  for (const old of [certificateWithout(version, extensions), certificateWithout(version)]) {
    const { message, hint } = assertThrows(() => staticInjection("mtls", old + keyPem), ProxyError);
    assertEquals([message, hint], [
      "Cannot use this client certificate: its certificate is of X.509 version 1",
      "have it issued anew with extensions, as version 3",
    ]);
  }
});

Deno.test("mtls takes even the shortest certificate, whose length is one byte", () => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const hex = (text: string) => Buffer.from(text, "hex");
  const algorithm = hex("300506032b6570");
  const time = (text: string) => Buffer.concat([hex("170d"), Buffer.from(text)]);
  const inner = (version: string) =>
    sequenceOf([
      ...[hex(version), hex("020101"), algorithm, sequenceOf([])],
      ...[sequenceOf([time("200101000000Z"), time("400101000000Z")]), sequenceOf([])],
      publicKey.export({ type: "spki", format: "der" }),
    ]);
  const pemOf = (version: string) => {
    const signed = inner(version);
    assert(signed.length < 0x80);
    const der = sequenceOf([
      ...[signed, algorithm, Buffer.concat([hex("034100"), sign(null, signed, privateKey)])],
    ]);
    return `-----BEGIN CERTIFICATE-----\n${der.toString("base64")}\n-----END CERTIFICATE-----\n` +
      privateKey.export({ type: "pkcs8", format: "pem" });
  };
  assert(staticInjection("mtls", pemOf("a003020102")).clientCertificate);
  assertThrows(() => staticInjection("mtls", pemOf("")), ProxyError, "version 1");
});

Deno.test("mtls and decryptKey() say what to do", () => {
  const hintOf = (run: () => unknown) => {
    const { message, hint } = assertThrows(run, ProxyError);
    return [message.replace("Cannot use this client certificate: ", ""), hint];
  };
  const whole = "give the certificate, what signed it, and the private key in one PEM file: " +
    "cat client.crt client.key";
  const rows: readonly (readonly [run: () => unknown, words: string, hint: string])[] = [
    [() => parseSecretValue("mtls", keyPem), "it has no certificate", whole],
    [() => parseSecretValue("mtls", certPem), "it has no private key", whole],
    [
      () => parseSecretValue("mtls", certPem + locked),
      "its private key is encrypted",
      "give --passphrase-file too",
    ],
    [
      () => decryptKey(certPem + keyPem, "x"),
      "it has no encrypted private key",
      "leave out --passphrase-file",
    ],
    [() => decryptKey(certPem, "x"), "it has no encrypted private key", "leave out --passphrase-file"],
    [
      () => decryptKey(certPem + locked, "x"),
      "the passphrase does not open its private key",
      "check the file of the passphrase",
    ],
  ];
  for (const [run, words, hint] of rows) assertEquals(hintOf(run), [words, hint]);
});
