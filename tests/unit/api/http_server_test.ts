import { assertEquals } from "@std/assert";
import { type Begun, HttpServer } from "../../../api/http_server.ts";
import { waitUntil } from "../../support/sockets.ts";

/** A server that accepts until it is stopped or told to fail. */
class Server implements Begun {
  readonly port = 7;
  readonly #finished = Promise.withResolvers<void>();
  readonly finished = this.#finished.promise;
  isStopped = false;

  fail() {
    this.#finished.reject(new Error("Too many open files (os error 24)"));
  }

  stop = () => {
    this.isStopped = true;
    this.#finished.resolve();
  };
}

Deno.test("HttpServer opens anew when accepting has failed, until that works, and stops all of them", async () => {
  const [first, second] = [new Server(), new Server()];
  const lines: string[] = [];
  const ports: number[] = [];
  const server = new HttpServer(first, (port) => {
    if (ports.push(port) < 3) throw new Error("Too many open files (os error 24)");
    return second;
  }, { error: (line) => lines.push(line) });
  first.fail();
  await waitUntil("it listens again", () => ports.length === 3);
  assertEquals([ports, lines.length, first.isStopped], [[7, 7, 7], 1, false]); // what was open goes on
  await server[Symbol.asyncDispose]();
  assertEquals([first.isStopped, second.isStopped, server.port], [true, true, 7]);
});

Deno.test("HttpServer that is disposed while nothing can be opened ends at once", async () => {
  const first = new Server();
  let tries = 0;
  const server = new HttpServer(first, () => {
    tries++;
    throw new Error("Too many open files (os error 24)");
  }, { error: () => {} });
  first.fail();
  await waitUntil("it has tried", () => tries === 2);
  await server[Symbol.asyncDispose]();
  assertEquals(tries, 2);
});

Deno.test("HttpServer that fails again and again keeps few servers, and says so once", async () => {
  const servers = [new Server()];
  const lines: string[] = [];
  const server = new HttpServer(servers[0] ?? new Server(), () => {
    const next = new Server();
    servers.push(next);
    return next;
  }, { error: (line) => lines.push(line) });
  for (let i = 0; i < 10; i++) {
    servers[i]?.fail();
    await waitUntil("it listens again", () => servers.length === i + 2);
  }
  await waitUntil("the oldest ones have ended", () => servers.filter((each) => each.isStopped).length === 3);
  assertEquals([servers.map((each) => each.isStopped).lastIndexOf(true), lines.length], [2, 1]);
  await server[Symbol.asyncDispose]();
  assertEquals(servers.every((each) => each.isStopped), true);
});
