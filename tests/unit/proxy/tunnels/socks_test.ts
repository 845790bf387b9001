import { assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import type { RuleInput } from "../../../../policy/rule.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import {
  findAnonymousRule,
  isLocalSource,
  readSocksRequest,
  type SocksDialogue,
  type SocksRequest,
} from "../../../../proxy/tunnels/socks.ts";
import { TestPolicy } from "../../../support/test_policy.ts";

const TOKEN = "right-token";

/** Bytes from numbers and text. */
function bytes(...parts: readonly (number | string)[]): Uint8Array {
  return Uint8Array.from(
    parts.flatMap((part) => typeof part === "number" ? [part] : [...part].map((c) => c.charCodeAt(0))),
  );
}

/** Plays a client that sends everything at once, or byte by byte; replies are collected as hex. */
async function play(
  sent: Uint8Array,
  { mayBeAnonymous = true, step = sent.length }: { mayBeAnonymous?: boolean; step?: number } = {},
): Promise<{ replies: string; request?: SocksRequest; error?: string; left: number }> {
  let at = 0;
  const reader = new ByteReader({
    read: (into) => {
      if (at >= sent.length) return Promise.resolve(null);
      const piece = sent.subarray(at, at + Math.min(step, into.length));
      into.set(piece);
      at += piece.length;
      return Promise.resolve(piece.length);
    },
  });
  const replies: string[] = [];
  const dialogue: SocksDialogue = {
    reader,
    reply: (reply) => {
      replies.push([...reply].map((byte) => byte.toString(16).padStart(2, "0")).join(""));
      return Promise.resolve();
    },
    mayBeAnonymous,
    checkToken: (token) => {
      if (token === TOKEN) return;
      throw new ProxyError("auth.invalid", "Cannot tell who is asking", { reason: "auth-invalid" });
    },
  };
  try {
    const request = await readSocksRequest(dialogue);
    return { replies: replies.join(" "), request, left: reader.size + sent.length - at };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    return { replies: replies.join(" "), error: `${error.code} ${error.reason}`, left: 0 };
  }
}

const NO_AUTH = bytes(5, 1, 0);
const LOGIN = bytes(5, 1, 2, 1, 5, "proxy", 11, TOKEN);
const name = (host: string, port = 443) => bytes(3, host.length, host, port >> 8, port & 255);
const join = (...parts: readonly Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));
const connect = (address: Uint8Array, command = 1) => join(bytes(5, command, 0), address);
const ipv6 = (...last: number[]) => bytes(4, ...new Array(16 - last.length).fill(0), ...last, 1, 187);

Deno.test("readSocksRequest() reads SOCKS5 and SOCKS4 requests, whole and byte by byte", async (t) => {
  const rows: readonly (readonly [string, Uint8Array, string, SocksRequest["target"], string?])[] = [
    ["a name with a token", join(LOGIN, connect(name("Up.Test."))), "0502 0100", {
      host: "up.test",
      port: 443,
    }, TOKEN],
    ["a name without", join(NO_AUTH, connect(name("up.test", 22))), "0500", { host: "up.test", port: 22 }],
    [
      "both methods: the password counts",
      join(bytes(5, 2, 0, 2), LOGIN.subarray(3), connect(name("a.test"))),
      "0502 0100",
      {
        host: "a.test",
        port: 443,
      },
      TOKEN,
    ],
    ["an empty user", join(bytes(5, 1, 2, 1, 0, 11, TOKEN), connect(name("a.test"))), "0502 0100", {
      host: "a.test",
      port: 443,
    }, TOKEN],
    ["methods that nobody knows beside", join(bytes(5, 3, 1, 0x80, 0), connect(name("a.test"))), "0500", {
      host: "a.test",
      port: 443,
    }],
    ["IPv4", join(NO_AUTH, connect(bytes(1, 10, 0, 0, 1, 0, 80))), "0500", { host: "10.0.0.1", port: 80 }],
    ["IPv4 as a name", join(NO_AUTH, connect(name("10.0.0.1"))), "0500", { host: "10.0.0.1", port: 443 }],
    ["IPv6", join(NO_AUTH, connect(ipv6(1))), "0500", { host: "::1", port: 443 }],
    ["the highest port", join(NO_AUTH, connect(name("a.test", 65_535))), "0500", {
      host: "a.test",
      port: 65_535,
    }],
    ["SOCKS4a", bytes(4, 1, 1, 187, 0, 0, 0, 1, "user", 0, "up.test", 0), "", { host: "up.test", port: 443 }],
    ["SOCKS4a without a user", bytes(4, 1, 1, 187, 0, 0, 0, 255, 0, "up.test", 0), "", {
      host: "up.test",
      port: 443,
    }],
    ["SOCKS4", bytes(4, 1, 0, 80, 10, 0, 0, 1, 0), "", { host: "10.0.0.1", port: 80 }],
    ["SOCKS4 to 0.0.0.0 is an address", bytes(4, 1, 0, 80, 0, 0, 0, 0, 0), "", { host: "0.0.0.0", port: 80 }],
  ];
  for (const [what, sent, replies, target, token] of rows) {
    for (const step of [sent.length + 3, 1]) {
      await t.step(`${what}, ${step === 1 ? "byte by byte" : "whole"}`, async () => {
        const played = await play(join(sent, bytes("TLS")), { step });
        assertEquals(played.error, undefined);
        assertEquals(played.replies, replies);
        assertEquals(played.request?.target, target);
        assertEquals(played.request?.token, token);
        assertEquals(played.left, 3, "what follows the handshake is the tunnel's");
      });
    }
  }
});

Deno.test("readSocksRequest() refuses everything else with the protocol's answer", async (t) => {
  const unnamed = { mayBeAnonymous: false };
  type Row = readonly [string, Uint8Array, string, string, { mayBeAnonymous: boolean }?];
  const rows: readonly Row[] = [
    ["a wrong token", bytes(5, 1, 2, 1, 1, "p", 3, "bad"), "0502 0101", "auth.invalid auth-invalid"],
    ["an empty token", bytes(5, 1, 2, 1, 0, 0), "0502 0101", "auth.invalid auth-invalid"],
    [
      "a wrong token is never none",
      bytes(5, 2, 0, 2, 1, 1, "p", 3, "bad"),
      "0502 0101",
      "auth.invalid auth-invalid",
    ],
    ["no method at all", bytes(5, 0), "05ff", "auth.missing auth-missing"],
    ["no method that we have", bytes(5, 1, 1), "05ff", "auth.missing auth-missing"],
    ["none where none may", NO_AUTH, "05ff", "auth.missing auth-missing", unnamed],
    ["another sub-negotiation", bytes(5, 1, 2, 5, 1, "p"), "0502", "client.malformed malformed"],
    [
      "BIND",
      join(NO_AUTH, connect(name("a.test"), 2)),
      "0500 05070001000000000000",
      "client.malformed malformed",
    ],
    [
      "UDP ASSOCIATE",
      join(NO_AUTH, connect(bytes(1, 0, 0, 0, 0, 0, 0), 3)),
      "0500 05070001000000000000",
      "client.malformed malformed",
    ],
    [
      "an address type",
      join(NO_AUTH, bytes(5, 1, 0, 2)),
      "0500 05080001000000000000",
      "client.malformed malformed",
    ],
    ["a request of version 4", join(NO_AUTH, bytes(4, 1, 0, 1)), "0500", "client.malformed malformed"],
    ["a reserved byte", join(NO_AUTH, bytes(5, 1, 1, 1)), "0500", "client.malformed malformed"],
    [
      "port 0",
      join(NO_AUTH, connect(name("a.test", 0))),
      "0500 05010001000000000000",
      "client.malformed malformed",
    ],
    [
      "an empty name",
      join(NO_AUTH, connect(name(""))),
      "0500 05010001000000000000",
      "client.malformed malformed",
    ],
    [
      "a name with a NUL",
      join(NO_AUTH, connect(name("a\0b"))),
      "0500 05010001000000000000",
      "client.malformed malformed",
    ],
    [
      "a name in hex",
      join(NO_AUTH, connect(name("0x7f000001"))),
      "0500 05010001000000000000",
      "client.malformed malformed",
    ],
    ["SOCKS4 BIND", bytes(4, 2, 0, 80, 10, 0, 0, 1, 0), "005b000000000000", "client.malformed malformed"],
    [
      "SOCKS4a without a name",
      bytes(4, 1, 0, 80, 0, 0, 0, 1, 0, 0),
      "005b000000000000",
      "client.malformed malformed",
    ],
    [
      "SOCKS4 with port 0",
      bytes(4, 1, 0, 0, 10, 0, 0, 1, 0),
      "005b000000000000",
      "client.malformed malformed",
    ],
    [
      "SOCKS4 where none may",
      bytes(4, 1, 0, 80, 10, 0, 0, 1, 0),
      "005b000000000000",
      "auth.missing auth-missing",
      unnamed,
    ],
    [
      "a user without an end",
      bytes(4, 1, 0, 80, 10, 0, 0, 1, "u".repeat(256)),
      "",
      "client.malformed malformed",
    ],
    ["an end in the handshake", bytes(5, 1), "", "client.closed undefined"],
    ["an end in the request", join(LOGIN, bytes(5, 1, 0, 3, 9, "a")), "0502 0100", "client.closed undefined"],
  ];
  for (const [what, sent, replies, error, options] of rows) {
    for (const step of [sent.length, 1]) {
      await t.step(`${what}, ${step === 1 ? "byte by byte" : "whole"}`, async () => {
        const played = await play(sent, { ...options, step });
        assertEquals([played.error, played.replies], [error, replies]);
      });
    }
  }
});

Deno.test("readSocksRequest() takes a SOCKS4 user of 255 bytes and no more", async () => {
  const sent = (length: number) => bytes(4, 1, 0, 80, 10, 0, 0, 1, "u".repeat(length), 0);
  assertEquals((await play(sent(255))).request?.target.host, "10.0.0.1");
  assertEquals((await play(sent(256))).error, "client.malformed malformed");
});

Deno.test("readSocksRequest() passes on what its stream throws", async () => {
  const reader = new ByteReader({ read: () => Promise.reject(new Deno.errors.BadResource("closed")) });
  await assertRejects(
    () => readSocksRequest({ reader, reply: async () => {}, mayBeAnonymous: true, checkToken: () => {} }),
    Deno.errors.BadResource,
  );
});

Deno.test("findAnonymousRule() finds exactly what SPEC section 2 lets in without credentials", async (t) => {
  const target = { host: "db.test", port: 5432 };
  const exact: RuleInput = { host: "db.test", ports: [5432], passthrough: true };
  type Rules = Readonly<Record<string, readonly RuleInput[]>>;
  const rows: readonly (readonly [string, Rules, string | undefined])[] = [
    ["an exact host with an explicit port", { one: [exact] }, "one"],
    ["with more ports", { one: [{ ...exact, ports: [22, 5432] }] }, "one"],
    ["another client's", { one: [], two: [exact] }, "two"],
    ["the first client's by name", { two: [exact], one: [exact] }, "one"],
    ["not another port", { one: [{ ...exact, ports: [5433] }] }, undefined],
    ["not another host", { one: [{ ...exact, host: "db2.test" }] }, undefined],
    ["not a wildcard host", { one: [{ ...exact, host: "*.test" }] }, undefined],
    ["not any host", { one: [{ ...exact, host: "*" }] }, undefined],
    ["not without passthrough", { one: [{ host: "db.test", ports: [5432] }] }, undefined],
    ["not behind a rule of the same client that inspects", {
      one: [{ host: "*.test", ports: [5432] }, exact],
    }, undefined],
    [
      "not behind a wider passthrough rule of the same client",
      { one: [{ ...exact, host: "*" }, exact] },
      undefined,
    ],
    ["behind one for another port", { one: [{ host: "*.test", ports: [443] }, exact] }, "one"],
    ["behind another client's that inspects", { one: [{ host: "*", ports: [5432] }], two: [exact] }, "two"],
    ["no clients", {}, undefined],
  ];
  for (const [what, rules, owner] of rows) {
    await t.step(what, () => {
      const policy = new TestPolicy();
      for (const client of Object.keys(rules).sort()) policy.addClient(client, client);
      for (const [client, inputs] of Object.entries(rules)) {
        for (const input of inputs) policy.allow(client, input);
      }
      assertEquals(findAnonymousRule(policy, target)?.client.name, owner);
    });
  }
  await t.step("not by the default ports", () => {
    const policy = new TestPolicy();
    policy.addClient("one", "one");
    policy.allow("one", { host: "db.test", passthrough: true });
    assertEquals(findAnonymousRule(policy, { host: "db.test", port: 443 }), undefined);
    policy.addClient("two", "two");
    policy.allow("two", { host: "db.test", ports: [443], passthrough: true });
    assertEquals(findAnonymousRule(policy, { host: "db.test", port: 443 })?.client.name, "two");
  });
});

Deno.test("isLocalSource() is true just inside the local networks and false just outside", async (t) => {
  const rows: readonly (readonly [boolean, ...string[]])[] = [
    [true, "127.0.0.1", "127.255.255.255", "10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255"],
    [true, "192.168.0.0", "192.168.255.255", "169.254.0.0", "169.254.255.255", "::1", "fc00::", "fdff::1"],
    [true, "fe80::1", "fe80::1%eth0", "febf::", "::ffff:10.0.0.1", "::FFFF:127.0.0.1"],
    [false, "128.0.0.0", "126.255.255.255", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0"],
    [false, "192.167.255.255", "192.169.0.0", "169.253.255.255", "169.255.0.0", "100.64.0.1", "8.8.8.8"],
    [false, "::2", "::", "fbff::1", "fe00::1", "fec0::1", "2001:db8::1", "::ffff:8.8.8.8", "", "localhost"],
  ];
  for (const [isLocal, ...sources] of rows) {
    for (const source of sources) {
      await t.step(
        `${source || "nothing"} is ${isLocal}`,
        () => assertEquals(isLocalSource(source), isLocal),
      );
    }
  }
});
