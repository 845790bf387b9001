import { assertEquals, assertRejects } from "@std/assert";
import { parseCidr } from "../../../../core/cidr.ts";
import { Deadlines } from "../../../../core/deadlines.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import { Dialler, type DialTarget, type UpstreamOptions } from "../../../../proxy/egress/dialler.ts";
import { startRawUpstream } from "../../../support/echo_upstream.ts";
import { everythingBy, startTestParent } from "../../../support/parent_proxy.ts";
import { soon, startSilentPeer } from "../../../support/sockets.ts";

const NEVER = new AbortController().signal;
const OPEN = { denyCidrs: [], allowCidrs: [parseCidr("127.0.0.0/8"), parseCidr("10.0.0.0/8")] };

function setUp(options: Partial<UpstreamOptions> = {}) {
  const names: string[] = [];
  const dialler = new Dialler({
    limits: DEFAULT_LIMITS,
    deadlines: new Deadlines(),
    admission: new Admission(DEFAULT_LIMITS),
    resolve: (host) => {
      names.push(host);
      return Promise.resolve(["127.0.0.1"]);
    },
    addresses: OPEN,
    caCertsFor: () => [],
    ownAddresses: () => [],
    ...options,
  });
  const target = (port: number, more: Partial<DialTarget> = {}): DialTarget => ({
    ...{ scheme: "tcp", host: "up.test", port, ruleHost: "up.test", client: { name: "one", version: "1" } },
    ...more,
  });
  const dial = (to: DialTarget) => soon("the dial", dialler.dial(to, NEVER));
  return { dialler, names, target, dial };
}

async function failure(dialling: Promise<unknown>): Promise<readonly unknown[]> {
  const { code, reason } = await assertRejects(() => dialling, ProxyError);
  return [code, reason];
}

Deno.test("dial() asks a parent for the address that was checked, or under a rule for exactly it for the name", async (t) => {
  await using upstream = await startRawUpstream(async (peer) => void await peer.readAll(), { names: [] });
  const rows: readonly (readonly ["local" | "parent", Partial<DialTarget>, asked: string, looks: number])[] =
    [
      ["local", {}, "127.0.0.1", 1],
      ["parent", {}, "up.test", 0],
      ["parent", { ruleHost: "*.test" }, "127.0.0.1", 1],
      ["parent", { host: "127.0.0.1", ruleHost: "127.0.0.1" }, "127.0.0.1", 0],
    ];
  for (const [dns, more, asked, looks] of rows) {
    await t.step(`${dns}, ${JSON.stringify(more)}`, async () => {
      await using parent = await startTestParent({ port: () => upstream.port });
      const { dial, target, names, dialler } = setUp({
        parents: everythingBy({ port: parent.port }, { dns }),
      });
      (await dial(target(443, more))).stream.close();
      assertEquals(parent.heads.map((head) => head.split(" ")[1]), [`${asked}:443`]);
      assertEquals(names.length, looks);
      assertEquals(dialler.wayTo("up.test"), `http://127.0.0.1:${parent.port}`);
    });
  }
});

Deno.test("dial() goes straight where there is no parent, or where all addresses are exempt", async (t) => {
  await using upstream = startSilentPeer();
  await t.step("no parent", async () => {
    const { dial, target, dialler } = setUp();
    (await dial(target(upstream.port))).stream.close();
    assertEquals(dialler.wayTo("up.test"), undefined);
  });
  await t.step("exempt", async () => {
    await using parent = await startTestParent();
    const directCidrs = [parseCidr("127.0.0.0/8")];
    const { dial, target } = setUp({ parents: everythingBy({ port: parent.port }, { directCidrs }) });
    (await dial(target(upstream.port))).stream.close();
    assertEquals(parent.heads, []);
  });
});

Deno.test("dial() has a parent take requests in absolute form only where nothing is lost by it", async (t) => {
  const rows: readonly (readonly [string, Partial<DialTarget>, "local" | "parent", isAbsolute: boolean])[] = [
    ["by name", { scheme: "http", inAbsoluteForm: true }, "parent", true],
    [
      "an address",
      { scheme: "http", inAbsoluteForm: true, host: "10.0.0.1", ruleHost: "10.0.0.1" },
      "local",
      true,
    ],
    ["a name by its address", { scheme: "http", inAbsoluteForm: true }, "local", false],
    ["for who cannot", { scheme: "http" }, "parent", false],
    ["bytes", { scheme: "tcp", inAbsoluteForm: true }, "parent", false],
  ];
  for (const [name, more, dns, isAbsolute] of rows) {
    await t.step(name, async () => {
      await using upstream = await startRawUpstream(async (peer) => void await peer.readAll(), { names: [] });
      await using parent = await startTestParent({ port: () => upstream.port });
      const { dial, target } = setUp({ parents: everythingBy({ port: parent.port }, { dns }) });
      const connection = await dial(target(80, more));
      assertEquals(connection.parent?.proxy.port, isAbsolute ? parent.port : undefined);
      connection.stream.close();
      assertEquals(parent.heads.length, isAbsolute ? 0 : 1);
      if (!connection.parent) return;
      connection.parent.onRefused();
      assertEquals(await failure(dial(target(80, more))), ["upstream.refused", "parent-auth"]);
    });
  }
});

Deno.test("dial() sends no credential in clear to a parent, nor beyond private networks", async () => {
  await using parent = await startTestParent();
  const { dial, target } = setUp({ parents: everythingBy({ port: parent.port }) });
  const denied = ["upstream.address-denied", "cleartext-secret"];
  assertEquals(await failure(dial(target(80, { isOnlyNear: true }))), denied);
  assertEquals(parent.heads, []);
  await using near = startSilentPeer();
  const resolve = () => Promise.resolve(["93.184.216.34", "127.0.0.1"]);
  const mixed = setUp({ resolve });
  assertEquals(await mixed.dialler.addresses(mixed.target(80, { isOnlyNear: true }), NEVER), ["127.0.0.1"]);
  assertEquals((await mixed.dialler.addresses(mixed.target(80), NEVER)).length, 2);
  (await mixed.dial(mixed.target(near.port, { isOnlyNear: true }))).stream.close();
  const far = setUp({ resolve: () => Promise.resolve(["93.184.216.34"]) });
  assertEquals(await failure(far.dial(far.target(80, { isOnlyNear: true }))), denied);
});

Deno.test("dial() takes only addresses that can be read, all of them allowed, and none of its own", async (t) => {
  const own = { ownAddresses: (port: number) => (port === 3128 ? [parseCidr("127.0.0.1/32")] : []) };
  const rows:
    readonly (readonly [string, Partial<UpstreamOptions>, Partial<DialTarget>, readonly string[]])[] = [
      ["none", { resolve: () => Promise.resolve([]) }, {}, ["upstream.dns", "dns"]],
      ["one that is none", { resolve: () => Promise.resolve(["127.0.0.1", "zz"]) }, {}, [
        "upstream.dns",
        "dns",
      ]],
      ["its own", own, { port: 3128 }, ["upstream.address-denied", "own-address"]],
      [
        "a closed host's, by its address",
        { closedHosts: () => ["login.test"] },
        { host: "127.0.0.1", ruleHost: "127.0.0.0" },
        ["policy.mismatch", "token-endpoint"],
      ],
    ];
  for (const [name, options, more, expected] of rows) {
    await t.step(name, async () => {
      const { dial, target } = setUp(options);
      assertEquals(await failure(dial(target(1, more))), expected);
    });
  }
});
