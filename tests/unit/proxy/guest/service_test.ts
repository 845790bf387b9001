import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Buffer } from "node:buffer";
import type { DnsRecord } from "../../../../core/dns_record.ts";
import { formatDnsQuery, parseDnsAnswer, RCODE, TYPE_A, TYPE_AAAA } from "../../../../core/dns_message.ts";
import { FailedLookup } from "../../../../proxy/egress/names/failed_lookup.ts";
import { basic, dialRaw, dialTls, type RawPeer } from "../../../support/raw_peer.ts";
import { waitUntil } from "../../../support/sockets.ts";
import { startTestProxy, type TestProxyOptions, TOKEN } from "../../../support/start_proxy.ts";

const resolve: TestProxyOptions["resolve"] = (host) => {
  const answers: Record<string, string[]> = {
    "both.test": ["203.0.113.7", "2001:db8::7"],
    "inside.test": ["10.1.2.3"],
  };
  const found = answers[host];
  if (found) return Promise.resolve(found);
  if (host === "bare.test") return Promise.reject(new FailedLookup("no-data"));
  const error = Object.assign(new Error("no"), { code: host === "slow.test" ? "EAI_AGAIN" : "ENOTFOUND" });
  return Promise.reject(error);
};
const ALLOWED = { allowCidrs: ["203.0.113.0/24", "2001:db8::/32"], resolve };

async function ask(peer: RawPeer, name: string, type = TYPE_A, token = TOKEN) {
  const body = formatDnsQuery({ id: 7, name, type });
  await peer.send(
    "POST /dns-query HTTP/1.1\r\nHost: proxy\r\nContent-Type: application/dns-message\r\n" +
      `Proxy-Authorization: ${basic(token)}\r\nContent-Length: ${body.length}\r\n\r\n`,
  );
  await peer.sendBytes(body);
  const response = await peer.readResponse();
  return {
    ...response,
    answer: () => parseDnsAnswer(Buffer.from(response.body, "latin1"), { name, type }),
  };
}

Deno.test("serveDns() tells addresses only of names that a rule could allow", async (t) => {
  const asked: string[] = [];
  await using proxy = await startTestProxy({
    ...ALLOWED,
    resolve: (host) => {
      asked.push(host);
      return resolve(host);
    },
  });
  proxy.policy.allow("one", { host: "both.test", methods: ["GET"], paths: ["/x"] });
  proxy.policy.allow("one", { host: "slow.test" });
  proxy.policy.allow("one", { host: "bare.test" });
  proxy.policy.allow("one", { host: "*.wide.test" });
  proxy.policy.allow("one", { host: "inside.test", ports: [5432], passthrough: true });
  using peer = await dialTls(proxy.tlsPort, proxy.caPem);
  const rows = [
    { name: "both.test", type: TYPE_A, rcode: RCODE.noError, addresses: ["203.0.113.7"] },
    { name: "BOTH.test", type: TYPE_AAAA, rcode: RCODE.noError, addresses: ["2001:db8::7"] },
    { name: "both.test", type: 65, rcode: RCODE.noError, addresses: [] },
    { name: "both.test", type: 16, rcode: RCODE.noError, addresses: [] },
    { name: "x.wide.test", type: TYPE_A, rcode: RCODE.nxDomain, addresses: [] },
    { name: "slow.test", type: TYPE_A, rcode: RCODE.servFail, addresses: [] },
    { name: "bare.test", type: TYPE_A, rcode: RCODE.noError, addresses: [] },
    { name: "secret-data.attacker.test", type: TYPE_A, rcode: RCODE.nxDomain, addresses: [] },
    { name: "wide.test", type: TYPE_A, rcode: RCODE.nxDomain, addresses: [] },
    { name: "", type: TYPE_A, rcode: RCODE.nxDomain, addresses: [] },
    { name: "1.2.3.4", type: TYPE_A, rcode: RCODE.nxDomain, addresses: [] },
  ];
  for (const { name, type, rcode, addresses } of rows) {
    await t.step(`${name} type ${type}`, async () => {
      const { status, answer } = await ask(peer, name, type);
      assertEquals(status, 200);
      const { rcode: code, addresses: got } = answer();
      assertEquals([code, got], [rcode, addresses]);
    });
  }
  assertEquals(
    asked,
    ["both.test", "both.test", "both.test", "x.wide.test", "slow.test", "bare.test"],
    "nothing else was looked up",
  );
  await proxy.waitLine(/^allow client=one method=DNS host=both\.test /);
  await proxy.waitLine(
    /^deny client=one method=DNS host=secret-data\.attacker\.test mode=strict reason=no-rule/,
  );
});

const SERVERS: Record<string, readonly DnsRecord[]> = {
  "SRV _mongodb._tcp.db.test": [
    { type: "SRV", priority: 0, weight: 5, port: 27_017, name: "Shard-0.db.test." },
    { type: "SRV", priority: 0, weight: 5, port: 27_017, name: "evil name.test." },
  ],
  "TXT db.test": [{ type: "TXT", texts: ["authSource=admin", "x"] }],
  "MX both.test": [{ type: "MX", preference: 10, name: "mail.test." }, {
    type: "MX",
    preference: 20,
    name: "10.0.0.1",
  }],
  "CNAME both.test": [{ type: "CNAME", name: "other.test." }],
  "PTR 7.113.0.203.in-addr.arpa": [{ type: "PTR", name: "both.test." }],
  "SRV _ldap._tcp.inside.test": [{
    type: "SRV",
    priority: 0,
    weight: 0,
    port: 389,
    name: "dc1.inside.test.",
  }],
};

Deno.test("serveDns() tells records of names that a rule could allow, and of services below them", async (t) => {
  const asked: string[] = [];
  await using proxy = await startTestProxy({
    ...ALLOWED,
    resolveRecords: (name, type) => {
      asked.push(`${type} ${name}`);
      if (name === "broken.test") return Promise.reject(new Error("no answer"));
      return Promise.resolve(SERVERS[`${type} ${name}`] ?? []);
    },
  });
  for (const host of ["both.test", "db.test", "broken.test", "203.0.113.7"]) {
    proxy.policy.allow("one", { host });
  }
  using peer = await dialTls(proxy.tlsPort, proxy.caPem);
  const text = (...words: string[]) => words.map((each) => String.fromCharCode(each.length) + each).join("");
  const rows: readonly (readonly [name: string, type: number, rcode: number, ...records: string[]])[] = [
    ["_mongodb._tcp.db.test", 33, 0, "\0\0\0\x05\x69\x89" + text("shard-0", "db", "test", "")],
    ["db.test", 16, 0, text("authSource=admin", "x")],
    ["both.test", 15, 0, "\0\x0a" + text("mail", "test", "")],
    ["both.test", 5, 0, text("other", "test", "")],
    ["7.113.0.203.in-addr.arpa", 12, 0, text("both", "test", "")],
    ["both.test", 33, 0],
    ["broken.test", 16, RCODE.servFail],
  ];
  for (const [name, type, rcode, ...records] of rows) {
    await t.step(`${name} type ${type}`, async () => {
      const { rcode: code, records: got = [] } = (await ask(peer, name, type)).answer();
      assertEquals([code, ...got.map((data) => Buffer.from(data).toString("latin1"))], [rcode, ...records]);
    });
  }
  assertEquals(asked.length, rows.length);
  const refused: readonly (readonly [name: string, type: number])[] = [
    ["data._tcp.db.test", 33],
    ["_data.db.test", 16],
    ["_a-label-of-more-than-15._tcp.db.test", 33],
    ["_x._data.db.test", 16],
    ["data.db.test", 16],
    ["8.113.0.203.in-addr.arpa", 12],
    ["_ldap._tcp.inside.test", 33],
  ];
  for (const [name, type] of refused) {
    await t.step(`${name} type ${type} is not asked for`, async () => {
      assertEquals((await ask(peer, name, type)).answer().rcode, RCODE.nxDomain);
    });
  }
  for (const type of [64, 65, 255, 6]) { // SVCB, HTTPS, ANY, SOA
    await t.step(`type ${type} has nothing to tell`, async () => {
      assertEquals((await ask(peer, "both.test", type)).answer(), { rcode: 0, addresses: [], ttl: 0 });
    });
  }
  assertEquals(asked.length, rows.length, "nothing else was looked up");
});

Deno.test("serveDns() tells no records of a network that the client may not reach", async () => {
  await using proxy = await startTestProxy({
    ...ALLOWED,
    resolveRecords: (name, type) => Promise.resolve(SERVERS[`${type} ${name}`] ?? []),
  });
  proxy.policy.allow("one", { host: "*" });
  using peer = await dialTls(proxy.tlsPort, proxy.caPem);
  for (const [name, type] of [["_ldap._tcp.inside.test", 33], ["3.2.1.10.in-addr.arpa", 12]] as const) {
    assertEquals((await ask(peer, name, type)).answer().rcode, RCODE.nxDomain, name);
  }
  await proxy.waitLine(/^deny client=one method=DNS host=_ldap\._tcp\.inside\.test .*reason=address-denied/);
  assertEquals((await ask(peer, "_mongodb._tcp.db.test", 33)).answer().records?.length, 1);
  assertEquals((await ask(peer, "_mongodb._tcp.slow.test", 33)).answer().rcode, RCODE.servFail);
  proxy.policy.allow("one", { host: "inside.test" });
  assertEquals((await ask(peer, "_ldap._tcp.inside.test", 33)).answer().records?.length, 1);
});

Deno.test("serveDns() refuses a name whose address no rule of it may reach", async () => {
  await using proxy = await startTestProxy(ALLOWED);
  proxy.policy.allow("one", { host: "*" });
  using peer = await dialTls(proxy.tlsPort, proxy.caPem);
  assertEquals((await ask(peer, "inside.test")).answer().rcode, RCODE.nxDomain);
  await proxy.waitLine(/^deny client=one method=DNS host=inside\.test mode=strict reason=address-denied/);
  proxy.policy.allow("one", { host: "inside.test" });
  assertEquals((await ask(peer, "inside.test")).answer().addresses, ["10.1.2.3"]);
});

Deno.test("serveDns() gives an address that leads nowhere for unknown names in audit mode", async () => {
  await using proxy = await startTestProxy({ ...ALLOWED, mode: "audit" });
  using peer = await dialTls(proxy.tlsPort, proxy.caPem);
  assertEquals((await ask(peer, "unknown.test")).answer().addresses, ["192.0.2.1"]);
  await proxy.waitLine(/^deny client=one method=DNS host=unknown\.test mode=audit reason=no-rule/);
});

Deno.test("serveDns() keeps a client to 64 look-ups at a time, and others to theirs", async () => {
  const gate = Promise.withResolvers<void>();
  let asked = 0;
  await using proxy = await startTestProxy({
    ...ALLOWED,
    resolve: async (host) => {
      asked++;
      await gate.promise;
      return await resolve(host);
    },
  });
  const other = "slp_another-client-of-the-same-proxy-0000000000";
  proxy.policy.addClient("two", other);
  for (const client of ["one", "two"]) proxy.policy.allow(client, { host: "both.test" });
  using stack = new DisposableStack();
  const dial = async () => stack.use(await dialTls(proxy.tlsPort, proxy.caPem));
  const peers = await Promise.all(Array.from({ length: 64 }, dial));
  const waiting = peers.map((peer) => ask(peer, "both.test"));
  await waitUntil("all of them are asked", () => asked === 64);
  assertEquals((await ask(await dial(), "both.test")).status, 429);
  assertEquals(asked, 64);
  const others = ask(await dial(), "both.test", TYPE_A, other);
  await waitUntil("the other's is asked", () => asked === 65);
  gate.resolve();
  const answers = await Promise.all([...waiting, others]);
  assertEquals(new Set(answers.map(({ status }) => status)), new Set([200]));
  assertEquals((await ask(await dial(), "both.test")).answer().addresses, ["203.0.113.7"]);
});

Deno.test("serveDns() answers nobody without a token, in clear, or with a bad message", async (t) => {
  await using proxy = await startTestProxy(ALLOWED);
  proxy.policy.allow("one", { host: "both.test" });
  await t.step("wrong token", async () => {
    using peer = await dialTls(proxy.tlsPort, proxy.caPem);
    assertEquals((await ask(peer, "both.test", TYPE_A, "spi_wrong_token_of_nobody")).status, 407);
  });
  for (const port of [proxy.httpPort, proxy.tlsPort]) {
    await t.step(port === proxy.httpPort ? "plain port" : "in clear on the TLS port", async () => {
      using peer = await dialRaw(port);
      assertEquals((await ask(peer, "both.test")).status, 400);
    });
  }
  const rows = [
    { name: "GET", head: "GET /dns-query HTTP/1.1\r\n", body: "" },
    { name: "another path", head: "POST /dns HTTP/1.1\r\nContent-Length: 0\r\n", body: "" },
    {
      name: "too long",
      head: "POST /dns-query HTTP/1.1\r\nContent-Type: application/dns-message\r\nContent-Length: 1025\r\n",
      body: "x".repeat(1_025),
    },
    {
      name: "chunked",
      head:
        "POST /dns-query HTTP/1.1\r\nContent-Type: application/dns-message\r\nTransfer-Encoding: chunked\r\n",
      body: "0\r\n\r\n",
    },
    {
      name: "not DNS",
      head: "POST /dns-query HTTP/1.1\r\nContent-Type: application/dns-message\r\nContent-Length: 3\r\n",
      body: "abc",
    },
  ];
  for (const { name, head, body } of rows) {
    await t.step(name, async () => {
      using peer = await dialTls(proxy.tlsPort, proxy.caPem);
      await peer.send(`${head}Host: proxy\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n${body}`);
      assertEquals((await peer.readResponse()).status, 400);
    });
  }
});

Deno.test("serveGuest() hands out the CA, which clients compare with a hash", async () => {
  await using proxy = await startTestProxy();
  using peer = await dialRaw(proxy.tlsPort);
  await peer.send("GET /ca.crt HTTP/1.1\r\nHost: proxy\r\n\r\n");
  const { status, body } = await peer.readResponse();
  assertEquals(status, 200);
  assertEquals(body.trim(), proxy.caPem.trim());
  assert(!body.includes("PRIVATE"));
  await peer.send("GET / HTTP/1.1\r\nHost: proxy\r\n\r\n");
  assertStringIncludes((await peer.readResponse()).body, "this is a proxy");
});

Deno.test("serveGuest() makes no certificate, however often it is asked for the CA", async () => {
  let made = 0;
  const forProxy = () => Promise.reject(new Error(`made ${++made}`));
  await using proxy = await startTestProxy({ certificates: { forProxy } });
  using peer = await dialRaw(proxy.httpPort);
  await peer.send("GET /ca.crt HTTP/1.1\r\nHost: proxy\r\n\r\n".repeat(100));
  for (let i = 0; i < 100; i++) assertEquals((await peer.readResponse()).body.trim(), proxy.caPem.trim());
  assertEquals(made, 0);
});

Deno.test("serveGuest() serves no body as the next request", async (t) => {
  const hidden = "GET /ca.crt HTTP/1.1\r\nHost: hidden\r\n\r\n";
  const rows: [name: string, rest: string][] = [
    ["Content-Length", `Content-Length: ${hidden.length}\r\n\r\n${hidden}`],
    ["chunked", `Transfer-Encoding: chunked\r\n\r\n${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`],
    ["longer than what follows", `Content-Length: 1000\r\n\r\n${hidden}`],
  ];
  await using proxy = await startTestProxy();
  for (const [name, rest] of rows) {
    await t.step(name, async () => {
      using peer = await dialRaw(proxy.httpPort);
      await peer.send(`GET /ca.crt HTTP/1.1\r\nHost: proxy\r\n${rest}${hidden}`);
      const { head, status } = await peer.readResponse();
      assertEquals(status, 200);
      assertStringIncludes(head, "Connection: close");
      assertEquals(await peer.readAll(), "");
    });
  }
});
