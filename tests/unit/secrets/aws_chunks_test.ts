/** Bodies of signed chunks that are not as they should be, and what of a body is held. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { ChunkSigner } from "../../../secrets/aws/chunks.ts";

const OLD = "0".repeat(64);
const NEW = "f".repeat(64);
const HEAD = `;chunk-signature=${OLD}\r\n`;
const LAST = `0${HEAD}\r\n`;
const chunk = (size: number) => `${size.toString(16)}${HEAD}${"a".repeat(size)}\r\n`;

class TestRoom {
  held = 0;
  constructor(readonly most = Infinity) {}
  take(bytes: number): boolean {
    if (this.held + bytes > this.most) return false;
    this.held += bytes;
    return true;
  }
  give(bytes: number): void {
    this.held -= bytes;
  }
}

function signer(
  { hasTrailer = false, room = new TestRoom(), signText = (_text: string) => Promise.resolve(NEW) } = {},
) {
  return new ChunkSigner({
    seed: OLD,
    longDate: "20260102T000000Z",
    scope: "20260102/eu-west-1/s3/aws4_request",
    signText,
    hasTrailer,
    room,
  });
}

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (piece: Uint8Array) => new TextDecoder().decode(piece);

Deno.test("ChunkSigner refuses a body that is not of signed chunks", async (t) => {
  const trailer = (lines: string) => `0${HEAD}${lines}`;
  const signed = `x-amz-trailer-signature:${OLD}\r\n`;
  const rows: readonly [name: string, body: string, words: string, hasTrailer?: boolean][] = [
    ["no signature", "2000\r\n", "no size or no signature"],
    ["a size that is none", `g${HEAD}`, "no size or no signature"],
    ["a line without CR", `2000;chunk-signature=${OLD}\n`, "without CR"],
    ["an empty line without CR", "\n", "without CR"],
    ["a long line that is empty at first", `\n${"a".repeat(255)}`, "without CR"],
    ["a line without end", "a".repeat(256), "line is too long"],
    ["a chunk above 1 MiB", `100001${HEAD}`, "larger than 1048576"],
    ["a small chunk before another", chunk(8_191) + chunk(8_192), "less than 8192"],
    ["a chunk of one byte behind a small one", chunk(1) + chunk(1), "less than 8192"],
    ["an empty trailer", trailer("\r\n"), "no field, or no signature", true],
    ["data that goes on", `1${HEAD}aXX`, "longer than its size says"],
    ["something behind the last chunk", `${LAST}x`, "follows its last chunk"],
    ["a trailer that is no field", trailer("no field\r\n"), "no field, or no signature", true],
    ["a trailer that does not end", trailer(`${signed}xx`), "does not end", true],
    ["a trailer above 4 KiB", trailer(`a:${"b".repeat(4_094)}`), "line is too long", true],
    ["a trailer of many lines", trailer("a:b\r\n".repeat(900)), "line is too long", true],
    ["something behind the trailer", trailer(`${signed}\r\nx`), "follows its last chunk", true],
  ];
  for (const [name, body, words, hasTrailer = false] of rows) {
    await t.step(name, async () => {
      const error = await assertRejects(() => signer({ hasTrailer }).push(bytes(body)), ProxyError, words);
      assertEquals(error.code, "client.malformed");
    });
  }
});

Deno.test("ChunkSigner takes what is just inside the limits, and gives back as many bytes", async (t) => {
  const rows: readonly [name: string, body: string, hasTrailer?: boolean][] = [
    ["the smallest chunk before another", chunk(8_192) + chunk(1) + LAST],
    ["the largest chunk", chunk(1_048_576) + LAST],
    ["a trailer", `0${HEAD}A: b \r\nx-amz-trailer-signature:${OLD}\r\n\r\n`, true],
  ];
  for (const [name, body, hasTrailer = false] of rows) {
    await t.step(name, async () => {
      const room = new TestRoom();
      const one = signer({ hasTrailer, room });
      assertEquals(text(await one.push(bytes(body))), body.replaceAll(OLD, NEW));
      assertEquals(room.held, 0);
      one.end();
    });
  }
});

Deno.test("ChunkSigner lets nothing leave before its chunk or trailer is whole", async () => {
  const room = new TestRoom();
  const one = signer({ hasTrailer: true, room });
  const body = `1${HEAD}a\r\n0${HEAD}a:b\r\nx-amz-trailer-signature:${OLD}\r\n\r\n`;
  let left = "";
  for (const byte of bytes(body)) left += text(await one.push(new Uint8Array([byte])));
  assertEquals([left, room.held], [body.replaceAll(OLD, NEW), 0]);
});

Deno.test("ChunkSigner does with each byte what can be done with it: a line is seen as soon as it is whole", async () => {
  const one = signer({ hasTrailer: true });
  const leftAfter: number[] = [];
  const send = async (body: string) => {
    for (const byte of bytes(body)) leftAfter.push((await one.push(new Uint8Array([byte]))).length);
  };
  const first = chunk(1);
  const last = `0${HEAD}`;
  await send(first + last);
  assertEquals(leftAfter.flatMap((left, at) => left > 0 ? [[at + 1, left]] : []), [
    [first.length, first.length],
    [first.length + last.length, last.length],
  ]);
  await send("a:b");
  await assertRejects(() => send("\n"), ProxyError, "without CR");
  const other = signer();
  for (const byte of bytes("abc")) await other.push(new Uint8Array([byte]));
  await assertRejects(() => other.push(bytes("\n")), ProxyError, "without CR");
});

Deno.test("ChunkSigner waits for the rest of a line that may still be one", async () => {
  assertEquals((await signer().push(bytes("a".repeat(255)))).length, 0);
  const trailer = `0${HEAD}a:${"b".repeat(4_093)}`;
  assertEquals(text(await signer({ hasTrailer: true }).push(bytes(trailer))), `0;chunk-signature=${NEW}\r\n`);
  const field = `a:${"b".repeat(4_096 - 94)}\r\n`; // with the signature's line 4,096 bytes
  const line = `x-amz-trailer-signature:${OLD}\r\n`;
  assertEquals(field.length + line.length, 4_096);
  const whole = `0${HEAD}${field}${line}\r\n`;
  assertEquals(text(await signer({ hasTrailer: true }).push(bytes(whole))), whole.replaceAll(OLD, NEW));
  const more = whole.replace("a:", "a:b");
  await assertRejects(() => signer({ hasTrailer: true }).push(bytes(more)), ProxyError, "line is too long");
});

Deno.test("ChunkSigner signs each chunk over the one before, and a trailer over its fields as AWS writes them", async () => {
  const signed: string[] = [];
  const signText = (text: string) => {
    signed.push(text);
    return Promise.resolve(String(signed.length).repeat(64));
  };
  const one = signer({ hasTrailer: true, signText });
  const body = `2000${HEAD}${
    "a".repeat(8_192)
  }\r\n0${HEAD}B-Name:  v w \r\na:x\r\nX-Amz-Trailer-Signature: ${OLD}\r\n\r\n`;
  let out = "";
  for (const at of [0, 100, 8_000, 8_500]) {
    out += text(
      await one.push(
        bytes(body.slice(at, at === 0 ? 100 : at === 100 ? 8_000 : at === 8_000 ? 8_500 : undefined)),
      ),
    );
  }
  const places = [...out.matchAll(/([123])\1{63}/g)].map(([all]) => all.charAt(0));
  assertEquals([places, out.length, out.includes(OLD)], [["1", "2", "3"], body.length, false]);
  const sha = async (content: string) =>
    [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes(content)))].map((byte) =>
      byte.toString(16).padStart(2, "0")
    ).join("");
  const place = ["20260102T000000Z", "20260102/eu-west-1/s3/aws4_request"];
  const empty = await sha("");
  assertEquals(signed.map((each) => each.split("\n")), [
    ["AWS4-HMAC-SHA256-PAYLOAD", ...place, OLD, empty, await sha("a".repeat(8_192))],
    ["AWS4-HMAC-SHA256-PAYLOAD", ...place, "1".repeat(64), empty, empty],
    ["AWS4-HMAC-SHA256-TRAILER", ...place, "2".repeat(64), await sha("b-name:v w\na:x\n")],
  ]);
});

Deno.test("ChunkSigner refuses even one byte behind the last chunk, in a piece of its own", async () => {
  const one = signer();
  assertEquals(text(await one.push(bytes(LAST))), LAST.replaceAll(OLD, NEW));
  await assertRejects(() => one.push(bytes("x")), ProxyError, "follows its last chunk");
});

Deno.test("ChunkSigner.end() wants the last chunk", async () => {
  const one = signer();
  await one.push(bytes(chunk(8_192)));
  assertThrows(() => one.end(), ProxyError, "last chunk is missing");
});

Deno.test("ChunkSigner holds no more than there is room for, and a body that is given up holds nothing", async () => {
  const room = new TestRoom(10);
  const full = await assertRejects(() => signer({ room }).push(new Uint8Array(11)), ProxyError);
  assertEquals([full.code, full.reason, room.held], ["limit.reached", "quota", 0]);
  const one = signer({ room });
  assertEquals((await one.push(bytes("2000;chunk"))).length, 0);
  assertEquals(room.held, 10);
  one.drop();
  one.drop();
  assertEquals(room.held, 0);
  assertEquals((await assertRejects(() => one.push(bytes("x")), ProxyError)).code, "client.closed");
  assertEquals(room.held, 0);
});

Deno.test("ChunkSigner: a body that is given up while a chunk is signed gives nothing on", async () => {
  const room = new TestRoom();
  const { promise, resolve } = Promise.withResolvers<string>();
  const one = signer({ room, signText: () => promise });
  const pushed = one.push(bytes(LAST));
  one.drop();
  resolve(NEW);
  assertEquals((await assertRejects(() => pushed, ProxyError)).code, "client.closed");
  assertEquals(room.held, 0);
});
