import { assertEquals, assertThrows } from "@std/assert";
import {
  formatDnsAnswer,
  formatDnsFormatError,
  formatDnsQuery,
  MAX_ADDRESSES,
  parseDnsAnswer,
  parseDnsQuery,
  RCODE,
  TYPE_A,
  TYPE_AAAA,
} from "../../../core/dns_message.ts";
import { ProxyError } from "../../../core/errors.ts";

Deno.test("parseDnsQuery() reads what formatDnsQuery() writes", async (t) => {
  for (const name of ["", "a", "api.example.com", `${"x".repeat(63)}.test`]) {
    await t.step(JSON.stringify(name.slice(0, 20)), () => {
      const query = parseDnsQuery(formatDnsQuery({ id: 0xbeef, name, type: TYPE_AAAA }));
      assertEquals([query.id, query.name, query.type], [0xbeef, name, TYPE_AAAA]);
    });
  }
});

Deno.test("parseDnsAnswer() reads what formatDnsAnswer() writes", async (t) => {
  const rows = [
    {
      name: "A",
      type: TYPE_A,
      addresses: ["203.0.113.7", "203.0.113.8"],
      read: ["203.0.113.7", "203.0.113.8"],
    },
    { name: "AAAA", type: TYPE_AAAA, addresses: ["2001:db8::1"], read: ["2001:db8::1"] },
    { name: "another family is left out", type: TYPE_A, addresses: ["2001:db8::1"], read: [] },
    { name: "no addresses for another type", type: 65, addresses: ["203.0.113.7"], read: [] },
    {
      name: "as many as fit",
      type: TYPE_AAAA,
      addresses: Array.from({ length: MAX_ADDRESSES + 1 }, (_, i) => `2001:db8::${i + 1}`),
      read: Array.from({ length: MAX_ADDRESSES }, (_, i) => `2001:db8::${i + 1}`),
    },
  ];
  for (const { name, type, addresses, read } of rows) {
    await t.step(name, () => {
      const longest = [63, 63, 63, 59].map((length) => "n".repeat(length)).join(".");
      const query = parseDnsQuery(formatDnsQuery({ id: 7, name: longest, type }));
      const bytes = formatDnsAnswer(query, { rcode: RCODE.noError, addresses, ttl: 30 });
      assertEquals(bytes.length <= 512, true, `${bytes.length} bytes`);
      const answer = parseDnsAnswer(bytes, query);
      assertEquals(answer, { rcode: 0, addresses: read, ttl: read.length > 0 ? 30 : 0 });
    });
  }
});

Deno.test("parseDnsQuery() refuses what is not one question", async (t) => {
  const good = () => formatDnsQuery({ id: 1, name: "a.test", type: TYPE_A });
  const change = (at: number, ...bytes: number[]) => {
    const changed = good();
    changed.set(bytes, at);
    return changed;
  };
  const rows: readonly (readonly [string, Uint8Array])[] = [
    ["empty", new Uint8Array(0)],
    ["only a header", good().subarray(0, 12)],
    ["cut in the name", good().subarray(0, 15)],
    ["cut behind the name", good().subarray(0, 22)],
    ["an answer", change(2, 0x80)],
    ["another opcode", change(2, 0x28)],
    ["two questions", change(4, 0, 2)],
    ["no question", change(4, 0, 0)],
    ["a compressed name", change(12, 0xc0)],
    ["a dot in a label", change(13, 0x2e)],
    ["class CHAOS", change(good().length - 2, 0, 3)],
  ];
  for (const [name, bytes] of rows) {
    await t.step(name, () => {
      const error = assertThrows(() => parseDnsQuery(bytes), ProxyError);
      assertEquals(error.code, "client.malformed");
    });
  }
});

Deno.test("parseDnsAnswer() refuses the answer to another question, follows aliases and takes the least TTL", () => {
  const query = parseDnsQuery(formatDnsQuery({ id: 1, name: "a.test", type: TYPE_A }));
  const other = parseDnsQuery(formatDnsQuery({ id: 1, name: "b.test", type: TYPE_A }));
  const answer = formatDnsAnswer(query, { rcode: 0, addresses: ["203.0.113.7"], ttl: 30 });
  assertThrows(() => parseDnsAnswer(answer, other), ProxyError);
  assertThrows(() => parseDnsAnswer(answer.subarray(0, answer.length - 1), query), ProxyError);
  // a.test CNAME c.test (TTL 5), then the address with a pointer to the alias's target.
  const alias = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 5, 0, 8, 1, 0x63, 4, 0x74, 0x65, 0x73, 0x74, 0];
  const address = [0xc0, 36, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 9];
  const bytes = new Uint8Array([...answer.subarray(0, 24), ...alias, ...address]);
  bytes[7] = 2;
  assertEquals(parseDnsAnswer(bytes, query), { rcode: 0, addresses: ["203.0.113.9"], ttl: 5 });
});

Deno.test("formatDnsFormatError() answers with the same id, and never an answer", () => {
  assertEquals(
    formatDnsFormatError(new Uint8Array([0xab, 0xcd, 0, 0]))?.subarray(0, 4),
    new Uint8Array([0xab, 0xcd, 0x80, 0x81]),
  );
  assertEquals(formatDnsFormatError(new Uint8Array([0xab, 0xcd, 0x80, 0])), undefined);
  assertEquals(formatDnsFormatError(new Uint8Array([1, 2, 3])), undefined);
});
