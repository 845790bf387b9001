import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import type { AuditRecord } from "../../../../policy/audit_record.ts";
import { parseRule } from "../../../../policy/rule.ts";
import type { OpenSession } from "../../../../proxy/exchange.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { passThrough } from "../../../../proxy/tunnels/tunnel.ts";
import { makeClientHello } from "../../../support/client_hello.ts";
import { startRawUpstream } from "../../../support/echo_upstream.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { basic, dialRaw, dialTls, openTunnel } from "../../../support/raw_peer.ts";
import { soon, startSilentPeer, waitUntil } from "../../../support/sockets.ts";
import { startTestProxy, TOKEN } from "../../../support/start_proxy.ts";

Deno.test("a tunnel that is ended is cut: its client, over TLS, does not take that for the end of the data", async () => {
  await using upstream = await startRawUpstream(async (peer) => {
    await peer.send("half");
    await peer.readAll();
  }, { names: [] });
  await using proxy = await startTestProxy();
  const rule = proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough: true });
  using peer = await dialTls(proxy.tlsPort, proxy.caPem);
  const target = `up.test:${upstream.port}`;
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  assertMatch(await peer.readHead(), /^HTTP\/1\.1 200/);
  assertEquals(await soon("its words", peer.readBytes(4)), "half");
  proxy.policy.revoke(rule);
  await assertRejects(() => soon("the cut", peer.readAll()));
  await proxy.waitLine(/^passthrough client=one .* reason=revoked sent=0 received=4 /);
});

/** For how long the machine has been up: longer than any tunnel. */
const LONG_MS = 1e9;

Deno.test("a tunnel on which nothing moves ends in time, with what was counted", async () => {
  await using upstream = startSilentPeer();
  await using proxy = await startTestProxy({
    limits: { tunnelIdleTimeoutMs: 100 },
    clock: { now: () => Date.now(), monotonic: () => performance.now() + LONG_MS },
  });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough: true });
  using peer = await openTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN);
  await peer.send("abc");
  await soon("the end", peer.readAll().catch(() => ""));
  await proxy.waitLine(/^passthrough client=one .* reason=idle-timeout sent=3 received=0 /);
  const [record] = proxy.records;
  for (const ms of [record?.setupMs, record?.durationMs]) {
    assertEquals(ms !== undefined && ms >= 0 && ms < LONG_MS, true, `${ms}`);
  }
});

Deno.test("a tunnel gives back its place, whoever ends it", async () => {
  await using upstream = await startRawUpstream(async (peer) => void await peer.readAll(), { names: [] });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough: true });
  for (let at = 0; at < 2; at++) {
    using peer = await openTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN);
    await waitUntil("it is counted", () => proxy.server.counters().openTunnels === 1);
    await peer.conn.closeWrite?.();
    await soon("the end", peer.readAll());
    await waitUntil("it is given back", () => proxy.server.counters().openTunnels === 0);
    assertEquals(proxy.server.counters().openGrants, 0);
  }
});

Deno.test("a tunnel that is refused when it has been dialled tells nobody that it is open", async () => {
  await using upstream = startSilentPeer();
  const { promise: wait, resolve: go } = Promise.withResolvers<void>();
  await using proxy = await startTestProxy({
    resolve: async () => {
      await wait;
      return ["127.0.0.1"];
    },
  });
  const rule = proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough: true });
  using peer = await dialRaw(proxy.httpPort);
  const target = `up.test:${upstream.port}`;
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  await waitUntil("it is asked for", () => proxy.server.counters().connections === 1);
  await new Promise((next) => setTimeout(next, 20));
  proxy.policy.revoke(rule);
  go();
  assertMatch(await soon("the refusal", peer.readHead()), /^HTTP\/1\.1 403/);
  await proxy.waitLine(/^deny client=one method=CONNECT .* reason=revoked/);
});

Deno.test("a tunnel that is no longer allowed once it is dialled is refused, and its upstream let go", async () => {
  await using upstream = startSilentPeer();
  await using proxy = await startTestProxy({
    resolve: () => {
      proxy.policy.isLive = () => false; // nobody was told, as of a change that came from elsewhere
      return Promise.resolve(["127.0.0.1"]);
    },
  });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough: true });
  using peer = await dialRaw(proxy.httpPort);
  const target = `up.test:${upstream.port}`;
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  assertMatch(await soon("the refusal", peer.readHead()), /^HTTP\/1\.1 403/);
  await proxy.waitLine(/^deny client=one method=CONNECT .* reason=revoked/);
  await waitUntil("it was dialled", () => upstream.accepted.length === 1);
  assertEquals(
    await soon("its end", upstream.accepted[0]?.read(new Uint8Array(1)) ?? Promise.reject()),
    null,
  );
});

/** A ServerHello of TLS 1.3 that asks for nothing. */
const SERVER_HELLO = [22, 3, 3, 0, 44, 2, 0, 0, 40, 3, 3, ...new Array(32).fill(9), 0, 0x13, 1, 0, 0, 0];

Deno.test("a tunnel is looked into for as long as a ClientHello may come that counts, and no longer", async (t) => {
  const own = makeClientHello({ serverName: "up.test", paddingBytes: 8_192 });
  const evil = makeClientHello({ serverName: "evil.test" });
  for (const [name, answer] of [["no answer yet", []], ["a ServerHello", SERVER_HELLO]] as const) {
    await t.step(name, async () => {
      let seen = 0;
      await using upstream = await startRawUpstream(async (peer) => {
        await peer.readBytes(own.length);
        seen = own.length;
        await peer.sendBytes(Uint8Array.from(answer));
        seen += (await peer.readAll()).length;
        await peer.send("!");
      }, { names: [] });
      await using proxy = await startTestProxy();
      proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], passthrough: true });
      using peer = await openTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN);
      if (answer.length === 0) await peer.sendBytes(Uint8Array.from([...own, ...evil]));
      else {
        await peer.sendBytes(own);
        await soon("the answer", peer.readBytes(answer.length));
        await peer.sendBytes(evil);
      }
      await peer.conn.closeWrite?.();
      const end = await soon("the end", peer.readAll()).catch(() => "");
      if (answer.length === 0) {
        assertEquals([end, seen], ["", own.length]);
        await proxy.waitLine(new RegExp(`^deny client=one .* reason=sni-mismatch sent=${own.length} `));
      } else {
        assertEquals([end, seen], ["!", own.length + evil.length]);
        await proxy.waitLine(/^passthrough client=one /);
      }
    });
  }
});

Deno.test("passThrough() closes both sides where the client cannot be told that the tunnel is open", async () => {
  const side = () => {
    const ended = Promise.withResolvers<null>();
    const calls: string[] = [];
    const end = (call: string) => {
      calls.push(call);
      ended.resolve(null);
    };
    return {
      calls,
      read: () => ended.promise,
      write: (bytes: Uint8Array) => Promise.resolve(bytes.length),
      closeWrite: () => Promise.resolve(void calls.push("closeWrite")),
      close: () => end("close"),
      abort: () => end("abort"),
    };
  };
  const [client, upstream] = [side(), side()];
  const written: Partial<AuditRecord>[] = [];
  const open = { tunnels: 0, grants: 0 };
  const hold = (what: keyof typeof open) => {
    open[what]++;
    return () => void open[what]--;
  };
  const limits = DEFAULT_LIMITS;
  const context = {
    ...{ limits, deadlines: new FakeDeadlines(), clock: { now: () => 0, monotonic: () => 30 } },
    grants: { hold: () => hold("grants") },
    admission: { addTunnel: () => hold("tunnels") },
    dialler: { dial: () => Promise.resolve({ stream: upstream }) },
    policy: { isLive: () => true, budgetOf: () => undefined },
    audit: { write: (record: Partial<AuditRecord>) => void written.push(record) },
  };
  const session = { context, stream: client, reader: new ByteReader(client) } as unknown as OpenSession;
  const target = { host: "up.test", port: 22 };
  await soon(
    "the end",
    passThrough(session, {
      client: { name: "one", version: "1" },
      rule: { ...parseRule({ host: "up.test", passthrough: true }), id: "1", client: "one" },
      ...{ target, startedAt: 10 },
      admit: () => Promise.reject(new Error("broken pipe")),
    }),
  );
  const [{ verdict, reason, setupMs, durationMs } = {}] = written;
  assertEquals([verdict, reason, setupMs, durationMs], ["passthrough", "client-closed", 20, 20]);
  assertEquals([client.calls[0], upstream.calls[0], open], ["abort", "close", { tunnels: 0, grants: 0 }]);
});
