import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  ByteReader,
  type ByteStream,
  closeQuietly,
  closeWriteQuietly,
  writeAll,
} from "../../../../proxy/streams/byte_reader.ts";
import { makePipe } from "../../../wire/pipe.ts";

const text = new TextEncoder();

/** A stream that gives these pieces, then ends. */
function streamOf(...pieces: (string | Error)[]): Pick<ByteStream, "read"> {
  return {
    read: (into) => {
      const piece = pieces.shift();
      if (piece instanceof Error) return Promise.reject(piece);
      if (piece === undefined) return Promise.resolve(null);
      const bytes = text.encode(piece);
      into.set(bytes.subarray(0, into.length));
      if (bytes.length > into.length) pieces.unshift(piece.slice(into.length));
      return Promise.resolve(Math.min(bytes.length, into.length));
    },
  };
}

function textOf(reader: ByteReader): string {
  return new TextDecoder().decode(reader.available);
}

Deno.test("fill() adds what one read brings, and says when the stream has ended", async () => {
  const reader = new ByteReader(streamOf("ab", "c"), text.encode("x"));
  assertEquals(textOf(reader), "x");
  assertEquals([await reader.fill(), textOf(reader)], [true, "xab"]);
  reader.consume(2);
  assertEquals([await reader.fill(), textOf(reader), reader.size], [true, "bc", 2]);
  assertEquals([await reader.fill(), reader.ended, textOf(reader)], [false, true, "bc"]);
  assertEquals(await reader.fill(), false);
});

Deno.test("fill() is one read for all who ask at the same time", async () => {
  const [peer, stream] = makePipe();
  const reader = new ByteReader(stream);
  const first = reader.fill();
  assertEquals(reader.reading, true);
  assert(first === reader.fill());
  await peer.write(text.encode("a"));
  assertEquals([await first, textOf(reader), reader.reading], [true, "a", false]);
});

Deno.test("fill() rejects as the stream does, and can be called again", async () => {
  const reader = new ByteReader(streamOf("a", new Deno.errors.ConnectionReset("reset"), "b"));
  await reader.fill();
  await assertRejects(() => reader.fill(), Deno.errors.ConnectionReset);
  assertEquals([textOf(reader), reader.reading], ["a", false]);
  assertEquals([await reader.fill(), textOf(reader)], [true, "ab"]);
});

Deno.test("readAhead() tells the last who asked, once, what came of the read", async () => {
  const told: string[] = [];
  const tell = (name: string) => (hasMore: boolean) => told.push(`${name} ${hasMore}`);
  const [peer, stream] = makePipe();
  const reader = new ByteReader(stream);
  reader.readAhead(tell("a"));
  const filled = reader.fill();
  reader.readAhead(tell("b"));
  await peer.write(text.encode("x"));
  assertEquals([await filled, told], [true, ["b true"]]);
  reader.readAhead(tell("c"));
  await peer.closeWrite();
  assertEquals([await reader.fill(), reader.ended, told], [false, true, ["b true", "c false"]]);
  reader.readAhead(tell("d"));
  assertEquals(told.length, 2); // not before it returns
  await Promise.resolve();
  assertEquals(told, ["b true", "c false", "d false"]);
});

Deno.test("readAhead() says that the read has failed, and rejects nothing that nobody waits for", async () => {
  const told: boolean[] = [];
  const reset = new Deno.errors.ConnectionReset("reset");
  const reader = new ByteReader(streamOf(reset, reset, "b"));
  await new Promise<void>((resolve) =>
    reader.readAhead((hasMore) => {
      told.push(hasMore);
      resolve();
    })
  );
  assertEquals([told, reader.ended, reader.reading], [[false], false, false]);
  reader.readAhead((hasMore) => told.push(hasMore));
  await assertRejects(() => reader.fill(), Deno.errors.ConnectionReset); // who waits is told as ever
  assertEquals([told, await reader.fill(), textOf(reader)], [[false, false], true, "b"]);
});

Deno.test("fill() keeps every byte, whatever is consumed between and however large the pieces", async () => {
  const pieces = [1, 4_095, 4_096, 4_097, 70_000, 3, 300_000, 1].map((size, i) =>
    String.fromCharCode(97 + i).repeat(size)
  );
  for (const step of [1_000, 65_536, Infinity]) {
    const reader = new ByteReader(streamOf(...pieces));
    let got = "";
    while (await reader.fill()) {
      const count = Math.min(step, reader.size);
      got += textOf(reader).slice(0, count);
      reader.consume(count);
    }
    assert(got + textOf(reader) === pieces.join(""), `step ${step}`);
  }
});

Deno.test("takeAll() gives a copy that later reads leave alone", async () => {
  const reader = new ByteReader(streamOf("abc", "def"));
  await reader.fill();
  const taken = reader.takeAll();
  assertEquals(reader.size, 0);
  await reader.fill();
  assertEquals(new TextDecoder().decode(taken), "abc");
  assertEquals(textOf(reader), "def");
});

Deno.test("takeAll() gives the buffer away, or a copy while a read is under way", async () => {
  const buffers: ArrayBufferLike[] = [];
  const [peer, stream] = makePipe(1_000);
  const reader = new ByteReader({
    read: (into) => {
      buffers.push(into.buffer);
      return stream.read(into);
    },
  });
  await peer.write(new TextEncoder().encode("abc"));
  await reader.fill();
  assertEquals(reader.takeAll().buffer, buffers[0]); // who waits in an open tunnel holds none
  await peer.write(new TextEncoder().encode("def"));
  await reader.fill();
  const pending = reader.fill();
  const taken = reader.takeAll();
  await peer.write(new TextEncoder().encode("ghi"));
  await pending;
  assertEquals(new TextDecoder().decode(taken), "def");
  assertEquals(textOf(reader), "ghi");
});

Deno.test("rest() gives a large buffer back, and never bytes that are here", async () => {
  const sizes: number[] = [];
  const [peer, stream] = makePipe(1_000_000);
  const reader = new ByteReader({
    read: (into) => {
      sizes.push(into.length);
      return stream.read(into);
    },
  });
  await peer.write(new Uint8Array(900_000));
  for (let left = 900_000; left > 0; left -= reader.size) {
    reader.consume(reader.size);
    await reader.fill();
  }
  reader.consume(reader.size);
  assertEquals(Math.max(...sizes), 262_144);
  reader.rest();
  await peer.write(text.encode("abc"));
  await reader.fill();
  assertEquals(sizes.at(-1), 4_096);
  reader.rest();
  assertEquals(textOf(reader), "abc");
});

Deno.test("rest() keeps a single byte in a large buffer", async () => {
  const reader = new ByteReader(streamOf("x".repeat(10_000), "y".repeat(16_384)), new Uint8Array(8_192));
  while (await reader.fill());
  reader.consume(reader.size - 1);
  reader.rest();
  assertEquals(textOf(reader), "y");
});

Deno.test("writeAll() writes everything to a stream that takes a little at a time", async () => {
  let written = "";
  const bytes = text.encode("hello world");
  await writeAll({
    write: (piece) => {
      written += new TextDecoder().decode(piece.subarray(0, 3));
      return Promise.resolve(Math.min(3, piece.length));
    },
  }, bytes);
  assertEquals(written, "hello world");
});

Deno.test("closeQuietly() and closeWriteQuietly() say nothing of what is closed already", async () => {
  closeQuietly(undefined);
  closeQuietly({
    close: () => {
      throw new Deno.errors.BadResource("closed");
    },
  });
  await closeWriteQuietly({ closeWrite: () => Promise.reject(new Deno.errors.NotConnected("gone")) });
});

Deno.test("at() and text() look at what is here and not behind it, wherever the buffer has moved", async () => {
  const reader = new ByteReader(streamOf("cd\xe9", "f"), text.encode("ab"));
  assertEquals([reader.at(0), reader.at(1), reader.at(2)], [97, 98, undefined]);
  assertEquals([reader.text(0, 2), reader.text(1, 2), reader.text(1, 1)], ["ab", "b", ""]);
  await reader.fill();
  assertEquals(reader.text(1, 6), "bcd\xc3\xa9"); // one character a byte
  reader.consume(3);
  assertEquals([reader.at(0), reader.text(0, 1), reader.at(3)], [100, "d", undefined]);
  reader.consume(3);
  assertEquals([reader.at(0), reader.size], [undefined, 0]);
  await reader.fill();
  assertEquals([reader.text(0, 1), reader.at(0)], ["f", 102]);
});

Deno.test("a reader's buffer grows fourfold while reads fill it, and shrinks behind a body", async () => {
  const sizes: number[] = [];
  const counts = ["full", "full", "full", "full", "full", 32_768, 32_767, 1, 1, 1] as const;
  let at = 0;
  const reader = new ByteReader({
    read: (into) => {
      const count = counts[at++];
      sizes.push(into.length);
      return Promise.resolve(count === undefined ? null : count === "full" ? into.length : count);
    },
  });
  while (await reader.fill()) reader.consume(reader.size);
  assertEquals(sizes.map((size) => size / 1_024), [4, 16, 64, 256, 256, 256, 256, 64, 16, 4, 4]);
});

Deno.test("a reader makes room when less than 1 KiB is left, and keeps what is here", async () => {
  const rooms: number[] = [];
  const reader = new ByteReader({
    read: (into) => {
      rooms.push(into.length);
      into.fill(120, 0, 3_072);
      return Promise.resolve(rooms.length > 3 ? null : Math.min(3_072, into.length));
    },
  });
  while (await reader.fill());
  // 4,096 less 3,072 is just enough; then a buffer twice what is here.
  assertEquals(rooms.slice(0, 3), [4_096, 1_024, 16_384 - 4_096]);
  assertEquals(textOf(reader), "x".repeat(reader.size));
});

Deno.test("writeAll() says once that nobody looks at the bytes any more, and never when writing fails", async () => {
  const said: string[] = [];
  const say = (name: string) => () => void said.push(name);
  await writeAll({ write: (bytes) => Promise.resolve(bytes.length) }, new Uint8Array(3), say("at once"));
  await writeAll({ write: () => Promise.resolve(1) }, new Uint8Array(3), say("in pieces"));
  await assertRejects(() =>
    writeAll({ write: () => Promise.reject(new Error("x")) }, new Uint8Array(3), say("never"))
  );
  assertEquals(said, ["at once", "in pieces"]);
});

Deno.test("fill() reads no stream again that has ended", async () => {
  let reads = 0;
  const reader = new ByteReader({ read: () => (reads++, Promise.resolve(null)) });
  assertEquals([await reader.fill(), await reader.fill(), reader.ended, reads], [false, false, true, 1]);
});
