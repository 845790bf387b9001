import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { Authority, AUTHORITY_LIFE_MS, BACKDATE_MS } from "../../../ca/signer.ts";
import {
  createAuthority,
  describeAuthority,
  loadAuthority,
  loadOrCreateAuthority,
  RENEW_BEFORE_MS,
} from "../../../ca/authority.ts";
import { mintLeaf } from "../../../ca/leaf.ts";
import { type ErrorCode, ProxyError } from "../../../core/errors.ts";
import { DAY_MS, openssl, opensslDo, selfSign, SetClock, temporaryFolder, withOpenssl } from "./support.ts";

async function modeOf(path: string): Promise<string> {
  return (((await Deno.stat(path)).mode ?? 0) & 0o777).toString(8);
}

async function filesOf(dir: string): Promise<string[]> {
  const names = [];
  for await (const { name } of Deno.readDir(dir)) names.push(name);
  return names.sort();
}

async function rejectsWith(code: ErrorCode, call: () => Promise<unknown>): Promise<ProxyError> {
  const error = await assertRejects(call, ProxyError);
  assertEquals(error.code, code, error.message);
  return error;
}

Deno.test("loadOrCreateAuthority() makes a CA that only its owner can open, and loads it from then on", async () => {
  await using folder = await temporaryFolder();
  const options = { dir: `${folder.path}/deep/sbox`, hostgroup: "sbox", clock: new SetClock() };
  const made = await loadOrCreateAuthority(options);
  assertEquals(made.outcome, "created");
  assertEquals(await modeOf(options.dir), "700");
  assertEquals(await modeOf(`${options.dir}/ca.key`), "600");
  assertEquals(await modeOf(`${options.dir}/ca.crt`), "644");
  assertEquals(await filesOf(options.dir), ["ca.crt", "ca.key"]);
  assertEquals(await Deno.readTextFile(`${options.dir}/ca.crt`), made.authority.certPem);

  const loaded = await loadOrCreateAuthority(options);
  assertEquals(loaded.outcome, "loaded");
  assertEquals(loaded.authority.certPem, made.authority.certPem);
});

Deno.test(withOpenssl("loadOrCreateAuthority() makes a CA as RFC 5280 wants it"), async () => {
  await using folder = await temporaryFolder();
  const clock = new SetClock();
  const { authority } = await loadOrCreateAuthority({ dir: folder.path, hostgroup: "web.1_a-b", clock });
  const text = await opensslDo(
    ["x509", "-in", "ca.crt", "-noout", "-text", "-nameopt", "RFC2253"],
    folder.path,
  );
  for (
    const line of [
      /Subject: CN=Slicer Proxy CA [0-9a-f]{8},OU=web\.1_a-b,O=Slicer Proxy\n/,
      /Signature Algorithm: ecdsa-with-SHA256/,
      /ASN1 OID: prime256v1/,
      /Basic Constraints: critical\s+CA:TRUE, pathlen:0/,
      /Key Usage: critical\s+Certificate Sign, CRL Sign\n/,
      /Subject Key Identifier:\s+([0-9A-F]{2}:){19}/,
      /Serial Number:\s+([0-9a-f]{2}:){15}[0-9a-f]{2}\n/,
    ]
  ) assertMatch(text, line);
  assertEquals(Math.abs(authority.notBeforeMs - (clock.now() - BACKDATE_MS)) < 1_000, true);
  assertEquals(Math.abs(authority.notAfterMs - (clock.now() + AUTHORITY_LIFE_MS)) < 1_000, true);
  const verdict = await openssl(
    ["verify", "-x509_strict", "-check_ss_sig", "-CAfile", "ca.crt", "ca.crt"],
    folder.path,
  );
  assert(verdict.ok, verdict.text);
});

Deno.test("loadOrCreateAuthority() called many times at once makes one CA", async () => {
  await using folder = await temporaryFolder();
  const options = { dir: `${folder.path}/sbox`, clock: new SetClock() };
  const all = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateAuthority(options)));
  assertEquals(all.filter(({ outcome }) => outcome === "created").length, 1);
  assertEquals(new Set(all.map(({ authority }) => authority.certPem)).size, 1);
});

Deno.test("loadOrCreateAuthority() finishes or undoes what a crash interrupted", async (t) => {
  // Every state of the folder between two steps of a write, as [name in folder, file of which CA].
  const rows: readonly {
    name: string;
    files: Readonly<Record<string, string>>;
    becomes: "old" | "new" | "fresh";
  }[] = [
    { name: "first CA, certificate pending", files: { "ca.crt.new": "new.crt" }, becomes: "fresh" },
    {
      name: "first CA, both pending",
      files: { "ca.crt.new": "new.crt", "ca.key.new": "new.key" },
      becomes: "fresh",
    },
    {
      name: "first CA, key in place",
      files: { "ca.key": "new.key", "ca.crt.new": "new.crt" },
      becomes: "new",
    },
    {
      name: "replacement, key in place",
      files: { "ca.key": "new.key", "ca.crt": "old.crt", "ca.crt.new": "new.crt" },
      becomes: "new",
    },
    { name: "first CA, torn pending certificate", files: { "ca.crt.new": "torn" }, becomes: "fresh" },
    {
      name: "replacement, both pending, seen by a reader",
      files: { "ca.key": "old.key", "ca.crt": "old.crt", "ca.crt.new": "new.crt", "ca.key.new": "new.key" },
      becomes: "old",
    },
  ];
  await using source = await temporaryFolder();
  const clock = new SetClock();
  const contents: Record<string, string> = { torn: "-----BEGIN CERTIFICATE-----\nMIIB" };
  for (const which of ["old", "new"]) {
    const dir = `${source.path}/${which}`;
    await createAuthority({ dir, clock });
    for (const end of ["crt", "key"]) {
      contents[`${which}.${end}`] = await Deno.readTextFile(`${dir}/ca.${end}`);
    }
  }
  for (const { name, files, becomes } of rows) {
    await t.step(name, async () => {
      await using folder = await temporaryFolder();
      for (const [file, from] of Object.entries(files)) {
        await Deno.writeTextFile(`${folder.path}/${file}`, contents[from] ?? "", { mode: 0o600 });
      }
      const { authority, outcome } = await loadOrCreateAuthority({ dir: folder.path, clock });
      assertEquals(outcome, becomes === "fresh" ? "created" : "loaded");
      if (becomes !== "fresh") assertEquals(authority.certPem, contents[`${becomes}.crt`]);
      if (becomes !== "old") assertEquals(await filesOf(folder.path), ["ca.crt", "ca.key"]);
      assertEquals(
        (await loadOrCreateAuthority({ dir: folder.path, clock })).authority.certPem,
        authority.certPem,
      );
    });
  }
});

Deno.test("loadOrCreateAuthority() refuses half a pair, and leaves it alone", async (t) => {
  for (const [kept, lost] of [["ca.key", "ca.crt"], ["ca.crt", "ca.key"]] as const) {
    await t.step(`${kept} without ${lost}`, async () => {
      await using folder = await temporaryFolder();
      const options = { dir: folder.path, clock: new SetClock() };
      await createAuthority(options);
      await Deno.remove(`${folder.path}/${lost}`);
      const error = await rejectsWith("ca.invalid", () => loadOrCreateAuthority(options));
      assertStringIncludes(error.message, `${kept} is there and ${lost} is not`);
      assertStringIncludes(error.hint ?? "", `move ${kept} away`);
      assertEquals(await filesOf(folder.path), [kept]);
      await rejectsWith("ca.invalid", () => loadAuthority(options));
      await rejectsWith("input.conflict", () => createAuthority(options));
      await createAuthority({ ...options, force: true });
      assertEquals((await loadOrCreateAuthority(options)).outcome, "loaded");
    });
  }
});

Deno.test("loadOrCreateAuthority() refuses a key that others can open", async (t) => {
  const rows = [
    { mode: 0o600, ok: true },
    { mode: 0o400, ok: true },
    { mode: 0o640, ok: false },
    { mode: 0o620, ok: false },
    { mode: 0o604, ok: false },
    { mode: 0o601, ok: false },
  ];
  await using folder = await temporaryFolder();
  const options = { dir: folder.path, clock: new SetClock() };
  await createAuthority(options);
  for (const { mode, ok } of rows) {
    await t.step(mode.toString(8), async () => {
      await Deno.chmod(`${folder.path}/ca.key`, mode);
      if (ok) return assertEquals((await loadOrCreateAuthority(options)).outcome, "loaded");
      const error = await rejectsWith("ca.invalid", () => loadOrCreateAuthority(options));
      assertEquals(error.hint, `run: chmod 600 ${folder.path}/ca.key`);
    });
  }
});

Deno.test("loadOrCreateAuthority() refuses what is not a regular file, and follows links to one", async (t) => {
  await using folder = await temporaryFolder();
  const options = { dir: folder.path, clock: new SetClock() };
  await createAuthority(options);
  const key = `${folder.path}/ca.key`;
  await Deno.rename(key, `${folder.path}/elsewhere`);
  await t.step("a folder", async () => {
    await Deno.mkdir(key);
    const error = await rejectsWith("ca.invalid", () => loadOrCreateAuthority(options));
    assertStringIncludes(error.message, "not a regular file");
    await Deno.remove(key);
  });
  await t.step("a device that never ends", async () => {
    await Deno.symlink("/dev/zero", key);
    await rejectsWith("ca.invalid", () => loadOrCreateAuthority(options));
    await Deno.remove(key);
  });
  await t.step("a file beyond any CA's size", async () => {
    await Deno.writeTextFile(key, "x".repeat(65_537), { mode: 0o600 });
    const error = await rejectsWith("ca.invalid", () => loadOrCreateAuthority(options));
    assertStringIncludes(error.message, "larger than 65536 bytes");
    await Deno.remove(key);
  });
  await t.step("a link to the key", async () => {
    await Deno.symlink("elsewhere", key);
    assertEquals((await loadOrCreateAuthority(options)).outcome, "loaded");
  });
});

Deno.test("loadOrCreateAuthority() refuses a key and a certificate of different CAs", async () => {
  await using folder = await temporaryFolder();
  const clock = new SetClock();
  await createAuthority({ dir: `${folder.path}/a`, clock });
  await createAuthority({ dir: `${folder.path}/b`, clock });
  await Deno.rename(`${folder.path}/b/ca.key`, `${folder.path}/a/ca.key`);
  const error = await rejectsWith(
    "ca.invalid",
    () => loadOrCreateAuthority({ dir: `${folder.path}/a`, clock }),
  );
  assertStringIncludes(error.message, "ca.key does not belong to ca.crt");
});

Deno.test("loadOrCreateAuthority() refuses damaged files", async (t) => {
  await using folder = await temporaryFolder();
  const options = { dir: folder.path, clock: new SetClock() };
  for (
    const [name, text] of [["empty", ""], ["garbage", "\0\xff"], [
      "torn",
      "-----BEGIN CERTIFICATE-----\nMIIB",
    ]]
  ) {
    for (const file of ["ca.crt", "ca.key"]) {
      await t.step(`${name} ${file}`, async () => {
        await createAuthority({ ...options, force: true });
        await Deno.writeTextFile(`${folder.path}/${file}`, text ?? "");
        const error = await rejectsWith("ca.invalid", () => loadOrCreateAuthority(options));
        assertStringIncludes(error.message, file);
      });
    }
  }
});

Deno.test(
  withOpenssl("loadOrCreateAuthority() refuses a certificate that may not sign others"),
  async (t) => {
    const rows = [
      { name: "CA:FALSE", ext: ["basicConstraints=critical,CA:FALSE"], ok: false },
      {
        name: "keyUsage without keyCertSign",
        ext: ["basicConstraints=CA:TRUE", "keyUsage=cRLSign"],
        ok: false,
      },
      {
        name: "keyUsage with keyCertSign",
        ext: ["basicConstraints=CA:TRUE", "keyUsage=keyCertSign"],
        ok: true,
      },
      { name: "no keyUsage", ext: ["basicConstraints=CA:TRUE"], ok: true },
    ];
    for (const { name, ext, ok } of rows) {
      await t.step(name, async () => {
        await using folder = await temporaryFolder();
        await opensslDo(
          ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key"],
          folder.path,
        );
        // An own configuration: the default one adds CA:TRUE by itself.
        const config = `[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\n${ext.join("\n")}\n`;
        await Deno.writeTextFile(`${folder.path}/cnf`, config);
        const args = [
          "req",
          "-x509",
          "-new",
          "-key",
          "ca.key",
          "-out",
          "ca.crt",
          "-subj",
          "/CN=x",
          "-config",
          "cnf",
        ];
        await opensslDo(args, folder.path);
        const load = () =>
          loadOrCreateAuthority({ dir: folder.path, clock: new SetClock(Date.now() + DAY_MS) });
        if (ok) await load();
        else assertStringIncludes((await rejectsWith("ca.invalid", load)).message, "may not sign");
      });
    }
  },
);

Deno.test("loadOrCreateAuthority() refuses a CA that has not begun", async (t) => {
  await using folder = await temporaryFolder();
  const clock = new SetClock();
  const authority = await createAuthority({ dir: folder.path, clock });
  for (const [name, offsetMs, ok] of [["at its start", 0, true], ["before it", -1, false]] as const) {
    await t.step(name, async () => {
      const load = () =>
        loadOrCreateAuthority({ dir: folder.path, clock: new SetClock(authority.notBeforeMs + offsetMs) });
      if (ok) return assertEquals((await load()).outcome, "loaded");
      assertStringIncludes((await rejectsWith("ca.invalid", load)).hint ?? "", "check the clock");
    });
  }
});

Deno.test("loadOrCreateAuthority() renews within seven days of the end and after it, with key and subject", async (t) => {
  const rows = [
    { name: "just before the seven days", offsetMs: -RENEW_BEFORE_MS - 1, outcome: "loaded" },
    { name: "seven days before", offsetMs: -RENEW_BEFORE_MS, outcome: "renewed" },
    { name: "a year after", offsetMs: 365 * DAY_MS, outcome: "renewed" },
  ];
  for (const { name, offsetMs, outcome } of rows) {
    await t.step(name, async () => {
      await using folder = await temporaryFolder();
      const clock = new SetClock();
      const old = await createAuthority({ dir: folder.path, hostgroup: "sbox", clock });
      const before = await describeAuthority(folder.path);
      const keyBefore = await Deno.readTextFile(`${folder.path}/ca.key`);
      clock.nowMs = old.notAfterMs + offsetMs;
      const found = await loadOrCreateAuthority({ dir: folder.path, clock });
      assertEquals(found.outcome, outcome);
      const after = await describeAuthority(folder.path);
      assertEquals(after.subject, before.subject);
      assertEquals(await Deno.readTextFile(`${folder.path}/ca.key`), keyBefore);
      if (outcome === "loaded") return assertEquals(after, before);
      assertNotEquals(after.serial, before.serial);
      assertNotEquals(after.fingerprint, before.fingerprint);
      assert(Math.abs(Date.parse(after.notAfter) - (clock.now() + AUTHORITY_LIFE_MS)) < 1_000);
      assert(Math.abs(Date.parse(after.notBefore) - (clock.now() - BACKDATE_MS)) < 1_000);
      assertEquals(await filesOf(folder.path), ["ca.crt", "ca.key"]);
      assertEquals((await loadOrCreateAuthority({ dir: folder.path, clock })).outcome, "loaded");
    });
  }
});

Deno.test("loadOrCreateAuthority() called many times at once renews once", async () => {
  await using folder = await temporaryFolder();
  const clock = new SetClock();
  const old = await createAuthority({ dir: folder.path, clock });
  clock.nowMs = old.notAfterMs;
  const all = await Promise.all(
    Array.from({ length: 6 }, () => loadOrCreateAuthority({ dir: folder.path, clock })),
  );
  assertEquals(all.filter(({ outcome }) => outcome === "renewed").length, 1);
  assertEquals(new Set(all.map(({ authority }) => authority.certPem)).size, 1);
});

Deno.test(withOpenssl("a renewed CA verifies old leaves, and the old CA verifies new ones"), async (t) => {
  const rows = [
    {
      name: "a CA made here",
      stringTag: /^subject=.*CN=#13/,
      make: (dir: string) => createAuthority({ dir, clock: new SetClock(longAgoMs) }),
    },
    {
      name: "a CA of openssl that names its own serial, with a subject in BMPString",
      stringTag: /^subject=.*CN=#1E/,
      make: async (dir: string) => {
        await opensslDo(["genrsa", "-traditional", "-out", "ca.key", "2048"], dir);
        const config = "[req]\ndistinguished_name=dn\nx509_extensions=ext\nstring_mask=MASK:0x800\n" +
          "[dn]\n[ext]\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always,issuer:always\n" +
          "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
        await Deno.writeTextFile(`${dir}/cnf`, config);
        await selfSign(dir, ["-config", "cnf", "-days", "6", "-addext", "nsComment=kept"]);
      },
    },
  ];
  const longAgoMs = Date.now() - AUTHORITY_LIFE_MS + 6 * DAY_MS;
  for (const { name, stringTag, make } of rows) {
    await t.step(name, async () => {
      await using folder = await temporaryFolder();
      const dir = folder.path;
      const clock = new SetClock(Date.now() + 1_000);
      await make(dir);
      const old = await loadAuthority({ dir, clock });
      const { authority, outcome } = await loadOrCreateAuthority({ dir, clock });
      assertEquals(outcome, "renewed");
      for (const [label, ca] of [["old", old], ["new", authority]] as const) {
        await Deno.writeTextFile(`${dir}/${label}-ca.pem`, ca.certPem);
        const leaf = await mintLeaf(ca, ["a.example"], { nowMs: Date.now() });
        await Deno.writeTextFile(`${dir}/${label}-leaf.pem`, leaf.certPem);
      }
      for (const trusted of ["old", "new"]) {
        for (const leaf of ["old", "new"]) {
          const files = [
            "-CAfile",
            `${trusted}-ca.pem`,
            "-untrusted",
            `${leaf}-leaf.pem`,
            `${leaf}-leaf.pem`,
          ];
          const verdict = await openssl(["verify", "-x509_strict", "-check_ss_sig", ...files], dir);
          assert(verdict.ok, `${leaf} leaf under the ${trusted} CA: ${verdict.text}`);
        }
      }
      // As DER: some verifiers compare names byte by byte, so the types of the strings count.
      const namesIn = (file: string) =>
        opensslDo([
          ...["x509", "-in", file, "-noout", "-subject", "-issuer"],
          ...["-nameopt", "sname,sep_comma_plus,dump_all,dump_der"],
        ], dir);
      const names = await namesIn("old-ca.pem");
      assertMatch(names, stringTag);
      assertEquals(await namesIn("new-ca.pem"), names);
      assertEquals((await namesIn("new-leaf.pem")).split("\n")[1], names.split("\n")[1]);
    });
  }
});

Deno.test(
  withOpenssl("a CA issued by another one is used, never renewed, and refused when it has ended"),
  async () => {
    await using folder = await temporaryFolder();
    const dir = folder.path;
    const root = await createAuthority({ dir: `${dir}/root`, clock: new SetClock() });
    await opensslDo(["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", "ca.key"], dir);
    await opensslDo(["req", "-new", "-key", "ca.key", "-subj", "/CN=sub", "-out", "csr"], dir);
    await Deno.writeTextFile(
      `${dir}/ext`,
      "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n",
    );
    await opensslDo([
      ...["x509", "-req", "-in", "csr", "-CA", "root/ca.crt", "-CAkey", "root/ca.key", "-days", "6"],
      ...["-extfile", "ext", "-out", "ca.crt"],
    ], dir);
    await Deno.writeTextFile(`${dir}/ca.crt`, root.certPem, { append: true });
    const clock = new SetClock(Date.now() + 1_000);
    const { authority, outcome } = await loadOrCreateAuthority({ dir, clock });
    assertEquals([outcome, authority.isSelfIssued], ["loaded", false]);
    const { certPem } = await mintLeaf(authority, ["a.example"], { nowMs: clock.now() });
    assertEquals(certPem.match(/BEGIN CERTIFICATE/g)?.length, 3);
    clock.nowMs = authority.notAfterMs;
    const error = await rejectsWith("ca.expired", () => loadOrCreateAuthority({ dir, clock }));
    assertStringIncludes(error.hint ?? "", "issued by another CA");
  },
);

Deno.test({
  ...withOpenssl(
    "loadOrCreateAuthority() goes on with a CA that it cannot renew, and stops when it has ended",
  ),
  // Root ignores file modes, so that the folder is read-only by Deno's own means.
  permissions: { read: true, write: false, run: true },
  fn: async () => {
    const mktemp = await new Deno.Command("mktemp", { args: ["-d"] }).output();
    const dir = new TextDecoder().decode(mktemp.stdout).trim();
    try {
      await opensslDo(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key"], dir);
      await selfSign(dir, ["-days", "6"]);
      const clock = new SetClock(Date.now() + 1_000);
      const found = await loadOrCreateAuthority({ dir, clock });
      assertEquals([found.outcome, found.renewalError?.code], ["loaded", "ca.write-failed"]);
      clock.nowMs = found.authority.notAfterMs;
      await rejectsWith("ca.write-failed", () => loadOrCreateAuthority({ dir, clock }));
      assertEquals(await filesOf(dir), ["ca.crt", "ca.key"]);
    } finally {
      await new Deno.Command("rm", { args: ["-r", dir] }).output();
    }
  },
});

Deno.test("loadOrCreateAuthority() says so when the folder cannot be made", async () => {
  await using folder = await temporaryFolder();
  await Deno.writeTextFile(`${folder.path}/file`, "");
  const options = { dir: `${folder.path}/file/sbox`, clock: new SetClock() };
  await rejectsWith("ca.write-failed", () => loadOrCreateAuthority(options));
});

Deno.test("loadAuthority() neither makes nor renews", async () => {
  await using folder = await temporaryFolder();
  const options = { dir: `${folder.path}/sbox`, clock: new SetClock() };
  assertStringIncludes(
    (await rejectsWith("input.not-found", () => loadAuthority(options))).hint ?? "",
    "ca init",
  );
  await assertRejects(() => Deno.stat(options.dir), Deno.errors.NotFound);
  const { certPem, notAfterMs } = await createAuthority(options);
  options.clock.nowMs = notAfterMs - 1;
  assertEquals((await loadAuthority(options)).certPem, certPem);
  options.clock.nowMs = notAfterMs;
  await rejectsWith("ca.expired", () => loadAuthority(options));
});

Deno.test("createAuthority() replaces a CA only with force", async () => {
  await using folder = await temporaryFolder();
  const options = { dir: `${folder.path}/sbox`, clock: new SetClock() };
  const first = await createAuthority(options);
  assertStringIncludes(
    (await rejectsWith("input.conflict", () => createAuthority(options))).hint ?? "",
    "--force",
  );
  assertEquals((await loadAuthority(options)).certPem, first.certPem);
  const second = await createAuthority({ ...options, force: true });
  assertNotEquals(second.certPem, first.certPem);
  assertEquals((await loadAuthority(options)).certPem, second.certPem);
  assertEquals(await filesOf(options.dir), ["ca.crt", "ca.key"]);
});

Deno.test(withOpenssl("describeAuthority() says what openssl says"), async () => {
  await using folder = await temporaryFolder();
  await opensslDo(["genrsa", "-out", "ca.key", "2048"], folder.path);
  await selfSign(folder.path);
  await Deno.remove(`${folder.path}/ca.key`); // of no use to it
  const described = await describeAuthority(folder.path);
  const show = async (flag: string[]) =>
    (await opensslDo(["x509", "-in", "ca.crt", "-noout", ...flag], folder.path)).trim().replace(
      /^[^=]*=/,
      "",
    );
  assertEquals(described.path, `${folder.path}/ca.crt`);
  assertEquals(described.fingerprint, await show(["-fingerprint", "-sha256"]));
  assertEquals(described.serial.toUpperCase(), await show(["-serial"]));
  assertEquals(described.notAfter, new Date(await show(["-enddate"])).toISOString());
  assertEquals(described.notBefore, new Date(await show(["-startdate"])).toISOString());
  assertEquals(described.subject, "O=Someone, CN=Test CA");
  assertEquals(described.keyType, "RSA 2048");
});

Deno.test("describeAuthority() raises input.not-found without a CA", async () => {
  await using folder = await temporaryFolder();
  await rejectsWith("input.not-found", () => describeAuthority(folder.path));
});

Deno.test("Authority shows no key when it is inspected or serialised", async () => {
  await using folder = await temporaryFolder();
  const authority = await createAuthority({ dir: folder.path, clock: new SetClock() });
  const body = (await Deno.readTextFile(`${folder.path}/ca.key`)).split("\n")[1] ?? "";
  assert(body.length > 60);
  assertEquals((Deno.inspect(authority, { depth: 20 }) + JSON.stringify(authority)).includes(body), false);
  assert(authority instanceof Authority);
});
