import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { ProxyError } from "../../../../core/errors.ts";
import { AskBook } from "../../../../proxy/decide/ask_book.ts";
import { isRuleRequest, serveRuleRequest } from "../../../../proxy/guest/rule_request.ts";
import { serveGuest } from "../../../../proxy/guest/service.ts";
import type { MessageBody, RequestHead } from "../../../../proxy/message/message.ts";
import { FakeClock } from "../../../support/fake_clock.ts";
import { FakeDeadlines } from "../../../support/fake_deadlines.ts";
import { makeExchange, PiecedBody } from "../../../support/make_exchange.ts";
import { basic } from "../../../support/raw_peer.ts";
import { settle } from "../../../wire/pipe.ts";
import { Engine, TOKEN } from "../../../wire/harness.ts";

const WANTED = { method: "GET", url: "https://api.test/v1/models", reason: "the models" };

function setUp() {
  const engine = new Engine();
  const [asks, deadlines, clock] = [new AskBook(), new FakeDeadlines(), new FakeClock()];
  const forTrust = () => Promise.resolve("-----BEGIN CERTIFICATE-----\n");
  const context = {
    ...{ ...engine.context, asks, deadlines, clock },
    limits: { ...engine.context.limits, headTimeoutMs: 7_000 },
    certificates: { ...engine.context.certificates, forTrust },
  };
  const make = (wanted: unknown, { lines, body, head = {} }: {
    readonly lines?: readonly string[];
    readonly body?: MessageBody;
    readonly head?: Partial<RequestHead>;
  } = {}) => {
    const text = typeof wanted === "string" ? wanted : JSON.stringify(wanted);
    return makeExchange(context, {
      head: { method: "POST", target: "/requests", ...head },
      lines: [
        `Proxy-Authorization: ${basic(TOKEN)}`,
        ...lines ?? [`Content-Length: ${Buffer.byteLength(text)}`],
      ],
      body: body ?? new PiecedBody(["", Buffer.from(text)]),
      session: { tunnel: undefined },
    });
  };
  return {
    ...{ engine, asks, deadlines, clock, make },
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

/** What is shown to a person of what was wanted, or why it is refused. */
async function shownOf(wanted: unknown, more: Parameters<ReturnType<typeof setUp>["make"]>[1] = {}) {
  await using made = setUp();
  const served = serveRuleRequest(made.make(wanted, more).exchange).then(() => "served", (error) => error);
  await settle();
  const [ask] = made.asks.list();
  if (ask) made.asks.settle(ask.id, "denied");
  const error = await served;
  assert(error instanceof ProxyError);
  assertEquals(made.deadlines.left, []);
  if (!ask) {
    assertEquals(error.code, "client.malformed");
    return error.message.replace("Cannot read what is asked for: ", "");
  }
  assertEquals([error.code, error.reason], ["policy.asked", "ask-denied"]);
  const { scheme, method, host, port, path, reason } = ask;
  return [scheme, method, host, port, path, reason];
}

Deno.test("serveRuleRequest() shows a person what a program wants, and tells it once that is approved", async () => {
  await using made = setUp();
  const { exchange, answers } = made.make(WANTED);
  const served = serveRuleRequest(exchange);
  await settle();
  const [ask] = made.asks.list();
  assert(ask);
  const sinceMs = made.clock.now();
  assertEquals(ask, {
    ...{ id: ask.id, client: "one", scheme: "https", method: "GET", host: "api.test", port: 443 },
    ...{ path: "/v1/models", reason: "the models", sinceMs, untilMs: sinceMs + 300_000 },
  });
  assertEquals([made.deadlines.left, answers], [[300_000], []]);
  made.asks.settle(ask.id, "approved");
  await served;
  const [answer] = answers;
  assert(answer);
  assertEquals([answer.status, answer.phrase, Buffer.from(answer.body).toString()], [
    200,
    "OK",
    '{"approved":true}\n',
  ]);
  assertEquals(answer.fields.map(({ line }) => line), [
    ...["Content-Type: application/json", "Content-Length: 18", "Cache-Control: no-store"],
  ]);
});

Deno.test("serveRuleRequest() shows what was written, and nothing that was made of it", async (t) => {
  const plain = "the path of its url is not written plainly";
  const none = "no rule can be written for it";
  const shape = 'it wants {"method", "url", "reason"}, all of them texts';
  const long = "its reason has to have 1 to 500 characters";
  const rows: readonly (readonly [string, unknown, unknown])[] = [
    ["in clear", { ...WANTED, url: "http://api.test/a" }, [
      "http",
      "GET",
      "api.test",
      80,
      "/a",
      "the models",
    ]],
    ["a port", { ...WANTED, url: "https://api.test:8443/a" }, [
      "https",
      "GET",
      "api.test",
      8_443,
      "/a",
      "the models",
    ]],
    ["no path", { ...WANTED, url: "https://API.test" }, ["https", "GET", "api.test", 443, "/", "the models"]],
    ["a query", { ...WANTED, url: "https://api.test/a?b=c#d" }, [
      "https",
      "GET",
      "api.test",
      443,
      "/a",
      "the models",
    ]],
    ["a method in lower case", { ...WANTED, method: "post" }, [
      "https",
      "POST",
      "api.test",
      443,
      "/v1/models",
      "the models",
    ]],
    ["a reason of 500", { ...WANTED, reason: "x".repeat(500) }, [
      "https",
      "GET",
      "api.test",
      443,
      "/v1/models",
      "x".repeat(500),
    ]],
    ["a reason of 501", { ...WANTED, reason: "x".repeat(501) }, long],
    ["no reason", { ...WANTED, reason: "" }, long],
    ["no JSON", "{", "it is no JSON"],
    ["a number", "7", "it is no object"],
    ["null", "null", "it is no object"],
    ["a list", "[]", shape],
    ["a member more", { ...WANTED, secret: "key" }, shape],
    ["no method", { ...WANTED, method: undefined }, shape],
    ["a method that is none", { ...WANTED, method: 7 }, shape],
    ["no url", { ...WANTED, url: undefined }, shape],
    ["a reason that is none", { ...WANTED, reason: 7 }, shape],
    ["no URL at all", { ...WANTED, url: "api.test" }, "its url is none"],
    ["another scheme", { ...WANTED, url: "ftp://api.test/a" }, "its url is not plain"],
    ["a scheme that begins like it", { ...WANTED, url: "httpsx://api.test/a" }, "its url is not plain"],
    ["a user", { ...WANTED, url: "https://u@api.test/a" }, "its url is not plain"],
    ["a password", { ...WANTED, url: "https://:p@api.test/a" }, "its url is not plain"],
    ["dots", { ...WANTED, url: "https://api.test/a/../b" }, plain],
    ["a blank", { ...WANTED, url: "https://api.test/a b" }, plain],
    ["a backslash", { ...WANTED, url: "https://api.test\\a" }, plain],
    ["a pattern", { ...WANTED, url: "https://api.test/*" }, none],
    ["a method that is no token", { ...WANTED, method: "G ET" }, none],
    ["any method", { ...WANTED, method: "*" }, none],
  ];
  for (const [name, wanted, expected] of rows) {
    await t.step(name, async () => assertEquals(await shownOf(wanted), expected));
  }
});

Deno.test("serveRuleRequest() reads 8,192 bytes whose length is said, and no chunks", async () => {
  const limit = "it needs a Content-Length of at most 8192";
  const text = JSON.stringify(WANTED);
  const padded = text + " ".repeat(8_192 - text.length);
  assertEquals((await shownOf(padded, { lines: ["Content-Length: 8192"] }))[0], "https");
  for (
    const lines of [["Content-Length: 8193"], ["Content-Length: x"], [
      "Content-Length: 9",
      "Transfer-Encoding: chunked",
    ]]
  ) {
    assertEquals(await shownOf(WANTED, { lines }), limit);
  }
  assertEquals(
    await shownOf(WANTED, { body: new PiecedBody(["{"], "cut") }),
    "the connection ended inside it",
  );
});

Deno.test("serveRuleRequest() cuts who sends its body too slowly, and gives back what it has taken", async () => {
  await using made = setUp();
  const body = new PiecedBody(["{"], "hangs");
  const slow = made.make(WANTED, { body });
  void serveRuleRequest(slow.exchange);
  assertEquals([made.deadlines.left, slow.cuts, body.releases], [[7_000], [], 1]);
  made.deadlines.advance(7_000);
  assertEquals(slow.cuts, [undefined]);
});

Deno.test("serveRuleRequest() does nothing for a client that is suspended, before its body and after it", async () => {
  await using made = setUp();
  made.engine.policy.suspend("one");
  const body = new PiecedBody(["{"], "hangs");
  const before = await assertRejects(
    () => serveRuleRequest(made.make(WANTED, { body }).exchange),
    ProxyError,
  );
  assertEquals([before.code, body.releases], ["policy.suspended", 0]);
  made.engine.policy.resume("one");
  const waits = new PiecedBody(["", JSON.stringify(WANTED)]);
  const served = serveRuleRequest(made.make(WANTED, { body: waits }).exchange);
  made.engine.policy.suspend("one");
  assertEquals((await assertRejects(() => served, ProxyError)).code, "policy.suspended");
  assertEquals(made.asks.list(), []);
});

Deno.test("serveGuest() serves what is asked of the proxy itself, and nothing else", async (t) => {
  const rows: readonly (readonly [method: string, target: string, isServed: boolean])[] = [
    ["GET", "/ca.crt", true],
    ["POST", "/ca.crt", false],
    ["GET", "/ca.crt?", false],
    ["GET", "/requests", false],
    ["POST", "/requests/", false],
    ["GET", "/dns-query", false],
  ];
  for (const [method, target, isServed] of rows) {
    await t.step(`${method} ${target}`, async () => {
      await using made = setUp();
      const { exchange, answers } = made.make("", { head: { method, target } });
      assertEquals(await serveGuest(exchange), isServed);
      assertEquals(answers.length, isServed ? 1 : 0);
      const tunnel = { scheme: "https", host: "a", port: 1, client: { name: "one", version: "1" } } as const;
      assertEquals(await serveGuest({ ...exchange, session: { ...exchange.session, tunnel } }), false);
    });
  }
  await using made = setUp();
  const { exchange, answers } = made.make("", { head: { method: "GET", target: "/ca.crt" } });
  await serveGuest(exchange);
  const [answer] = answers;
  assertEquals([answer?.status, answer?.phrase], [200, "OK"]);
  assertEquals(answer?.fields.map(({ line }) => line), [
    ...["Content-Type: application/x-pem-file", "Content-Length: 28", "Cache-Control: no-store"],
  ]);
  assertEquals(Buffer.from(answer?.body ?? []).toString(), "-----BEGIN CERTIFICATE-----\n");
});

Deno.test("isRuleRequest() is one POST to one path, in no tunnel; serveGuest() serves it, and names", async () => {
  await using made = setUp();
  const { exchange } = made.make("{");
  assertEquals(isRuleRequest(exchange), true);
  await assertRejects(() => serveGuest(exchange), ProxyError, "it is no JSON");
  const tunnel = { scheme: "https", host: "a", port: 1, client: { name: "one", version: "1" } } as const;
  assertEquals(isRuleRequest({ ...exchange, session: { ...exchange.session, tunnel } }), false);
  const names = made.make("", { head: { target: "/dns-query" } });
  await assertRejects(() => serveGuest(names.exchange), ProxyError, "it is no application/dns-message");
});
