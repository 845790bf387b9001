import { assertEquals, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../core/deadlines.ts";
import { ProxyError } from "../../../../core/errors.ts";
import type { Reason } from "../../../../policy/reason.ts";
import { HelloWatch } from "../../../../proxy/tls/hello_watch.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { makeClientHello } from "../../../support/client_hello.ts";

const RETRY = Uint8Array.fromHex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c");
const HELLO = makeClientHello({ serverName: "up.test" });
const EVIL = makeClientHello({ serverName: "evil.test" });

/** A ServerHello with this random. */
function answer(random: Uint8Array): number[] {
  return [22, 3, 3, 0, 44, 2, 0, 0, 40, 3, 3, ...random, 0, 0x13, 0x01, 0, 0, 0];
}
const ORDINARY = answer(new Uint8Array(32).fill(9));

function setUp({ handshakeTimeoutMs = 15_000, onRefused = () => {} } = {}) {
  const refused: Reason[] = [];
  const watch = new HelloWatch({
    limits: { maxClientHelloBytes: 65_536, handshakeTimeoutMs },
    deadlines: new Deadlines(),
    check: ({ serverName }) => serverName === "up.test" ? undefined : "sni-mismatch",
    refuse: (reason) => {
      refused.push(reason);
      onRefused();
    },
  });
  const admit = (...bytes: number[]) =>
    watch.admit(new ByteReader({ read: () => Promise.resolve(null) }, Uint8Array.from(bytes)));
  return { watch, refused, admit };
}

Deno.test("HelloWatch looks no further once the server has answered with a ServerHello", async (t) => {
  const warning = [21, 3, 3, 0, 2, 1, 112];
  const rows: readonly (readonly [string, readonly number[], isDone: boolean])[] = [
    ["a ServerHello", ORDINARY, true],
    ["a warning, then a ServerHello", [...warning, ...ORDINARY], true],
    ["a HelloRetryRequest", answer(RETRY), false],
    ["a HelloRetryRequest, then what looks like a ServerHello", [...answer(RETRY), ...ORDINARY], false],
    ["a ChangeCipherSpec, then a ServerHello", [20, 3, 3, 0, 1, 1, ...ORDINARY], true],
    ["application data, then a ServerHello", [23, 3, 3, 0, 1, 1, ...ORDINARY], false],
    ["a long warning, then a ServerHello", [21, 3, 3, 1, 0, ...new Array(256).fill(0), ...ORDINARY], true],
    ["as many warnings as are borne", [...Array(67).fill(warning).flat(), ...ORDINARY], true],
    ["one more", [...Array(68).fill(warning).flat(), ...ORDINARY], false],
    ["a ServerHello up to its random", ORDINARY.slice(0, 43), true],
    ["a record that ends with its random", ORDINARY.with(4, 38), true],
    ["a record that ends before", ORDINARY.with(4, 37), false],
    ["half a ServerHello", ORDINARY.slice(0, 42), false],
    ["another handshake message", ORDINARY.with(5, 11), false],
    ["a ServerHello in pieces of a byte", [22, 3, 3, 0, 1, 2, ...ORDINARY], false],
    [
      "no TLS",
      [...new TextEncoder().encode("220 mail.test ESMTP, at your service, ready and waiting\r\n")],
      false,
    ],
    ["warnings without end", Array.from({ length: 100 }, () => warning).flat(), false],
  ];
  for (const [name, bytes, isDone] of rows) {
    for (const isSlow of [false, true]) {
      await t.step(`${name}${isSlow ? ", byte by byte" : ""}`, async () => {
        const { watch, admit, refused } = setUp();
        assertEquals(await admit(...HELLO), HELLO.length);
        if (!isSlow) watch.answered(Uint8Array.from(bytes));
        else for (const byte of bytes) watch.answered(Uint8Array.of(byte));
        assertEquals(watch.isDone, isDone);
        if (isDone) assertEquals(await admit(...EVIL), EVIL.length); // it means nothing to the server any more
        else {
          await assertRejects(() => admit(...EVIL), ProxyError);
          assertEquals(refused[0], "sni-mismatch");
        }
      });
    }
  }
});

Deno.test("HelloWatch takes a ServerHello for an answer only after the ClientHello", async () => {
  const { watch, admit } = setUp();
  watch.answered(Uint8Array.from(ORDINARY));
  assertEquals(watch.isDone, false);
  await admit(...HELLO);
  watch.answered(Uint8Array.of(0)); // what came first is not looked at again
  assertEquals(watch.isDone, false);
  await assertRejects(() => admit(...EVIL), ProxyError);
});

Deno.test("HelloWatch lets records before a second ClientHello pass, in whatever pieces", async () => {
  const { watch, admit } = setUp();
  await admit(...HELLO);
  assertEquals(await admit(20, 3, 3, 0, 1, 1), 6);
  assertEquals(await admit(23, 3, 3, 1, 0, 22), 6); // 255 bytes of the record are to come
  assertEquals(await admit(...new Array(200).fill(22)), 200);
  assertEquals(await admit(...new Array(55).fill(22), ...EVIL), 55);
  await assertRejects(() => admit(...EVIL), ProxyError);
  assertEquals(watch.isDone, false);
});

Deno.test("HelloWatch is done with what no second ClientHello can follow", async (t) => {
  const rows: readonly (readonly [string, readonly number[]])[] = [
    ["the second ClientHello", [...HELLO]],
    ["a ClientKeyExchange", [22, 3, 3, 0, 4, 16, 0, 0, 0]],
    ["a type below those of TLS", [19, 3, 3, 0, 1, 1]],
    ["a type above those of TLS", [24, 3, 3, 0, 1, 1]],
    ["another major version", [23, 2, 3, 0, 1, 1]],
    ["no TLS any more", [...new TextEncoder().encode("GET / HTTP/1.1\r\n")]],
  ];
  for (const [name, bytes] of rows) {
    await t.step(name, async () => {
      const { watch, admit } = setUp();
      await admit(...HELLO);
      assertEquals(await admit(...bytes), bytes.length);
      assertEquals(watch.isDone, true);
    });
  }
  await t.step("another protocol from the start", async () => {
    const { watch, admit } = setUp();
    assertEquals(await admit(0, 0, 0, 8), 4);
    assertEquals(watch.isDone, true);
  });
  await t.step("but not with an empty record that hides the next", async () => {
    const { admit, refused } = setUp();
    await admit(...HELLO);
    await assertRejects(() => admit(22, 3, 3, 0, 0, ...EVIL), ProxyError);
    assertEquals(refused[0], "tls-no-client-hello");
  });
});

Deno.test("HelloWatch lets each record that may stand before a second ClientHello pass", async () => {
  for (const type of [20, 21, 23]) {
    const { watch, admit } = setUp();
    await admit(...HELLO);
    assertEquals([await admit(type, 3, 3, 0, 1, 1), watch.isDone], [6, false], `${type}`);
  }
});

Deno.test("HelloWatch waits for what a second record is, wherever its bytes are cut", async () => {
  for (const at of [1, 4, 5, 6]) {
    const { watch, admit, refused } = setUp();
    await admit(...HELLO);
    const rest = [EVIL.subarray(at)];
    const reader = new ByteReader({
      read: (into) => {
        const piece = rest.shift();
        if (piece) into.set(piece);
        return Promise.resolve(piece?.length ?? null);
      },
    }, EVIL.slice(0, at));
    await assertRejects(() => watch.admit(reader), ProxyError);
    assertEquals(refused[0], "sni-mismatch", `cut at ${at}`);
  }
  const { watch, admit } = setUp();
  await admit(...HELLO);
  assertEquals([await admit(22, 3), watch.isDone], [2, false], "nothing comes any more");
});

Deno.test("HelloWatch refuses a ClientHello that does not come to its end in time", async () => {
  const { promise: cut, resolve } = Promise.withResolvers<null>();
  const { watch, refused } = setUp({ handshakeTimeoutMs: 20, onRefused: () => resolve(null) });
  const reader = new ByteReader({ read: () => cut }, HELLO.slice(0, 20));
  await assertRejects(() => watch.admit(reader), ProxyError);
  assertEquals(refused[0], "tls-no-client-hello");
});

Deno.test("HelloWatch takes no hello of SSL 2", async () => {
  const { admit, refused } = setUp();
  await assertRejects(() => admit(0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10), ProxyError);
  assertEquals(refused, ["tls-no-client-hello"]);
});
