import { assertEquals, assertRejects } from "@std/assert";
import { type DnsRecord, formatDnsRecords, RECORD_TYPES } from "../../../../../core/dns_record.ts";
import { RCODE } from "../../../../../core/dns_message.ts";
import { recordLookup, type ResolveRecords } from "../../../../../proxy/egress/names/record_lookup.ts";
import { startDnsServer } from "../../../../../agent/dns_server.ts";

const RECORDS: readonly DnsRecord[] = [
  { type: "CNAME", name: "other.test." },
  { type: "PTR", name: "host.test." },
  { type: "MX", preference: 10, name: "mail.test." },
  { type: "SRV", priority: 1, weight: 2, port: 27_017, name: "shard-0.test." },
  { type: "TXT", texts: ["a=b", "c"] },
];

/** A name server that has one record of each type for `db.test`, a long one for `long.test`, and never answers for `mute.test`. */
async function withServer(body: (resolve: ResolveRecords, asked: string[]) => Promise<void>): Promise<void> {
  const asked: string[] = [];
  const { promise: never, resolve: release } = Promise.withResolvers<void>();
  await using server = await startDnsServer({
    where: { host: "127.0.0.1", port: 0 },
    log: () => {},
    ask: async ({ name, type }) => {
      asked.push(name);
      if (name === "mute.test") await never;
      const records = name === "long.test"
        ? [{ type: "TXT" as const, texts: new Array(10).fill("x".repeat(200)) }]
        : RECORDS.filter((record) => name === "db.test" && RECORD_TYPES.get(type) === record.type);
      const rcode = records.length > 0 ? RCODE.noError : RCODE.nxDomain;
      return { rcode, addresses: [], records: formatDnsRecords(records), ttl: 5 };
    },
  });
  try {
    await body(recordLookup({ ipAddr: "127.0.0.1", port: server.port }), asked);
  } finally {
    release();
  }
}

const ENDLESS = { client: "one", signal: new AbortController().signal };

Deno.test("recordLookup() reads every type, long answers over TCP, and says of a name without records that it has none", () =>
  withServer(async (resolve, asked) => {
    for (const record of RECORDS) assertEquals(await resolve("db.test", record.type, ENDLESS), [record]);
    assertEquals(await resolve("long.test", "TXT", ENDLESS), [
      { type: "TXT", texts: new Array(10).fill("x".repeat(200)) },
    ]);
    assertEquals(await resolve("none.test", "SRV", ENDLESS), []);
    assertEquals(new Set(asked), new Set(["db.test", "long.test", "none.test"]), "no search list");
  }));

Deno.test("recordLookup() gives up when it is told to", () =>
  withServer(async (resolve, asked) => {
    const late = new AbortController();
    const answer = resolve("mute.test", "TXT", { client: "one", signal: late.signal });
    while (asked.length === 0) await new Promise((next) => setTimeout(next, 5));
    late.abort();
    await assertRejects(() => answer);
  }));
