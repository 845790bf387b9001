import { assert, assertEquals, assertMatch } from "@std/assert";
import { type AcceptOptions, type AcceptSource, startAccepting } from "../../../core/accept_loop.ts";
import { hasResets, startResets } from "../../support/resets.ts";
import { soon, waitUntil } from "../../support/sockets.ts";

/** A connection that knows whether it was closed. */
class Conn {
  isClosed = false;
  close() {
    this.isClosed = true;
  }
}

type Next = Conn | Error;

/** A listener that gives what it is told to, then waits; `accepts` counts how often it was asked. */
class Listener implements AcceptSource<Conn> {
  accepts = 0;
  isClosed = false;
  readonly #next: (() => Next)[];
  readonly #forever: (() => Next) | undefined;
  #end = Promise.withResolvers<never>();

  constructor(next: readonly (() => Next)[], forever?: () => Next) {
    this.#next = [...next];
    this.#forever = forever;
    this.#end.promise.catch(() => {});
  }

  accept(): Promise<Conn> {
    this.accepts++;
    if (this.isClosed) return Promise.reject(new Deno.errors.BadResource("Listener has been closed"));
    const next = (this.#next.shift() ?? this.#forever)?.();
    if (next === undefined) return this.#end.promise;
    return next instanceof Error ? Promise.reject(next) : Promise.resolve(next);
  }

  close() {
    this.isClosed = true;
    this.#end.reject(new Deno.errors.BadResource("Listener has been closed"));
  }
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code} (os error 1)`), { code });
}

/** Runs the loop over `listener` and collects what it says. */
function start(listener: Listener, options: Partial<AcceptOptions<Conn>> = {}) {
  const served: Conn[] = [];
  const errors: unknown[] = [];
  const lines: string[] = [];
  const accepting = startAccepting(listener, {
    name: "port 1",
    serve: (conn) => void served.push(conn),
    onServeError: (error) => errors.push(error),
    warn: (line) => lines.push(line),
    ...options,
  });
  return { accepting, served, errors, lines };
}

const times = (count: number, make: () => Next) => Array.from({ length: count }, () => make);

Deno.test("startAccepting() goes on at once after a connection that was lost, whatever took it", async (t) => {
  for (
    const code of ["ENOTCONN", "ECONNABORTED", "ECONNRESET", "EPROTO", "EPERM", "ETIMEDOUT", "EHOSTUNREACH"]
  ) {
    await t.step(code, async () => {
      const conn = new Conn();
      // With a pause of 10 ms each this would take longer than is waited for.
      const listener = new Listener([...times(1_000, () => failure(code)), () => conn]);
      const { accepting, served, lines } = start(listener);
      await waitUntil("the good one is served", () => served.length > 0);
      assertEquals([served, conn.isClosed], [[conn], false]);
      assertEquals(lines.length, 1); // and not 1,000
      assertMatch(lines[0] ?? "", new RegExp(`^a connection to port 1 was reset .* \\(${code}\\)$`));
      await accepting[Symbol.asyncDispose]();
    });
  }
});

Deno.test("startAccepting() pauses when there is no descriptor, and is heard of once", async (t) => {
  for (const code of ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]) {
    await t.step(code, async () => {
      const listener = new Listener(times(3, () => failure(code)), undefined);
      const startedAt = performance.now();
      const { accepting, lines } = start(listener);
      await waitUntil("it has tried again", () => listener.accepts === 4);
      assert(performance.now() - startedAt >= 3 * 49);
      assertEquals(lines, [
        `Cannot accept on port 1: no descriptor is free (${code}): raise the limit of open files`,
      ]);
      await accepting[Symbol.asyncDispose]();
    });
  }
});

Deno.test("startAccepting() stops during a pause without waiting for its end", async () => {
  const listener = new Listener([], () => failure("EMFILE"));
  const { accepting } = start(listener);
  await waitUntil("it pauses", () => listener.accepts === 1);
  await soon("the end", Promise.resolve(accepting[Symbol.asyncDispose]()));
  assertEquals([listener.accepts, listener.isClosed], [1, true]);
});

Deno.test("startAccepting() ends on a dead listener, says so once and does not spin", async (t) => {
  const rows: readonly (readonly [string, () => Error, most: number])[] = [
    ["closed by somebody else", () => new Deno.errors.BadResource("Listener has been closed"), 1],
    ["shut below the runtime", () => failure("EINVAL"), 100],
    ["an error that nobody knows", () => new Error("odd"), 100],
  ];
  for (const [name, make, most] of rows) {
    await t.step(name, async () => {
      const listener = new Listener([], make);
      const { accepting, lines } = start(listener);
      await soon("the end", accepting.ended);
      assertEquals([listener.accepts, listener.isClosed, lines.length], [most, true, 1]);
      assertMatch(lines[0] ?? "", /^nothing is accepted on port 1 any more: /);
      await accepting[Symbol.asyncDispose]();
    });
  }
});

Deno.test("startAccepting() does not take single odd errors for a dead listener", async () => {
  const rounds = Array.from({ length: 5 }, () => [...times(99, () => failure("EINVAL")), () => new Conn()]);
  const { accepting, served, lines } = start(new Listener(rounds.flat()));
  await waitUntil("all are served", () => served.length === 5);
  assertEquals(lines, []);
  await accepting[Symbol.asyncDispose]();
});

Deno.test("startAccepting() tells onDead in place of the log", async () => {
  const dead: string[] = [];
  const listener = new Listener([], () => new Deno.errors.BadResource("gone"));
  const { accepting, lines } = start(listener, { onDead: (line) => dead.push(line) });
  await accepting.ended;
  assertEquals([dead.length, lines.length], [1, 0]);
});

Deno.test("startAccepting() closes a connection whose serving throws or rejects, and goes on", async () => {
  const [first, second, third] = [new Conn(), new Conn(), new Conn()];
  const { accepting, errors } = start(new Listener([() => first, () => second, () => third]), {
    serve: (conn) => {
      if (conn === first) throw new Error("thrown");
      return conn === second ? Promise.reject(new Error("rejected")) : undefined;
    },
  });
  await waitUntil("both were reported", () => errors.length === 2);
  assertEquals(errors.map((error) => (error as Error).message), ["thrown", "rejected"]);
  assertEquals([first.isClosed, second.isClosed, third.isClosed], [true, true, false]);
  await accepting[Symbol.asyncDispose]();
});

Deno.test("startAccepting() ends when it is disposed, twice too, and leaves what it served alone", async () => {
  const conn = new Conn();
  const { accepting, served } = start(new Listener([() => conn]));
  await waitUntil("served", () => served.length === 1);
  await Promise.all([accepting[Symbol.asyncDispose](), accepting[Symbol.asyncDispose]()]);
  await accepting.ended;
  assertEquals(conn.isClosed, false);
});

Deno.test({
  name: "startAccepting() serves whoever comes between resets of a real listener",
  ignore: !hasResets,
  fn: async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const lines: string[] = [];
    await using _accepting = startAccepting(listener, {
      name: "a port",
      serve: async (conn) => {
        await conn.write(new TextEncoder().encode("hello"));
        conn.close();
      },
      onServeError: () => {}, // reset while it was served
      warn: (line) => lines.push(line),
    });
    const { port } = listener.addr;
    await using resets = startResets(port);
    while (resets.made < 300 || lines.length === 0) {
      assert(resets.made >= 0);
      using conn = await Deno.connect({ hostname: "127.0.0.1", port });
      assertEquals(await soon("an answer", conn.read(new Uint8Array(16))), 5);
    }
    assertMatch(lines.join(), /^a connection to a port was reset before it was accepted \(\w+\)$/);
  },
});
