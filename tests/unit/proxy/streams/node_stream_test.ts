import { assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { NodeStream } from "../../../../proxy/streams/node_stream.ts";
import { WrappedStream } from "../../../../proxy/streams/wrapped_stream.ts";
import { settle } from "../../../wire/pipe.ts";

/** A socket whose writes are over when a test says so, and what was written to it. */
function setUp({ isSlow = false } = {}) {
  const written: Buffer[] = [];
  const pending: ((error?: Error) => void)[] = [];
  const events: string[] = [];
  const socket = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => {
      written.push(chunk);
      if (isSlow) pending.push(done);
      else done();
    },
    final: (done) => {
      events.push("half-closed");
      done();
    },
    destroy: (error, done) => {
      events.push("destroyed");
      done(error);
    },
  });
  return { socket, stream: new NodeStream(socket as Socket), written, pending, events };
}

async function read(stream: NodeStream, size = 100): Promise<string | null> {
  const into = new Uint8Array(size);
  const count = await stream.read(into);
  return count === null ? null : Buffer.from(into.subarray(0, count)).toString();
}

Deno.test("NodeStream gives what is here in order, as much as there is room for, and waits for more", async () => {
  const { socket, stream } = setUp();
  socket.push("abcde");
  assertEquals([await read(stream, 2), await read(stream, 2), await read(stream, 2)], ["ab", "cd", "e"]);
  socket.push("abc");
  assertEquals(await read(stream, 2), "ab");
  socket.push("de"); // comes while some is left of what came before
  assertEquals([await read(stream, 9), await read(stream, 9)], ["c", "de"]);
  const later = read(stream);
  let isOver = false;
  later.then(() => isOver = true);
  await settle();
  assertEquals(isOver, false);
  socket.push("fg");
  assertEquals(await later, "fg");
  socket.destroy();
});

Deno.test("NodeStream gives all that came before the end, and then the end", async () => {
  const { socket, stream } = setUp();
  socket.push("ab");
  socket.push(null);
  assertEquals([await read(stream), await read(stream), await read(stream)], ["ab", null, null]);
  const waiting = setUp();
  const last = read(waiting.stream);
  await settle();
  waiting.socket.push(null);
  assertEquals(await last, null);
  for (const each of [socket, waiting.socket]) each.destroy();
});

Deno.test("NodeStream raises the first error of its socket, wherever somebody waits, and from then on", async () => {
  const { socket, stream } = setUp();
  const waiting = read(stream);
  await settle();
  socket.destroy(new Error("reset by peer"));
  await assertRejects(() => waiting, Error, "reset by peer");
  socket.emit("error", new Error("another"));
  await assertRejects(() => read(stream), Error, "reset by peer");
  await assertRejects(() => stream.write(new Uint8Array(1)), Error, "reset by peer");
});

Deno.test("NodeStream raises an error at once, before its socket is closed", async () => {
  const { socket, stream } = setUp();
  const waiting = read(stream);
  await settle();
  socket.emit("error", new Error("reset by peer"));
  await assertRejects(() => waiting, Error, "reset by peer");
  socket.destroy();
});

Deno.test("NodeStream tells a connection that was closed from one that has ended", async () => {
  const { stream } = setUp();
  const waiting = read(stream);
  await settle();
  stream.close();
  await assertRejects(() => waiting, Deno.errors.UnexpectedEof, "the connection was closed");
  const ended = setUp();
  ended.socket.push(null);
  assertEquals(await read(ended.stream), null);
  ended.stream.close();
  await settle();
  assertEquals(await read(ended.stream), null);
});

Deno.test("NodeStream.write() is over when the socket has taken it, from a copy", async () => {
  const { socket, stream, written, pending } = setUp({ isSlow: true });
  const bytes = new Uint8Array([1, 2, 3]);
  let count = 0;
  const write = stream.write(bytes).then((taken) => count = taken);
  bytes.fill(9);
  await settle();
  assertEquals([count, written.map((chunk) => [...chunk]), socket.listenerCount("close")], [
    0,
    [[1, 2, 3]],
    2,
  ]);
  pending.shift()?.();
  await write;
  assertEquals([count, socket.listenerCount("close")], [3, 1]); // a connection may have very many writes
  socket.destroy();
});

Deno.test("NodeStream.write() ends with an error of its own, or when the connection is closed under it", async () => {
  const failing = setUp({ isSlow: true });
  const write = failing.stream.write(new Uint8Array(1));
  await settle();
  failing.pending.shift()?.(new Error("no room"));
  await assertRejects(() => write, Error, "no room");
  const closing = setUp({ isSlow: true });
  const stuck = closing.stream.write(new Uint8Array(1));
  await settle();
  closing.stream.close();
  const error = await stuck.catch((error) => error);
  assertEquals([error instanceof Error, closing.events], [true, ["destroyed"]]);
});

Deno.test("NodeStream.closeWrite() ends what is sent and nothing else, close() all of it", async () => {
  const { stream, socket, events } = setUp();
  await stream.closeWrite();
  await settle();
  assertEquals(events, ["half-closed"]);
  socket.push("ab");
  assertEquals(await read(stream), "ab");
  stream.close();
  await settle();
  assertEquals([events, socket.destroyed], [["half-closed", "destroyed"], true]);
});

Deno.test("WrappedStream does as the stream inside does", async () => {
  const calls: string[] = [];
  const wrapped = new WrappedStream({
    read: (into) => (calls.push(`read ${into.length}`), Promise.resolve(1)),
    write: (bytes) => (calls.push(`write ${bytes.length}`), Promise.resolve(2)),
    closeWrite: () => (calls.push("closeWrite"), Promise.resolve()),
    close: () => void calls.push("close"),
  });
  assertEquals([await wrapped.read(new Uint8Array(3)), await wrapped.write(new Uint8Array(4))], [1, 2]);
  await wrapped.closeWrite();
  wrapped.close();
  assertEquals(calls, ["read 3", "write 4", "closeWrite", "close"]);
});
