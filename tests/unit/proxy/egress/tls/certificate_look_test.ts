/** The second look at a certificate that was refused: rare, bounded, and nothing goes over it. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { formatPem } from "../../../../../ca/pem.ts";
import { loadX509 } from "../../../../../ca/x509.ts";
import { ProxyError } from "../../../../../core/errors.ts";
import { certificatesIn } from "../../../../../core/node_tls.ts";
import { CertificateLooks, lookAt } from "../../../../../proxy/egress/tls/certificate_look.ts";
import type { ShownChain } from "../../../../../proxy/tls/shown_chain.ts";
import { startRawUpstream } from "../../../../support/echo_upstream.ts";
import { holdTimers } from "../../../../support/held_timers.ts";
import { settledSockets, soon, startSilentPeer, waitUntil } from "../../../../support/sockets.ts";
import { makeAuthority } from "../../../../support/test_authority.ts";
import { watchSignal } from "../../../../support/watched_signal.ts";

const NEVER = new AbortController().signal;
const CHAIN: ShownChain = {
  isWhole: true,
  certificates: [
    { subject: { commonName: "a.test" }, issuer: { commonName: "CA 1" }, beginsAtMs: 0, endsAtMs: 0 },
  ],
};
const failure = (reason = "tls-unknown-issuer") =>
  new ProxyError("upstream.tls", "Cannot trust a.test: general words", { reason });
const place = (host: string) => ({ host, port: 443, address: "192.0.2.1" });

Deno.test("CertificateLooks looks at a place once a minute, however many requests fail there", async () => {
  let looks = 0;
  let now = 0;
  const look = () => Promise.resolve((looks++, CHAIN));
  const { tellMore } = bound(new CertificateLooks(look, () => now));
  for (let i = 0; i < 50; i++) {
    const { reason, message } = await tellMore(failure(), place("a.test"), NEVER);
    assertEquals(reason, "tls-incomplete-chain");
    assertStringIncludes(
      message,
      'Cannot trust a.test: it does not send the certificate of its issuer, "CA 1"',
    );
  }
  assertEquals(looks, 1);
  now = 59_999;
  await tellMore(failure(), place("a.test"), NEVER);
  assertEquals(looks, 1);
  now = 60_000;
  await tellMore(failure(), place("a.test"), NEVER);
  assertEquals(looks, 2);
});

Deno.test("CertificateLooks looks at four places at once and leaves the words of others as they are", async () => {
  const { promise, resolve } = Promise.withResolvers<ShownChain>();
  let looks = 0;
  const { tellMore } = bound(new CertificateLooks(() => (looks++, promise), () => 0));
  const waiting = [1, 2, 3, 4].map((n) => tellMore(failure(), place(`h${n}.test`), NEVER));
  assertEquals((await tellMore(failure(), place("h5.test"), NEVER)).reason, "tls-unknown-issuer");
  assertEquals(looks, 4);
  resolve(CHAIN);
  assertEquals(
    (await Promise.all(waiting)).map(({ reason }) => reason),
    Array(4).fill("tls-incomplete-chain"),
  );
  assertEquals((await tellMore(failure(), place("h5.test"), NEVER)).reason, "tls-incomplete-chain");
});

Deno.test("CertificateLooks does not look where a chain says no more, nor waits for longer than who asked", async () => {
  let looks = 0;
  const { tellMore } = bound(new CertificateLooks(() => (looks++, new Promise(() => {})), () => 0));
  for (const reason of ["tls-wrong-name", "tls-protocol", "upstream-closed", "protocol-mismatch"]) {
    const given = failure(reason);
    assertEquals(await tellMore(given, place("a.test"), NEVER), given);
  }
  assertEquals(looks, 0);
  const gone = new AbortController();
  const told = tellMore(failure(), place("a.test"), gone.signal);
  gone.abort();
  assertEquals((await soon("the failure", told)).message, "Cannot trust a.test: general words");
});

Deno.test("CertificateLooks names the certificate that is out of its time, by today's clock", async () => {
  const [name, far] = [{ commonName: "a.test" }, Date.now() + 1e9];
  const rows = [
    ["tls-expired", 0, 1, "its certificate ended on 1970-01-01"],
    ["tls-not-yet-valid", far, far + 1, "its certificate is not valid before "],
  ] as const;
  for (const [reason, beginsAtMs, endsAtMs, words] of rows) {
    const certificates = [{ subject: name, issuer: name, beginsAtMs, endsAtMs }];
    const looks = new CertificateLooks(() => Promise.resolve({ isWhole: true, certificates }), () => 0);
    const told = await looks.tellMore(failure(reason), place("a.test"), NEVER);
    assertEquals(told.reason, reason);
    assertStringIncludes(told.message, words);
  }
});

Deno.test("CertificateLooks remembers 256 places, and forgets the one not asked about for longest", async () => {
  const seen: string[] = [];
  const look = ({ host }: { host: string }) => Promise.resolve((seen.push(host), CHAIN));
  const { tellMore } = bound(new CertificateLooks(look, () => 0));
  for (let at = 0; at < 256; at++) await tellMore(failure(), place(`h${at}`), NEVER);
  await tellMore(failure(), place("h0"), NEVER);
  assertEquals(seen.length, 256);
  await tellMore(failure(), place("one more"), NEVER);
  await tellMore(failure(), place("h0"), NEVER);
  await tellMore(failure(), place("h1"), NEVER);
  assertEquals(seen.slice(256), ["one more", "h1"]);
});

Deno.test("CertificateLooks lets go of the signal of who asked, and does not keep who is gone already", async () => {
  const living = watchSignal();
  const quick = new CertificateLooks(() => Promise.resolve(CHAIN), () => 0);
  assertEquals(
    (await quick.tellMore(failure(), place("a.test"), living.signal)).reason,
    "tls-incomplete-chain",
  );
  assertEquals(living.listeners, 0);
  const hangs = new CertificateLooks(() => new Promise(() => {}), () => 0);
  const told = hangs.tellMore(failure(), place("a.test"), AbortSignal.abort());
  assertEquals((await soon("the failure", told)).reason, "tls-unknown-issuer");
});

Deno.test("lookAt() shows the chain of a server, and sends nothing after the handshake", async () => {
  const { certPem, keyPem } = await (await makeAuthority("stranger")).issue(["a.test"]);
  using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem });
  const received = listener.accept().then(async (conn) => {
    try {
      await conn.handshake();
      return await conn.read(new Uint8Array(16));
    } catch (error) {
      return error instanceof Error ? error.name : error;
    } finally {
      conn.close();
    }
  });
  const { port } = listener.addr as Deno.NetAddr;
  const chain = await lookAt({ host: "a.test", port, address: "127.0.0.1" });
  const end = await received;
  assertEquals(["UnexpectedEof", "ConnectionReset", null].includes(end as string | null), true, String(end));
  const [own, issuer, ...more] = chain?.certificates ?? [];
  assertEquals([own?.subject.commonName, own?.issuer, more], ["a.test", issuer?.subject, []]);
});

Deno.test("lookAt() gives up a server that is silent for three seconds, and its descriptor", async () => {
  await using silent = startSilentPeer();
  const before = await settledSockets();
  using timers = holdTimers(3_000);
  const look = lookAt({ host: "a.test", port: silent.port, address: "127.0.0.1" });
  await waitUntil("it is dialled", () => silent.accepted.length === 1 && timers.pending.length === 1);
  timers.fire(3_000);
  assertEquals(await soon("the end", look), undefined);
  assertEquals(await settledSockets(), before + silent.accepted.length);
});

Deno.test("lookAt() of a server that is not there, or goes away in the handshake, is over at once", async (t) => {
  using timers = holdTimers(3_000);
  await t.step("not there", async () => {
    const gone = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    gone.close();
    const look = lookAt({ host: "a.test", port: gone.addr.port, address: "127.0.0.1" });
    assertEquals(await soon("the end", look), undefined);
  });
  await t.step("goes away", async () => {
    await using upstream = await startRawUpstream(async (peer) => void await peer.readBytes(1), {
      names: [],
    });
    const look = lookAt({ host: "a.test", port: upstream.port, address: "127.0.0.1" });
    assertEquals(await soon("the end", look), undefined);
  });
  await t.step("ends in order", async () => {
    await using upstream = await startRawUpstream(async ({ conn }) => {
      await conn.read(new Uint8Array(16_384));
      await conn.closeWrite();
      await conn.read(new Uint8Array(1));
    }, { names: [] });
    const look = lookAt({ host: "a.test", port: upstream.port, address: "127.0.0.1" });
    assertEquals(await soon("the end", look), undefined);
  });
  assertEquals(timers.pending, []);
});

/** What is seen of a server that shows these certificates. */
async function lookAtOne(cert: string, key: string): Promise<ShownChain | undefined> {
  using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
  const serving = listener.accept().then(async (conn) => {
    await conn.read(new Uint8Array(1)).catch(() => {});
    conn.close();
  });
  const { port } = listener.addr as Deno.NetAddr;
  const chain = await lookAt({ host: "a.test", port, address: "127.0.0.1" });
  await soon("the end of the connection", serving);
  return chain;
}

Deno.test("lookAt() follows no more than eight certificates", async () => {
  const { issue } = await makeAuthority("stranger");
  const pems: string[] = [];
  for (let at = 0; at < 12; at++) {
    pems.push(...certificatesIn((await issue([`n${at}.test`])).certPem).slice(0, 1));
  }
  const { keyPem } = await issue(["a.test"]); // all leaves of a process share a key
  const chain = await lookAtOne(pems.join("\n"), keyPem);
  assertEquals(chain?.isWhole, true);
  assertEquals(
    chain?.certificates.map(({ subject }) => subject.commonName),
    [0, 1, 2, 3, 4, 5, 6, 7].map((at) => `n${at}.test`),
  );
});

Deno.test("lookAt() takes the first of each part of a name, and of the places of an issuer", async () => {
  const x509 = await loadX509();
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...{ keys, serialNumber: "01", signingAlgorithm: algorithm },
    name: "CN=first, CN=second, O=One, O=Two",
    notBefore: new Date(1_000),
    notAfter: new Date(3_456_000_000_000),
    extensions: [
      new x509.AuthorityInfoAccessExtension({ caIssuers: ["http://ca.test/1.crt", "http://ca.test/2.crt"] }),
    ],
  });
  const key = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  const name = { commonName: "first", organization: "One" };
  assertEquals(await lookAtOne(certificate.toString("pem"), formatPem("PRIVATE KEY", key)), {
    isWhole: true,
    certificates: [{
      ...{ subject: name, issuer: name, beginsAtMs: 1_000, endsAtMs: 3_456_000_000_000 },
      issuerUrl: "http://ca.test/1.crt",
    }],
  });
});

function bound(looks: CertificateLooks): Pick<CertificateLooks, "tellMore"> {
  return { tellMore: (...args) => looks.tellMore(...args) };
}
