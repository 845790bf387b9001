/** The helper's listeners, in this process, against a real proxy and a real upstream. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createSocket } from "node:dgram";
import { Buffer } from "node:buffer";
import { type AgentConfig, agentFiles, readConfig, writeConfig, writeToken } from "../../../agent/config.ts";
import { startHelper } from "../../../agent/helper.ts";
import { askLocalDns } from "../../../agent/probe.ts";
import type { DnsRecord } from "../../../core/dns_record.ts";
import type { ResolveRecords } from "../../../proxy/egress/names/record_lookup.ts";
import { formatDnsQuery, parseDnsAnswer, TYPE_A } from "../../../core/dns_message.ts";
import { startEchoUpstream, startRawUpstream } from "../../support/echo_upstream.ts";
import { dialRaw, RawPeer } from "../../support/raw_peer.ts";
import { hasProgram } from "../../support/programs.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../../support/start_proxy.ts";
import { upstreamAuthority } from "../../support/test_authority.ts";
import { freePorts } from "../../support/program.ts";
import { withFolder } from "./support.ts";

interface Running {
  readonly proxy: TestProxy;
  readonly config: AgentConfig;
  readonly dir: string;
  readonly dnsPort: number;
  readonly log: string[];
}

/** A helper before a test proxy, with `change` applied to its configuration. */
async function withHelper(
  body: (running: Running) => Promise<void>,
  change: (config: AgentConfig) => AgentConfig = (config) => config,
  resolveRecords: ResolveRecords = () => Promise.resolve([]),
): Promise<void> {
  await withFolder(async (dir) => {
    await using proxy = await startTestProxy({
      resolveRecords,
      resolve: (host) =>
        host.endsWith(".test") ? Promise.resolve(["127.0.0.1"]) : Promise.reject(new Error("none")),
    });
    await Deno.writeTextFile(agentFiles(dir).ca, proxy.caPem);
    const [httpPort, httpsPort] = freePorts();
    const [proxyPort] = freePorts();
    const config = change({
      proxy: { host: "127.0.0.1", port: proxy.tlsPort },
      caFile: agentFiles(dir).ca,
      httpPort,
      httpsPort,
      proxyPort,
      firewall: "nft",
      service: "process",
      tunnels: [],
    });
    await writeConfig(config, dir);
    await writeToken(TOKEN, dir);
    const log: string[] = [];
    await using helper = await startHelper({
      dir,
      dns: { host: "127.0.0.1", port: 0 },
      redirect: () => Promise.resolve([]),
      log: (line) => log.push(line),
    });
    await body({ proxy, config, dir, dnsPort: helper.dnsPort, log });
  });
}

Deno.test("serveHttps() tunnels to the name in the SNI, and tells a denied client by an alert", () =>
  withHelper(async ({ proxy, config, log }) => {
    // The proxy dials port 443 of the name, where no test can listen: what it says then shows that it was asked.
    proxy.policy.allow("one", { host: "up.test" });
    using peer = new RawPeer(await handshake(config.httpsPort, "up.test", proxy.caPem));
    await peer.send("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n");
    assertEquals((await peer.readResponse()).status, 502);
    await proxy.waitLine(/^allow client=one method=GET scheme=https host=up\.test port=443 .*status=502/);
    let failure = "";
    await handshake(config.httpsPort, "denied.test", proxy.caPem).catch((error) => failure = String(error));
    assertStringIncludes(failure, "AccessDenied");
    await proxy.waitLine(
      /^deny client=one method=CONNECT host=denied\.test port=443 mode=strict reason=no-rule/,
    );
    assertMatch(log.join("\n"), /refused denied\.test:443: no-rule/);
  }));

Deno.test("serveHttps() refuses what names no host", async (t) => {
  await withHelper(async ({ proxy, config, log }) => {
    const rows = [
      { name: "clear HTTP", send: "GET / HTTP/1.1\r\nHost: up.test\r\n\r\n", alert: 10 },
      { name: "no TLS at all", send: "SSH-2.0-x\r\n", alert: 10 },
    ];
    for (const { name, send, alert } of rows) {
      await t.step(name, async () => {
        using peer = await dialRaw(config.httpsPort);
        await peer.send(send);
        assertEquals(Buffer.from(await peer.readAll(), "latin1")[6], alert);
      });
    }
    await t.step("TLS without SNI", async () => {
      let failure = "";
      // An IP address is never sent as SNI.
      await handshake(config.httpsPort, "127.0.0.1", proxy.caPem).catch((error) => failure = String(error));
      assertStringIncludes(failure, "UnrecognisedName");
    });
    assertMatch(log.join("\n"), /names no host/);
    assertEquals(proxy.lines, [], "the proxy was not asked");
  });
});

Deno.test("serveHttp() tunnels to the Host header, and shows the proxy's own denial", () =>
  withHelper(async ({ proxy, config, log }) => {
    proxy.policy.allow("one", { host: "up.test" });
    const ask = async (head: string) => {
      using peer = await dialRaw(config.httpPort);
      await peer.send(head);
      return await peer.readResponse();
    };
    const allowed = await ask("GET /x HTTP/1.1\r\nHost: up.test\r\n\r\n");
    assertEquals(allowed.status, 502);
    await proxy.waitLine(
      /^allow client=one method=GET scheme=http host=up\.test port=80 path=\/x status=502/,
    );
    const denied = await ask("GET / HTTP/1.1\r\nHost: denied.test\r\n\r\n");
    assertEquals(denied.status, 403);
    assertStringIncludes(denied.body, "slicer-proxy allow one --host denied.test");
    assertStringIncludes(denied.head, "X-Slicer-Proxy-Reason: no-rule");
    for (
      const head of [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
      ]
    ) assertEquals((await ask(head)).status, 400, head);
    assert(log.some((line) => line.includes("Host header")));
  }));

Deno.test("serveLocalProxy() adds the token to requests, one a connection, and to tunnels", () =>
  withHelper(async ({ proxy, config }) => {
    await using upstream = await startEchoUpstream({ names: [] });
    proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
    {
      using peer = await dialRaw(config.proxyPort);
      await peer.send(
        `GET http://up.test:${upstream.port}/a HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n` +
          "Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nX-Own: 1\r\n\r\n",
      );
      const { status, head } = await peer.readResponse();
      assertEquals(status, 200);
      assertMatch(head, /\r\nconnection: close/i);
      assert(await peer.isClosed());
      const [seen] = upstream.seen;
      assertEquals(seen?.requestLine, "GET /a HTTP/1.1");
      assert(!seen?.headers.some((line) => /^proxy-/i.test(line)), seen?.headers.join());
      assert(seen?.headers.includes("X-Own: 1"));
    }
    using tunnel = await dialRaw(config.proxyPort);
    await tunnel.send(`CONNECT up.test:${upstream.port} HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
    assertStringIncludes(await tunnel.readHead(), "200");
    await tunnel.send(`GET /b HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
    assertEquals((await tunnel.readResponse()).status, 200);
    for (const head of ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT nonsense HTTP/1.1\r\n\r\n"]) {
      using peer = await dialRaw(config.proxyPort);
      await peer.send(head);
      assertEquals((await peer.readResponse()).status, 400);
    }
  }));

Deno.test("a helper follows its files: token, tunnels", () =>
  withHelper(async ({ proxy, config, dir, log }) => {
    await using upstream = await startRawUpstream(async (peer) => {
      await peer.send("hello ");
      await peer.send(await peer.readBytes(4));
    }, { names: [] });
    proxy.policy.allow("one", { host: "db.test", ports: [upstream.port], passthrough: true });
    const [listenPort] = freePorts();
    const listen = { host: "127.0.0.1", port: listenPort };
    const target = { host: "db.test", port: upstream.port };
    await writeConfig({ ...config, tunnels: [{ name: "db", listen, target }] }, dir);
    const talk = async () => {
      using peer = await dialRaw(listenPort);
      await peer.send("ping");
      return await peer.readAll();
    };
    await until(async () => await talk().catch(() => "") === "hello ping");
    await writeToken("spi_token_that_nobody_has", dir);
    await until(async () => await talk().catch(() => "closed") === "");
    assertMatch(log.join("\n"), /refused db\.test:\d+: auth-invalid/);
    await writeToken(TOKEN, dir);
    await writeConfig(config, dir);
    await until(async () => await talk().then(() => false, () => true));
    assertEquals((await readConfig(dir))?.tunnels, []);
  }));

Deno.test("the DNS server answers over UDP and TCP, and keeps answers but no refusals", () =>
  withHelper(async ({ proxy, dnsPort }) => {
    const ask = async (name: string) => {
      const socket = createSocket("udp4");
      try {
        const answer = new Promise<Uint8Array>((resolve) => socket.once("message", resolve));
        socket.send(formatDnsQuery({ id: 9, name, type: TYPE_A }), dnsPort, "127.0.0.1");
        return parseDnsAnswer(await answer, { name, type: TYPE_A });
      } finally {
        await new Promise<void>((resolve) => socket.close(() => resolve()));
      }
    };
    assertEquals((await ask("up.test")).rcode, 3);
    proxy.policy.allow("one", { host: "up.test" });
    assertEquals(
      await ask("up.test"),
      { rcode: 0, addresses: ["127.0.0.1"], ttl: 30 },
      "at once, after a refusal",
    );
    assertEquals((await ask("UP.test")).addresses, ["127.0.0.1"]);
    await proxy.audit.written();
    const asked = proxy.lines.filter((line) => /method=DNS host=up\.test/.test(line));
    assertEquals(asked.length, 2, "the third was kept");
    assertEquals((await ask("x.localhost")).addresses, ["127.0.0.1"]);
    assert(await askLocalDns({ host: "127.0.0.1", port: dnsPort }, "nobody.invalid"), "TCP");
    await proxy.server[Symbol.asyncDispose]();
    assertEquals((await ask("other.test")).rcode, 2, "no proxy: SERVFAIL, not NXDOMAIN");
    assertEquals((await ask("up.test")).addresses, ["127.0.0.1"], "kept for its time");
  }));

Deno.test({
  name: "dig finds services, texts and mail servers through the helper, long ones over TCP",
  ignore: !hasProgram("dig"),
  fn: () =>
    withHelper(
      async ({ proxy, dnsPort }) => {
        proxy.policy.allow("one", { host: "db.test" });
        const dig = async (...words: string[]) => {
          const args = ["@127.0.0.1", "-p", String(dnsPort), "+short", "+tries=1", "+time=10", ...words];
          const { stdout } = await new Deno.Command("dig", { args }).output();
          return new TextDecoder().decode(stdout).trim().split("\n");
        };
        assertEquals(await dig("_mongodb._tcp.db.test", "SRV"), ["0 5 27017 shard-0.db.test."]);
        assertEquals(await dig("db.test", "MX"), ["10 mail.test."]);
        assertEquals(await dig("db.test", "TXT"), LONG_TEXTS.map((text) => `"${text}"`));
        assertEquals(
          await dig("db.test", "TXT", "+ignore"),
          [""],
          "cut off over UDP, and dig told not to mind",
        );
        assertEquals(await dig("db.test", "HTTPS"), [""]);
        assertEquals(await dig("other.test", "TXT"), [""]);
      },
      undefined,
      (name, type) => Promise.resolve(RECORDS.get(`${type} ${name}`) ?? []),
    ),
});

const LONG_TEXTS = Array.from({ length: 10 }, (_, i) => `${i}`.repeat(200));
const RECORDS = new Map<string, readonly DnsRecord[]>([
  ["SRV _mongodb._tcp.db.test", [{
    type: "SRV",
    priority: 0,
    weight: 5,
    port: 27_017,
    name: "shard-0.db.test.",
  }]],
  ["MX db.test", [{ type: "MX", preference: 10, name: "mail.test." }]],
  ["TXT db.test", LONG_TEXTS.map((text) => ({ type: "TXT", texts: [text] }))],
]);

/** TLS to a port of the helper, as a program would begin it. */
async function handshake(port: number, hostname: string, caPem: string): Promise<Deno.TlsConn> {
  const tcp = await Deno.connect({ hostname: "127.0.0.1", port });
  const tls = await Deno.startTls(tcp, { hostname, caCerts: [caPem] });
  try {
    await tls.handshake();
    return tls;
  } catch (error) {
    tls.close();
    throw error;
  }
}

// Upstreams' CA is made here, so that no test is charged with it.
await upstreamAuthority();

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 8_000; performance.now() < end;) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`it did not come true: ${isSo}`);
}
