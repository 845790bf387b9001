import { Socket } from "node:net";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../../core/deadlines.ts";
import { ProxyError } from "../../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../../core/limits.ts";
import {
  type CertificateTarget,
  dialWithCertificate,
} from "../../../../../proxy/egress/tls/certificate_dial.ts";
import {
  openSockets,
  settledSockets,
  soon,
  startSilentPeer,
  waitUntil,
} from "../../../../support/sockets.ts";
import { upstreamAuthority } from "../../../../support/test_authority.ts";
import { clientCertificate, startAsker } from "../../../../support/tls_peers.ts";
import { watchSignal } from "../../../../support/watched_signal.ts";

const NEVER = new AbortController().signal;
/** Under load a handshake takes a while. */
const ROOMY = { ...DEFAULT_LIMITS, handshakeTimeoutMs: 30_000 };

interface Dial {
  readonly signal?: AbortSignal;
  readonly certificate?: Awaited<ReturnType<typeof clientCertificate>>;
  readonly onConnect?: (local: Pick<Deno.NetAddr, "hostname" | "port">) => void;
}

async function dial(
  { port }: { readonly port: number },
  target: Partial<CertificateTarget> = {},
  { signal = NEVER, certificate, onConnect }: Dial = {},
) {
  const { caPem } = await upstreamAuthority();
  const whole = {
    host: "up.test",
    limits: ROOMY,
    deadlines: new Deadlines(),
    caCertsFor: (host: string) => (host === "up.test" || host === "127.0.0.1" ? [caPem] : []),
    ...target,
  };
  return await soon(
    "the handshake",
    dialWithCertificate(whole, {
      ...{ address: "127.0.0.1", port, signal, certificate: certificate ?? await clientCertificate() },
      ...(onConnect ? { onConnect } : {}),
    }),
  );
}

async function failure(dialling: Promise<unknown>): Promise<readonly unknown[]> {
  const { code, reason } = await assertRejects(() => dialling, ProxyError);
  return [code, reason];
}

/** What sockets of Node's are told of small pieces. */
function watchNodeNoDelay() {
  const real = Socket.prototype.setNoDelay;
  const told: (boolean | undefined)[] = [];
  Socket.prototype.setNoDelay = function (this: Socket, isOn?: boolean) {
    told.push(isOn);
    return real.call(this, isOn);
  };
  return { told, [Symbol.dispose]: () => void (Socket.prototype.setNoDelay = real) };
}

Deno.test("dialWithCertificate() shows the certificate, and gives a connection for bytes both ways", async () => {
  await using server = await startAsker();
  using watch = watchNodeNoDelay();
  const from: number[] = [];
  const before = performance.now();
  const { stream, reader, isReused, protocol, dialledAt } = await dial(server, {}, {
    onConnect: ({ hostname, port }) => from.push(hostname === "127.0.0.1" ? port : 0),
  });
  assertEquals([isReused, protocol, from.length, (from[0] ?? 0) > 0], [false, "http/1.1", 1, true]);
  assert(dialledAt >= before && dialledAt <= performance.now());
  while (reader.size < 5) await soon("its words", reader.fill());
  await stream.write(new TextEncoder().encode("!"));
  while (reader.size < 6) await soon("the echo", reader.fill());
  assertEquals(new TextDecoder().decode(reader.available), "hello!");
  assertEquals(server.shown, ["robot.test"]);
  assertEquals(watch.told, [true]);
  stream.close();
});

Deno.test("dialWithCertificate() agrees on a protocol that was offered, and on no other", async (t) => {
  const mismatch = ["upstream.tls", "protocol-mismatch"];
  const rows: readonly (readonly [
    string,
    readonly string[],
    CertificateTarget["alpn"],
    string | readonly string[],
  ])[] = [
    ["both", ["h2", "http/1.1"], ["h2", "http/1.1"], "h2"],
    ["HTTP/1.1 alone, by default", ["h2", "http/1.1"], undefined, "http/1.1"],
    ["a server that knows of no ALPN", [], ["h2", "http/1.1"], "http/1.1"],
    ["a server that knows of no ALPN, and HTTP/2 is wanted", [], ["h2"], mismatch],
    ["a server that says no", ["http/1.1"], ["h2"], mismatch],
  ];
  for (const [name, alpn, offered, expected] of rows) {
    await t.step(name, async () => {
      await using server = await startAsker({ alpn });
      const dialling = dial(server, offered ? { alpn: offered } : {});
      if (typeof expected !== "string") return assertEquals(await failure(dialling), expected);
      const { stream, protocol } = await dialling;
      assertEquals(protocol, expected);
      stream.close();
    });
  }
});

Deno.test("dialWithCertificate() verifies the server for the host, a name or an address", async (t) => {
  await using named = await startAsker();
  await using addressed = await startAsker({ names: ["127.0.0.1"] });
  const { caPem } = await upstreamAuthority();
  const all = () => [caPem];
  await t.step("an address", async () => (await dial(addressed, { host: "127.0.0.1" })).stream.close());
  const rows = [
    ["another name", dial(named, { host: "other.test", caCertsFor: all }), "tls-wrong-name"],
    ["a name for an address", dial(addressed, { caCertsFor: all }), "tls-wrong-name"],
    ["another CA", dial(named, { caCertsFor: () => [] }), "tls-unknown-issuer"],
  ] as const;
  for (const [name, dialling, reason] of rows) {
    await t.step(name, async () => assertEquals(await failure(dialling), ["upstream.tls", reason]));
  }
  assertEquals(named.shown.length, 0);
});

Deno.test("dialWithCertificate() says so of a certificate that is none", async () => {
  await using peer = startSilentPeer();
  const pem = (what: string) => `-----BEGIN ${what}-----\nAAAA\n-----END ${what}-----\n`;
  const certificate = { certPem: pem("CERTIFICATE"), keyPem: pem("PRIVATE KEY") };
  assertEquals((await failure(dial(peer, {}, { certificate })))[0], "upstream.tls");
});

Deno.test("dialWithCertificate() says that nobody is there, or that somebody left", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const place = listener.addr;
  const serving = (async () => {
    using conn = await listener.accept();
    await conn.read(new Uint8Array(4_096));
  })();
  assertEquals((await failure(dial(place)))[0], "upstream.tls");
  await serving;
  listener.close();
  assertEquals((await failure(dial(place)))[0], "upstream.tls");
});

Deno.test("dialWithCertificate() has its time, or ends with its signal, and leaves nothing open", async (t) => {
  const before = await settledSockets();
  await t.step("time", async () => {
    await using peer = startSilentPeer();
    const limits = { ...DEFAULT_LIMITS, handshakeTimeoutMs: 100 };
    assertEquals(await failure(dial(peer, { limits })), ["upstream.timeout", "connect-timeout"]);
  });
  await t.step("signal", async () => {
    await using peer = startSilentPeer();
    const [gone, why] = [watchSignal(), new Error("gone")];
    const dialling = dial(peer, {}, { signal: gone.signal });
    await waitUntil("it is connected", () => peer.accepted.length === 1);
    gone.abort(why);
    assert(await assertRejects(() => dialling) === why);
    assertEquals(gone.listeners, 0);
  });
  await t.step("signal, before", async () => {
    await using server = await startAsker();
    const why = new Error("gone");
    assert(await assertRejects(() => dial(server, {}, { signal: AbortSignal.abort(why) })) === why);
    assertEquals(server.shown, []);
  });
  await t.step("signal, afterwards", async () => {
    await using server = await startAsker();
    const { signal, listeners } = watchSignal();
    const { stream } = await dial(server, {}, { signal });
    assertEquals(listeners, 0);
    stream.close();
  });
  await waitUntil("nothing is left", () => openSockets() <= before);
});
