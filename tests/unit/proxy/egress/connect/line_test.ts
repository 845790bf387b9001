import { assertEquals, assertRejects } from "@std/assert";
import { Deadlines } from "../../../../../core/deadlines.ts";
import { ProxyError } from "../../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../../core/limits.ts";
import { hasNativeCalls } from "../../../../../core/native.ts";
import { asTcp, LoopbackDoor } from "../../../../../proxy/egress/connect/line.ts";
import { watchNoDelay } from "../../../../support/no_delay.ts";
import { closeQuietly, writeAll } from "../../../../../proxy/streams/byte_reader.ts";
import { SocketStream } from "../../../../../proxy/streams/socket_stream.ts";
import { settledSockets, soon, tcpPair, waitUntil } from "../../../../support/sockets.ts";

hasNativeCalls(); // opens the C library here, not within a test

const OPTIONS = { deadlines: new Deadlines(), limits: { ...DEFAULT_LIMITS, lingerTimeoutMs: 50 } };
const NEVER = new AbortController().signal;

Deno.test("asTcp() gives a connection whose bytes are the line's, and ends both", async () => {
  const before = await settledSockets();
  using pair = await tcpPair();
  const { tcp, end } = await asTcp({ stream: new SocketStream(pair.near) }, OPTIONS, NEVER);
  await writeAll(tcp, new TextEncoder().encode("there"));
  const buffer = new Uint8Array(16);
  assertEquals(await pair.far.read(buffer), 5);
  await writeAll(pair.far, new TextEncoder().encode("back"));
  assertEquals(await tcp.read(buffer), 4);
  closeQuietly(tcp);
  end();
  closeQuietly(pair.far);
  await waitUntil("nothing is left", async () => await settledSockets() <= before);
});

Deno.test("LoopbackDoor lets in the one connection that is ours, and strangers are closed", async () => {
  using pair = await tcpPair();
  const door = new LoopbackDoor();
  const place = { hostname: "127.0.0.1", port: door.port };
  const strangers = await Promise.all(Array.from({ length: 5 }, () => Deno.connect(place)));
  const ours = await Deno.connect(place);
  const end = await soon(
    "the door",
    door.join(new SocketStream(pair.near), ours.localAddr as Deno.NetAddr, OPTIONS),
  );
  for (const stranger of strangers) {
    assertEquals(await soon("its end", stranger.read(new Uint8Array(1))), null);
    stranger.close();
  }
  await writeAll(ours, new Uint8Array([7]));
  const buffer = new Uint8Array(1);
  assertEquals([await pair.far.read(buffer), buffer[0]], [1, 7]);
  await assertRejects(() => Deno.connect(place), Deno.errors.ConnectionRefused);
  closeQuietly(ours);
  end();
  assertEquals(await soon("the line's end", pair.far.read(buffer)), null);
});

Deno.test("LoopbackDoor gives up when strangers are all that comes", async () => {
  using pair = await tcpPair();
  const door = new LoopbackDoor();
  const place = { hostname: "127.0.0.1", port: door.port };
  const strangers = await Promise.all(Array.from({ length: 64 }, () => Deno.connect(place)));
  const joining = door.join(new SocketStream(pair.near), { hostname: "127.0.0.1", port: 1 }, OPTIONS);
  const error = await assertRejects(() => soon("the door", joining), ProxyError);
  assertEquals(error.code, "limit.reached");
  for (const stranger of strangers) stranger.close();
});

Deno.test("asTcp() sends small pieces at once, both ways", async () => {
  using pair = await tcpPair();
  using watch = await watchNoDelay();
  const { tcp, end } = await asTcp({ stream: new SocketStream(pair.near) }, OPTIONS, NEVER);
  const ports = [tcp.localAddr, tcp.remoteAddr].map((address) => (address as Deno.NetAddr).port);
  assertEquals(watch.ports.toSorted(), ports.toSorted());
  closeQuietly(tcp);
  end();
  assertEquals(await soon("the line's end", pair.far.read(new Uint8Array(1))), null);
});

Deno.test("asTcp() that is given up leaves no door open, and closes the line", async () => {
  const before = await settledSockets();
  {
    using pair = await tcpPair();
    const why = new ProxyError("client.closed", "Cannot go on");
    const joining = asTcp({ stream: new SocketStream(pair.near) }, OPTIONS, AbortSignal.abort(why));
    assertEquals(await assertRejects(() => soon("the failure", joining)), why);
    assertEquals(await soon("the line's end", pair.far.read(new Uint8Array(1))), null);
  }
  assertEquals(await settledSockets(), before);
});
