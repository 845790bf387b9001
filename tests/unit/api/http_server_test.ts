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
