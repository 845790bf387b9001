import { assert, assertEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { inLaterTurn } from "../../../core/later_turn.ts";

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Gives back what it gets, in a thread of its own. */
function startEcho() {
  const script = `
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    postMessage(listener.addr.port);
    const conn = await listener.accept();
    await conn.readable.pipeTo(conn.writable);`;
  const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), {
    type: "module",
  });
  return {
    port: new Promise<number>((resolve) => worker.onmessage = ({ data }) => resolve(data)),
    [Symbol.dispose]: () => worker.terminate(),
  };
}

Deno.test("inLaterTurn() keeps the order, and does in a later turn what is asked for in a turn", async () => {
  const done: string[] = [];
  inLaterTurn(() => {
    done.push("first");
    inLaterTurn(() => done.push("third"));
  });
  inLaterTurn(() => done.push("second"));
  assertEquals(done, []);
  await nextTurn();
  assertEquals(done, ["first", "second"]);
  await nextTurn();
  assertEquals(done, ["first", "second", "third"]);
});

Deno.test("inLaterTurn() has nobody wait for a timer who asks after a rest", async () => {
  for (let nth = 0; nth < 5; nth++) {
    let isDone = false;
    inLaterTurn(() => isDone = true);
    await nextTurn();
    assert(isDone);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
});

Deno.test("inLaterTurn() lets the loop look for what has come over the network, however busy it is", async () => {
  using echo = startEcho();
  using conn = await Deno.connect({ hostname: "127.0.0.1", port: await echo.port });
  let turns = 0;
  let isOver = false;
  const over = Promise.withResolvers<void>();
  const busy = () => {
    for (const end = performance.now() + 1; performance.now() < end;);
    turns++;
    if (isOver) over.resolve();
    else inLaterTurn(busy);
  };
  inLaterTurn(busy);
  const byte = new Uint8Array(1);
  for (let nth = 0; nth < 60; nth++) {
    await conn.write(byte);
    await conn.read(byte);
  }
  isOver = true;
  await over.promise;
  // One look for each answer, in half a turn; by immediates alone in 4 to 24 (measured).
  assert(turns < 150, `${turns} turns`);
});
