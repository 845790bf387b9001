/**
 * The SOCKS handshake over hostile bytes. `FUZZ_RUNS` and `FUZZ_SEED` override the number of runs and the seed.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { ProxyError } from "../../core/errors.ts";
import { parseHost } from "../../core/host_port.ts";
import { ByteReader } from "../../proxy/streams/byte_reader.ts";
import { readSocksRequest, type SocksRequest } from "../../proxy/tunnels/socks.ts";

const NUM_RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 2_000);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? 20_260_901);
const CODES = new Set(["client.malformed", "client.closed", "auth.missing", "auth.invalid"]);
const TOKEN = "t0k";

/** Bytes that begin like a handshake more often than not. */
const pieces = fc.oneof(
  { weight: 3, arbitrary: fc.constant([5, 1, 0]) },
  { weight: 3, arbitrary: fc.constant([5, 1, 2, 1, 1, 0x70, 3, 0x74, 0x30, 0x6b]) },
  fc.constant([5, 2, 0, 2]),
  { weight: 2, arbitrary: fc.constant([5, 1, 0, 1, 127, 0, 0, 1, 1, 187]) },
  { weight: 2, arbitrary: fc.constant([5, 1, 0, 3, 6, 0x61, 0x2e, 0x74, 0x65, 0x73, 0x74, 0, 80]) },
  { weight: 2, arbitrary: fc.constant([4, 1, 0, 80, 0, 0, 0, 1, 0, 0x61, 0x2e, 0x74, 0]) },
  fc.constant([4, 1, 0, 80, 10, 0, 0, 1, 0]),
  fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 8 }),
  fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 300 }),
);
const conversations = fc.record({
  first: fc.constantFrom(4, 5),
  parts: fc.array(pieces, { minLength: 1, maxLength: 4 }),
  steps: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }),
  mayBeAnonymous: fc.boolean(),
});
type Conversation = typeof conversations extends fc.Arbitrary<infer T> ? T : never;

/** What came of it, with all that was replied and all that was not read. */
async function converse({ first, parts, steps, mayBeAnonymous }: Conversation) {
  const sent = Uint8Array.from(parts.flat());
  if (sent.length > 0) sent[0] = first;
  let at = 0;
  let reads = 0;
  const reader = new ByteReader({
    read: (into) => {
      if (at >= sent.length) return Promise.resolve(null);
      const piece = sent.subarray(at, at + Math.min(steps[reads++ % steps.length] ?? 1, into.length));
      into.set(piece);
      at += piece.length;
      return Promise.resolve(piece.length);
    },
  });
  const replies: number[][] = [];
  let outcome: SocksRequest | ProxyError;
  try {
    outcome = await readSocksRequest({
      reader,
      reply: (bytes) => {
        replies.push([...bytes]);
        return Promise.resolve();
      },
      mayBeAnonymous,
      checkToken: (token) => {
        if (token === TOKEN) return;
        throw new ProxyError("auth.invalid", "Cannot tell who is asking", { reason: "auth-invalid" });
      },
    });
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    outcome = error;
  }
  return { outcome, replies, left: [...reader.available, ...sent.subarray(at)] };
}

Deno.test(`readSocksRequest() gives a canonical target or one of its errors [seed ${SEED}]`, async () => {
  let read = 0;
  await fc.assert(
    fc.asyncProperty(conversations, async (conversation) => {
      const { outcome, replies } = await converse(conversation);
      if (outcome instanceof ProxyError) {
        assert(CODES.has(outcome.code), outcome.code);
        return;
      }
      read++;
      const { target, token, version } = outcome;
      assertEquals(parseHost(target.host), target.host);
      assert(target.port >= 1 && target.port <= 65_535);
      assert(
        token === TOKEN || (token === undefined && conversation.mayBeAnonymous),
        "somebody without a right to it",
      );
      if (version === 4) assertEquals([token, replies], [undefined, []]);
      else assertEquals(replies, token === undefined ? [[5, 0]] : [[5, 2], [1, 0]]);
    }),
    { numRuns: NUM_RUNS, seed: SEED },
  );
  assert(read > NUM_RUNS / 50, `only ${read} of ${NUM_RUNS} runs got through`);
});

Deno.test(`readSocksRequest() reads the same however the bytes are cut [seed ${SEED}]`, async () => {
  await fc.assert(
    fc.asyncProperty(conversations, async (conversation) => {
      const [cut, whole] = await Promise.all([
        converse(conversation),
        converse({ ...conversation, steps: [1_000_000] }),
      ]);
      const tell = ({ outcome, replies, left }: typeof cut) =>
        outcome instanceof ProxyError
          ? { code: outcome.code, replies }
          : { target: outcome.target, token: outcome.token, replies, left };
      assertEquals(tell(cut), tell(whole));
    }),
    { numRuns: NUM_RUNS, seed: SEED },
  );
});
