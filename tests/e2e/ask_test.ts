/** Rules that ask a person first: who waits, who decides, what an approval may do, and what ends the waiting. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { startEchoUpstream, type Upstream } from "../support/echo_upstream.ts";
import { Program } from "../support/program.ts";
import { basic, dialRaw, openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { soon, waitUntil } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";
import { signBody } from "../../cli/up/ask_webhook.ts";
import { header } from "../support/fake_provider.ts";
import { AskBook } from "../../proxy/decide/ask_book.ts";

async function setUp(more: Parameters<TestProxy["policy"]["allow"]>[1] | Record<string, unknown> = {}) {
  const stack = new AsyncDisposableStack();
  const upstream = stack.use(await startEchoUpstream());
  const asks = new AskBook();
  const proxy = stack.use(await startTestProxy({ asks }));
  const rule = proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], ask: true, ...more });
  const open = () => openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  return { upstream, asks, proxy, rule, open, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function ask(tunnel: RawPeer, { port }: Pick<Upstream, "port">, head = "GET /v1") {
  await tunnel.send(`${head} HTTP/1.1\r\nHost: up.test:${port}\r\n\r\n`);
}

/** The one that waits. */
async function waiting(asks: AskBook) {
  await waitUntil("a request waits", () => asks.list().length > 0);
  const [first] = asks.list();
  assert(first);
  return first;
}

Deno.test("a request waits, the upstream sees nothing, and goes on when it is approved", async () => {
  await using setup = await setUp();
  using tunnel = await setup.open();
  await ask(tunnel, setup.upstream, "GET /v1?a=b");
  const { id, sinceMs, untilMs, ruleId, ...shown } = await waiting(setup.asks);
  assertEquals(shown, {
    ...{ client: "one", method: "GET", scheme: "https", host: "up.test", port: setup.upstream.port },
    ...{ path: "/v1", query: "a=b" },
  });
  assertEquals([untilMs - sinceMs, ruleId], [300_000, setup.rule.id]);
  assertEquals(setup.upstream.connections, 0);
  assertEquals(setup.asks.settle(id, "approved"), true);
  assertEquals((await soon("an answer", tunnel.readResponse())).status, 200);
  assertEquals([setup.asks.list(), setup.asks.settle(id, "approved")], [[], false]);
  await ask(tunnel, setup.upstream); // it was for that one only
  setup.asks.settle((await waiting(setup.asks)).id, "denied");
  const denied = await soon("an answer", tunnel.readResponse());
  assertEquals(denied.status, 403);
  assertMatch(denied.head, /X-Slicer-Proxy-Reason: ask-denied/);
  assertEquals(setup.upstream.seen.length, 1);
  await setup.proxy.waitLine(/^deny client=one method=GET .* path=\/v1 mode=strict reason=ask-denied$/);
});

Deno.test("nobody decides: the request is refused in time", async () => {
  await using setup = await setUp({ askTimeoutMs: 1_000 });
  using tunnel = await setup.open();
  await ask(tunnel, setup.upstream);
  const late = await soon("an answer", tunnel.readResponse());
  assertMatch(late.head, /X-Slicer-Proxy-Reason: ask-timeout/);
  assertEquals(setup.asks.list(), []);
});

Deno.test("what ends the waiting: the rule goes, the client is suspended, the client goes away with or without a body", async (t) => {
  await t.step("the rule goes", async () => {
    await using setup = await setUp();
    using tunnel = await setup.open();
    await ask(tunnel, setup.upstream);
    await waiting(setup.asks);
    setup.proxy.policy.revoke(setup.rule);
    await waitUntil("nothing waits", () => setup.asks.list().length === 0);
    await setup.proxy.waitLine(/^deny client=one method=GET .*reason=revoked/);
  });
  await t.step("the client is suspended", async () => {
    await using setup = await setUp();
    using tunnel = await setup.open();
    await ask(tunnel, setup.upstream);
    const { id } = await waiting(setup.asks);
    setup.proxy.policy.suspend("one");
    await waitUntil("nothing waits", () => setup.asks.list().length === 0);
    assertEquals(setup.asks.settle(id, "approved"), false);
    assertEquals(setup.upstream.seen, []);
  });
  for (const body of ["", "Content-Length: 5\r\n"]) {
    await t.step(`the client goes away${body && ", whose body nobody has read"}`, async () => {
      await using setup = await setUp();
      const tunnel = await setup.open();
      const { port } = setup.upstream;
      await tunnel.send(`POST /v1 HTTP/1.1\r\nHost: up.test:${port}\r\n${body}\r\n${body && "hello"}`);
      await waiting(setup.asks);
      tunnel[Symbol.dispose]();
      await waitUntil("nothing waits", () => setup.asks.list().length === 0);
    });
  }
});

Deno.test("an approval lifts nothing: what a deny rule says meanwhile, and another rule that asks", async () => {
  await using setup = await setUp();
  using tunnel = await setup.open();
  await ask(tunnel, setup.upstream);
  const { id } = await waiting(setup.asks);
  // Before the others, as `deny --first` puts it.
  const { policy } = setup.proxy;
  const rules = policy.rulesOf({ name: "one", version: "" }) as ReturnType<typeof policy.allow>[];
  policy.allow("one", { host: "up.test", ports: [setup.upstream.port], deny: true });
  rules.reverse();
  setup.asks.settle(id, "approved");
  const denied = await soon("an answer", tunnel.readResponse());
  assertMatch(denied.head, /X-Slicer-Proxy-Reason: rule-denied/);
  assertEquals(setup.upstream.seen, []);
});

Deno.test("a body that waited is sent as it came", async () => {
  await using setup = await setUp();
  using tunnel = await setup.open();
  const { port } = setup.upstream;
  await tunnel.send(`POST /v1 HTTP/1.1\r\nHost: up.test:${port}\r\nContent-Length: 100000\r\n\r\nfirst`);
  const { id } = await waiting(setup.asks);
  const sending = tunnel.send("x".repeat(99_995));
  setup.asks.settle(id, "approved");
  assertEquals((await soon("an answer", tunnel.readResponse())).status, 200);
  await sending;
  assertEquals(setup.upstream.seen[0]?.body, `first${"x".repeat(99_995)}`);
});

Deno.test("a client that floods has sixteen places, and gets 429 beyond them", async () => {
  await using setup = await setUp();
  const tunnels = await Promise.all(Array.from({ length: 20 }, () => setup.open()));
  for (const tunnel of tunnels) await ask(tunnel, setup.upstream);
  await waitUntil(
    "they wait or are refused",
    () =>
      setup.asks.list().length +
          setup.proxy.lines.filter((line) => /status=429 reason=quota/.test(line)).length === 20,
  );
  assertEquals(setup.asks.list().length, 16);
  for (const tunnel of tunnels) tunnel[Symbol.dispose]();
  await waitUntil("all places are free", () => setup.asks.list().length === 0);
  using again = await setup.open();
  await ask(again, setup.upstream);
  setup.asks.settle((await waiting(setup.asks)).id, "approved");
  assertEquals((await soon("an answer", again.readResponse())).status, 200);
});

Deno.test("POST /requests: a program asks for a rule with its own token, and says why", async () => {
  await using setup = await setUp();
  const post = async (body: unknown, token = TOKEN) => {
    const peer = await dialRaw(setup.proxy.httpPort);
    const text = typeof body === "string" ? body : JSON.stringify(body);
    await peer.send(
      `POST /requests HTTP/1.1\r\nHost: proxy\r\nProxy-Authorization: ${basic(token)}\r\n` +
        `Content-Length: ${text.length}\r\n\r\n${text}`,
    );
    return peer;
  };
  const wanted = { method: "get", url: "https://api.test/v1?a=b", reason: "I need <b>it</b>\n\u001b[2J" };
  using peer = await post(wanted);
  const { id, sinceMs: _since, untilMs: _until, ...shown } = await waiting(setup.asks);
  assertEquals(shown, {
    ...{ client: "one", method: "GET", scheme: "https", host: "api.test", port: 443, path: "/v1" },
    reason: wanted.reason,
  });
  setup.asks.settle(id, "approved");
  const answer = await soon("an answer", peer.readResponse());
  assertEquals([answer.status, answer.body], [200, '{"approved":true}\n']);
  using denied = await post(wanted);
  setup.asks.settle((await waiting(setup.asks)).id, "denied");
  assertMatch((await soon("an answer", denied.readResponse())).head, /X-Slicer-Proxy-Reason: ask-denied/);
  const bad: unknown[] = [
    ...["", "[]", "null", "{}", "x".repeat(8_193)],
    ...[{ ...wanted, reason: "" }, { ...wanted, reason: "x".repeat(501) }, { ...wanted, secret: "key" }],
    ...[{ ...wanted, url: "ftp://a.test/" }, { ...wanted, url: "https://u:p@a.test/" }, {
      ...wanted,
      url: "a",
    }],
    ...[{ ...wanted, url: "https://a.test/*" }, { ...wanted, url: "https://*.test/" }, {
      ...wanted,
      method: "*",
    }],
    ...[{ ...wanted, method: 5 }, { ...wanted, url: "https://a.test/%252e" }],
    ...[{ ...wanted, url: "https://a.test/a/../b" }, { ...wanted, url: "https://a.test/a b" }],
  ];
  for (const body of bad) {
    using peer = await post(body);
    assertEquals((await soon("an answer", peer.readResponse())).status, 400, JSON.stringify(body));
  }
  using unknown = await post(wanted, "spi_of_nobody_at_all_0123456789");
  assertEquals((await soon("an answer", unknown.readResponse())).status, 407);
  assertEquals(setup.asks.list(), []);
  // Its body takes its time, and meanwhile the client is suspended: nobody is shown it.
  const text = JSON.stringify(wanted);
  const { policy } = setup.proxy;
  let looks = 0;
  const isSuspended = policy.isSuspended.bind(policy);
  policy.isSuspended = (name) => {
    looks++;
    return isSuspended(name);
  };
  using slow = await dialRaw(setup.proxy.httpPort);
  await slow.send(
    `POST /requests HTTP/1.1\r\nHost: proxy\r\nProxy-Authorization: ${basic(TOKEN)}\r\n` +
      `Content-Length: ${text.length}\r\n\r\n${text.slice(0, 10)}`,
  );
  await waitUntil("its head was read", () => looks > 0);
  policy.suspend("one");
  await slow.send(text.slice(10));
  const suspended = await soon("an answer", slow.readResponse());
  assertMatch(suspended.head, /X-Slicer-Proxy-Reason: client-suspended/);
  assertEquals(setup.asks.list(), []);
  policy.resume("one");
  const gone = await post(wanted);
  await waiting(setup.asks);
  gone[Symbol.dispose]();
  await waitUntil("it is withdrawn", () => setup.asks.list().length === 0);
});

for (const workers of [1, 2]) {
  Deno.test({
    name: `up --workers=${workers}: requests list, approve --once, --for, --always, deny`,
    ignore: workers > 1 && Deno.build.os !== "linux",
    fn: async () => {
      await using upstream = await startEchoUpstream({ names: ["localhost"] });
      await using hook = await startEchoUpstream({ names: ["localhost"] });
      const secret = "0123456789abcdef0123";
      const dir = await Deno.makeTempDir({ prefix: "slicer-ask-" });
      try {
        const program = new Program(dir);
        await Deno.writeTextFile(`${dir}/roots.crt`, (await upstreamAuthority()).caPem);
        await Deno.writeTextFile(`${dir}/hook-key`, `${secret}\n`);
        const webhook = [
          `--ask-webhook=https://localhost:${hook.port}/hook`,
          "--ask-webhook-secret-file=hook-key",
        ];
        const where = [`--workers=${workers}`, "--allow-cidr=127.0.0.0/8,::1/128", "--upstream-ca=system"];
        const flags = [...where, ...webhook];
        assertEquals((await program.run(["up", ...where, ...webhook.slice(0, 1)])).code, 2);
        await using daemon = await program.up(flags, { SSL_CERT_FILE: `${dir}/roots.crt` });
        const token = await program.ok(["client", "create", "one"]);
        const port = `${upstream.port}`;
        const target = `localhost:${port}`;
        await program.ok([
          "allow",
          "one",
          "--host",
          "localhost",
          "--port",
          port,
          "--ask",
          "--ask-timeout",
          "2m",
        ]);
        const caPem = await Deno.readTextFile(`${dir}/.slicer/ca/sbox/ca.crt`);
        const send = async (path: string) => {
          const tunnel = await openTlsTunnel(daemon.httpPort, target, token, caPem);
          await tunnel.send(`GET ${path} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
          return tunnel;
        };
        const status = async (tunnel: RawPeer) => (await soon("an answer", tunnel.readResponse())).status;
        const list = async () =>
          JSON.parse(await program.ok(["requests", "list", "--json"])) as { id: string; path: string }[];
        const idOf = async (path: string) => {
          let id: string | undefined;
          await waitUntil(`${path} waits`, async () => {
            id = (await list()).find((each) => each.path === path)?.id;
            return id !== undefined;
          });
          return id ?? "";
        };
        const decided: [string, string[], number][] = [
          ["/a", ["approve", "--once"], 200],
          ["/b", ["approve", "--for", "15m"], 200],
          ["/c", ["approve", "--always"], 200],
          ["/d", ["deny"], 403],
        ];
        for (const [path, [verb = "", ...how], expected] of decided) {
          using tunnel = await send(path);
          const id = await idOf(path);
          await program.ok(["requests", verb, id, ...how]);
          assertEquals(await status(tunnel), expected, path);
          assertEquals((await program.run(["requests", verb, id, ...how])).code, 1);
        }
        for (const path of ["/b", "/c"]) {
          using tunnel = await send(path);
          assertEquals(await status(tunnel), 200, path);
        }
        const rules = await program.ok(["rules", "one"]);
        assertMatch(rules, /GET +\d+ +\/b +in 1[45]m/);
        assertMatch(rules, /GET +\d+ +\/c +never/);
        {
          using _waits = await send("/a");
          await idOf("/a");
          assertMatch(
            await program.ok(["requests", "list"]),
            /^[0-9a-f]{12} +one +GET +https:\/\/localhost:\d+\/a /m,
          );
          await program.ok(["client", "suspend", "one"]);
          assertEquals(await list(), []);
        }
        await waitUntil("the webhook was told of all", () => hook.seen.length >= 5);
        const [told] = hook.seen;
        const value = (name: string) => told && header(told, name);
        assertEquals(
          value("x-slicer-proxy-signature"),
          signBody(secret, Number(value("x-slicer-proxy-timestamp")), told?.body ?? ""),
        );
        const { event, client, url } = JSON.parse(told?.body ?? "");
        assertEquals([event, client, url], ["request", "one", `https://${target}/a`]);
        const lines = (await daemon.end("SIGTERM"), daemon.stdout.text).split("\n");
        assertEquals(lines.filter((line) => /^change .*method=(APPROVE|DENY)/.test(line)).length, 4);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}
