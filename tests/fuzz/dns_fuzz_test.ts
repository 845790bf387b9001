/**
 * Answers of name servers over hostile bytes. `FUZZ_RUNS` and `FUZZ_SEED` override the number of runs and the seed.
 *
 * @module
 */
import { assert } from "@std/assert";
import fc from "fast-check";
import { parseIp } from "../../core/cidr.ts";
import { formatDnsQuery } from "../../core/dns_message.ts";
import { answersQuestion, readDnsResponse } from "../../core/dns_response.ts";
import { ProxyError } from "../../core/errors.ts";
import { NAME_LIMITS } from "../../core/limits.ts";
import { a, cname, nameBytes, reply, soa, type TestRecord } from "../support/name_server.ts";

const NUM_RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 5_000);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? 20_261_127);

const names = fc.constantFrom("www.up.test", "b.test", "c.test", "", "x".repeat(63), "WWW.UP.TEST");
const types = fc.constantFrom(1, 5, 6, 12, 15, 16, 28, 33);
const records: fc.Arbitrary<TestRecord> = fc.oneof(
  fc.tuple(names, fc.nat(0xffffffff)).map(([name, ttl]) => a(name, "10.0.0.1", ttl)),
  fc.tuple(names, names).map(([name, target]) => cname(name, target)),
  names.map((name) => soa(name, 60, 60)),
  fc.record({ name: names, type: types, data: fc.uint8Array({ maxLength: 40 }) }),
  fc.record({ name: names, type: types, data: names.map(nameBytes) }),
);
const messages = fc.record({
  type: types,
  answers: fc.array(records, { maxLength: 8 }),
  authority: fc.array(records, { maxLength: 3 }),
  rcode: fc.constantFrom(0, 0, 0, 2, 3, 5),
  /** Bytes that are changed behind the question; pointers are what does most harm. */
  changes: fc.array(
    fc.tuple(fc.nat(400), fc.oneof(fc.nat(255), fc.constantFrom(0, 0xc0, 0xc1, 0xff, 63))),
    { maxLength: 6 },
  ),
  cut: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(200)),
});

Deno.test("an answer of hostile bytes is read or refused, within bounds, and says only what it holds", () => {
  fc.assert(
    fc.property(messages, ({ type, answers, authority, rcode, changes, cut }) => {
      const question = { name: "www.up.test", type };
      const query = formatDnsQuery({ id: 1, ...question });
      let bytes = reply({ bytes: query }, { answers, authority, rcode });
      for (const [at, value] of changes) {
        if (query.length + at < bytes.length) bytes[query.length + at] = value;
      }
      bytes = bytes.slice(0, Math.max(query.length, bytes.length - cut));
      assert(answersQuestion(bytes, 1, question));
      try {
        const response = readDnsResponse(bytes, question);
        assert(response.addresses.length + response.records.length <= NAME_LIMITS.maxRecords);
        assert(response.addresses.every((each) => parseIp(each)?.length === (type === 1 ? 4 : 16)));
        assert(response.ttl >= 0 && response.ttl <= 0x7fffffff);
      } catch (error) {
        if (!(error instanceof ProxyError && error.code === "upstream.malformed")) throw error;
      }
    }),
    { numRuns: NUM_RUNS, seed: SEED },
  );
});

Deno.test("bytes that are no answer at all are seen as such", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(0xffff), (bytes, id) => {
      const question = { name: "www.up.test", type: 1 };
      if (!answersQuestion(bytes, id, question)) return;
      try {
        readDnsResponse(bytes, question);
      } catch (error) {
        if (!(error instanceof ProxyError)) throw error;
      }
    }),
    { numRuns: NUM_RUNS, seed: SEED },
  );
});
