/** What a server without a database behind it shows of a link; questions and answers: `../engine_postgres_test.ts`. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import postgres from "postgres";
import { ProxyError } from "../../../../core/errors.ts";
import { closeQuietly } from "../../../../proxy/streams/byte_reader.ts";
import { parseStoreAddress } from "../../../../store/postgres/address.ts";
import { Link, shortMessage, storeError } from "../../../../store/postgres/link.ts";
import { assertCode } from "../support.ts";

const ADDRESS = parseStoreAddress("postgres://u@db.test:5432/d");

/** As the driver makes it of what a server says. */
function said(code: string, message = "said so"): Error {
  return Object.assign(new postgres.PostgresError(message), { code, message });
}

/** Says `answer` to the first bytes of each connection, and keeps what came. */
class Server implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open: Deno.Conn[] = [];
  readonly #accepting: Promise<void>;
  readonly heard: number[][] = [];

  constructor(answer: Uint8Array | undefined) {
    this.#accepting = this.#accept(answer);
  }

  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  async #accept(answer: Uint8Array | undefined): Promise<void> {
    for (;;) {
      const conn = await this.#listener.accept().catch(() => undefined); // it is closed
      if (!conn) return;
      this.#open.push(conn);
      const buffer = new Uint8Array(64);
      const count = await conn.read(buffer).catch(() => 0);
      this.heard.push([...buffer.subarray(0, count ?? 0)]);
      if (answer) await conn.write(answer).catch(() => {});
      else closeQuietly(conn);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#open) closeQuietly(conn);
    await this.#accepting;
  }
}

/** ErrorResponse (PostgreSQL protocol 3.0, 55.7). */
function errorAnswer(code: string, message: string): Uint8Array {
  const fields = new TextEncoder().encode(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const answer = new Uint8Array(5 + fields.length);
  answer[0] = 0x45;
  new DataView(answer.buffer).setUint32(1, 4 + fields.length);
  answer.set(fields, 5);
  return answer;
}

function open(hosts: readonly string[], query = "?sslmode=disable", timeoutMs = 20_000): Promise<Link> {
  const address = parseStoreAddress(`postgres://u@${hosts.join(",")}/d${query}`);
  return Link.open({
    address,
    password: () => Promise.resolve("pw"),
    caPem: undefined,
    timeoutMs,
    name: "t",
  });
}

Deno.test("Link.open() asks for TLS first, and sends no word where the answer is not just yes", async (t) => {
  const rows = [
    { name: "no", answer: "N" },
    { name: "an error", answer: "E" },
    { name: "yes, and something in clear behind it", answer: "SS" },
  ];
  for (const { name, answer } of rows) {
    await t.step(name, async () => {
      await using server = new Server(new TextEncoder().encode(answer));
      const error = await assertCode(open([server.address], ""), "store.away");
      assertEquals(
        error.message,
        `Cannot reach the store: ${server.address}: the server does not speak TLS`,
      );
      assertEquals(server.heard, [[0, 0, 0, 8, 4, 210, 22, 47]]);
    });
  }
  await t.step("nothing", async () => {
    await using server = new Server(undefined);
    const error = await assertCode(open([server.address], ""), "store.away");
    assertStringIncludes(error.message, `${server.address}: the connection was closed`);
  });
});

Deno.test("Link.open() tells what is wrong with each host, in order", async () => {
  await using one = new Server(errorAnswer("57P03", "the database system is starting up"));
  await using two = new Server(errorAnswer("53300", "sorry, too many clients"));
  const error = await assertCode(open([one.address, two.address]), "store.away");
  assertEquals(
    error.message,
    `Cannot reach the store: ${one.address}: the database system is starting up; ` +
      `${two.address}: sorry, too many clients`,
  );
});

Deno.test("Link.open() asks no other host once one lets nobody in", async (t) => {
  for (const code of ["28000", "28P01", "3D000", "42501"]) {
    await t.step(code, async () => {
      await using one = new Server(errorAnswer(code, "go away"));
      await using two = new Server(undefined);
      const error = await assertCode(open([one.address, two.address]), "store.refused");
      assertEquals(error.message, `Cannot use the store at ${one.address}: go away`);
      assertStringIncludes(error.hint ?? "", "docs/FLEET.md");
      assertStringIncludes(error.hint ?? "", "--store-password-file");
      assertEquals(two.heard, []);
    });
  }
  for (const code of ["3D001", "42502", "29000", "08006"]) {
    await t.step(`${code}, which is none of those`, async () => {
      await using one = new Server(errorAnswer(code, "hm"));
      await assertCode(open([one.address]), "store.away");
    });
  }
});

Deno.test("Link.open() waits for no host longer than it may", async () => {
  await using server = new Server(new Uint8Array());
  const error = await assertCode(open([server.address], "", 60), "store.away");
  assertEquals(error.message, `Cannot reach the store: ${server.address}: no answer in time`);
});

Deno.test("Link.open() asks for the password before it dials", async () => {
  await using server = new Server(undefined);
  const address = parseStoreAddress(`postgres://u@${server.address}/d?sslmode=disable`);
  const password = () => Promise.reject(new ProxyError("input.invalid", "no password file"));
  const options = { address, password, caPem: undefined, timeoutMs: 1_000, name: "t" };
  await assertCode(Link.open(options), "input.invalid");
  assertEquals(server.heard, []);
});

Deno.test("storeError(): what passes is a store that is away, what comes again is one that refuses", () => {
  const codeOf = (error: unknown) => storeError(error, { address: ADDRESS }).code;
  for (
    const code of [
      "08000",
      "08006",
      "40001",
      "40P01",
      "57014",
      "57P01",
      "57P03",
      "53300",
      "55P03",
      "25P03",
      "25006",
    ]
  ) {
    assertEquals([code, codeOf(said(code))], [code, "store.away"]);
  }
  for (
    const code of ["08", "42501", "53100", "53200", "55006", "25001", "42P01", "23505", "XX000", "080000"]
  ) {
    assertEquals([code, codeOf(said(code))], [code, "store.refused"]);
  }
  for (const error of [new Error("it broke"), "text", Object.assign(new Error("x"), { code: "42501" })]) {
    assertEquals(codeOf(error), "store.away");
  }
});

Deno.test("storeError() says where, what, what became of it, and what to do", () => {
  const of = (error: unknown, outcome?: string) => {
    const { message, hint, cause } = storeError(error, { address: ADDRESS }, outcome);
    assert(cause === error);
    return [message, hint];
  };
  const where = "Cannot use the store at db.test:5432: ";
  const none = "nothing was changed";
  assertEquals(of(new Error("it broke\nat line 1")), [`${where}it broke`, undefined]);
  assertEquals(of(new Error("it broke"), none), [
    `${where}it broke`,
    "nothing was changed; do it again when the store answers",
  ]);
  assertEquals(of(said("42501")), [
    `${where}said so`,
    "docs/FLEET.md has the SQL that gives its role the rights",
  ]);
  assertEquals(of(said("53100"), none), [
    `${where}said so`,
    "nothing was changed; make room on the disk of the server",
  ]);
  assertEquals(of(said("XX000"), none), [
    `${where}said so`,
    "nothing was changed; the log of the server says more",
  ]);
  const ours = new ProxyError("seal.key-wrong", "x");
  assert(storeError(ours, { address: ADDRESS }, none) === ours);
});

Deno.test("shortMessage() is the first line, and says of a standby what it is", () => {
  assertEquals(shortMessage(new Error("one\ntwo")), "one");
  assertEquals(shortMessage(new Error("")), "");
  const destroyed = Object.assign(new Error("write CONNECTION_DESTROYED"), { code: "CONNECTION_DESTROYED" });
  assertEquals(shortMessage(destroyed), "it is a standby, which cannot be written to");
  assertEquals(shortMessage(Object.assign(new Error("x"), { code: "CONNECTION_CLOSED" })), "x");
});
