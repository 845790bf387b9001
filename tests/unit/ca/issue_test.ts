import { assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { createAuthority } from "../../../ca/authority.ts";
import { ISSUED_LIFE_MS, issueToFiles } from "../../../ca/issue.ts";
import { mintLeaf } from "../../../ca/leaf.ts";
import { ProxyError } from "../../../core/errors.ts";
import { handshake, SetClock, temporaryFolder } from "./support.ts";

Deno.test("issueToFiles() writes a certificate with its chain and a key of its own", async () => {
  await using folder = await temporaryFolder();
  const clock = new SetClock();
  const authority = await createAuthority({ dir: `${folder.path}/ca`, clock });
  const out = `${folder.path}/db.internal`;
  const issued = await issueToFiles(authority, { hosts: ["db.internal", "10.0.0.5"], out, clock });
  assertEquals(issued, {
    certPath: `${out}.crt`,
    keyPath: `${out}.key`,
    notAfterMs: clock.now() + ISSUED_LIFE_MS,
  });
  assertEquals(((await Deno.stat(issued.keyPath)).mode ?? 0) & 0o777, 0o600);
  const certPem = await Deno.readTextFile(issued.certPath);
  const keyPem = await Deno.readTextFile(issued.keyPath);
  assertStringIncludes(certPem, authority.certPem);
  for (const host of ["db.internal", "10.0.0.5"]) {
    await handshake({ certPem, keyPem, notAfterMs: 0, renewAt: 0 }, host, authority.certPem);
  }
  const dataPlane = await mintLeaf(authority, ["db.internal"], { nowMs: clock.now() });
  assertNotEquals(keyPem, dataPlane.keyPem);
});

Deno.test("issueToFiles() overwrites nothing and leaves no half", async (t) => {
  for (const taken of ["crt", "key"]) {
    await t.step(`${taken} exists`, async () => {
      await using folder = await temporaryFolder();
      const clock = new SetClock();
      const authority = await createAuthority({ dir: `${folder.path}/ca`, clock });
      const out = `${folder.path}/a`;
      await Deno.writeTextFile(`${out}.${taken}`, "precious");
      const error = await assertRejects(
        () => issueToFiles(authority, { hosts: ["a"], out, clock }),
        ProxyError,
      );
      assertEquals(error.code, "input.conflict");
      assertEquals(await Deno.readTextFile(`${out}.${taken}`), "precious");
      const other = taken === "crt" ? "key" : "crt";
      await assertRejects(() => Deno.stat(`${out}.${other}`), Deno.errors.NotFound);
    });
  }
});

Deno.test("issueToFiles() refuses a bad host and a folder that is not there", async () => {
  await using folder = await temporaryFolder();
  const clock = new SetClock();
  const authority = await createAuthority({ dir: `${folder.path}/ca`, clock });
  const codeOf = async (hosts: string[], out: string) =>
    (await assertRejects(() => issueToFiles(authority, { hosts, out, clock }), ProxyError)).code;
  assertEquals(await codeOf(["a b"], `${folder.path}/a`), "input.invalid");
  assertEquals(await codeOf(["a"], `${folder.path}/missing/a`), "ca.write-failed");
});
