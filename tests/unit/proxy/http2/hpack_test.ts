import { Buffer } from "node:buffer";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Fault } from "../../../../proxy/http2/fault.ts";
import { HpackDecoder } from "../../../../proxy/http2/hpack.ts";
import { HeaderBlockWriter } from "../../../../proxy/http2/hpack_encoder.ts";
import { HUFFMAN_LENGTHS, STATIC_TABLE } from "../../../../proxy/http2/hpack_tables.ts";
import { decodeHuffman, maxDecodedLength } from "../../../../proxy/http2/huffman.ts";
import type { SendableField } from "../../../../proxy/http2/types.ts";
import { literal } from "../../../wire/http2/frame_text.ts";

const LIMITS = { maxBytes: 65_536, maxFields: 256 };

function decode(hex: string, decoder = new HpackDecoder(LIMITS)): string[] | undefined {
  return decoder.decode(Buffer.from(hex.replaceAll(" ", ""), "hex"))?.map(({ key, value }) =>
    `${key}: ${value}`
  );
}

const REQUESTS = [
  [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
  [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
  [
    ":method: GET",
    ":scheme: https",
    ":path: /index.html",
    ":authority: www.example.com",
    "custom-key: custom-value",
  ],
];
const RESPONSES = [
  [
    ":status: 302",
    "cache-control: private",
    "date: Mon, 21 Oct 2013 20:13:21 GMT",
    "location: https://www.example.com",
  ],
  [
    ":status: 307",
    "cache-control: private",
    "date: Mon, 21 Oct 2013 20:13:21 GMT",
    "location: https://www.example.com",
  ],
  [
    ":status: 200",
    "cache-control: private",
    "date: Mon, 21 Oct 2013 20:13:22 GMT",
    "location: https://www.example.com",
    "content-encoding: gzip",
    "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
  ],
];

Deno.test("HpackDecoder reads the examples of RFC 7541 Appendix C", async (t) => {
  // The responses are for a table of 256 bytes: their first block says so.
  const TABLE_256 = "3fe101";
  const sequences:
    readonly (readonly [name: string, blocks: readonly string[], lists: readonly string[][]])[] = [
      ["C.2.1", ["400a637573746f6d2d6b65790d637573746f6d2d686561646572"], [["custom-key: custom-header"]]],
      ["C.2.2", ["040c2f73616d706c652f70617468"], [[":path: /sample/path"]]],
      ["C.2.3", ["100870617373776f726406736563726574"], [["password: secret"]]],
      ["C.2.4", ["82"], [[":method: GET"]]],
      ["C.3", [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
      ], REQUESTS],
      ["C.4", [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
      ], REQUESTS],
      ["C.5", [
        TABLE_256 +
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54" +
        "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b" +
        "48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
      ], RESPONSES],
      ["C.6", [
        TABLE_256 +
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8" +
        "e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5" +
        "af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
      ], RESPONSES],
    ];
  for (const [name, blocks, lists] of sequences) {
    await t.step(name, () => {
      const decoder = new HpackDecoder(LIMITS);
      assertEquals(blocks.map((block) => decode(block, decoder)), [...lists]);
    });
  }
});

Deno.test("HpackDecoder refuses what is no header block", async (t) => {
  const rows: readonly (readonly [name: string, hex: string])[] = [
    ["index 0", "80"],
    ["an index beyond the tables", "be"],
    ["a name's index beyond the tables", "7f0061"],
    ["an integer that is cut off", "ff"],
    ["an integer of five bytes", "ff8080808001"],
    ["a string that is cut off", "000361"],
    ["a string without its length", "00"],
    ["a length of 2^28", "007f80ffff7f"],
    ["a table size behind a field", "8220"],
    ["three table sizes", "202020"],
    ["a table of 4,097 bytes", "3fe21f"],
    ["Huffman code: EOS", "0084ffffffff0161"],
    ["Huffman code: padding of zeros", "00811800"],
    ["Huffman code: padding of eight bits", "00821fff00"],
    ["Huffman code: padding of eight bits behind a whole byte", "0082f8ff00"],
  ];
  for (const [name, hex] of rows) {
    await t.step(name, () => {
      assertThrows(() => decode(hex), Fault);
    });
  }
  await t.step("just inside: a table of 4,096 bytes, two table sizes", () => {
    assertEquals(decode("203fe11f82"), [":method: GET"]);
  });
});

Deno.test("HpackDecoder reads integers of at most four bytes behind the first, and strings of any length", () => {
  const list = (block: Uint8Array) => new HpackDecoder(LIMITS).decode(block)?.map(({ value }) => value);
  const text = Buffer.alloc(127, "x");
  const with4 = Buffer.concat([Buffer.from("0001617f80808000", "hex"), text]);
  assertEquals(list(with4), [text.toString()]);
  assertThrows(() => list(Buffer.concat([Buffer.from("0001617f8080808000", "hex"), text])), Fault);
  // Huffman code: five bits of nothing are a 0.
  const zeros = (length: string, count: number) =>
    list(Buffer.concat([Buffer.from(`000161${length}`, "hex"), Buffer.alloc(count)]))?.[0];
  assertEquals(zeros("ff17", 150), "0".repeat(240));
  assertEquals(zeros("ff914d", 10_000), "0".repeat(16_000)); // longer than anything before it
  assertEquals(list(Buffer.from("00016100", "hex")), [""]);
  assertEquals(list(Buffer.from("00016180", "hex")), [""]);
});

Deno.test("HpackDecoder cuts nothing off: a block that ends inside anything is none", () => {
  const whole = Buffer.from("828684410f7777772e6578616d706c652e636f6d", "hex");
  for (const at of [1, 2, 3, 20]) {
    assertEquals(decode(whole.toString("hex").slice(0, 2 * at))?.length, Math.min(at, 4));
  }
  for (let at = 4; at < 20; at++) assertThrows(() => decode(whole.toString("hex").slice(0, 2 * at)), Fault);
  assertEquals(decode(""), []);
});

Deno.test("HpackDecoder bounds a header list and stays in step", () => {
  const decoder = new HpackDecoder({ maxBytes: 200, maxFields: 3 });
  const entry = literal("a", "x".repeat(100), 0x40).toString("hex");
  assertEquals(decode(entry, decoder)?.length, 1); // 133 bytes
  assertEquals(decode("bebe", decoder), undefined); // 266
  assertEquals(decode("82828282", decoder), undefined); // four fields
  assertEquals(decode("828282", decoder)?.length, 3);
  assertEquals(decode("be", decoder)?.length, 1);
});

Deno.test("HpackDecoder evicts the oldest entries, and everything for one that is too large", () => {
  const decoder = new HpackDecoder(LIMITS);
  decode(literal("a", "1".repeat(2_000), 0x40).toString("hex"), decoder);
  decode(literal("b", "2".repeat(2_000), 0x40).toString("hex"), decoder);
  assertEquals(decode("bf", decoder)?.[0]?.slice(0, 4), "a: 1");
  decode(literal("c", "3".repeat(100), 0x40).toString("hex"), decoder);
  assertEquals(decode("bf", decoder)?.[0]?.slice(0, 4), "b: 2");
  assertThrows(() => decode("c0", decoder), Fault);
  decode(literal("d", "4".repeat(4_064), 0x40).toString("hex"), decoder); // one byte more than the table has
  assertThrows(() => decode("be", decoder), Fault);
});

Deno.test("HpackDecoder keeps its table bounded over a million insertions", () => {
  const decoder = new HpackDecoder(LIMITS);
  const block = Buffer.concat(Array.from({ length: 100 }, (_, i) => literal("a", String(i), 0x40)));
  const before = Deno.memoryUsage().heapUsed;
  for (let i = 0; i < 2_000; i++) decoder.decode(block);
  assertEquals(decode("be", decoder), ["a: 99"]);
  assert(Deno.memoryUsage().heapUsed - before < 100_000_000);
});

Deno.test("HeaderBlockWriter writes what HpackDecoder reads, and credentials never indexed", () => {
  const fields: SendableField[] = [
    ...STATIC_TABLE.filter(([name]) => !name.startsWith(":") && !["transfer-encoding"].includes(name))
      .map(([key, value]) => ({ key, value })),
    { key: "x", value: "" },
    { key: "x-long", value: "y".repeat(20_000) },
    { key: "x-latin", value: "\xe4\xff" },
    { key: "authorization", value: "Bearer x" },
    { key: "cookie", value: "a=b" },
    { key: "x-own", value: "secret", isSensitive: true },
  ];
  const writer = new HeaderBlockWriter();
  writer.begin();
  writer.tableSize(0);
  writer.pair(":method", "PATCH");
  for (const field of fields) writer.field(field);
  const list = new HpackDecoder({ maxBytes: 100_000, maxFields: 256 }).decode(writer.bytes) ?? [];
  assertEquals(list.map(({ key, value }) => [key, value]), [
    [":method", "PATCH"],
    ...fields.map(({ key, value }) => [key, value]),
  ]);
  assertEquals(
    list.filter(({ isSensitive }) => isSensitive).map(({ key }) => key),
    ["authorization", "cookie", "proxy-authorization", "set-cookie", "authorization", "cookie", "x-own"],
  );
});

Deno.test("HeaderBlockWriter says known fields by their index and known names by theirs, and nothing by a table's", () => {
  const written = (name: string, value: string, isSensitive = false) => {
    const writer = new HeaderBlockWriter();
    assertEquals(writer.bytes.length, 0);
    writer.begin();
    writer.pair(name, value, isSensitive);
    return Buffer.from(writer.bytes).toString("hex");
  };
  assertEquals(written(":method", "GET"), "82");
  assertEquals(written(":status", "500"), "8e");
  assertEquals(written("accept-encoding", "gzip, deflate"), "90");
  assertEquals(written("www-authenticate", ""), "bd");
  assertEquals(written(":path", "/a"), "04022f61");
  assertEquals(written("age", "1"), "0f060131"); // 21, which is 15 and 6
  assertEquals(written("accept-charset", "x"), "0f000178"); // just 15
  assertEquals(written(":status", "200", true), "1803323030");
  assertEquals(written("a", "b"), "0001610162");
});

Deno.test("HeaderBlockWriter writes strings of every length, and grows", () => {
  for (const length of [0, 1, 24, 25, 126, 127, 128, 253, 254, 255, 256, 16_510, 16_511, 16_512, 100_000]) {
    const writer = new HeaderBlockWriter();
    writer.begin();
    const value = "\xe4".repeat(length);
    writer.pair("x", value);
    writer.pair("y".repeat(length + 1), "z");
    const list = new HpackDecoder({ maxBytes: 1_000_000, maxFields: 9 }).decode(writer.bytes) ?? [];
    const [first, second] = list;
    assertEquals(
      [first?.value === value, second?.key.length, second?.value],
      [true, length + 1, "z"],
      `${length}`,
    );
  }
});

Deno.test("HeaderBlockWriter refuses what would end a field in HTTP/1.1, also beyond latin1", () => {
  const writer = new HeaderBlockWriter();
  for (const value of ["a\r\nb", "a\0", "a\u010ab", "\ud83d\ude00"]) {
    assertThrows(() => writer.field({ key: "x", value }), TypeError);
  }
  for (const key of ["X", "", "a b", "a:b", "connection", "transfer-encoding"]) {
    assertThrows(() => writer.field({ key, value: "x" }), TypeError);
  }
});

Deno.test("maxDecodedLength() is of the shortest code, which has five bits", () => {
  assertEquals([0, 1, 4, 5, 10].map(maxDecodedLength), [0, 1, 6, 8, 16]);
});

Deno.test("decodeHuffman() inverts the code of every byte, at every position", () => {
  // Encoded here by the definition of a canonical code, not by the decoder's tables.
  const codes = new Map<number, string>();
  let code = 0n;
  let length = 0;
  for (const symbol of [...HUFFMAN_LENGTHS.keys()].sort((a, b) => lengthOf(a) - lengthOf(b) || a - b)) {
    code <<= BigInt(lengthOf(symbol) - length);
    length = lengthOf(symbol);
    codes.set(symbol, code.toString(2).padStart(length, "0"));
    code++;
  }
  assertEquals(codes.get(256), "1".repeat(30));
  const encode = (bytes: readonly number[]) => {
    const bits = bytes.map((byte) => codes.get(byte)).join("");
    const padded = bits.padEnd(Math.ceil(bits.length / 8) * 8, "1");
    return Uint8Array.from(padded.match(/.{8}/g) ?? [], (octet) => parseInt(octet, 2));
  };
  for (let byte = 0; byte < 256; byte++) {
    for (
      const text of [[byte], [byte, byte], [0x30, byte, 0x61], [byte, 0xff, byte, 0x7a, byte, byte, 0x26]]
    ) {
      const coded = encode(text);
      const into = new Uint8Array(maxDecodedLength(coded.length));
      const count = decodeHuffman(coded, 0, coded.length, into);
      assertEquals([...into.subarray(0, count ?? 0)], text, `${text}`);
    }
  }
});

function lengthOf(symbol: number): number {
  return HUFFMAN_LENGTHS[symbol] ?? 0;
}

Deno.test("HeaderBlockWriter says in one byte that it keeps no table", () => {
  const writer = new HeaderBlockWriter();
  writer.begin();
  writer.tableSize(0);
  assertEquals([...writer.bytes], [0x20]);
});
