import { assert, assertEquals, assertRejects } from "@std/assert";
import { checkProxy } from "../../../agent/name_lookup.ts";
import { dialProxy, openTunnel } from "../../../agent/proxy_link.ts";
import { findCa, fingerprintsOf, holdsCertificates, validityOf } from "../../../agent/trust.ts";
import { ProxyError } from "../../../core/errors.ts";
import { startTestProxy, TOKEN } from "../../support/start_proxy.ts";
import { makeAuthority } from "../../support/test_authority.ts";
import { accessTo, withFolder } from "./support.ts";

Deno.test("findCa() takes what was named, and only if its hash is the one given", async (t) => {
  await using proxy = await startTestProxy();
  const { proxy: place } = accessTo(proxy);
  const [sha256 = ""] = fingerprintsOf(proxy.caPem);
  const other = (await makeAuthority("other")).caPem;
  await withFolder(async (dir) => {
    const file = `${dir}/ca.crt`;
    await Deno.writeTextFile(file, `# notes\n${proxy.caPem}`);
    const good = [
      { name: "a file", choice: { file } },
      { name: "a hash", choice: { sha256 } },
      { name: "a hash with colons", choice: { sha256: sha256.toUpperCase().match(/../g)?.join(":") } },
      { name: "both", choice: { file, sha256 } },
    ];
    for (const { name, choice } of good) {
      await t.step(
        name,
        async () => assertEquals(fingerprintsOf((await findCa(choice, place)).pem), [sha256]),
      );
    }
    await Deno.writeTextFile(`${dir}/other.crt`, other);
    await Deno.writeTextFile(`${dir}/bad.crt`, proxy.caPem.replace(/\n..../, "\nAAAA"));
    await Deno.writeTextFile(`${dir}/empty.crt`, "");
    const bad = [
      { name: "another's hash", choice: { sha256: "0".repeat(64) } },
      { name: "another's file", choice: { file: `${dir}/other.crt`, sha256 } },
      { name: "a short hash", choice: { sha256: sha256.slice(1) } },
      { name: "a damaged file", choice: { file: `${dir}/bad.crt` } },
      { name: "an empty file", choice: { file: `${dir}/empty.crt` } },
      { name: "no file", choice: { file: `${dir}/none.crt` } },
    ];
    for (const { name, choice } of bad) {
      await t.step(name, async () => {
        const error = await assertRejects(() => findCa(choice, place), ProxyError);
        assertEquals(error.code, "input.invalid");
      });
    }
  });
});

Deno.test("holdsCertificates() compares certificates, not text", async () => {
  const one = (await makeAuthority("one")).caPem;
  const two = (await makeAuthority("two")).caPem;
  assert(holdsCertificates(one + two, two.replaceAll("\n", "\r\n")));
  assert(!holdsCertificates(one, two));
  assert(!holdsCertificates(one, one + two));
  assert(!holdsCertificates(one, ""));
  const validity = validityOf(one);
  assert(validity && validity.from < Date.now() && validity.to > Date.now());
});

Deno.test("the token goes only to a proxy whose certificate is good", async () => {
  await using proxy = await startTestProxy();
  const access = accessTo(proxy);
  const other = (await makeAuthority("other")).caPem;
  const untrusted = await assertRejects(() => dialProxy({ ...access, caPem: other }), ProxyError);
  assertEquals(untrusted.code, "upstream.tls");
  // A server that would show what reached it in clear.
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const received = (async () => {
    using conn = await listener.accept();
    const buffer = new Uint8Array(65_536);
    const count = await conn.read(buffer) ?? 0;
    await conn.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n"));
    return new TextDecoder("latin1").decode(buffer.subarray(0, count));
  })();
  const plain = { ...access, proxy: { host: "127.0.0.1", port: (listener.addr as Deno.NetAddr).port } };
  const error = await assertRejects(() => openTunnel(plain, { host: "x.test", port: 443 }), ProxyError);
  assertEquals(error.code, "upstream.tls");
  const text = await received;
  listener.close();
  assert(!text.includes(TOKEN) && !text.includes(btoa(`proxy:${TOKEN}`)));
});

Deno.test("checkProxy() knows a good token from a bad one, and tells the proxy's clock", async () => {
  await using proxy = await startTestProxy();
  const time = await checkProxy(accessTo(proxy));
  assert(time !== undefined && Math.abs(time - Date.now()) < 5_000);
  const error = await assertRejects(() => checkProxy(accessTo(proxy, "spi_wrong_token_xxxxx")), ProxyError);
  assertEquals(error.code, "auth.invalid");
  assertEquals(proxy.lines.filter((line) => line.includes("method=DNS")), [], "the probe is no look-up");
});
