import { assertEquals, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../../core/deadlines.ts";
import { ProxyError } from "../../../../../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../../../core/limits.ts";
import { Admission } from "../../../../../proxy/accept/admission.ts";
import {
  Connector,
  type DialFrom,
  familyOf,
  FROM_ANYWHERE,
  UPSTREAM_FAMILIES,
} from "../../../../../proxy/egress/connect/connector.ts";
import type { DeadChoice } from "../../../../../proxy/egress/connect/race.ts";
import { hasFullBacklog, startFullBacklog } from "../../../../support/full_backlog.ts";
import { holdTimers } from "../../../../support/held_timers.ts";
import { watchNoDelay } from "../../../../support/no_delay.ts";
import { soon, startSilentPeer, waitUntil } from "../../../../support/sockets.ts";

const NEVER = new AbortController().signal;
/** Refused at once, wherever the port is not listened on. */
const refusing = (count: number) => Array.from({ length: count }, (_, at) => `127.0.1.${at + 1}`);
/** Nobody can connect to it. */
const BROADCAST = "255.255.255.255";

interface SetUp {
  readonly from?: DialFrom;
  readonly limits?: Partial<Limits>;
}

function setUp({ from, limits = {} }: SetUp = {}) {
  const all = { ...DEFAULT_LIMITS, ...limits };
  const dead: DeadChoice[] = [];
  const connector = new Connector({
    limits: all,
    deadlines: new Deadlines(),
    admission: new Admission(all),
    from,
    onDeadChoice: (choice) => dead.push(choice),
  });
  const connect = (port: number, addresses: readonly string[], signal = NEVER) =>
    soon("a connection", connector.connect({ host: "up.test", port, addresses, client: "one" }, signal));
  return { connect, dead };
}

async function failure(connecting: Promise<unknown>): Promise<readonly unknown[]> {
  const { code, reason, message } = await assertRejects(() => connecting, ProxyError);
  return [code, reason, message.replace(/^Cannot connect to up\.test:\d+: /, "")];
}

Deno.test("connect() gives the first that answers, and tells of the one that it had to pass over", async () => {
  await using peer = startSilentPeer();
  const { connect, dead } = setUp();
  using watch = await watchNoDelay();
  const addresses = ["127.0.0.9", "127.0.0.1"];
  const line = await connect(peer.port, addresses);
  assertEquals([line.address, line.tcp?.remoteAddr.hostname], ["127.0.0.1", "127.0.0.1"]);
  assertEquals(watch.ports.length, 1);
  line.stream.close();
  const place = `up.test:${peer.port}`;
  assertEquals(dead, [{ place, address: "127.0.0.9", instead: "127.0.0.1" }]);
  (await connect(peer.port, addresses)).stream.close();
  assertEquals(dead.length, 1, "the next begins with what has answered");
});

Deno.test("connect() tries so many addresses, and no more", async () => {
  await using peer = startSilentPeer();
  const { connect } = setUp();
  const line = await connect(peer.port, [...refusing(31), "127.0.0.1"]);
  line.stream.close();
  const { connect: anew } = setUp();
  assertEquals(await failure(anew(peer.port, [...refusing(32), "127.0.0.1"])), [
    "upstream.refused",
    "connect-refused",
    "connection refused",
  ]);
});

Deno.test("connect() says that somebody refuses, rather than that others cannot be reached", async (t) => {
  await using peer = startSilentPeer("127.0.0.2");
  const refused = ["upstream.refused", "connect-refused", "connection refused"];
  const unreachable = [
    "upstream.unreachable",
    "connect-unreachable",
    "the network or host cannot be reached",
  ];
  const rows: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ["refused alone", ["127.0.0.1"], refused],
    ["unreachable alone", [BROADCAST], unreachable],
    ["refused last", [BROADCAST, "127.0.0.1"], refused],
    ["refused first", ["127.0.0.1", BROADCAST], refused],
  ];
  for (const [name, addresses, expected] of rows) {
    await t.step(
      name,
      async () => assertEquals(await failure(setUp().connect(peer.port, addresses)), expected),
    );
  }
});

Deno.test({
  name: "connect() has one time for all addresses, and begins with the next after a moment",
  ignore: !hasFullBacklog,
  fn: async () => {
    await using full = await startFullBacklog();
    const { connect } = setUp({ limits: { connectTimeoutMs: 150, connectAttemptDelayMs: 40 } });
    const expected = ["upstream.timeout", "connect-timeout", "the connect timed out"];
    assertEquals(await failure(connect(full.port, ["127.0.0.1"])), expected);
    const gone = new AbortController();
    using timers = holdTimers(40);
    const connecting = connect(full.port, ["127.0.0.1", "127.0.0.1"], gone.signal);
    assertEquals(timers.pending, [40]);
    timers.fire(40);
    gone.abort(new Error("gone"));
    await assertRejects(() => connecting, Error, "gone");
  },
});

Deno.test("connect() dials no family but the one that is wanted", async (t) => {
  await using v4 = startSilentPeer();
  const rows: readonly (readonly [DialFrom["family"], readonly string[], expected: string | undefined])[] = [
    ["any", ["127.0.0.1"], "127.0.0.1"],
    ["4", ["::1", "127.0.0.1"], "127.0.0.1"],
    ["4", ["::1"], undefined],
    ["6", ["127.0.0.1"], undefined],
  ];
  for (const [family, addresses, expected] of rows) {
    await t.step(`${family}: ${addresses}`, async () => {
      const { connect, dead } = setUp({ from: { family, sources: [] } });
      const connecting = connect(v4.port, addresses);
      if (expected === undefined) {
        const error = await assertRejects(() => connecting, ProxyError);
        assertEquals([error.code, error.reason], ["upstream.unreachable", "connect-unreachable"]);
        assertEquals(error.hint, "see --upstream-family and --upstream-source");
      } else {
        const line = await connecting;
        assertEquals([line.address, dead], [expected, []]);
        line.stream.close();
      }
    });
  }
});

Deno.test("connect() dials from the source of the address's family, and nothing of another", async () => {
  await using peer = startSilentPeer();
  const { connect } = setUp({ from: { family: "any", sources: ["127.0.0.7"] } });
  const line = await connect(peer.port, ["::1", "127.0.0.1"]);
  await waitUntil("it is accepted", () => peer.accepted.length === 1);
  assertEquals((peer.accepted[0]?.remoteAddr as Deno.NetAddr).hostname, "127.0.0.7");
  assertEquals([line.address, line.tcp], ["127.0.0.1", undefined]);
  line.stream.close();
  assertEquals((await failure(connect(peer.port, ["::1"])))[1], "connect-unreachable");
  const { connect: other } = setUp({ from: { family: "any", sources: ["::1", "127.0.0.8"] } });
  (await other(peer.port, ["127.0.0.1"])).stream.close();
  await waitUntil("it is accepted", () => peer.accepted.length === 2);
  assertEquals((peer.accepted[1]?.remoteAddr as Deno.NetAddr).hostname, "127.0.0.8");
});

Deno.test("connect() from a source says as much of a failure, and is given up as well", async () => {
  const from: DialFrom = { family: "any", sources: ["127.0.0.7"] };
  await using peer = startSilentPeer("127.0.0.2");
  const { connect } = setUp({ from });
  assertEquals((await failure(connect(peer.port, ["127.0.0.1"])))[1], "connect-refused");
  const gone = AbortSignal.abort(new Error("gone"));
  await assertRejects(() => connect(peer.port, ["127.0.0.2"], gone), Error, "gone");
  await assertRejects(() => setUp().connect(peer.port, ["127.0.0.2"], gone), Error, "gone");
});

Deno.test("familyOf() takes an IPv4 address in IPv6's clothes for what is dialled", () => {
  const rows = [["10.0.0.1", "4"], ["::1", "6"], ["fd00::1", "6"], ["::ffff:a00:1", "6"]] as const;
  for (const [address, family] of rows) assertEquals(familyOf(address), family, address);
  assertEquals([...UPSTREAM_FAMILIES], ["any", "4", "6"]);
  assertEquals(FROM_ANYWHERE, { family: "any", sources: [] });
});
