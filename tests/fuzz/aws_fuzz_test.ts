/**
 * Bodies of signed chunks: however they are made and cut, what leaves is the same but for its signatures, each of which hangs
 * on the one before; and what is no such body is refused with nothing of the unsigned having left.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { isProxyError } from "../../core/errors.ts";
import { ChunkSigner } from "../../secrets/aws/chunks.ts";

const NUM_RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 60);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? 20_261_127);

const sha256 = (text: string | Uint8Array) => createHash("sha256").update(text).digest("hex");

/** A "signature" is the hash of what is signed. */
function startSigner(hasTrailer: boolean) {
  let held = 0;
  const signer = new ChunkSigner({
    seed: sha256("seed"),
    longDate: "D",
    scope: "S",
    signText: (text) => Promise.resolve(sha256(text)),
    hasTrailer,
    room: { take: (bytes) => (held += bytes) >= 0, give: (bytes) => void (held -= bytes) },
  });
  return { signer, held: () => held };
}

/** The body with the signatures that it has to have, or with zeros. */
function bodyOf(sizes: readonly number[], trailer: readonly string[], isSigned: boolean): Buffer {
  let previous = sha256("seed");
  const sign = (algorithm: string, ...hashes: string[]) => {
    previous = sha256([algorithm, "D", "S", previous, ...hashes].join("\n"));
    return isSigned ? previous : "0".repeat(64);
  };
  const parts = [...sizes, 0].map((size, i) => {
    const data = Buffer.alloc(size, `chunk ${i}`);
    const signature = sign("AWS4-HMAC-SHA256-PAYLOAD", sha256(""), sha256(data));
    const end = size === 0 && trailer.length > 0 ? "" : "\r\n";
    return Buffer.concat([
      Buffer.from(`${size.toString(16)};chunk-signature=${signature}\r\n`),
      data,
      Buffer.from(end),
    ]);
  });
  if (trailer.length > 0) {
    const lines = trailer.map((value, i) => `x-amz-checksum-${i}:${value}`);
    const signature = sign("AWS4-HMAC-SHA256-TRAILER", sha256(lines.map((line) => `${line}\n`).join("")));
    parts.push(Buffer.from([...lines, `x-amz-trailer-signature:${signature}`, "", ""].join("\r\n")));
  }
  return Buffer.concat(parts);
}

const sizes = fc.tuple(
  fc.array(fc.integer({ min: 8_192, max: 20_000 }), { maxLength: 3 }),
  fc.array(fc.integer({ min: 1, max: 8_191 }), { maxLength: 1 }),
).map(([large, last]) => [...large, ...last]);
const trailer = fc.array(fc.stringMatching(/^[A-Za-z0-9+=]{1,12}$/), { maxLength: 2 });
const cuts = fc.array(fc.integer({ min: 1, max: 9_000 }), { minLength: 1, maxLength: 12 });

function* pieces(body: Buffer, lengths: readonly number[]): Generator<Buffer> {
  for (let at = 0, i = 0; at < body.length; i++) {
    const length = lengths[i % lengths.length] ?? 1;
    yield body.subarray(at, at + length);
    at += length;
  }
}

Deno.test("a body of signed chunks keeps its bytes but for its signatures, however it is cut", async () => {
  await fc.assert(
    fc.asyncProperty(sizes, trailer, cuts, async (sizes, trailer, cuts) => {
      const { signer, held } = startSigner(trailer.length > 0);
      const out: Uint8Array[] = [];
      for (const piece of pieces(bodyOf(sizes, trailer, false), cuts)) out.push(await signer.push(piece));
      signer.end();
      assertEquals(Buffer.concat(out).equals(bodyOf(sizes, trailer, true)), true);
      assertEquals(held(), 0);
    }),
    { numRuns: NUM_RUNS, seed: SEED },
  );
});

Deno.test("a body that is damaged anywhere is refused, and nothing of it is let through unsigned", async () => {
  await fc.assert(
    fc.asyncProperty(
      sizes,
      cuts,
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      async (sizes, cuts, where, flip) => {
        const body = bodyOf(sizes, [], false);
        const at = where % body.length;
        body[at] = (body[at] ?? 0) ^ flip;
        const { signer, held } = startSigner(false);
        const out: Uint8Array[] = [];
        try {
          for (const piece of pieces(body, cuts)) out.push(await signer.push(piece));
          signer.end();
        } catch (error) {
          assert(isProxyError(error, "client.malformed"), String(error));
        }
        signer.drop();
        assertEquals(held(), 0);
        // What the client has signed with zeros is replaced wherever it has left.
        assert(!Buffer.concat(out).toString("latin1").includes(`chunk-signature=${"0".repeat(64)}\r\n`));
      },
    ),
    { numRuns: NUM_RUNS, seed: SEED },
  );
});
