import { assert, assertEquals, assertThrows } from "@std/assert";
import { formatDnsQuery } from "../../../core/dns_message.ts";
import { answersQuestion, readDnsResponse } from "../../../core/dns_response.ts";
import { ProxyError } from "../../../core/errors.ts";
import { NAME_LIMITS } from "../../../core/limits.ts";
import { a, cname, nameBytes, reply, soa, type TestRecord, TYPE } from "../../support/name_server.ts";

const QUESTION = { name: "www.up.test", type: TYPE.A };
const query = formatDnsQuery({ id: 7, ...QUESTION });

function answer(answers: readonly TestRecord[], more: Parameters<typeof reply>[1] = {}): Uint8Array {
  return reply({ bytes: query }, { answers, ...more });
}

Deno.test("readDnsResponse() follows aliases to the records that were asked for, with the smallest TTL on the way", async (t) => {
  const rows: readonly (readonly [string, Uint8Array, Partial<ReturnType<typeof readDnsResponse>>])[] = [
    ["an address", answer([a("www.up.test", "10.0.0.1", 77)]), { addresses: ["10.0.0.1"], ttl: 77 }],
    ["in other letters", answer([a("WWW.Up.test", "10.0.0.1")]), { addresses: ["10.0.0.1"] }],
    [
      "two aliases, in any order",
      answer([a("c.test", "10.0.0.1", 90), cname("b.test", "c.test", 5), cname("www.up.test", "b.test", 50)]),
      { addresses: ["10.0.0.1"], ttl: 5 },
    ],
    ["a stranger's address", answer([a("evil.test", "10.0.0.1")]), { addresses: [], ttl: 0 }],
    [
      "an alias that leads nowhere",
      answer([cname("www.up.test", "b.test", 50), a("evil.test", "10.0.0.1")]),
      { addresses: [], alias: "b.test", ttl: 50 },
    ],
    ["none, for so long", answer([], { authority: [soa("test", 600, 30)] }), { addresses: [], ttl: 30 }],
    ["none, by the SOA's own TTL", answer([], { authority: [soa("test", 20, 30)] }), { ttl: 20 }],
    ["no such name", answer([], { rcode: 3 }), { rcode: 3, ttl: 0 }],
    ["a TTL with its top bit", answer([a("www.up.test", "10.0.0.1", 0x80000000)]), { ttl: 0 }],
    ["cut short", answer([a("www.up.test", "10.0.0.1")], { flags: 0x200 }), {
      isTruncated: true,
      addresses: [],
    }],
  ];
  for (const [name, bytes, expected] of rows) {
    await t.step(name, () => {
      assert(answersQuestion(bytes, 7, QUESTION));
      const response = readDnsResponse(bytes, QUESTION);
      assertEquals({ ...response, ...expected }, response);
    });
  }
});

Deno.test("readDnsResponse() believes a server nothing about an alias that others know", () => {
  const bytes = answer([cname("www.up.test", "db.corp.test"), a("db.corp.test", "10.0.0.1")]);
  const { addresses, alias } = readDnsResponse(bytes, QUESTION, (name) => !name.endsWith(".corp.test"));
  assertEquals({ addresses, alias }, { addresses: [], alias: "db.corp.test" });
});

Deno.test("readDnsResponse() reads records of other types", async (t) => {
  const numbers = (...all: number[]) => Uint8Array.from(all.flatMap((each) => [each >> 8, each & 0xff]));
  const rows: readonly (readonly [number, Uint8Array, unknown])[] = [
    [TYPE.MX, Uint8Array.from([...numbers(10), ...nameBytes("mail.test")]), {
      type: "MX",
      preference: 10,
      name: "mail.test",
    }],
    [TYPE.SRV, Uint8Array.from([...numbers(1, 2, 443), 0]), {
      type: "SRV",
      priority: 1,
      weight: 2,
      port: 443,
      name: ".",
    }],
    [TYPE.TXT, Uint8Array.from([1, 0x61, 2, 0x62, 0x63]), { type: "TXT", texts: ["a", "bc"] }],
    [TYPE.CNAME, nameBytes("b.test"), { type: "CNAME", name: "b.test" }],
  ];
  for (const [type, data, expected] of rows) {
    await t.step(`type ${type}`, () => {
      const question = { name: "www.up.test", type };
      const bytes = reply({ bytes: formatDnsQuery({ id: 7, ...question }) }, {
        answers: [{ name: "www.up.test", type, data }],
      });
      assertEquals<unknown>(readDnsResponse(bytes, question).records, [expected]);
    });
  }
});

Deno.test("readDnsResponse() refuses what is damaged, endless or too much", async (t) => {
  const many = (count: number) => Array.from({ length: count }, () => a("www.up.test", "10.0.0.1"));
  const chain = (length: number) =>
    Array.from({ length }, (_, at) => cname(at === 0 ? "www.up.test" : `n${at}.test`, `n${at + 1}.test`));
  const end = (length: number) => a(`n${length}.test`, "10.0.0.1");
  const pointing = (to: number) => {
    const bytes = answer([a("", "10.0.0.1")]);
    const at = query.length; // the owner of the only record
    return Uint8Array.from([...bytes.subarray(0, at), 0xc0, to, ...bytes.subarray(at + 1)]);
  };
  assertEquals(readDnsResponse(answer(many(NAME_LIMITS.maxRecords)), QUESTION).addresses.length, 128);
  assertEquals(readDnsResponse(answer([...chain(16), end(16)]), QUESTION).addresses, ["10.0.0.1"]);
  assertEquals(readDnsResponse(pointing(12), QUESTION).addresses, ["10.0.0.1"]);
  const rows: readonly (readonly [string, Uint8Array, string | undefined])[] = [
    ["one record too many", answer(many(NAME_LIMITS.maxRecords + 1)), "too-large"],
    ["one alias too many", answer([...chain(17), end(17)]), undefined],
    [
      "aliases in a circle",
      answer([cname("www.up.test", "b.test"), cname("b.test", "www.up.test")]),
      undefined,
    ],
    ["a name that points to itself", pointing(query.length), undefined],
    ["a name that points forward", pointing(query.length + 4), undefined],
    [
      "an address of three bytes",
      answer([{ ...a("www.up.test", "10.0.0.1"), data: new Uint8Array(3) }]),
      undefined,
    ],
    ["a cut record", answer([a("www.up.test", "10.0.0.1")]).slice(0, -1), undefined],
    [
      "a long text",
      answer([{ name: "www.up.test", type: TYPE.CNAME, data: new Uint8Array([3, 97]) }]),
      undefined,
    ],
    ["a name of 256 bytes", answer([a(new Array(64).fill("abc").join("."), "10.0.0.1")]), undefined],
  ];
  for (const [name, bytes, reason] of rows) {
    await t.step(name, () => {
      const error = assertThrows(() => readDnsResponse(bytes, QUESTION), ProxyError);
      assertEquals([error.code, error.reason], ["upstream.malformed", reason]);
    });
  }
});

Deno.test("answersQuestion() takes nothing that answers another question, or is no answer", async (t) => {
  const good = answer([a("www.up.test", "10.0.0.1")]);
  const changed = (at: number, value: number) => good.map((byte, i) => (i === at ? value : byte));
  const rows: readonly (readonly [string, Uint8Array])[] = [
    ["another id", changed(1, 8)],
    ["a question", changed(2, 1)],
    ["another operation", changed(2, 0x91)],
    ["no question", changed(5, 0)],
    ["two questions", changed(5, 2)],
    ["another name", changed(13, 0x78)],
    ["another type", changed(query.length - 3, 28)],
    ["another class", changed(query.length - 1, 3)],
    ["a compressed question", changed(12, 0xc0)],
    ["nothing", new Uint8Array(0)],
    ["a header alone", good.slice(0, 12)],
  ];
  assert(answersQuestion(good, 7, QUESTION));
  for (const [name, bytes] of rows) await t.step(name, () => assert(!answersQuestion(bytes, 7, QUESTION)));
});
