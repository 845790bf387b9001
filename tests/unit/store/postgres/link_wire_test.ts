/** What a link says to a server and hears from it, byte by byte; questions and answers: `../engine_postgres_test.ts`. */
import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { Socket } from "node:net";
import { formatStoreHost, parseStoreAddress } from "../../../../store/postgres/address.ts";
import { Link } from "../../../../store/postgres/link.ts";
import { until } from "../fleet_support.ts";
import { assertCode } from "../support.ts";
import { type WireAnswer, WireServer } from "./wire_server.ts";

const TIMEOUT_MS = 20_000;

function open(
  server: Pick<WireServer, "address">,
  { query = "?sslmode=disable", ...more }: {
    readonly query?: string;
    readonly onNotice?: (payload: string) => void;
  } = {},
): Promise<Link> {
  return Link.open({
    address: parseStoreAddress(`postgres://me@${server.address}/base${query}`),
    password: () => Promise.resolve("pw"),
    ...{ caPem: undefined, timeoutMs: TIMEOUT_MS, name: "slicer-proxy host-1", ...more },
  });
}

Deno.test("Link.open() says who it is and what it is, asks one question, and says goodbye", async () => {
  await using server = new WireServer();
  const link = await open(server);
  assertStringIncludes(server.startups.join(), "user me database base");
  assertStringIncludes(server.startups.join(), "application_name slicer-proxy host-1");
  assertEquals([server.heard, link.isOpen], [["SELECT 1"], true] as unknown[]);
  await link[Symbol.asyncDispose]();
  await until("the connection has ended", () => server.ended === 1);
  assertEquals([server.heard.slice(1), link.isOpen], [["bye"], false] as unknown[]);
  await link[Symbol.asyncDispose](); // once more
  assertEquals(server.startups.length, 1);
});

Deno.test("Link.open() leaves a standby, and a server that lets nobody in, with no connection open", async () => {
  await using standby = new WireServer(undefined, { isStandby: true });
  const error = await assertCode(open(standby), "store.away");
  assertStringIncludes(error.message, "it is a standby, which cannot be written to");
  await until("the connection has ended", () => standby.ended === 1);
  await using refusing = new WireServer(() => ({ code: "42501" }));
  await assertCode(open(refusing), "store.refused");
  await until("the connection has ended", () => refusing.ended === 1);
});

Deno.test("Link.open() says of a host where nobody listens that it refuses, and takes the next", async () => {
  const gone = new WireServer();
  await gone[Symbol.asyncDispose]();
  const error = await assertCode(open(gone), "store.away");
  assertMatch(error.message, /refused/i);
  await using server = new WireServer();
  const link = await open({ address: `${gone.address},${server.address}` });
  assertEquals(formatStoreHost(link.host), server.address);
  await link[Symbol.asyncDispose]();
});

Deno.test("Link.open() leaves no connection open to a server that speaks no TLS", async () => {
  await using server = new WireServer();
  await assertCode(open(server, { query: "" }), "store.away");
  await until("the connection has ended", () => server.ended === 1);
  assertEquals(server.heard, []);
});

Deno.test("Link.query() has a question parsed once, and asks many at a time on its one connection", async () => {
  await using server = new WireServer((question) => question.includes("$1") ? ["a", "b"] : ["c"]);
  const link = await open(server);
  server.heard.length = 0;
  const answers = [link.query("SELECT $1", ["x"]), link.query("SELECT 2"), link.query("SELECT 3")];
  assertEquals(await Promise.all(answers), [[{ it: "a" }, { it: "b" }], [{ it: "c" }], [{ it: "c" }]]);
  assertEquals(await link.query("SELECT $1", ["y"]), [{ it: "a" }, { it: "b" }]);
  assertEquals(server.heard, ["named SELECT $1", "SELECT 2", "SELECT 3"]);
  assertEquals(server.startups.length, 1);
  await link[Symbol.asyncDispose]();
});

Deno.test("Link.queryInParts() gets an answer in parts of 2,000 rows, in order", async () => {
  const rows = Array.from({ length: 4_001 }, (_, i) => String(i));
  await using server = new WireServer(() => rows);
  const link = await open(server);
  server.heard.length = 0;
  const parts: string[][] = [];
  const take = (part: readonly Readonly<Record<string, unknown>>[]) =>
    void parts.push(part.map(({ it }) => String(it)));
  await link.queryInParts("SELECT $1", ["all"], { take, timeoutMs: TIMEOUT_MS });
  assertEquals(parts.map(({ length }) => length), [2_000, 2_000, 1]);
  assertEquals(parts.flat(), rows);
  assertEquals(server.heard, ["named SELECT $1", "max 2000", "max 2000", "max 2000"]);
  await link[Symbol.asyncDispose]();
});

Deno.test("a link whose server goes ends every question, and takes none any more", async () => {
  let answer: WireAnswer = ["1"];
  const server = new WireServer(() => answer);
  const link = await open(server);
  answer = "nothing";
  const asked = [1, 2].map((n) => link.query(`SELECT ${n}`));
  await until("both are asked", () => server.heard.length >= 2);
  await Promise.all([
    ...asked.map((each) => assertRejects(() => each)),
    server[Symbol.asyncDispose](),
  ]);
  assertEquals(link.isOpen, false);
  await assertRejects(() => link.query("SELECT 4"), Error, "the connection has ended");
  await link[Symbol.asyncDispose]();
});

Deno.test("a question that has no answer in time costs the connection", async () => {
  await using server = new WireServer((question) => question === "SELECT 1" ? ["1"] : "nothing");
  const link = await open(server);
  await assertRejects(() => link.query("SELECT 2", [], 20), Error, "the connection ended before the answer");
  assertEquals(link.isOpen, false);
  await until("the connection has ended", () => server.ended === 1);
});

Deno.test("a link that was ended takes no question, before its socket has heard of it too", async () => {
  await using server = new WireServer();
  const link = await open(server);
  link.destroy();
  await assertRejects(() => link.query("SELECT 2"), Error, "the connection has ended");
  await until("the connection has ended", () => server.ended === 1);
  assertEquals(server.heard, ["SELECT 1"]);
});

Deno.test("what a server refuses shows nothing of what it was asked with", async () => {
  await using server = new WireServer((question) => question === "SELECT 1" ? [] : { code: "22000" });
  const link = await open(server);
  const error = await assertRejects(() => link.query("SELECT $1", ["a secret"]), Error, "said so");
  const shown = Object.keys(error);
  assertEquals(["query", "parameters", "args", "types"].filter((name) => shown.includes(name)), []);
  assertEquals(link.isOpen, true);
  await link[Symbol.asyncDispose]();
});

Deno.test("who listens is told what was said", async () => {
  await using server = new WireServer();
  const told: string[] = [];
  const link = await open(server, { onNotice: (payload) => void told.push(payload) });
  await server.notify("any", "default");
  await until("it is told", () => told.length > 0);
  assertEquals(told, ["default"]);
  await link[Symbol.asyncDispose]();
});

Deno.test("no time but that of the link ends a question, and a server that stays open holds no goodbye up", async () => {
  const { setTimeout: set } = globalThis;
  const delays: number[] = [];
  globalThis.setTimeout = ((call: (...given: unknown[]) => void, ms = 0, ...given: unknown[]) => {
    delays.push(ms);
    return set(call, ms === 1_000 ? 0 : ms, ...given);
  }) as typeof setTimeout;
  try {
    await using server = new WireServer(undefined, { staysOpen: true });
    const link = await open(server);
    await link.query("SELECT 2");
    assertEquals(delays.splice(0).filter((ms) => ms > 0), [TIMEOUT_MS, TIMEOUT_MS, TIMEOUT_MS]);
    await link[Symbol.asyncDispose]();
    assertEquals(delays.filter((ms) => ms > 0), [TIMEOUT_MS, 1_000]);
    assertEquals(link.isOpen, false);
  } finally {
    globalThis.setTimeout = set;
  }
});

Deno.test("a link sends small questions at once, notices a dead server, and survives an error of its socket", async () => {
  const { setNoDelay, setKeepAlive } = Socket.prototype;
  const sockets: Socket[] = [];
  const set: unknown[] = [];
  Socket.prototype.setNoDelay = function (...given) {
    set.push(given);
    sockets.push(this);
    return setNoDelay.apply(this, given);
  };
  Socket.prototype.setKeepAlive = function (...given) {
    set.push(given);
    return setKeepAlive.apply(this, given);
  };
  try {
    await using server = new WireServer();
    const link = await open(server);
    assertEquals(set, [[true], [true, 30_000]]);
    const [socket] = sockets;
    assertEquals(socket?.emit("error", new Error("reset")), true);
    link.destroy();
    assertEquals(socket?.destroyed, true);
    await until("the connection has ended", () => server.ended === 1);
  } finally {
    Object.assign(Socket.prototype, { setNoDelay, setKeepAlive });
  }
});
