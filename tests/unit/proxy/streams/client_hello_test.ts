import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { parseClientHello, tlsStart } from "../../../../core/client_hello.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { ByteReader } from "../../../../proxy/streams/byte_reader.ts";
import { peekClientHello } from "../../../../proxy/streams/client_hello.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";

const LIMITS = { maxClientHelloBytes: 65_536 };

/** What a program sends first when it connects to a port. */
async function capture(command: string, argsFor: (port: number) => string[]): Promise<Uint8Array> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const port = (listener.addr as Deno.NetAddr).port;
  const child = new Deno.Command(command, {
    args: argsFor(port),
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const conn = await listener.accept();
  const reader = new ByteReader(conn);
  await peekClientHello(reader, LIMITS);
  const bytes = reader.takeAll();
  conn.close();
  await child.status;
  return bytes;
}

const openssl =
  (...args: string[]) => (port: number) => ["s_client", "-connect", `127.0.0.1:${port}`, ...args];
/** 400 protocols of 9 letters: 4,000 bytes. */
const MANY_PROTOCOLS = Array.from({ length: 400 }, (_, i) => `proto${1_000 + i}`).join(",");

const PROGRAMS = [
  {
    name: "openssl",
    command: "openssl",
    args: openssl("-servername", "up.test"),
    serverName: "up.test",
    minBytes: 200,
  },
  {
    name: "openssl, TLS 1.2 only",
    command: "openssl",
    args: openssl("-servername", "up.test", "-tls1_2"),
    serverName: "up.test",
    tls: "1.2" as const,
    minBytes: 100,
  },
  {
    name: "openssl without a name",
    command: "openssl",
    args: openssl("-noservername"),
    serverName: undefined,
    minBytes: 200,
  },
  {
    name: "openssl with 4 KiB of ALPN",
    command: "openssl",
    args: openssl("-servername", "up.test", "-alpn", MANY_PROTOCOLS),
    serverName: "up.test",
    minBytes: 4_000,
  },
  {
    name: "curl",
    command: "curl",
    args: (port: number) => ["-sk", "--resolve", `up.test:${port}:127.0.0.1`, `https://up.test:${port}/`],
    serverName: "up.test",
    minBytes: 200,
  },
];

Deno.test("parseClientHello() reads what real programs send, whole and in every split", async (t) => {
  for (const { name, command, args, serverName, minBytes, tls = "1.3" as const } of PROGRAMS) {
    await t.step(name, async () => {
      const bytes = await capture(command, args);
      assert(bytes.length >= minBytes, `only ${bytes.length} bytes`);
      assertEquals(nameIn(bytes), serverName);
      assertEquals(parseClientHello(bytes)?.tls, tls);
      assertEquals(parseClientHello(bytes)?.byteLength, bytes.length);
      assertEquals(parseClientHello(bytes)?.offersEncryptThenMac, true); // both are OpenSSL
      for (let at = 0; at < bytes.length; at++) {
        assertEquals(parseClientHello(bytes.subarray(0, at)), undefined, `the first ${at} bytes`);
      }
      for (const size of [100, 101, 1_000]) {
        assertEquals(nameIn(splitRecord(bytes, size)), serverName, `records of ${size} bytes`);
      }
    });
  }
});

/** The server name of a whole ClientHello. */
function nameIn(bytes: Uint8Array): string | undefined {
  const hello = parseClientHello(bytes);
  assert(hello, "not whole");
  return hello.serverName;
}

/** The same handshake message in records of at most `size` bytes. */
function splitRecord(bytes: Uint8Array, size: number): Uint8Array {
  const message = bytes.subarray(5);
  const out: number[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    out.push(0x16, 3, 1, part.length >> 8, part.length & 0xff, ...part);
  }
  return Uint8Array.from(out);
}

function vector(lengthBytes: number, ...parts: readonly (readonly number[])[]): number[] {
  const content = parts.flat();
  const length = Array.from(
    { length: lengthBytes },
    (_, i) => (content.length >> 8 * (lengthBytes - 1 - i)) & 0xff,
  );
  return [...length, ...content];
}

const latin1 = (text: string) => [...text].map((char) => char.charCodeAt(0));
const nameOf = (text: string, type = 0) => [type, ...vector(2, latin1(text))];
const serverNames = (...names: number[][]) => [0, 0, ...vector(2, vector(2, ...names))];

/** A ClientHello with these extensions, in one record. */
function helloOf(extensions: readonly (readonly number[])[] | undefined): Uint8Array {
  const body = [
    ...[3, 3],
    ...new Array(32).fill(7),
    ...vector(1, new Array(32).fill(8)),
    ...vector(2, [0x13, 0x01]),
    ...vector(1, [0]),
    ...(extensions ? vector(2, ...extensions) : []),
  ];
  return Uint8Array.from([0x16, 3, 1, ...vector(2, [1, ...vector(3, body)])]);
}

Deno.test("parseClientHello() finds the name behind a key share of kilobytes (post-quantum)", () => {
  const keyShare = [0, 51, ...vector(2, new Array(9_000).fill(1))];
  assertEquals(nameIn(helloOf([keyShare, serverNames(nameOf("up.test"))])), "up.test");
});

Deno.test("parseClientHello() says which version a list of them leads to, whatever else is in it", () => {
  const versions = (...bytes: readonly number[]) => helloOf([[0, 43, ...vector(2, bytes)]]);
  const rows: readonly [name: string, hello: Uint8Array, tls: string][] = [
    ["1.3 behind GREASE", versions(6, 0x6a, 0x6a, 3, 4, 3, 3), "1.3"],
    ["1.2 and older", versions(4, 3, 3, 3, 2), "1.2"],
    ["no list", helloOf([]), "1.2"],
    ["an empty one", versions(), "1.2"],
    ["an odd one", versions(3, 3, 3, 3), "1.2"],
    ["3, 4 out of step", versions(4, 0, 3, 4, 0), "1.2"],
  ];
  for (const [name, hello, tls] of rows) assertEquals(parseClientHello(hello)?.tls, tls, name);
});

Deno.test("parseClientHello() takes 64 records, one byte each in the first, and not 65", () => {
  const bytes = helloOf([serverNames(nameOf("up.test")), [0, 51, ...vector(2, new Array(400).fill(1))]]);
  const rest = bytes.subarray(5 + 63);
  const inTiny = splitRecord(bytes.subarray(0, 5 + 63), 1);
  const last = splitRecord(Uint8Array.of(0, 0, 0, 0, 0, ...rest), rest.length);
  assertEquals(nameIn(Uint8Array.from([...inTiny, ...last])), "up.test");
  const inTwo = splitRecord(Uint8Array.of(0, 0, 0, 0, 0, ...rest), rest.length - 1);
  const error = assertThrows(() => parseClientHello(Uint8Array.from([...inTiny, ...inTwo])), ProxyError);
  assertEquals(error.code, "client.malformed");
});

Deno.test("parseClientHello() gives the name as it was sent", () => {
  for (const name of ["UP.Test", "up.test.", "up.test:443", "192.0.2.1", "\xff\0 "]) {
    assertEquals(nameIn(helloOf([serverNames(nameOf(name))])), name);
  }
  assertEquals(nameIn(helloOf([])), undefined);
  assertEquals(nameIn(helloOf(undefined)), undefined);
  assertEquals(parseClientHello(helloOf(undefined))?.offersEncryptThenMac, false);
  assertEquals(parseClientHello(helloOf([[0, 22, 0, 0]]))?.offersEncryptThenMac, true);
});

Deno.test("parseClientHello() refuses what is none, or could name two hosts", async (t) => {
  const good = helloOf([serverNames(nameOf("up.test"))]);
  const changed = (at: number, byte: number) => good.map((old, i) => i === at ? byte : old);
  const rows = [
    { name: "two names in one extension", bytes: helloOf([serverNames(nameOf("a.test"), nameOf("b.test"))]) },
    {
      name: "two extensions",
      bytes: helloOf([serverNames(nameOf("a.test")), serverNames(nameOf("a.test"))]),
    },
    { name: "an empty name", bytes: helloOf([serverNames(nameOf(""))]) },
    { name: "no name in the list", bytes: helloOf([serverNames()]) },
    { name: "a name of another type", bytes: helloOf([serverNames(nameOf("up.test", 1))]) },
    { name: "bytes behind the list", bytes: helloOf([[0, 0, ...vector(2, vector(2, nameOf("a")), [0])]]) },
    { name: "an extension longer than the message", bytes: helloOf([[0, 0, 255, 255]]) },
    { name: "another record", bytes: changed(0, 0x17) },
    { name: "another version", bytes: changed(1, 2) },
    { name: "an empty record", bytes: Uint8Array.of(0x16, 3, 1, 0, 0) },
    { name: "a record that is too long", bytes: Uint8Array.of(0x16, 3, 1, 0x41, 1) },
    { name: "a ServerHello", bytes: changed(5, 2) },
    {
      name: "an alert between the records",
      bytes: Uint8Array.from([...good.subarray(0, 3), 0, 2, 1, 0, 0x15, 3, 1, 0, 2, 2, 70]),
    },
    {
      name: "a byte behind it in its record",
      bytes: Uint8Array.from([22, 3, 1, ...vector(2, [...good.subarray(5), 1])]),
    },
    {
      name: "a second one behind it in its record",
      bytes: Uint8Array.from([22, 3, 1, ...vector(2, [...good.subarray(5), ...good.subarray(5)])]),
    },
    { name: "a session id longer than the message", bytes: changed(5 + 4 + 34, 255) },
  ];
  for (const { name, bytes } of rows) {
    await t.step(name, () => {
      const error = assertThrows(() => parseClientHello(bytes), ProxyError);
      assertEquals([error.code, error.reason], ["client.malformed", "tls-no-client-hello"]);
    });
  }
});

Deno.test("peekClientHello() waits for all of it, and leaves every byte in the reader", async () => {
  const bytes = helloOf([serverNames(nameOf("up.test"))]);
  const [client, stream] = makePipe();
  const reader = new ByteReader(stream);
  const hello = peekClientHello(reader, LIMITS);
  for (const byte of bytes) {
    await client.write(Uint8Array.of(byte));
    await settle();
  }
  assertEquals((await hello).serverName, "up.test");
  assertEquals(reader.takeAll(), bytes);
});

Deno.test("peekClientHello() tells an end inside it from one that is too large", async () => {
  const bytes = helloOf([[0, 99, ...vector(2, new Array(1_000).fill(0))]]);
  const ended = new ByteReader({ read: () => Promise.resolve(null) }, bytes.subarray(0, 500));
  assertEquals((await assertRejects(() => peekClientHello(ended, LIMITS), ProxyError)).code, "client.closed");
  const limits = { maxClientHelloBytes: 499 };
  const large = new ByteReader({ read: () => Promise.resolve(null) }, bytes.subarray(0, 500));
  assertEquals(
    (await assertRejects(() => peekClientHello(large, limits), ProxyError)).code,
    "client.malformed",
  );
  const atLimit = new ByteReader({ read: () => Promise.resolve(null) }, bytes.subarray(0, 500));
  const error = await assertRejects(
    () => peekClientHello(atLimit, { maxClientHelloBytes: 500 }),
    ProxyError,
  );
  assertEquals([error.code, error.reason], ["client.closed", "tls-no-client-hello"]);
});

Deno.test("tlsStart() says whether a TLS server would go on, and waits for no more than 11 bytes", async (t) => {
  const ssl2 = [0x80, 9 + 3 + 32, 1, 3, 3, 0, 3, 0, 0, 0, 32];
  const rows: readonly (readonly [string, readonly number[], ReturnType<typeof tlsStart>])[] = [
    ["a ClientHello", [0x16, 3, 1, 0, 200, 1], "record"],
    ["a handshake record with something else", [0x16, 3, 1, 0, 4, 2], "record"],
    ["an empty handshake record", [0x16, 3, 1, 0, 0, 0x16], "record"],
    ["a ClientHello in a record of a version that only Go takes", [0x16, 2, 9, 0, 200, 1], "record"],
    ["a warning", [0x15, 3, 1, 0, 2, 1], "record"],
    ["a warning of a version that only Go takes", [0x15, 15, 9, 0, 2, 1], "record"],
    ["a ChangeCipherSpec", [0x14, 3, 3, 0, 1, 1], "record"],
    ["application data", [0x17, 3, 3, 0x40, 0, 9], "record"],
    ["a ClientHello in the format of SSL 2.0", ssl2, "ssl2"],
    ["its lengths do not add up", [...ssl2.slice(0, 10), 33], "other"],
    ["nothing", [], undefined],
    ["half a record header", [0x15, 3], undefined],
    ["half a ClientHello of SSL 2.0", ssl2.slice(0, 10), undefined],
    ["HTTP", [0x47], "other"],
    ["SSH", [0x53], "other"],
    ["PostgreSQL", [0], "other"],
    ["Telnet", [0xff, 0xfd, 1], "other"],
    ["UTF-8", [0xc3], "other"],
    ["a MySQL login of 278 bytes", [0x16, 1, 0, 1, 0x85, 0xa6], "other"],
    ["a MySQL login of 277 bytes", [0x15, 1, 0, 1, 0x85, 0xa6], "other"],
    ["a MySQL login of 200 bytes", [0xc8, 0, 0, 1], "other"],
    ["a MySQL login of 130 bytes", [0x82, 0, 0], "other"],
    ["ONC RPC of 259 bytes", [0x80, 0, 1, 3, 1, 2, 3, 4, 0, 0, 0], "other"],
  ];
  for (const [name, bytes, expected] of rows) {
    await t.step(name, () => {
      assertEquals(tlsStart(Uint8Array.from(bytes)), expected);
      for (let at = 0; at < bytes.length; at++) { // what is said early is not taken back
        const early = tlsStart(Uint8Array.from(bytes.slice(0, at)));
        assert(early === undefined || early === expected, `${early} after ${at} bytes`);
      }
    });
  }
});
