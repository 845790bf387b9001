import { assert, assertEquals, assertRejects } from "@std/assert";
import { parseCidr } from "../../../../../core/cidr.ts";
import { Deadlines } from "../../../../../core/deadlines.ts";
import { ProxyError } from "../../../../../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../../core/limits.ts";
import { Admission } from "../../../../../proxy/accept/admission.ts";
import { Connector } from "../../../../../proxy/egress/connect/connector.ts";
import type { DeadChoice } from "../../../../../proxy/egress/connect/race.ts";
import {
  type Asked,
  ParentWay,
  type ParentWayOptions,
} from "../../../../../proxy/egress/parents/parent_way.ts";
import type { ParentProxy } from "../../../../../proxy/egress/parents/parents.ts";
import { descriptorsPerUpstream } from "../../../../../proxy/egress/parents/way_cost.ts";
import { startRawUpstream } from "../../../../support/echo_upstream.ts";
import { moveTime } from "../../../../support/moved_time.ts";
import { everythingBy, startTestParent } from "../../../../support/parent_proxy.ts";
import type { RawPeer } from "../../../../support/raw_peer.ts";
import { soon, startSilentPeer, waitUntil } from "../../../../support/sockets.ts";
import { upstreamAuthority } from "../../../../support/test_authority.ts";

const NEVER = new AbortController().signal;
const REFUSED_MS = 30_000;
const WRONG = "HTTP/1.1 407 No\r\n\r\n";
const DENIED = "HTTP/1.1 403 No\r\n\r\n";
const FAILED = "HTTP/1.1 502 No\r\n\r\n";

interface SetUp extends Partial<Omit<ParentWayOptions, "limits">> {
  readonly limits?: Partial<Limits>;
  readonly sources?: readonly string[];
}

async function setUp({ limits = {}, sources = [], ...more }: SetUp = {}) {
  const all = { ...DEFAULT_LIMITS, ...limits };
  const shared = { limits: all, deadlines: new Deadlines(), admission: new Admission(all) };
  const { caPem } = await upstreamAuthority();
  const dead: DeadChoice[] = [];
  const way = new ParentWay({
    ...shared,
    connector: new Connector({ ...shared, from: { family: "any", sources } }),
    resolve: () => Promise.reject(new Error("nobody asks")),
    caCertsFor: (host) => (host === "parent.test" || host === "127.0.0.1" ? [caPem] : []),
    ownListeners: () => [],
    onDeadChoice: (choice) => dead.push(choice),
    ...more,
  });
  const asked = (port: number, parent: Partial<ParentProxy> = {}, place: Partial<Asked> = {}): Asked => ({
    host: "up.test",
    port: 443,
    client: "one",
    parent: { scheme: "http", host: "127.0.0.1", port, ...parent },
    ...place,
  });
  const tunnel = (to: Asked, hosts: readonly string[] = ["10.0.0.1"], signal = NEVER) =>
    soon("a tunnel", way.tunnel(to, hosts, signal));
  return { way, asked, tunnel, dead };
}

async function failure(asking: Promise<unknown>): Promise<readonly unknown[]> {
  const { code, reason } = await assertRejects(() => soon("a failure", asking), ProxyError);
  return [code, reason];
}

const toTheEnd = async (peer: RawPeer) => void await peer.readAll();

const authorities = (heads: readonly string[]) => heads.map((head) => head.split(" ")[1]);

Deno.test("tunnel() asks for one address after the other, at most four, and remembers which one answered", async (t) => {
  const hosts = Array.from({ length: 6 }, (_, at) => `10.0.0.${at + 1}`);
  await t.step("none can be had", async () => {
    await using parent = await startTestParent({ answer: () => FAILED });
    const { tunnel, asked } = await setUp();
    assertEquals(await failure(tunnel(asked(parent.port), hosts)), ["upstream.unreachable", "parent-failed"]);
    assertEquals(authorities(parent.heads), hosts.slice(0, 4).map((host) => `${host}:443`));
  });
  await t.step("the second can", async () => {
    await using upstream = await startRawUpstream((peer) => peer.send("hello"), { names: [] });
    const connected = "HTTP/1.1 200 Fine\r\n\r\n";
    await using parent = await startTestParent({
      answer: (authority) => (authority === "10.0.0.2:443" ? connected : FAILED),
      port: () => upstream.port,
    });
    const { tunnel, asked, dead } = await setUp();
    for (let round = 0; round < 2; round++) {
      const { line, first } = await tunnel(asked(parent.port), hosts);
      const into = new Uint8Array(9);
      const rest = first.length === 5 ? 0 : await soon("its words", line.stream.read(into));
      assertEquals(first.length + (rest ?? 0), 5, "the line is open");
      line.stream.close();
    }
    assertEquals(authorities(parent.heads), ["10.0.0.1:443", "10.0.0.2:443", "10.0.0.2:443"]);
    const place = `up.test:443 by http://127.0.0.1:${parent.port}`;
    assertEquals(dead, [{ place, address: "10.0.0.1", instead: "10.0.0.2" }]);
  });
});

Deno.test("tunnel() closes its connection to a parent that refuses", async () => {
  let ended = false;
  await using parent = await startRawUpstream(async (peer) => {
    await peer.readHead();
    await peer.send(DENIED);
    await peer.readAll();
    ended = true;
  }, { names: [] });
  const { tunnel, asked } = await setUp();
  assertEquals((await failure(tunnel(asked(parent.port))))[1], "parent-denied");
  await waitUntil("it ends", () => ended);
});

Deno.test("tunnel() tells what a parent has answered, rather than that it failed", async (t) => {
  const rows: readonly (readonly [string, readonly string[], string])[] = [
    ["denied, then failed", [DENIED, FAILED], "parent-denied"],
    ["failed, then denied", [FAILED, DENIED], "parent-denied"],
    ["failed, then silent upstream", [FAILED, "HTTP/1.1 504 No\r\n\r\n"], "parent-timeout"],
  ];
  for (const [name, answers, reason] of rows) {
    await t.step(name, async () => {
      await using parent = await startTestParent({
        answer: (authority) => answers[authority === "10.0.0.1:443" ? 0 : 1] ?? "",
      });
      const { tunnel, asked } = await setUp();
      assertEquals((await failure(tunnel(asked(parent.port), ["10.0.0.1", "10.0.0.2"])))[1], reason);
    });
  }
});

Deno.test("a parent that refuses our password is asked once, and by nobody with it for half a minute", async () => {
  await using parent = await startTestParent({ answer: () => WRONG });
  using time = moveTime();
  const { tunnel, asked, way } = await setUp();
  const mine = asked(parent.port, { authorization: "Basic bWU=" });
  const refused = ["upstream.refused", "parent-auth"];
  assertEquals(await failure(tunnel(mine, ["10.0.0.1", "10.0.0.2", "10.0.0.3"])), refused);
  assertEquals(parent.heads.length, 1);
  assertEquals(await failure(tunnel({ ...mine, host: "other.test", client: "two" })), refused);
  assertEquals(await failure(way.reach(mine, NEVER)), refused);
  assertEquals(parent.heads.length, 1);
  await failure(tunnel(asked(parent.port, { authorization: "Basic eW91" })));
  assertEquals(parent.heads.length, 2, "as somebody else it is asked");
  time.later(REFUSED_MS - 1);
  await failure(tunnel(mine));
  assertEquals(parent.heads.length, 2);
  time.later(1);
  await failure(tunnel(mine));
  assertEquals(parent.heads.length, 3, "who asks in between puts off nothing");
});

Deno.test("a refusal that may be an upstream's cuts off its place alone, where the parent is known to take us", async () => {
  let answer = "HTTP/1.1 200 Fine\r\n\r\n";
  await using upstream = await startRawUpstream(toTheEnd, { names: [] });
  await using parent = await startTestParent({ answer: () => answer, port: () => upstream.port });
  using time = moveTime();
  const { tunnel, asked, way } = await setUp();
  const here = asked(parent.port);
  const there = { ...here, host: "other.test" };
  const can = async (to: Asked) => (await tunnel(to)).line.stream.close();
  const refused = ["upstream.refused", "parent-auth"];
  await can(here);
  way.noteRefusalAt(here);
  assertEquals(await failure(tunnel(here)), refused);
  await can(there); // whoever knocked at that place
  await can({ ...here, port: 80 });
  time.later(REFUSED_MS - 1);
  assertEquals(await failure(tunnel(here)), refused);
  time.later(1);
  await can(here);
  answer = WRONG;
  assertEquals(await failure(tunnel(there)), refused);
  time.later(REFUSED_MS + 1);
  way.noteRefusalAt(here);
  const before = parent.heads.length;
  assertEquals(await failure(tunnel(there)), refused, "it is not known to take us any more");
  assertEquals(parent.heads.length, before);
});

Deno.test("reach() gives a connection to the parent, over TLS where it wants that, from the source that is wanted", async (t) => {
  for (const scheme of ["http", "https"] as const) {
    for (const sources of [[], ["127.0.0.7"]]) {
      await t.step(`${scheme}, from ${sources}`, async () => {
        const names = scheme === "https" ? ["parent.test"] : [];
        const from: string[] = [];
        await using parent = await startRawUpstream(async (peer) => {
          from.push((peer.conn.remoteAddr as Deno.NetAddr).hostname);
          await peer.send("hello");
          await peer.readAll();
        }, { names });
        const clients: string[] = [];
        const { way, asked } = await setUp({
          sources,
          resolve: (host, client) => {
            clients.push(`${host} ${client}`);
            return Promise.resolve(["127.0.0.1"]);
          },
        });
        const line = await way.reach(asked(parent.port, { scheme, host: "parent.test" }), NEVER);
        const into = new Uint8Array(9);
        assertEquals(await soon("its words", line.stream.read(into)), 5);
        assertEquals(line.tcp !== undefined, scheme === "http" && sources.length === 0);
        assertEquals([clients, from], [["parent.test one"], [sources[0] ?? "127.0.0.1"]]);
        line.stream.close();
      });
    }
  }
});

Deno.test("a parent is looked up, must have addresses that can be read, and is never this proxy", async (t) => {
  await using parent = await startTestParent({ answer: () => FAILED });
  const own = { ownListeners: (port: number) => (port === parent.port ? [parseCidr("127.0.0.1/32")] : []) };
  const missing = ["upstream.unreachable", "parent-unreachable"];
  const isOwn = ["upstream.address-denied", "own-address"];
  const rows: readonly (readonly [string, SetUp, readonly string[], readonly string[]])[] = [
    ["no address", {}, [], missing],
    ["one that cannot be read", {}, ["127.0.0.1", "zz"], missing],
    ["this proxy", own, ["127.0.0.1"], isOwn],
    ["this proxy among others", own, ["127.0.0.2", "127.0.0.1"], isOwn],
    ["beside this proxy", own, ["127.0.0.2"], missing],
    ["another", {}, ["127.0.0.1"], ["upstream.unreachable", "parent-failed"]],
  ];
  for (const [name, more, found, expected] of rows) {
    await t.step(name, async () => {
      const { tunnel, asked } = await setUp({ ...more, resolve: () => Promise.resolve(found) });
      const reached = name === "another" ? 1 : 0;
      const before = parent.heads.length;
      assertEquals(await failure(tunnel(asked(parent.port, { host: "parent.test" }))), expected);
      assertEquals(parent.heads.length - before, reached);
    });
  }
});

Deno.test("a parent whose certificate is not trusted is not asked, and the connection closed", async () => {
  await using parent = await startTestParent({ names: ["other.test"], answer: () => FAILED });
  const { tunnel, asked } = await setUp({ resolve: () => Promise.resolve(["127.0.0.1"]) });
  const to = asked(parent.port, { scheme: "https", host: "parent.test" });
  assertEquals(await failure(tunnel(to)), ["upstream.tls", "parent-tls"]);
  assertEquals(parent.heads, []);
});

Deno.test("all that is done through a parent has one time, and is given up with its signal", async (t) => {
  await using silent = startSilentPeer();
  await t.step("time", async () => {
    const { tunnel, asked } = await setUp({ limits: { parentTimeoutMs: 50 } });
    assertEquals(await failure(tunnel(asked(silent.port))), ["upstream.timeout", "parent-timeout"]);
    const [conn] = silent.accepted;
    assert(conn);
    const into = new Uint8Array(4_096);
    const end = async () => {
      while (await conn.read(into) !== null);
    };
    await soon("its connection ends", end());
  });
  await t.step("the look-up's too", async () => {
    const { way, asked } = await setUp({
      limits: { parentTimeoutMs: 50 },
      resolve: (_host, _client, signal) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    });
    const to = asked(silent.port, { host: "parent.test" });
    assertEquals(await failure(way.reach(to, NEVER)), ["upstream.timeout", "parent-timeout"]);
  });
  await t.step("signal", async () => {
    const { tunnel, asked } = await setUp();
    const gone = new AbortController();
    const count = silent.accepted.length;
    const asking = tunnel(asked(silent.port), ["10.0.0.1"], gone.signal);
    await waitUntil("it is asked", () => silent.accepted.length > count);
    gone.abort(new Error("gone"));
    await assertRejects(() => asking, Error, "gone");
  });
});

Deno.test("tunnel() asks for the next address beside one that is slow", async () => {
  await using upstream = await startRawUpstream(toTheEnd, { names: [] });
  const { promise: wait, resolve: go } = Promise.withResolvers<void>();
  await using parent = await startTestParent({
    answer: async (authority) => {
      if (authority === "10.0.0.1:443") await wait;
      return "HTTP/1.1 200 Fine\r\n\r\n";
    },
    port: () => upstream.port,
  });
  const { tunnel, asked } = await setUp({ limits: { parentAttemptDelayMs: 20 } });
  const { line } = await tunnel(asked(parent.port), ["10.0.0.1", "10.0.0.2"]);
  line.stream.close();
  go();
});

Deno.test("descriptorsPerUpstream() counts the hops over loopback", async (t) => {
  const http = everythingBy({ port: 1, scheme: "http" });
  const https = everythingBy({ port: 1, scheme: "https" });
  const from = { family: "any", sources: ["10.0.0.1"] } as const;
  const rows = [
    ["straight", descriptorsPerUpstream(), 1],
    ["by a parent", descriptorsPerUpstream(http), 1],
    ["by a parent with TLS", descriptorsPerUpstream(https), 3],
    ["from a source", descriptorsPerUpstream(undefined, from), 3],
    ["both", descriptorsPerUpstream(https, from), 5],
  ] as const;
  for (const [name, count, expected] of rows) await t.step(name, () => assertEquals(count, expected));
});
