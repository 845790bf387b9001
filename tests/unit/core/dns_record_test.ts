import { assertEquals } from "@std/assert";
import {
  type DnsRecord,
  formatDnsRecord,
  formatDnsRecords,
  MAX_RECORD_BYTES,
  subjectOf,
} from "../../../core/dns_record.ts";
import {
  formatDnsAnswer,
  formatDnsQuery,
  parseDnsQuery,
  truncateDnsAnswer,
} from "../../../core/dns_message.ts";

Deno.test("formatDnsRecord() writes what can be told, and nothing else", async (t) => {
  const rows: readonly (readonly [string, DnsRecord, string | undefined])[] = [
    ["a name, canonical", { type: "CNAME", name: "A.Test." }, "\x01a\x04test\0"],
    ["no mail (RFC 7505)", { type: "MX", preference: 0, name: "." }, "\0\0\0"],
    [
      "all 16 bits",
      { type: "SRV", priority: 65_535, weight: 256, port: 1, name: "a" },
      "\xff\xff\x01\0\0\x01\x01a\0",
    ],
    ["17 bits", { type: "SRV", priority: 65_536, weight: 0, port: 1, name: "a" }, undefined],
    ["a name with a space", { type: "PTR", name: "a b.test" }, undefined],
    ["a name with a line feed", { type: "PTR", name: "a\nb.test" }, undefined],
    ["an address as a name", { type: "MX", preference: 1, name: "10.0.0.1" }, undefined],
    ["an IPv6 address as a name", { type: "PTR", name: "::1" }, undefined],
    ["a label of 64", { type: "PTR", name: `${"x".repeat(64)}.test` }, undefined],
    ["no text", { type: "TXT", texts: [] }, "\0"],
    ["texts", { type: "TXT", texts: ["ab", "", "c"] }, "\x02ab\0\x01c"],
    ["a text of 255", { type: "TXT", texts: ["x".repeat(255)] }, `\xff${"x".repeat(255)}`],
    ["a text of 256", { type: "TXT", texts: ["x".repeat(256)] }, undefined],
  ];
  for (const [name, record, data] of rows) {
    await t.step(name, () => {
      const got = formatDnsRecord(record);
      assertEquals(got && String.fromCharCode(...got), data);
    });
  }
});

Deno.test("formatDnsRecords() stays within its bytes", () => {
  const texts = ["x".repeat(255), "y".repeat(255)]; // 512 bytes with their lengths
  const records = new Array<DnsRecord>(9).fill({ type: "TXT", texts });
  assertEquals(formatDnsRecords(records).length, MAX_RECORD_BYTES / 512);
});

Deno.test("truncateDnsAnswer() leaves 512 bytes as they are, and of more only the question and the mark", () => {
  const query = parseDnsQuery(formatDnsQuery({ id: 9, name: "a.test", type: 16 }));
  const answer = (length: number) =>
    // 24 bytes are header and question, 12 the record's head
    formatDnsAnswer(query, { rcode: 0, addresses: [], records: [new Uint8Array(length - 36)], ttl: 30 });
  assertEquals(truncateDnsAnswer(answer(512), query), answer(512));
  const cut = truncateDnsAnswer(answer(513), query);
  assertEquals(cut.length, 24);
  assertEquals([...cut.subarray(0, 12)], [0, 9, 0x83, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
});

Deno.test("subjectOf() is what a rule has to allow", async (t) => {
  const rows = [
    ["db.test", "db.test"],
    ["_mongodb._tcp.db.test", "db.test"],
    ["_sip._udp.db.test", "db.test"],
    ["_mongodb._tcp", "_mongodb._tcp"],
    ["_mongodb._sctp.db.test", "_mongodb._sctp.db.test"],
    ["_a._tcp._b._tcp.db.test", "_b._tcp.db.test"],
    ["4.3.2.1.in-addr.arpa", "1.2.3.4"],
    ["3.2.1.in-addr.arpa", "3.2.1.in-addr.arpa"],
    ["x.4.3.2.1.in-addr.arpa", "x.4.3.2.1.in-addr.arpa"],
    [`1.${"0.".repeat(23)}8.b.d.0.1.0.0.2.ip6.arpa`, "2001:db8::1"],
    ["1.0.ip6.arpa", "1.0.ip6.arpa"],
  ] as const;
  for (const [name, subject] of rows) await t.step(name, () => assertEquals(subjectOf(name), subject));
});
