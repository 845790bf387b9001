import { assertEquals, assertRejects } from "@std/assert";
import { askByDatagram } from "../../../../../proxy/egress/names/datagram.ts";
import type { Exchange } from "../../../../../proxy/egress/names/exchange.ts";
import { FailedLookup } from "../../../../../proxy/egress/names/failed_lookup.ts";
import { soon, waitUntil } from "../../../../support/sockets.ts";
import { watchSignal } from "../../../../support/watched_signal.ts";

const NEVER = new AbortController().signal;
const STRAY = Uint8Array.of(0);
const ANSWER = Uint8Array.of(1, 2, 3);
const exchange: Exchange = { query: Uint8Array.of(7, 8, 9), isAnswer: (bytes) => bytes[0] === 1 };

interface Server extends AsyncDisposable {
  readonly port: number;
  readonly asked: Uint8Array[];
}

/** Sends so many datagrams back for each that comes. */
function serve(answers: readonly Uint8Array[], hostname = "127.0.0.1"): Server {
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
  const asked: Uint8Array[] = [];
  const serving = (async () => {
    for await (const [bytes, from] of socket) {
      asked.push(bytes.slice());
      for (const answer of answers) await socket.send(answer, from);
    }
  })();
  return {
    port: (socket.addr as Deno.NetAddr).port,
    asked,
    [Symbol.asyncDispose]: async () => {
      socket.close();
      await serving;
    },
  };
}

const ask = ({ port }: Pick<Server, "port">, signal = NEVER, host = "127.0.0.1") =>
  soon("an answer", askByDatagram({ host, port }, exchange, signal));

Deno.test("askByDatagram() bears so many strays, and leaves the question to TCP at the next", async () => {
  const strays = (count: number) => new Array<Uint8Array>(count).fill(STRAY);
  await using few = serve([...strays(31), ANSWER]);
  await using many = serve([...strays(32), ANSWER]);
  assertEquals(await ask(few), ANSWER);
  assertEquals(await ask(many), undefined);
  assertEquals(few.asked, [exchange.query]);
});

Deno.test("askByDatagram() reads 512 bytes of an answer", async () => {
  await using server = serve([new Uint8Array(600).fill(1)]);
  assertEquals((await ask(server))?.length, 512);
});

Deno.test("askByDatagram() asks from a port that the system picks", async () => {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const asking = ask({ port: (socket.addr as Deno.NetAddr).port });
  const [, from] = await socket.receive();
  assertEquals((from as Deno.NetAddr).port > 1_023, true);
  await socket.send(ANSWER, from);
  await asking;
  socket.close();
});

Deno.test("askByDatagram() asks over IPv6", async () => {
  await using server = serve([ANSWER], "::1");
  assertEquals(await ask(server, NEVER, "::1"), ANSWER);
});

Deno.test("askByDatagram() takes nothing from another port or another address", async (t) => {
  for (
    const [name, hostname, isSamePort] of [["port", "127.0.0.1", false], [
      "address",
      "127.0.0.2",
      true,
    ]] as const
  ) {
    await t.step(name, async () => {
      const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
      const { port } = socket.addr as Deno.NetAddr;
      const other = Deno.listenDatagram({ transport: "udp", hostname, port: isSamePort ? port : 0 });
      const asking = ask({ port });
      const [, from] = await socket.receive();
      await other.send(Uint8Array.of(1, 66), from);
      await socket.send(ANSWER, from);
      assertEquals(await asking, ANSWER);
      socket.close();
      other.close();
    });
  }
});

Deno.test("askByDatagram() is given up with its signal, and leaves nothing on it", async (t) => {
  await t.step("before", async () => {
    await using server = serve([ANSWER]);
    await assertRejects(() => ask(server, AbortSignal.abort(new Error("gone"))), Error, "gone");
    assertEquals(await ask(server), ANSWER);
    assertEquals(server.asked.length, 1);
  });
  await t.step("while waiting", async () => {
    await using server = serve([]);
    const gone = watchSignal();
    const asking = ask(server, gone.signal);
    await waitUntil("it was asked", () => server.asked.length === 1);
    gone.abort(new Error("gone"));
    await assertRejects(() => asking, Error, "gone");
    assertEquals(gone.listeners, 0);
  });
  await t.step("after", async () => {
    await using server = serve([ANSWER]);
    const { signal, listeners } = watchSignal();
    await ask(server, signal);
    assertEquals(listeners, 0);
  });
});

Deno.test("askByDatagram() says away when nothing can be sent", async () => {
  const failure = await assertRejects(() => ask({ port: 0 }), FailedLookup);
  assertEquals([failure.kind, failure.message === "", failure.cause instanceof Error], ["away", false, true]);
});
