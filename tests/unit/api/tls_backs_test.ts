import { assertEquals } from "@std/assert";
import { type ApiTls, TlsBacks } from "../../../api/tls_backs.ts";
import { FakeClock } from "../../support/fake_clock.ts";

/** Listeners that are numbers only, and what was told. */
function setUp(tls: ApiTls, clock: FakeClock) {
  const served: string[] = [];
  const closed: number[] = [];
  const ports: number[] = [];
  const errors: string[] = [];
  const backs = new TlsBacks(tls, {
    serve: ({ cert }) => {
      const port = served.push(cert);
      return { port, [Symbol.asyncDispose]: () => Promise.resolve(void closed.push(port)) };
    },
    now: () => clock.now(),
    onPort: (port) => ports.push(port),
    log: { error: (line) => errors.push(line) },
  });
  return { backs, served, closed, ports, errors };
}

Deno.test("TlsBacks renews the certificate in time, once, and keeps the listener before open", async () => {
  const clock = new FakeClock(1_000);
  const issue = (number: number): ApiTls => ({
    cert: `cert ${number}`,
    key: "key",
    renewAt: clock.now() + 100,
    renew: () => Promise.resolve(issue(number + 1)),
  });
  const { backs, served, closed, ports, errors } = setUp(issue(1), clock);
  assertEquals([await backs.port(), backs.currentPort], [1, 1]);
  clock.advance(99);
  assertEquals(await backs.port(), 1);
  clock.advance(1);
  assertEquals(await Promise.all([backs.port(), backs.port(), backs.port()]), [2, 2, 2]);
  assertEquals([served, closed, ports], [["cert 1", "cert 2"], [], [2]]);
  clock.advance(100);
  assertEquals(await backs.port(), 3);
  assertEquals([closed, ports], [[1], [2, 3]]);
  await backs[Symbol.asyncDispose]();
  assertEquals([closed.toSorted(), errors], [[1, 2, 3], []]);
});

Deno.test("TlsBacks goes on with what it has when there is no other, and tries again after a minute", async () => {
  const clock = new FakeClock(1_000);
  let tries = 0;
  const renew = () => Promise.reject<ApiTls>(new Error(`the CA ended ${++tries}`));
  const { backs, served, errors } = setUp({ cert: "cert", key: "key", renewAt: 1_000, renew }, clock);
  assertEquals([await backs.port(), await backs.port(), tries], [1, 1, 1]);
  clock.advance(60_000);
  assertEquals([await backs.port(), tries], [1, 2]);
  assertEquals([served.length, errors[0]], [1, "Cannot renew the API's certificate: the CA ended 1"]);
  await backs[Symbol.asyncDispose]();
});
