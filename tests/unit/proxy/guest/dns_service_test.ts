import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { formatDnsQuery, parseDnsAnswer, RCODE, TYPE_A, TYPE_AAAA } from "../../../../core/dns_message.ts";
import type { DnsRecord } from "../../../../core/dns_record.ts";
import { ProxyError } from "../../../../core/errors.ts";
import type { Mode } from "../../../../policy/mode.ts";
import type { Dialler, DialTarget } from "../../../../proxy/egress/dialler.ts";
import { FailedLookup, lookupError } from "../../../../proxy/egress/names/failed_lookup.ts";
import { isDnsRequest, serveDns } from "../../../../proxy/guest/dns_service.ts";
import type { MessageBody } from "../../../../proxy/message/message.ts";
import { FakeClock } from "../../../support/fake_clock.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { makeExchange, PiecedBody } from "../../../support/make_exchange.ts";
import { basic } from "../../../support/raw_peer.ts";
import { Engine, TOKEN } from "../../../wire/harness.ts";

type LookUp = (target: Pick<DialTarget, "host" | "ruleHost">, signal: AbortSignal) => Promise<string[]>;

interface Options {
  readonly hosts?: readonly string[];
  readonly mode?: Mode;
  readonly addresses?: LookUp;
  readonly records?: (name: string, type: string, signal: AbortSignal) => Promise<readonly DnsRecord[]>;
}

const BOTH = ["203.0.113.7", "2001:db8::7"];
const denied = () => new ProxyError("upstream.address-denied", "x", { reason: "address-denied" });

/** The service for the client `one`, whose rules are for these hosts. */
function setUp({ hosts = ["a.test"], mode = "strict", addresses, records }: Options = {}) {
  const engine = new Engine({ mode });
  for (const host of hosts) engine.policy.allow("one", { host });
  const [deadlines, clock] = [new FakeDeadlines(), new FakeClock()];
  /** What was looked up: a host with the rule's, or a type of records and a name. */
  const asked: string[] = [];
  const context = {
    ...{ ...engine.context, deadlines, clock },
    limits: { ...engine.context.limits, resolveTimeoutMs: 5_000, headTimeoutMs: 7_000 },
    dialler: {
      addresses: (target: DialTarget, signal: AbortSignal) => {
        assertEquals([target.scheme, target.port, signal.aborted], ["https", 443, false]);
        asked.push(`${target.host} for ${target.ruleHost}`);
        return addresses ? addresses(target, signal) : Promise.resolve(BOTH);
      },
    } as unknown as Dialler,
    resolveRecords: (
      name: string,
      type: string,
      { client, signal }: { client: string; signal: AbortSignal },
    ) => {
      asked.push(`${type} ${name} by ${client}`);
      return records ? records(name, type, signal) : Promise.resolve([]);
    },
  };
  const make = (bytes: Uint8Array, { lines = [], body, token = TOKEN }: {
    readonly lines?: readonly string[];
    readonly body?: MessageBody;
    readonly token?: string;
  } = {}) =>
    makeExchange(context, {
      head: { method: "POST", target: "/dns-query" },
      lines: [
        ...["Content-Type: application/dns-message", `Proxy-Authorization: ${basic(token)}`],
        ...(lines.length > 0 ? lines : [`Content-Length: ${bytes.length}`]),
      ],
      body: body ?? new PiecedBody(["", bytes.subarray(0, 5), "", bytes.subarray(5)]),
      session: { tunnel: undefined },
    });
  const ask = async (name: string, type = TYPE_A) => {
    const made = make(formatDnsQuery({ id: 7, name, type }));
    await serveDns(made.exchange);
    const [answer, ...more] = made.answers;
    assert(answer && more.length === 0);
    const { ttl, ...said } = parseDnsAnswer(Buffer.from(answer.body), { name, type });
    const maxAge = answer.fields.find(({ key }) => key === "cache-control")?.value ?? "";
    if (said.addresses.length > 0) assertEquals(maxAge, `max-age=${ttl}`);
    return { ...said, ttl: Number(maxAge.slice("max-age=".length)), made: answer };
  };
  /** Audit lines so far. */
  const lines = async () => {
    await engine.context.audit.flush();
    return engine.lines;
  };
  return {
    ...{ engine, context, deadlines, clock, asked, make, ask, lines },
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

Deno.test("isDnsRequest() is one POST to one path, inside TLS and in no tunnel", async () => {
  await using made = setUp();
  const { exchange } = made.make(new Uint8Array(0));
  assertEquals(isDnsRequest(exchange), true);
  const { session, request } = exchange;
  const head = (more: object) => ({
    ...exchange,
    request: { ...request, head: { ...request.head, ...more } },
  });
  const tunnel = { scheme: "https", host: "a", port: 1, client: { name: "one", version: "1" } } as const;
  for (
    const other of [
      ...[head({ method: "GET" }), head({ target: "/dns-query?" }), head({ target: "/" })],
      ...[{ ...exchange, session: { ...session, isTls: false } }, {
        ...exchange,
        session: { ...session, tunnel },
      }],
    ]
  ) assertEquals(isDnsRequest(other), false);
});

Deno.test("serveDns() answers with the addresses of the family that was asked for, good for half a minute", async () => {
  await using made = setUp();
  const { rcode, addresses, ttl, made: answer } = await made.ask("A.test");
  assertEquals([rcode, addresses, ttl], [RCODE.noError, ["203.0.113.7"], 30]);
  assertEquals([answer.status, answer.phrase], [200, "OK"]);
  assertEquals(answer.fields.map(({ line }) => line), [
    "Content-Type: application/dns-message",
    `Content-Length: ${answer.body.length}`,
    "Cache-Control: max-age=30",
    "Date: Sun, 01 Nov 2026 00:00:00 GMT",
  ]);
  assertEquals((await made.ask("a.test", TYPE_AAAA)).addresses, ["2001:db8::7"]);
  assertEquals(made.asked, ["a.test for a.test", "a.test for a.test"]);
  assertEquals(await made.lines(), new Array(2).fill("allow client=one method=DNS host=a.test duration=0ms"));
  assertEquals(made.deadlines.left, []);
});

Deno.test("serveDns() asks nobody about what no rule allows, nor about what nobody has", async (t) => {
  const rows: readonly (readonly [
    Mode,
    name: string,
    type: number,
    rcode: number,
    addresses: string[],
    line?: string,
  ])[] = [
    [
      "strict",
      "b.test",
      TYPE_A,
      3,
      [],
      "deny client=one method=DNS host=b.test mode=strict reason=no-rule",
    ],
    ["strict", "x.invalid", TYPE_A, 3, []],
    ["strict", "", TYPE_A, 3, [], "deny client=one method=DNS mode=strict reason=no-rule"],
    [
      "strict",
      "1.2.3.4",
      TYPE_A,
      3,
      [],
      "deny client=one method=DNS host=1.2.3.4 mode=strict reason=no-rule",
    ],
    [
      "audit",
      "b.test",
      TYPE_A,
      0,
      ["192.0.2.1"],
      "deny client=one method=DNS host=b.test mode=audit reason=no-rule",
    ],
    [
      "audit",
      "b.test",
      TYPE_AAAA,
      0,
      [],
      "deny client=one method=DNS host=b.test mode=audit reason=no-rule",
    ],
    ["audit", "x.invalid", TYPE_A, 3, []],
    [
      "audit",
      "a b.test",
      TYPE_A,
      3,
      [],
      "deny client=one method=DNS host=a%20b.test mode=audit reason=no-rule",
    ],
  ];
  for (const [mode, name, type, rcode, addresses, line] of rows) {
    await t.step(`${mode} ${name} ${type}`, async () => {
      await using made = setUp({ mode, hosts: ["a.test", "*.invalid"] });
      const found = await made.ask(name, type);
      assertEquals([found.rcode, found.addresses, found.ttl, made.asked], [rcode, addresses, 0, []]);
      const logged = (await made.lines()).map((each) => each.replace(/ host=(""|-)(?= )/, ""));
      assertEquals(logged, line === undefined ? [] : [line]);
    });
  }
});

Deno.test("serveDns() tells nothing of other types, and asks nobody about them", async () => {
  await using made = setUp();
  for (const type of [65, 64, 255, 6]) {
    const { rcode, addresses, ttl } = await made.ask("a.test", type);
    assertEquals([rcode, addresses, ttl], [RCODE.noError, [], 0]);
  }
  assertEquals(made.asked, []);
  assertEquals((await made.lines()).length, 4);
});

Deno.test("serveDns() of a service or reverse name has records and no addresses", async () => {
  const records = [{ type: "SRV", priority: 0, weight: 0, port: 1, name: "b.test" }] as const;
  await using made = setUp({ records: () => Promise.resolve(records) });
  const service = "_http._tcp.a.test";
  const found = await made.ask(service, 33);
  assertEquals([found.rcode, found.records?.length, found.ttl], [RCODE.noError, 1, 30]);
  assertEquals(made.asked, ["a.test for a.test", `SRV ${service} by one`]);
  const none = await made.ask(service);
  assertEquals([none.rcode, none.addresses, none.ttl, made.asked.length], [RCODE.noError, [], 0, 2]);
});

Deno.test("serveDns() with no record to tell says so for no time", async () => {
  await using made = setUp();
  const { rcode, records = [], ttl } = await made.ask("a.test", 16);
  assertEquals([rcode, records, ttl], [RCODE.noError, [], 0]);
});

Deno.test("serveDns() tries each rule's host once until one may have the addresses, and asks no more after another failure", async () => {
  await using made = setUp({
    hosts: ["*", "*.test", "*", "a.test"],
    addresses: ({ ruleHost }) => ruleHost === "a.test" ? Promise.resolve(BOTH) : Promise.reject(denied()),
  });
  assertEquals((await made.ask("a.test")).addresses, ["203.0.113.7"]);
  assertEquals(made.asked, ["a.test for *", "a.test for *.test", "a.test for a.test"]);
  await using failing = setUp({
    hosts: ["*", "a.test"],
    addresses: () => Promise.reject(lookupError("a.test", new FailedLookup("servfail"))),
  });
  assertEquals((await failing.ask("a.test")).rcode, RCODE.servFail);
  assertEquals(failing.asked, ["a.test for *"]);
});

Deno.test("serveDns() says what a failure means to who asked, and to the log", async (t) => {
  const failed = (...kind: ConstructorParameters<typeof FailedLookup>) =>
    lookupError("a.test", new FailedLookup(...kind));
  const allow = "allow client=one method=DNS host=a.test reason=dns duration=0ms";
  const deny = (reason: string) => `deny client=one method=DNS host=a.test mode=strict reason=${reason}`;
  const rows: readonly (readonly [string, ProxyError, rcode: number, line: string])[] = [
    ["NXDOMAIN", failed("nxdomain"), RCODE.nxDomain, allow],
    ["the system does not tell", failed("missing"), RCODE.nxDomain, allow],
    ["no address", failed("no-data"), RCODE.noError, allow],
    ["SERVFAIL", failed("servfail"), RCODE.servFail, allow],
    ["no answer in time", failed("timeout"), RCODE.servFail, allow],
    ["an address that is closed", denied(), RCODE.nxDomain, deny("address-denied")],
    [
      "no reason of ours",
      new ProxyError("upstream.dns", "x", { reason: "no such" }),
      RCODE.nxDomain,
      deny("internal"),
    ],
    ["no reason", new ProxyError("upstream.refused", "x"), RCODE.nxDomain, deny("internal")],
  ];
  for (const [name, error, rcode, line] of rows) {
    await t.step(name, async () => {
      await using made = setUp({ addresses: () => Promise.reject(error) });
      const found = await made.ask("a.test");
      assertEquals([found.rcode, found.addresses, found.ttl], [rcode, [], 0]);
      assertEquals(await made.lines(), [line]);
    });
  }
});

Deno.test("serveDns() tells nobody DNS's way of what is a limit or a bug", async () => {
  for (const error of [new ProxyError("limit.reached", "x", { reason: "quota" }), new TypeError("a bug")]) {
    await using made = setUp({ addresses: () => Promise.reject(error) });
    await assertRejects(() => made.ask("a.test"), error instanceof ProxyError ? ProxyError : TypeError);
    assertEquals(await made.lines(), []);
  }
});

Deno.test("serveDns() tells records of what has no address, and none of what may not be reached or is not known", async (t) => {
  const failed = (kind: "nxdomain" | "no-data" | "servfail" | "timeout") =>
    lookupError("a.test", new FailedLookup(kind));
  const rows: readonly (readonly [string, ProxyError, rcode: number, isAsked: boolean])[] = [
    ["no address", failed("no-data"), RCODE.noError, true],
    ["no such name", failed("nxdomain"), RCODE.noError, true],
    ["SERVFAIL", failed("servfail"), RCODE.servFail, false],
    ["no answer in time", failed("timeout"), RCODE.servFail, false],
    ["a closed address", denied(), RCODE.nxDomain, false],
  ];
  for (const [name, error, rcode, isAsked] of rows) {
    await t.step(name, async () => {
      await using made = setUp({ addresses: () => Promise.reject(error) });
      assertEquals((await made.ask("a.test", 16)).rcode, rcode);
      assertEquals(made.asked.slice(1), isAsked ? ["TXT a.test by one"] : []);
    });
  }
});

Deno.test("serveDns() waits for records as long as for addresses, and says in its own words that nobody answered", async () => {
  const signals: AbortSignal[] = [];
  const waiting = Promise.withResolvers<void>();
  await using made = setUp({
    records: (_name, _type, signal) => {
      signals.push(signal);
      waiting.resolve();
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
    },
  });
  const found = made.ask("a.test", 16);
  await waiting.promise;
  assertEquals([made.deadlines.left, signals[0]?.aborted], [[5_000], false]);
  made.deadlines.advance(5_000);
  assertEquals((await found).rcode, RCODE.servFail);
  assertEquals([signals[0]?.aborted, made.deadlines.left], [true, []]);
  assertEquals(await made.lines(), ["allow client=one method=DNS host=a.test reason=dns duration=0ms"]);
  await using told = setUp({ records: () => Promise.reject(new FailedLookup("nxdomain")) });
  assertEquals((await told.ask("a.test", 16)).rcode, RCODE.nxDomain);
});

Deno.test("serveDns() lets a client have 64 look-ups under way, whatever they are for, and frees each place", async () => {
  const gate = Promise.withResolvers<string[]>();
  await using made = setUp({ addresses: () => gate.promise });
  const { context: { policy } } = made;
  const waiting = Array.from({ length: 64 }, () => made.ask("a.test"));
  while (made.asked.length < 64) await Promise.resolve();
  const refused = await assertRejects(() => made.ask("a.test"), ProxyError);
  assertEquals([refused.code, refused.reason, refused.message], [
    ...["limit.reached", "quota", "Cannot look up the name: too many look-ups are under way"],
  ]);
  await assertRejects(() => made.ask("a.test", 16), ProxyError);
  assertEquals([made.asked.length, policy.isLost()], [64, false]);
  gate.resolve(BOTH);
  await Promise.all(waiting);
  const again = await Promise.all(Array.from({ length: 64 }, () => made.ask("a.test")));
  assertEquals(again.every(({ addresses: [first] }) => first === "203.0.113.7"), true);
});

Deno.test("serveDns() frees one place for each look-up that ends, and no more", async () => {
  const gates: PromiseWithResolvers<string[]>[] = [];
  await using made = setUp({
    addresses: () => {
      const gate = Promise.withResolvers<string[]>();
      gates.push(gate);
      return gate.promise;
    },
  });
  const waiting = Array.from({ length: 64 }, () => made.ask("a.test"));
  while (gates.length < 64) await Promise.resolve();
  for (const gate of gates.slice(0, 2)) gate.resolve(BOTH);
  await Promise.all(waiting.slice(0, 2));
  const more = [made.ask("a.test"), made.ask("a.test")];
  while (gates.length < 66) await Promise.resolve();
  await assertRejects(() => made.ask("a.test"), ProxyError);
  for (const gate of gates) gate.resolve(BOTH);
  await Promise.all([...waiting, ...more]);
});

Deno.test("serveDns() takes a query of 1,024 bytes whose length is said, and none that could hide another", async (t) => {
  const query = formatDnsQuery({ id: 7, name: "a.test", type: TYPE_A });
  const padded = new Uint8Array(1_024);
  padded.set(query);
  const type = "Content-Type: application/dns-message";
  const rows: readonly (readonly [string, Uint8Array, string[], message: string | undefined])[] = [
    ["all that there may be", padded, ["Content-Length: 1024"], undefined],
    ["one more", padded, ["Content-Length: 1025"], "it needs a Content-Length of at most 1024"],
    ["no number", padded, ["Content-Length: x"], "it needs a Content-Length of at most 1024"],
    [
      "chunks",
      query,
      ["Content-Length: 24", "Transfer-Encoding: chunked"],
      "it needs a Content-Length of at most 1024",
    ],
  ];
  for (const [name, bytes, lines, message] of rows) {
    await t.step(name, async () => {
      await using made = setUp();
      const { exchange, answers } = made.make(bytes, { lines });
      if (message === undefined) {
        await serveDns(exchange);
        assertEquals(answers.length, 1);
        return;
      }
      const error = await assertRejects(() => serveDns(exchange), ProxyError);
      assertEquals([error.code, error.reason, error.message], [
        ...["client.malformed", "malformed", `Cannot read the DNS query: ${message}`],
      ]);
    });
  }
  await t.step("another type", async () => {
    await using made = setUp();
    const { exchange } = made.make(query);
    const fields = exchange.request.head.fields.filter(({ line }) => line !== type);
    const other = {
      ...exchange,
      request: { ...exchange.request, head: { ...exchange.request.head, fields } },
    };
    const { message } = await assertRejects(() => serveDns(other), ProxyError);
    assertEquals(message, "Cannot read the DNS query: it is no application/dns-message");
  });
});

Deno.test("serveDns() ends with who goes inside a query, and cuts who sends it too slowly", async () => {
  await using made = setUp();
  const body = new PiecedBody(["abc"], "cut");
  const { code, message } = await assertRejects(
    () => serveDns(made.make(new Uint8Array(9), { body }).exchange),
    ProxyError,
  );
  assertEquals([code, message], [
    "client.closed",
    "Cannot read the DNS query: the connection ended inside it",
  ]);
  assertEquals([made.deadlines.left, body.releases], [[], 1]);
  const slow = made.make(new Uint8Array(9), { body: new PiecedBody(["abc"], "hangs") });
  void serveDns(slow.exchange);
  assertEquals([made.deadlines.left, slow.cuts], [[7_000], []]);
  made.deadlines.advance(7_000);
  assertEquals(slow.cuts, [undefined]);
});

Deno.test("serveDns() knows who asks before it reads anything", async () => {
  await using made = setUp();
  const body = new PiecedBody(["abc"], "hangs");
  const { code } = await assertRejects(
    () => serveDns(made.make(new Uint8Array(3), { body, token: "spi_wrong_token_of_nobody" }).exchange),
    ProxyError,
  );
  assertEquals([code, body.releases], ["auth.invalid", 0]);
});
