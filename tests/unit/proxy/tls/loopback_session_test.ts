import { assertEquals } from "@std/assert";
import { LoopbackSession } from "../../../../proxy/tls/loopback_session.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { settle } from "../../../wire/pipe.ts";

/** A session whose calls of what is under it are told. */
function setUp() {
  const calls: string[] = [];
  const deadlines = new FakeDeadlines();
  const tls = {
    closeWrite: () => Promise.resolve(void calls.push("close_notify")),
    close: () => void calls.push("close"),
    read: (into: Uint8Array) => Promise.resolve(into.length),
    write: (bytes: Uint8Array) => Promise.resolve(bytes.length - 1),
  };
  const joined = {
    expectEnd: (ms: number) => void calls.push(`expectEnd ${ms}`),
    abort: () => void calls.push("abort"),
    ...{ done: Promise.resolve(), bytesToA: 0, bytesToB: 0, timedOut: false },
  };
  const session = new LoopbackSession(tls as unknown as Deno.TlsConn, {
    ...{ joined, done: joined.done, patienceMs: 77, deadlines },
  });
  return { session, calls, deadlines };
}

Deno.test("close() says close_notify, once, before it closes", async () => {
  const { session, calls } = setUp();
  session.close();
  assertEquals(calls, ["expectEnd 77", "close_notify"]);
  await settle();
  session.close();
  session.abort();
  await settle();
  assertEquals(calls, ["expectEnd 77", "close_notify", "close", "abort"]);
});

Deno.test("close() before the close_notify is out says no second one", async () => {
  const { session, calls } = setUp();
  session.close();
  session.close();
  await settle();
  assertEquals(calls.filter((call) => !call.startsWith("expectEnd")), ["close_notify", "close"]);
});

Deno.test("close() says no end that was said already, nor one to a client that is gone", async () => {
  const said = setUp();
  await said.session.closeWrite();
  said.session.close();
  assertEquals(said.calls, ["close_notify", "expectEnd 77", "close"]);
  const gone = setUp();
  void gone.session.clientGone();
  gone.session.close();
  assertEquals(gone.calls, ["expectEnd 77", "close"]);
});

Deno.test("abort() cuts both sides and says nothing", () => {
  const { session, calls } = setUp();
  session.abort();
  assertEquals(calls, ["abort", "close"]);
});

Deno.test("clientGone() waits for a second for whoever has the session, and closes it then", async () => {
  const { session, calls, deadlines } = setUp();
  let isOver = false;
  void session.clientGone()?.then(() => isOver = true);
  assertEquals(deadlines.left, [1_000]);
  deadlines.advance(999);
  await settle();
  assertEquals([calls, isOver], [[], false]);
  deadlines.advance(1);
  await settle();
  assertEquals([calls, isOver], [["close"], true]);
});

Deno.test("clientGone() is over when the session is closed, at once where it was closed before", async () => {
  const { session, deadlines } = setUp();
  const over = session.clientGone();
  session.close();
  await over;
  assertEquals([deadlines.left, session.clientGone()], [[], undefined]);
});
