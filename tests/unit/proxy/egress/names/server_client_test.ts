import { assert, assertEquals, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../../core/deadlines.ts";
import { NAME_LIMITS } from "../../../../../core/limits.ts";
import { FailedLookup } from "../../../../../proxy/egress/names/failed_lookup.ts";
import { parseNameServer } from "../../../../../proxy/egress/names/name_server.ts";
import { ServerClient, type ServerClientOptions } from "../../../../../proxy/egress/names/server_client.ts";
import { startRawUpstream } from "../../../../support/echo_upstream.ts";
import { holdTimers } from "../../../../support/held_timers.ts";
import { startHttp2Upstream } from "../../../../support/http2_upstream.ts";
import {
  a,
  type Asked,
  cname,
  reply,
  startNameServer,
  type TestAnswer,
  TYPE,
} from "../../../../support/name_server.ts";
import { soon, waitUntil } from "../../../../support/sockets.ts";
import { upstreamAuthority } from "../../../../support/test_authority.ts";

const NEVER = new AbortController().signal;
const TRUNCATED = 0x200;
const CONNECT_MS = 5_000;

function clientOf(server: string, more: Partial<ServerClientOptions> = {}) {
  const client = new ServerClient(parseNameServer(server), {
    deadlines: new Deadlines(),
    systemResolve: () => Promise.reject(new Error("nobody asks")),
    caCertsFor: () => [],
    ...more,
  });
  return {
    ask: (name = "up.test", mayFollow = (_: string) => true) =>
      soon("an answer", client.ask({ name, type: TYPE.A }, mayFollow, NEVER)),
    leave: () => client.leave(),
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

const good = (asked: Asked): TestAnswer => reply(asked, { answers: [a(asked.name, "10.0.0.1")] });

Deno.test("ask() over UDP asks over TCP what was cut short or is drowned by strays, and nothing else", async (t) => {
  const strays = new Array<Uint8Array>(32).fill(Uint8Array.of(0));
  const rows: readonly (readonly [string, TestAnswer | undefined, readonly string[]])[] = [
    ["an answer", undefined, ["udp"]],
    ["cut short", Uint8Array.of(), ["udp", "tcp"]],
    ["drowned", strays, ["udp", "tcp"]],
  ];
  for (const [name, short, expected] of rows) {
    await t.step(name, async () => {
      await using server = startNameServer((asked) => {
        if (asked.transport === "tcp" || short === undefined) return good(asked);
        return short instanceof Uint8Array ? reply(asked, { flags: TRUNCATED }) : short;
      });
      using client = clientOf(`udp://127.0.0.1:${server.port}`);
      assertEquals((await client.ask()).addresses, ["10.0.0.1"]);
      assertEquals(server.asked.map(({ transport }) => transport), expected);
    });
  }
});

Deno.test("ask() over TCP asks over that alone, and takes no answer that is cut short", async () => {
  let flags = 0;
  await using server = startNameServer((asked) =>
    reply(asked, { flags, answers: flags === 0 ? [a(asked.name, "10.0.0.1")] : [] })
  );
  using client = clientOf(`tcp://127.0.0.1:${server.port}`);
  assertEquals((await client.ask()).addresses, ["10.0.0.1"]);
  flags = TRUNCATED;
  const failure = await assertRejects(() => client.ask(), FailedLookup);
  assertEquals([failure.kind, failure.message], ["garbage", "it cuts an answer short that need not be"]);
  assertEquals(server.asked.map(({ transport }) => transport), ["tcp", "tcp"]);
  assertEquals(server.connections, 1);
  client.leave();
  flags = 0;
  await client.ask();
  assertEquals(server.connections, 2);
});

Deno.test("ask() says what the code of an answer means", async (t) => {
  const rows: readonly (readonly [rcode: number, kind: string, words: string])[] = [
    [1, "servfail", "its answer has the code 1"],
    [2, "servfail", "the name server failed (SERVFAIL)"],
    [4, "servfail", "its answer has the code 4"],
    [5, "refused", "the name server refuses to answer (REFUSED)"],
  ];
  for (const [rcode, kind, words] of rows) {
    await t.step(`${rcode}`, async () => {
      await using server = startNameServer((asked) => reply(asked, { rcode }));
      using client = clientOf(`udp://127.0.0.1:${server.port}`);
      const failure = await assertRejects(() => client.ask(), FailedLookup);
      assertEquals([failure.kind, failure.message], [kind, words]);
    });
  }
  for (const rcode of [0, 3]) {
    await t.step(`${rcode}`, async () => {
      await using server = startNameServer((asked) => reply(asked, { rcode }));
      using client = clientOf(`udp://127.0.0.1:${server.port}`);
      assertEquals((await client.ask()).rcode, rcode);
    });
  }
});

Deno.test("ask() tells an answer that is too large from one that cannot be read", async (t) => {
  const rows: readonly (readonly [string, (asked: Asked) => TestAnswer, string])[] = [
    [
      "129 records",
      (asked) => reply(asked, { answers: Array.from({ length: 129 }, () => a(asked.name, "10.0.0.1")) }),
      "too-large",
    ],
    ["a circle", (asked) => reply(asked, { answers: [cname(asked.name, asked.name)] }), "garbage"],
  ];
  for (const [name, answer, kind] of rows) {
    await t.step(name, async () => {
      await using server = startNameServer(answer);
      using client = clientOf(`tcp://127.0.0.1:${server.port}`);
      const failure = await assertRejects(() => client.ask(), FailedLookup);
      assertEquals([failure.kind, failure.cause instanceof Error], [kind, true]);
    });
  }
});

Deno.test("ask() follows aliases as far as it may", async () => {
  await using server = startNameServer((asked) =>
    reply(asked, { answers: [cname(asked.name, "b.test"), a("b.test", "10.0.0.2")] })
  );
  using client = clientOf(`udp://127.0.0.1:${server.port}`);
  assertEquals((await client.ask("a.test")).addresses, ["10.0.0.2"]);
  const { addresses, alias } = await client.ask("a.test", () => false);
  assertEquals([addresses, alias], [[], "b.test"]);
});

Deno.test("questions have ids of their own, but for HTTPS, where all have 0", async (t) => {
  await t.step("TCP", async () => {
    await using server = startNameServer(good);
    using client = clientOf(`tcp://127.0.0.1:${server.port}`);
    for (let at = 0; at < 3; at++) await client.ask();
    const ids = new Set(server.asked.map(({ bytes }) => (bytes[0] ?? 0) * 256 + (bytes[1] ?? 0)));
    assertEquals(ids.size, 3);
  });
  await t.step("HTTPS", async () => {
    const ids: unknown[] = [];
    await using upstream = await startHttp2Upstream({
      names: ["dns.test"],
      handle: async (stream) => {
        const bytes = stream.peek(512);
        while (await stream.fill()) stream.consume(stream.available.length);
        ids.push([bytes[0], bytes[1]]);
        stream.respond({ status: 200, fields: [{ key: "content-type", value: "application/dns-message" }] });
        const answer = reply({ bytes }, { answers: [a("up.test", "10.0.0.1")] });
        await stream.write(answer, true);
      },
    });
    const { caPem } = await upstreamAuthority();
    using timers = holdTimers(CONNECT_MS);
    let looks = 0;
    using client = clientOf(`https://dns.test:${upstream.port}/dns-query`, {
      systemResolve: () => {
        looks++;
        return Promise.resolve(["127.0.0.1"]);
      },
      caCertsFor: (host) => (host === "dns.test" ? [caPem] : []),
    });
    for (let at = 0; at < 2; at++) assertEquals((await client.ask()).addresses, ["10.0.0.1"]);
    assertEquals(ids, [[0, 0], [0, 0]]);
    assertEquals([upstream.connections, looks, timers.pending], [1, 1, []]);
    client.leave();
    await client.ask();
    assertEquals(looks, 2);
  });
});

Deno.test("a connection for HTTPS has five seconds to come about", async () => {
  using timers = holdTimers(CONNECT_MS);
  using client = clientOf("https://dns.test/dns-query", { systemResolve: () => new Promise(() => {}) });
  const asking = client.ask();
  await waitUntil("it connects", () => timers.pending.length === 1);
  timers.fire(CONNECT_MS);
  const failure = await assertRejects(() => asking, FailedLookup);
  assertEquals([failure.kind, failure.message], ["away", "connecting took too long"]);
});

Deno.test("over TLS the protocol is offered by its name, and the certificate verified for the server's", async () => {
  using _ = holdTimers(NAME_LIMITS.idleMs);
  const { caPem, issue } = await upstreamAuthority();
  const { certPem: cert, keyPem: key } = await issue(["dns.test"]);
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key, alpnProtocols: ["dot"] });
  const agreed: (string | null)[] = [];
  const serving = (async () => {
    for await (const conn of listener) {
      agreed.push((await conn.handshake()).alpnProtocol);
      const into = new Uint8Array(512);
      const count = await conn.read(into) ?? 0;
      const answer = reply({ bytes: into.slice(2, count) }, { answers: [a("up.test", "10.0.0.1")] });
      await conn.write(Uint8Array.of(0, answer.length, ...answer));
      await conn.read(into).catch(() => {});
      conn.close();
    }
  })();
  {
    using client = clientOf(`tls://dns.test:${(listener.addr as Deno.NetAddr).port}`, {
      systemResolve: () => Promise.resolve(["127.0.0.1"]),
      caCertsFor: (host) => (host === "dns.test" ? [caPem] : []),
    });
    assertEquals((await client.ask()).addresses, ["10.0.0.1"]);
  }
  listener.close();
  await soon("the connection ends with the client", serving);
  assertEquals(agreed, ["dot"]);
});

Deno.test("a server's name is looked up once at a time, and again for the next connection", async () => {
  let looks = 0;
  let found = Promise.withResolvers<readonly string[]>();
  await using server = await startRawUpstream(async (peer) => {
    await peer.readBytes(1);
  }, { names: [] });
  using client = clientOf(`tls://dns.test:${server.port}`, {
    systemResolve: () => {
      looks++;
      return found.promise;
    },
  });
  for (let round = 1; round <= 2; round++) {
    found = Promise.withResolvers();
    const asking = [client.ask(), client.ask()].map((each) => assertRejects(() => each, FailedLookup));
    await waitUntil("it is looked up", () => looks === round);
    found.resolve(["127.0.0.1"]);
    await Promise.all(asking);
    assertEquals(looks, round);
  }
  assert(server.connections >= 4);
});
