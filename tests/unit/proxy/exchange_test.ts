import { assert, assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import type { AuditRecord } from "../../../policy/audit_record.ts";
import type { AuditTrail } from "../../../proxy/records/audit_log.ts";
import {
  type AdmittedExchange,
  checkStore,
  checkSuspension,
  describeTarget,
  identify,
  idleTimeoutOf,
  linger,
  logRefusal,
  type OpenSession,
  refuseExchange,
  responseTimeoutOf,
} from "../../../proxy/exchange.ts";
import { makeField } from "../../../proxy/message/fields.ts";
import { ByteReader } from "../../../proxy/streams/byte_reader.ts";
import { FakeDeadlines } from "../../support/fake_deadlines.ts";
import { makeExchange } from "../../support/make_exchange.ts";
import { basic } from "../../support/raw_peer.ts";
import { Engine, TOKEN } from "../../wire/harness.ts";
import { makePipe, settle } from "../../wire/pipe.ts";

/** An engine whose records are kept as they are. */
function setUp() {
  const engine = new Engine();
  const records: AuditRecord[] = [];
  const audit: AuditTrail = {
    isWritable: true,
    begin: () => 1,
    write: (record) => void records.push(record),
  };
  const context = { ...engine.context, audit };
  return { engine, context, records, [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() };
}

Deno.test("identify() gives the client of the token, and counts its connection against its own quota", async () => {
  await using made = setUp();
  const { exchange: { session } } = makeExchange(made.context);
  const fields = [makeField("Proxy-Authorization", basic(TOKEN))];
  const asked: string[] = [];
  const state = (isFree: boolean) => ({
    ...session.state,
    identify: (name: string) => {
      asked.push(name);
      return isFree;
    },
  });
  assertEquals(identify({ ...session, state: state(true) }, fields).name, "one");
  const refused = assertThrows(() => identify({ ...session, state: state(false) }, fields), ProxyError);
  assertEquals([refused.code, refused.reason, asked], ["limit.reached", "quota", ["one", "one"]]);
  const wrong = [makeField("Proxy-Authorization", basic("spi_wrong_token_of_nobody"))];
  assertEquals(assertThrows(() => identify(session, wrong), ProxyError).code, "auth.invalid");
});

Deno.test("checkSuspension() refuses whom an operator has stopped, and everybody without a store", async () => {
  await using made = setUp();
  const { policy } = made.engine;
  const client = { name: "one", version: "1" };
  const codeOf = (call: () => void) => {
    try {
      call();
      return undefined;
    } catch (error) {
      return error instanceof ProxyError ? error.code : error;
    }
  };
  assertEquals(
    [codeOf(() => checkSuspension(client, made.context)), codeOf(() => checkStore(made.context))],
    [undefined, undefined],
  );
  policy.suspend("one");
  assertEquals(codeOf(() => checkSuspension(client, made.context)), "policy.suspended");
  assertEquals([
    codeOf(() => checkSuspension({ ...client, name: "two" }, made.context)),
    codeOf(() => checkStore(made.context)),
  ], [undefined, undefined]);
  policy.lost = true;
  assertEquals(
    [codeOf(() => checkSuspension(client, made.context)), codeOf(() => checkStore(made.context))],
    ["policy.store-lost", "policy.store-lost"],
  );
});

Deno.test("time-outs are the rule's where it has one, and those of tunnels for what was upgraded", async () => {
  await using made = setUp();
  const limits = {
    ...made.context.limits,
    responseTimeoutMs: 1,
    bodyIdleTimeoutMs: 2,
    tunnelIdleTimeoutMs: 3,
  };
  const { exchange } = makeExchange({ ...made.context, limits });
  const of = (more: object) => ({ ...exchange, rule: {}, ...more }) as unknown as AdmittedExchange;
  assertEquals([responseTimeoutOf(of({})), responseTimeoutOf(of({ rule: { responseTimeoutMs: 9 } }))], [
    1,
    9,
  ]);
  assertEquals(
    [idleTimeoutOf(of({})), idleTimeoutOf(of({ upgrade: { protocol: "websocket", fields: [] } }))],
    [2, 3],
  );
});

Deno.test("describeTarget() keeps the query only where that is wanted, and what words saw", async () => {
  await using made = setUp();
  const target = { scheme: "https", host: "a", port: 1, originForm: "/b?c", path: "/b", query: "c" } as const;
  const where = { scheme: "https", host: "a", port: 1, path: "/b" } as const;
  const of = (more: object, logQuery: boolean) =>
    describeTarget({ ...target, ...more }, { ...made.context, logQuery });
  assertEquals([of({}, false), of({}, true)], [where, { ...where, query: "c" }]);
  assertEquals([of({ query: undefined }, true), of({ query: "" }, true)], [where, { ...where, query: "" }]);
  assertEquals(of({ says: "mcp:x" }, false), { ...where, says: "mcp:x" });
});

Deno.test("logRefusal() says the mode of what policy refuses, and the status of all else", async () => {
  await using made = setUp();
  const { exchange: { session } } = makeExchange(made.context);
  const { tunnel: _, ...bare } = session;
  const detail = "x";
  logRefusal(session, { status: 403, reason: "no-rule", detail }, { method: "GET" });
  logRefusal({ ...bare, tunnel: undefined, isHttp2: true }, { status: 502, reason: "dns", detail }, {
    host: "a",
  });
  const modes: (string | undefined)[] = [];
  made.engine.policy.modeOf = (client) => {
    modes.push(client);
    return "audit";
  };
  logRefusal(session, { status: 403, reason: "no-rule", detail }, { client: "two", port: 9 });
  logRefusal(session, { status: 403, reason: "no-rule", detail }, {});
  const { origin } = session;
  const tunnel = { verdict: "deny", client: "one", scheme: "https", host: "up.test", port: 443 } as const;
  assertEquals(made.records, [
    { ...tunnel, method: "GET", mode: "strict", reason: "no-rule", origin },
    { verdict: "deny", host: "a", status: 502, reason: "dns", proto: "h2", origin },
    { ...tunnel, client: "two", port: 9, mode: "audit", reason: "no-rule", origin },
    { ...tunnel, mode: "audit", reason: "no-rule", origin },
  ]);
  assertEquals(modes, ["two", "one"]);
});

Deno.test("refuseExchange() answers with the host that was asked for, and logs how a call ended", async () => {
  await using made = setUp();
  const refusal = { status: 403, reason: "no-rule", detail: "x" } as const;
  const plain = makeExchange(made.context);
  await refuseExchange(plain.exchange, refusal, {});
  assertEquals([plain.answers.length, plain.answers[0]?.phrase], [1, "slicer-proxy: no-rule (up.test)"]);
  const call = makeExchange(made.context, {
    head: { method: "POST", version: "HTTP/2" },
    lines: ["Content-Type: application/grpc"],
  });
  await refuseExchange(call.exchange, refusal, { host: "other.test" });
  assertEquals([call.answers[0]?.status, call.answers[0]?.phrase], [
    200,
    "slicer-proxy: no-rule (other.test)",
  ]);
  assertEquals(made.records.map((record) => "grpcStatus" in record ? record.grpcStatus : "none"), [
    "none",
    7,
  ]);
});

Deno.test("linger() reads on until the client ends, or its time is over, and then closes", async (t) => {
  await using made = setUp();
  const begin = () => {
    const deadlines = new FakeDeadlines();
    const [client, stream] = makePipe();
    const limits = { ...made.context.limits, lingerTimeoutMs: 3_000 };
    const { exchange: { session } } = makeExchange({ ...made.context, deadlines, limits });
    const open: OpenSession = { ...session, stream, reader: new ByteReader(stream) };
    let isOver = false;
    const lingered = linger(open).then(() => isOver = true);
    return { client, stream, deadlines, lingered, isOver: () => isOver, reader: open.reader };
  };
  await t.step("until the client ends", async () => {
    const { client, stream, deadlines, lingered, isOver, reader } = begin();
    for (let i = 0; i < 5; i++) await client.write(new Uint8Array(100_000));
    await settle();
    assertEquals([isOver(), stream.ended, client.unread, deadlines.left], [false, "half", 0, [3_000]]);
    assertEquals(await client.read(new Uint8Array(1)), null); // the client sees the end at once
    client.close();
    await lingered;
    assertEquals([stream.ended, deadlines.left, reader.size], ["half", [], 0]); // and keeps nothing of it
  });
  await t.step("until its time is over", async () => {
    const { stream, deadlines, lingered } = begin();
    await settle();
    deadlines.advance(3_000);
    await lingered;
    assertEquals([stream.ended, deadlines.left], ["closed", []]);
  });
  await t.step("until the client breaks off", async () => {
    const { client, deadlines, lingered } = begin();
    client.abort();
    await lingered;
    assert(deadlines.left.length === 0);
  });
});
