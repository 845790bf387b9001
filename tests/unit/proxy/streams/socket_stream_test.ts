import { assertEquals, assertThrows } from "@std/assert";
import { hasNativeCalls } from "../../../../core/native.ts";
import { SocketStream } from "../../../../proxy/streams/socket_stream.ts";
import { openSockets, settledSockets, soon, tcpPair, waitUntil } from "../../../support/sockets.ts";

const ignore = !hasNativeCalls();

Deno.test({
  ignore,
  name: "close() ends a blocked write and frees the descriptor, though the peer reads nothing",
}, async () => {
  const before = await settledSockets();
  using pair = await tcpPair();
  const stream = new SocketStream(pair.near);
  let written = 0;
  const writing = (async () => {
    for (;;) written += await stream.write(new Uint8Array(1_048_576));
  })().catch(() => "ended");
  for (let last = -1; last !== written;) { // until the peer's buffers are full
    last = written;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  stream.close();
  assertEquals(await soon("the write", writing), "ended");
  await waitUntil("it is freed", () => openSockets() === before + 1);
});

Deno.test("close() without a write under way closes the connection, once", async () => {
  using pair = await tcpPair();
  const stream = new SocketStream(pair.near);
  const reading = stream.read(new Uint8Array(1)).then(() => "read", () => "ended");
  await stream.write(new Uint8Array([1, 2]));
  stream.close();
  assertEquals(await soon("the read", reading), "ended");
  assertThrows(() => stream.close(), Deno.errors.BadResource);
  assertEquals(await pair.far.read(new Uint8Array(10)), 2);
});

Deno.test("closeWrite() lets the other direction go on", async () => {
  using pair = await tcpPair();
  const stream = new SocketStream(pair.near);
  await stream.closeWrite();
  assertEquals(await pair.far.read(new Uint8Array(1)), null);
  await pair.far.write(new Uint8Array([7]));
  assertEquals(await stream.read(new Uint8Array(1)), 1);
});

Deno.test("close() looks for the descriptor only while something is written, however that ended", async (t) => {
  const address = { transport: "tcp", hostname: "192.0.2.1", port: 1 } as const; // no connection's of ours
  const makeStream = () => {
    let searches = 0;
    const gate = Promise.withResolvers<number>();
    const conn = {
      get localAddr() {
        searches++;
        return address;
      },
      remoteAddr: address,
      write: () => gate.promise,
      closeWrite: () => gate.promise,
      close: () => {},
    };
    const stream = new SocketStream(conn as unknown as Deno.TcpConn);
    const searched = () => {
      searches = 0;
      stream.close();
      return searches;
    };
    return { stream, gate, searched };
  };
  await t.step("nothing was written", () => assertEquals(makeStream().searched(), 0));
  for (const isFailing of [false, true]) {
    for (const call of ["write", "closeWrite"] as const) {
      await t.step(`${call} that ${isFailing ? "fails" : "ends"}`, async () => {
        const { stream, gate, searched } = makeStream();
        const writing = stream[call](new Uint8Array(1)).then(() => "ended", () => "failed");
        assertEquals(searched(), 1);
        if (isFailing) gate.reject(new Deno.errors.BrokenPipe());
        else gate.resolve(1);
        assertEquals([await writing, searched()], [isFailing ? "failed" : "ended", 0]);
      });
    }
  }
});
