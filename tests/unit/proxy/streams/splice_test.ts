import { assertEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { Deadlines } from "../../../../core/deadlines.ts";
import { closeQuietly } from "../../../../proxy/streams/byte_reader.ts";
import { SocketStream } from "../../../../proxy/streams/socket_stream.ts";
import { splice, type SpliceOptions } from "../../../../proxy/streams/splice.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { RawPeer } from "../../../support/raw_peer.ts";
import { soon, tcpPair } from "../../../support/sockets.ts";
import { makePipe, settle } from "../../../wire/pipe.ts";

const PATIENT = { afterATimeoutMs: 60_000, afterBTimeoutMs: 60_000 };

/** `a` and `b` are the outer ends: what is written to one arrives at the other. */
async function startSplice(options: Partial<SpliceOptions> = {}) {
  const [left, right] = [await tcpPair(), await tcpPair()];
  const [a, b] = [new SocketStream(left.far), new SocketStream(right.far)];
  const joined = splice(a, b, { deadlines: new Deadlines(), ...PATIENT, ...options });
  return {
    joined,
    a: new RawPeer(left.near),
    b: new RawPeer(right.near),
    [Symbol.asyncDispose]: async () => {
      joined.abort();
      await joined.done;
      left[Symbol.dispose]();
      right[Symbol.dispose]();
    },
  };
}

Deno.test("splice() passes bytes both ways, what was read before first, and counts them", async () => {
  const first = (text: string) => new TextEncoder().encode(text);
  await using joint = await startSplice({ firstToB: first("early-a "), firstToA: first("early-b ") });
  const { a, b, joined } = joint;
  await a.send("to b");
  await b.send("to a!");
  assertEquals(await b.readBytes(12), "early-a to b");
  assertEquals(await a.readBytes(13), "early-b to a!");
  await a.conn.closeWrite();
  await b.conn.closeWrite();
  await soon("both ended", joined.done);
  assertEquals([joined.bytesToB, joined.bytesToA, joined.timedOut], [12, 13, false]);
});

for (const [name, from, to] of [["a", "a", "b"], ["b", "b", "a"]] as const) {
  for (const endByClosing of [false, true]) {
    Deno.test(`splice() keeps the other direction open after the end of ${name}, closing ${endByClosing}`, async () => {
      await using joint = await startSplice({ endByClosing });
      const body = "x".repeat(300_000);
      await joint[from].send("request");
      await joint[from].conn.closeWrite();
      assertEquals(await joint[to].readAll(), "request");
      const reading = joint[from].readAll();
      await joint[to].send(body);
      await joint[to].conn.closeWrite();
      assertEquals((await soon("the reply", reading)).length, body.length);
      await soon("both ended", joint.joined.done);
    });
  }
}

Deno.test("splice() half-closes both, or only the first to be told where the other is told by closing", async () => {
  const rows = [[{}, 2], [{ endByClosing: false }, 2], [{ endByClosing: true }, 1]] as const;
  for (const [options, halfCloses] of rows) {
    const events: string[] = [];
    const stream = {
      read: () => Promise.resolve(null),
      write: (bytes: Uint8Array) => Promise.resolve(bytes.length),
      closeWrite: () => Promise.resolve(void events.push("half")),
      close: () => void events.push("close"),
    };
    await splice(stream, stream, { deadlines: new Deadlines(), ...PATIENT, ...options }).done;
    assertEquals(events, [...Array(halfCloses).fill("half"), "close", "close"]);
  }
});

Deno.test("splice() ends only by the time-out that is due", async (t) => {
  const rows: readonly (readonly [string, Partial<SpliceOptions>, "a" | "b" | undefined])[] = [
    ["without a byte for idleTimeoutMs", { idleTimeoutMs: 150 }, undefined],
    ["after the end of a", { idleTimeoutMs: 60_000, afterATimeoutMs: 150 }, "a"],
    ["after the end of b", { idleTimeoutMs: 60_000, afterBTimeoutMs: 150 }, "b"],
    ["after the end of a, without an idle time-out", { afterATimeoutMs: 150 }, "a"],
  ];
  for (const [name, options, ending] of rows) {
    await t.step(name, async () => {
      await using joint = await startSplice(options);
      const { joined } = joint;
      if (ending) await joint[ending].conn.closeWrite();
      await soon("the time-out", joined.done);
      assertEquals(joined.timedOut, true);
      assertEquals(await joint.a.isClosed(), true);
      assertEquals(await joint.b.isClosed(), true);
    });
  }
});

Deno.test("splice() does not time out while bytes flow", async () => {
  await using joint = await startSplice({ idleTimeoutMs: 2_000 });
  for (const until = performance.now() + 3_000; performance.now() < until;) {
    await joint.a.send("x");
    assertEquals(await joint.b.readBytes(1), "x");
    await new Promise((resolve) => setTimeout(resolve, 120));
  }
  assertEquals(joint.joined.timedOut, false);
});

Deno.test("splice() expectEnd() bounds a peer that neither reads nor closes, and does nothing at the end", async () => {
  await using joint = await startSplice();
  const { a, b, joined } = joint;
  const stuck = b.send("x".repeat(50_000_000)).catch(() => {}); // a never reads
  joined.expectEnd(150);
  await soon("cut", joined.done);
  assertEquals(joined.timedOut, true);
  await stuck;
  joined.expectEnd(10); // would leave a timer behind, which the sanitizer sees
  closeQuietly(a.conn);
});

Deno.test("splice() ends both sides when one is reset or aborted", async () => {
  await using joint = await startSplice();
  joint.joined.abort();
  await soon("both ended", joint.joined.done);
  assertEquals(await joint.a.isClosed(), true);
  assertEquals(await joint.b.isClosed(), true);
});

Deno.test("splice() reads small pieces into one buffer", async () => {
  const buffers = new Set<ArrayBufferLike>();
  let left = 10;
  const silent = Promise.withResolvers<null>();
  const stream = (read: (into: Uint8Array) => Promise<number | null>) => ({
    read,
    write: (bytes: Uint8Array) => Promise.resolve(bytes.length),
    closeWrite: () => Promise.resolve(),
    close: () => silent.resolve(null),
  });
  const a = stream((into) => {
    buffers.add(into.buffer);
    return Promise.resolve(left-- > 0 ? 100 : null);
  });
  const joined = splice(a, stream(() => silent.promise), { deadlines: new Deadlines(), ...PATIENT });
  silent.resolve(null);
  await soon("both ended", joined.done);
  assertEquals([joined.bytesToB, buffers.size], [1_000, 1]);
});

Deno.test("splice() gives others a turn, though neither side ever has it wait", async () => {
  const MOST = 2_000;
  let pieces = 0;
  const stream = (read: (into: Uint8Array) => Promise<number | null>) => ({
    read,
    write: (bytes: Uint8Array) => Promise.resolve(bytes.length),
    closeWrite: () => Promise.resolve(),
    close: () => {},
  });
  const ready = stream((into) => Promise.resolve(++pieces > MOST ? null : into.length));
  const joined = splice(ready, stream(() => Promise.resolve(null)), {
    deadlines: new Deadlines(),
    ...PATIENT,
  });
  const seen: number[] = [];
  while (pieces < MOST) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    seen.push(pieces);
  }
  await soon("both ended", joined.done);
  const longest = Math.max(...seen.map((each, i) => each - (seen[i - 1] ?? 0)));
  assertEquals(longest <= 10, true, `${longest} pieces in a turn, of 256 KiB most of them`);
});

/** A splice of two pipes: `a` and `b` are the outer ends, and deadlines pass when a test says so. */
function startPiped(options: Partial<SpliceOptions> = {}) {
  const [[a, nearA], [b, nearB]] = [makePipe(), makePipe()];
  const deadlines = new FakeDeadlines();
  const joined = splice(nearA, nearB, {
    deadlines,
    afterATimeoutMs: 1_000,
    afterBTimeoutMs: 2_000,
    ...options,
  });
  return { joined, a, b, nearA, nearB, deadlines };
}

Deno.test("splice() moves its deadline with each piece of either side, and has none where none is wanted", async () => {
  const { joined, a, b, deadlines, nearA, nearB } = startPiped({ idleTimeoutMs: 500 });
  assertEquals(deadlines.left, [500]);
  for (const [from, to] of [[a, b], [b, a]] as const) {
    deadlines.advance(499);
    await from.write(new Uint8Array(3));
    await settle();
    assertEquals([deadlines.left, to.unread, joined.timedOut], [[500], 0, false]);
  }
  deadlines.advance(500);
  await joined.done;
  assertEquals([joined.timedOut, nearA.ended, nearB.ended, deadlines.left], [true, "closed", "closed", []]);
  assertEquals([joined.bytesToA, joined.bytesToB], [3, 3]);
  const patient = startPiped();
  assertEquals(patient.deadlines.left, []);
  await patient.a.write(new Uint8Array(1));
  await settle();
  assertEquals(patient.deadlines.left, []);
  patient.joined.abort();
  await patient.joined.done;
});

Deno.test("splice() is less patient once a side has ended, never more", async (t) => {
  const rows: readonly (readonly [string, Partial<SpliceOptions>, "a" | "b", number])[] = [
    ["a has ended", {}, "a", 1_000],
    ["b has ended", {}, "b", 2_000],
    ["a has ended, and less was there", { idleTimeoutMs: 500 }, "a", 500],
    ["b has ended, and more was there", { idleTimeoutMs: 9_000 }, "b", 2_000],
  ];
  for (const [name, options, side, left] of rows) {
    await t.step(name, async () => {
      const made = startPiped(options);
      const [ending, other] = side === "a" ? [made.a, made.b] : [made.b, made.a];
      await ending.closeWrite();
      await settle();
      assertEquals(made.deadlines.left, [left]);
      await other.write(new Uint8Array(1));
      await settle();
      made.deadlines.advance(left - 1);
      assertEquals(made.joined.timedOut, false);
      made.deadlines.advance(1);
      await made.joined.done;
      assertEquals([made.joined.timedOut, made.deadlines.left], [true, []]);
    });
  }
});

Deno.test("splice() that expects its end has a deadline from then on, and none when it is over", async () => {
  const { joined, a, b, deadlines } = startPiped();
  joined.expectEnd(700);
  assertEquals(deadlines.left, [700]);
  joined.expectEnd(900);
  assertEquals(deadlines.left, [700]);
  await a.closeWrite();
  await b.closeWrite();
  await joined.done;
  assertEquals([joined.timedOut, deadlines.left], [false, []]);
  joined.expectEnd(1);
  assertEquals(deadlines.left, []);
});

Deno.test("splice() reads with a buffer that grows while a side fills it, to 256 KiB, and shrinks behind", async () => {
  const sizes: number[] = [];
  const counts = ["full", "full", "full", "full", "full", 100_000, 32_768, 32_767, 1, 1, 1, 1, 1, 1] as const;
  let at = 0;
  const stream = (read: (into: Uint8Array) => Promise<number | null>) => ({
    read,
    write: (bytes: Uint8Array) => Promise.resolve(bytes.length),
    closeWrite: () => Promise.resolve(),
    close: () => {},
  });
  const source = stream((into) => {
    const count = counts[at++];
    sizes.push(into.length);
    return Promise.resolve(
      count === undefined ? null : count === "full" ? into.length : Math.min(count, into.length),
    );
  });
  await splice(source, stream(() => Promise.resolve(null)), { deadlines: new FakeDeadlines(), ...PATIENT })
    .done;
  const KIB = 1_024;
  assertEquals(sizes, [
    ...[2, 8, 32, 128, 256, 256, 256, 256].map((kib) => kib * KIB), // an eighth is enough to keep it
    ...[64, 16, 4, 2, 2, 2, 2].map((kib) => kib * KIB),
  ]);
});

Deno.test("splice() writes all of a piece, however little the other side takes at a time", async () => {
  let got = "";
  const taking = {
    read: () => Promise.resolve(null),
    write: (bytes: Uint8Array) => {
      const part = bytes.subarray(0, 3);
      got += new TextDecoder().decode(part);
      return Promise.resolve(part.length);
    },
    closeWrite: () => Promise.resolve(),
    close: () => {},
  };
  const pieces = ["hello ", "world"];
  const giving = {
    ...taking,
    read: (into: Uint8Array) => {
      const piece = pieces.shift();
      if (piece === undefined) return Promise.resolve(null);
      into.set(new TextEncoder().encode(piece));
      return Promise.resolve(piece.length);
    },
  };
  const first = new TextEncoder().encode("first ");
  const joined = splice(giving, taking, { deadlines: new FakeDeadlines(), ...PATIENT, firstToB: first });
  await joined.done;
  assertEquals([got, joined.bytesToB, joined.bytesToA], ["first hello world", 17, 0]);
});
