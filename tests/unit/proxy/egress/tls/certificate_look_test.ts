/** The second look at a certificate that was refused: rare, bounded, and nothing goes over it. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { ProxyError } from "../../../../../core/errors.ts";
import { CertificateLooks, lookAt } from "../../../../../proxy/egress/tls/certificate_look.ts";
import type { ShownChain } from "../../../../../proxy/tls/shown_chain.ts";
import { settledSockets, soon, startSilentPeer } from "../../../../support/sockets.ts";
import { makeAuthority } from "../../../../support/test_authority.ts";

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

Deno.test("lookAt() gives up a server that is silent, and its descriptor", async () => {
  await using silent = startSilentPeer();
  const before = await settledSockets();
  assertEquals(await lookAt({ host: "a.test", port: silent.port, address: "127.0.0.1" }), undefined);
  assertEquals(await settledSockets(), before + silent.accepted.length);
});

function bound(looks: CertificateLooks): Pick<CertificateLooks, "tellMore"> {
  return { tellMore: (...args) => looks.tellMore(...args) };
}
