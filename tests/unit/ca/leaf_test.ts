import "reflect-metadata";
import { Crypto as OtherCrypto } from "@peculiar/webcrypto";
import { X509Certificate } from "@peculiar/x509";
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { createAuthority } from "../../../ca/authority.ts";
import { generateLeafKey, LEAF_LIFE_MS, mintLeaf, proxyPortNames } from "../../../ca/leaf.ts";
import { parsePem } from "../../../ca/pem.ts";
import { Authority, AUTHORITY_LIFE_MS, BACKDATE_MS } from "../../../ca/signer.ts";
import { ProxyError } from "../../../core/errors.ts";
import { DAY_MS, handshake, openssl, opensslDo, SetClock, temporaryFolder, withOpenssl } from "./support.ts";

async function newAuthority(nowMs = Date.now()): Promise<Authority> {
  await using folder = await temporaryFolder();
  return await createAuthority({ dir: folder.path, clock: new SetClock(nowMs) });
}

const LONGEST = [63, 63, 63, 61].map((length) => "a".repeat(length)).join(".");

const HOSTS: readonly { name: string; host: string; other: string; hasCommonName: boolean }[] = [
  { name: "a DNS name", host: "api.example.com", other: "example.com", hasCommonName: true },
  { name: "one label", host: "localhost", other: "localhost2", hasCommonName: true },
  { name: "an A-label", host: "xn--bcher-kva.example", other: "bcher.example", hasCommonName: true },
  { name: "a name with _", host: "_a.b_c.example", other: "a.b_c.example", hasCommonName: true },
  { name: "IPv4", host: "192.168.222.1", other: "192.168.222.2", hasCommonName: true },
  { name: "IPv6", host: "2001:db8::1", other: "2001:db8::2", hasCommonName: true },
  { name: "IPv6 loopback", host: "::1", other: "::2", hasCommonName: true },
  {
    name: "IPv6 with an IPv4 inside",
    host: "::ffff:c000:201",
    other: "::ffff:c000:202",
    hasCommonName: true,
  },
  {
    name: "64 bytes, the longest common name",
    host: `${"a".repeat(60)}.com`,
    other: "a.com",
    hasCommonName: true,
  },
  { name: "65 bytes", host: `${"a".repeat(61)}.com`, other: "a.com", hasCommonName: false },
  { name: "253 bytes, the longest name", host: LONGEST, other: "a.com", hasCommonName: false },
];

Deno.test("mintLeaf() makes a leaf that Deno's TLS accepts for its host and for no other", async (t) => {
  const authority = await newAuthority();
  const stranger = await newAuthority();
  for (const { name, host, other } of HOSTS) {
    await t.step(name, async () => {
      const leaf = await mintLeaf(authority, [host], { nowMs: Date.now() });
      await handshake(leaf, host, authority.certPem);
      await assertRejects(
        () => handshake(leaf, other, authority.certPem),
        Deno.errors.InvalidData,
        "not valid for name",
      );
      await assertRejects(
        () => handshake(leaf, host, stranger.certPem),
        Deno.errors.InvalidData,
        "UnknownIssuer",
      );
    });
  }
});

Deno.test(withOpenssl("mintLeaf() makes a leaf that OpenSSL accepts in its strict mode"), async (t) => {
  const authority = await newAuthority();
  for (const { name, host, other, hasCommonName } of HOSTS) {
    await t.step(name, async () => {
      await using folder = await temporaryFolder();
      const leaf = await mintLeaf(authority, [host], { nowMs: Date.now() });
      await Deno.writeTextFile(`${folder.path}/ca`, authority.certPem);
      await Deno.writeTextFile(`${folder.path}/leaf`, leaf.certPem);
      const isIp = /^[\d.]+$|:/.test(host);
      const verify = (named: string) =>
        openssl([
          ...[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            isIp ? "-verify_ip" : "-verify_hostname",
            named,
          ],
          ...["-CAfile", "ca", "leaf"],
        ], folder.path);
      const verdict = await verify(host);
      assert(verdict.ok, verdict.text);
      assertEquals((await verify(other)).ok, false);
      const text = await opensslDo(["x509", "-in", "leaf", "-noout", "-text"], folder.path);
      assertMatch(text, hasCommonName ? /Subject: CN = / : /Subject: *\n/);
      assertMatch(text, hasCommonName ? /Alternative Name: *\n/ : /Alternative Name: critical\n/);
      assertStringIncludes(text, isIp ? "IP Address:" : `DNS:${host}\n`);
    });
  }
});

Deno.test(withOpenssl("mintLeaf() makes a server certificate and nothing more"), async () => {
  await using folder = await temporaryFolder();
  const nowMs = Date.now();
  const authority = await newAuthority();
  const names = ["api.example.com", "192.168.64.1", "fd00::1", "API.example.com."];
  const leaf = await mintLeaf(authority, names, { nowMs });
  await Deno.writeTextFile(`${folder.path}/leaf`, leaf.certPem);
  const text = await opensslDo(["x509", "-in", "leaf", "-noout", "-text"], folder.path);
  for (
    const line of [
      /Basic Constraints: critical\s+CA:FALSE/,
      /X509v3 Key Usage: critical\s+Digital Signature\n/,
      /Extended Key Usage: *\n\s+TLS Web Server Authentication\n/,
      /DNS:api\.example\.com, IP Address:192\.168\.64\.1, IP Address:FD00:0:0:0:0:0:0:1\n/,
      /Serial Number:\s+([0-9a-f]{2}:){15}[0-9a-f]{2}\n/,
      /Subject: CN = api\.example\.com\n/,
    ]
  ) assertMatch(text, line);
  await Deno.writeTextFile(`${folder.path}/ca`, authority.certPem);
  const caText = await opensslDo(["x509", "-in", "ca", "-noout", "-text"], folder.path);
  const idOf = (of: string, kind: string) =>
    new RegExp(`${kind} Key Identifier: *\\n\\s+([0-9A-F:]+)`).exec(of)?.[1];
  assertEquals(idOf(text, "Authority"), idOf(caText, "Subject"));
  assertNotEquals(idOf(text, "Subject"), idOf(caText, "Subject"));
  assertEquals(parsePem(leaf.certPem, "x").slice(1), parsePem(authority.certPem, "x"));
  await Deno.writeTextFile(`${folder.path}/key`, leaf.keyPem);
  assertEquals(
    await opensslDo(["pkey", "-in", "key", "-pubout"], folder.path),
    await opensslDo(["x509", "-in", "leaf", "-noout", "-pubkey"], folder.path),
  );
});

Deno.test(withOpenssl("mintLeaf() works for guests whose clock is off"), async (t) => {
  await using folder = await temporaryFolder();
  const nowMs = Date.now();
  const authority = await newAuthority(nowMs);
  const leaf = await mintLeaf(authority, ["a.example"], { nowMs });
  await Deno.writeTextFile(`${folder.path}/ca`, authority.certPem);
  await Deno.writeTextFile(`${folder.path}/leaf`, leaf.certPem);
  const rows = [
    { name: "almost thirty days behind", offsetMs: -BACKDATE_MS + 5_000, ok: true },
    { name: "more than thirty days behind", offsetMs: -BACKDATE_MS - 5_000, ok: false },
    { name: "almost a week ahead", offsetMs: LEAF_LIFE_MS - 5_000, ok: true },
    { name: "more than a week ahead", offsetMs: LEAF_LIFE_MS + 5_000, ok: false },
  ];
  for (const { name, offsetMs, ok } of rows) {
    await t.step(name, async () => {
      const at = String(Math.floor((nowMs + offsetMs) / 1_000));
      assertEquals((await openssl(["verify", "-attime", at, "-CAfile", "ca", "leaf"], folder.path)).ok, ok);
    });
  }
});

Deno.test("mintLeaf() begins with a CA that is younger than thirty days", async () => {
  const madeMs = Date.now();
  const authority = await newAuthority(madeMs);
  const leaf = await mintLeaf(authority, ["a.example"], { nowMs: madeMs - 10 * DAY_MS });
  const [block] = parsePem(leaf.certPem, "leaf");
  assert(block);
  assertEquals(new X509Certificate(block.der).notBefore.getTime(), authority.notBeforeMs);
});

Deno.test("mintLeaf() never outlives the CA, and refuses when it has ended", async (t) => {
  const authority = await newAuthority();
  const endMs = authority.notAfterMs;
  const rows = [
    { name: "a leaf's life before", nowMs: endMs - LEAF_LIFE_MS, notAfterMs: endMs },
    { name: "just before that", nowMs: endMs - LEAF_LIFE_MS - 1_000, notAfterMs: endMs - 1_000 },
    { name: "a minute before", nowMs: endMs - 60_000, notAfterMs: endMs },
    { name: "one millisecond before", nowMs: endMs - 1, notAfterMs: endMs },
    { name: "at the end", nowMs: endMs },
    { name: "after it", nowMs: endMs + DAY_MS },
  ];
  for (const { name, nowMs, notAfterMs } of rows) {
    await t.step(name, async () => {
      if (notAfterMs === undefined) {
        const error = await assertRejects(() => mintLeaf(authority, ["a.example"], { nowMs }), ProxyError);
        return assertEquals(error.code, "ca.expired");
      }
      const leaf = await mintLeaf(authority, ["a.example"], { nowMs });
      assertEquals(leaf.notAfterMs, notAfterMs);
      assertEquals(leaf.renewAt, notAfterMs - (notAfterMs - nowMs) / 4);
      const [block] = parsePem(leaf.certPem, "leaf");
      assert(block);
      const certificate = new X509Certificate(block.der);
      assertEquals(certificate.notAfter.getTime(), Math.floor(notAfterMs / 1_000) * 1_000);
      assertEquals(certificate.notBefore.getTime(), Math.floor((nowMs - BACKDATE_MS) / 1_000) * 1_000);
    });
  }
});

Deno.test("mintLeaf() refuses what is no host", async (t) => {
  const authority = await newAuthority();
  const rows = [
    "",
    "a b.com",
    "*.example.com",
    "bücher.example",
    "127.1",
    "[::1]",
    "a:443",
    "a..b",
    `a${LONGEST}`,
    "a\0b",
  ];
  for (const host of rows) {
    await t.step(JSON.stringify(host.slice(0, 20)), async () => {
      const error = await assertRejects(
        () => mintLeaf(authority, ["ok.example", host], { nowMs: Date.now() }),
        ProxyError,
      );
      assertEquals(error.code, "input.invalid");
    });
  }
  await assertRejects(() => mintLeaf(authority, [], { nowMs: Date.now() }), RangeError);
});

Deno.test("mintLeaf() uses one key per process, or the one that it is given", async () => {
  const authority = await newAuthority();
  const key = await generateLeafKey();
  const [a, b, c] = await Promise.all([
    mintLeaf(authority, ["a.example"], { nowMs: Date.now() }),
    mintLeaf(authority, ["b.example"], { nowMs: Date.now() }),
    mintLeaf(authority, ["c.example"], { nowMs: Date.now(), key }),
  ]);
  assertEquals(a.keyPem, b.keyPem);
  assertEquals(c.keyPem, key.keyPem);
  assertNotEquals(c.keyPem, a.keyPem);
});

// On Deno 2.7 the other implementation cannot do EC at all: it hands node:crypto a PEM that is not accepted there.
const other = new OtherCrypto() as unknown as Crypto;
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const isOtherUsable = await other.subtle.generateKey(algorithm, true, ["sign", "verify"])
  .then(({ privateKey }) => other.subtle.sign(algorithm, privateKey, new Uint8Array(1)))
  .then(() => true, () => false);

Deno.test({
  name: "mintLeaf() signs what a second WebCrypto verifies" +
    (isOtherUsable ? "" : " (skipped: it cannot do EC here)"),
  ignore: !isOtherUsable,
  fn: async () => {
    const authority = await newAuthority();
    const [ca] = parsePem(authority.certPem, "ca").map(({ der }) => new X509Certificate(der));
    const { certPem } = await mintLeaf(authority, ["a.example"], { nowMs: Date.now() });
    const [block] = parsePem(certPem, "leaf");
    assert(ca && block);
    assertEquals(await new X509Certificate(block.der).verify({ publicKey: ca.publicKey }, other), true);
    const last = block.der.length - 1;
    block.der[last] = (block.der[last] ?? 0) ^ 1;
    assertEquals(await new X509Certificate(block.der).verify({ publicKey: ca.publicKey }, other), false);
  },
});

Deno.test(
  withOpenssl("mintLeaf() serves openssl s_client with the whole chain, by TLS 1.2 and 1.3"),
  async (t) => {
    await using folder = await temporaryFolder();
    const authority = await newAuthority();
    await Deno.writeTextFile(`${folder.path}/ca`, authority.certPem);
    const { certPem: cert, keyPem: key } = await mintLeaf(authority, ["api.example.com"], {
      nowMs: Date.now(),
    });
    using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
    for (const version of ["-tls1_2", "-tls1_3"]) {
      await t.step(version, async () => {
        const serving = listener.accept().then(async (accepted) => {
          using conn = accepted;
          await conn.handshake();
        });
        const { ok, text } = await openssl([
          ...[
            "s_client",
            "-connect",
            `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
            version,
            "-showcerts",
          ],
          ...["-servername", "api.example.com", "-verify_hostname", "api.example.com", "-CAfile", "ca"],
          "-verify_return_error",
        ], folder.path);
        await serving;
        assert(ok, text);
        assertStringIncludes(text, "Verify return code: 0 (ok)");
        assertEquals(
          text.match(/BEGIN CERTIFICATE/g)?.length,
          2 + (text.includes("Server certificate\n-----") ? 1 : 0),
        );
      });
    }
  },
);

Deno.test("mintLeaf() of a CA that ends beyond 2050 still verifies", async () => {
  // RFC 5280 §4.1.2.5: GeneralizedTime from 2050 on.
  const authority = await newAuthority(Date.parse("2049-12-30T00:00:00Z") - AUTHORITY_LIFE_MS + 3 * DAY_MS);
  const leaf = await mintLeaf(authority, ["a.example"], { nowMs: Date.parse("2049-12-31T00:00:00Z") });
  const [block] = parsePem(leaf.certPem, "leaf");
  assert(block);
  assertEquals(new X509Certificate(block.der).notAfter.toISOString(), "2050-01-02T00:00:00.000Z");
});

Deno.test("proxyPortNames() covers the bind addresses, localhost where it is reached, and every san", async (t) => {
  const rows: readonly { name: string; binds: string[]; sans: string[]; names: string[] }[] = [
    { name: "loopback", binds: ["127.0.0.1"], sans: [], names: ["127.0.0.1", "localhost"] },
    { name: "end of 127/8", binds: ["127.255.255.255"], sans: [], names: ["127.255.255.255", "localhost"] },
    { name: "just outside", binds: ["128.0.0.0"], sans: [], names: ["128.0.0.0"] },
    { name: "IPv6 loopback", binds: ["::1"], sans: [], names: ["::1", "localhost"] },
    { name: "bridge address", binds: ["192.168.222.1"], sans: [], names: ["192.168.222.1"] },
    {
      name: "as documented for a Mac",
      binds: ["0.0.0.0"],
      sans: ["192.168.64.1"],
      names: ["localhost", "127.0.0.1", "::1", "192.168.64.1"],
    },
    { name: "all of IPv6", binds: ["::"], sans: [], names: ["localhost", "127.0.0.1", "::1"] },
    {
      name: "names, each once and canonical",
      binds: ["10.0.0.1"],
      sans: ["Proxy.Internal.", "proxy.internal", "10.0.0.1", "FD00:0::1"],
      names: ["10.0.0.1", "proxy.internal", "fd00::1"],
    },
  ];
  for (const { name, binds, sans, names } of rows) {
    await t.step(name, () => assertEquals(proxyPortNames(binds, sans), names));
  }
  await t.step("not a host", () => {
    assertEquals(assertThrows(() => proxyPortNames(["10.0.0.1"], ["a b"]), ProxyError).code, "input.invalid");
  });
});
