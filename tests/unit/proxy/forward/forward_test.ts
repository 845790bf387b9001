import { assert, assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import type { RuleInput } from "../../../../policy/rule.ts";
import type { AuditRecord } from "../../../../policy/audit_record.ts";
import { Engine, type EngineOptions } from "../../../wire/harness.ts";
import { type PipeEnd, settle } from "../../../wire/pipe.ts";

const TUNNEL = { scheme: "https", host: "up.test", port: 443 } as const;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Gathers what a stream sends until it ends. */
function gather(stream: PipeEnd) {
  const got = { text: "", end: "open" as "open" | "closed" | "cut" };
  void (async () => {
    const buffer = new Uint8Array(65_536);
    try {
      for (let count; (count = await stream.read(buffer)) !== null;) {
        got.text += Buffer.from(buffer.subarray(0, count)).toString("latin1");
      }
      got.end = "closed";
    } catch {
      got.end = "cut";
    }
  })();
  return got;
}

interface Upstream {
  readonly stream: PipeEnd;
  readonly got: ReturnType<typeof gather>;
}

/** An engine, a client in a tunnel to up.test, and the upstreams that it has dialled. */
function setUp(rule: Partial<RuleInput> = {}, options: Omit<EngineOptions, "onDial"> = {}) {
  const upstreams: Upstream[] = [];
  const engine = new Engine({
    ...options,
    onDial: (stream) => void upstreams.push({ stream, got: gather(stream) }),
  });
  engine.policy.setCredential({
    secret: "key",
    host: "up.test",
    headers: [["Authorization", "Bearer REAL"]],
  });
  const stored = engine.policy.allow("one", { host: "up.test", ...rule });
  const stream = engine.connect(TUNNEL);
  const client = { stream, got: gather(stream) };
  const records: AuditRecord[] = [];
  const write = engine.context.audit.write.bind(engine.context.audit);
  engine.context.audit.write = (record) => {
    records.push(record);
    write(record);
  };
  return {
    ...{ engine, upstreams, client, rule: stored, records },
    send: async (text: string) => {
      await stream.write(Buffer.from(text, "latin1"));
      await settle();
    },
    answer: async (index: number, text = OK) => {
      await upstreams[index]?.stream.write(Buffer.from(text, "latin1"));
      await settle();
    },
    lines: async () => {
      await engine.context.audit.flush();
      return engine.lines.map((line) => line.replace(/ duration=\S+/, ""));
    },
    async [Symbol.asyncDispose]() {
      stream.close();
      for (const { stream } of upstreams) stream.close();
      await engine[Symbol.asyncDispose]();
    },
  };
}

/** Waits for what depends on a real deadline. */
async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 10));
}

const head = (method: string, more = "") => `${method} /a HTTP/1.1\r\nHost: up.test\r\n${more}\r\n`;
const WHERE = "method=GET scheme=https host=up.test port=443 path=/a";

Deno.test("forward() sends again what may be sent twice when a kept connection turns out to be dead", async (t) => {
  for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "POST"]) {
    await t.step(method, async () => {
      await using made = setUp();
      await made.send(head("GET"));
      await made.answer(0);
      assertEquals([made.engine.context.pool.size, made.client.got.text.endsWith("ok")], [1, true]);
      await made.send(head(method));
      made.upstreams.at(-1)?.stream.close();
      await settle();
      const seen = made.upstreams.filter(({ got }) => got.text.endsWith(head(method))).length;
      assertEquals(seen, ["PATCH", "POST"].includes(method) ? 1 : 2);
    });
  }
});

Deno.test("forward() sends a request again once, and nothing that was answered or has a body", async (t) => {
  await t.step("the second connection breaks as well", async () => {
    await using made = setUp();
    await made.send(head("GET"));
    await made.answer(0);
    await made.send(head("GET"));
    made.upstreams[0]?.stream.close();
    await settle();
    made.upstreams[1]?.stream.close();
    await settle();
    assertEquals(made.upstreams.length, 2);
    assertMatch(made.client.got.text, /okHTTP\/1\.1 502 slicer-proxy: upstream-closed/);
  });
  await t.step("a new connection breaks", async () => {
    await using made = setUp();
    await made.send(head("GET"));
    made.upstreams[0]?.stream.close();
    await settle();
    assertEquals([made.upstreams.length, (await made.lines())[0]], [
      ...[1, `allow client=one ${WHERE} status=502 reason=upstream-closed sent=0 received=0`],
    ]);
  });
  await t.step("it breaks inside the answer", async () => {
    await using made = setUp();
    await made.send(head("GET"));
    await made.answer(0);
    await made.send(head("GET"));
    await made.answer(0, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab");
    made.upstreams[0]?.stream.close();
    await settle();
    assertEquals([made.upstreams.length, made.client.got.end], [1, "cut"]);
    assertEquals(
      (await made.lines())[1],
      `allow client=one ${WHERE} status=200 reason=upstream-closed sent=0 received=2`,
    );
  });
  await t.step("it has a body", async () => {
    await using made = setUp();
    await made.send(head("GET"));
    await made.answer(0);
    await made.send(head("PUT", "Content-Length: 2\r\n") + "ab");
    const before = made.upstreams.length;
    made.upstreams.at(-1)?.stream.close();
    await settle();
    assertEquals(made.upstreams.length, before);
  });
});

Deno.test("forward() closes the upstream when the client goes away while it waits, and says who went", async () => {
  await using made = setUp();
  await made.send(head("GET"));
  made.client.stream.abort();
  await settle();
  assertEquals([made.upstreams.length, made.upstreams[0]?.got.end === "open"], [1, false]);
  assertEquals(await made.lines(), [`allow client=one ${WHERE} reason=client-closed sent=0 received=0`]);
});

Deno.test("forward() notices that the client goes away behind its body too, however that came", async (t) => {
  for (const rest of ["", "cd"]) {
    await t.step(rest === "" ? "with the head" : "later", async () => {
      await using made = setUp();
      await made.send(head("POST", "Content-Length: 4\r\n") + (rest === "" ? "abcd" : "ab"));
      if (rest !== "") await made.send(rest);
      made.client.stream.abort();
      await settle();
      assertEquals(made.upstreams[0]?.got.end === "open", false);
      assertEquals((await made.lines())[0]?.includes("reason=client-closed sent=4 received=0"), true);
    });
  }
});

Deno.test("forward() ends what is under way when its rule goes, before its answer with words and within it by a cut", async () => {
  await using before = setUp();
  await before.send(head("GET"));
  before.engine.policy.revoke(before.rule);
  await settle();
  assertMatch(before.client.got.text, /^HTTP\/1\.1 403 slicer-proxy: revoked \(up\.test\)\r\n/);
  assertEquals([before.upstreams[0]?.got.end === "open", await before.lines()], [
    ...[false, [`deny client=one ${WHERE} mode=strict reason=revoked`]],
  ]);
  await using within = setUp();
  await within.send(head("GET"));
  await within.answer(0, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab");
  within.engine.policy.revoke(within.rule);
  await settle();
  assertEquals([within.client.got.end, within.upstreams[0]?.got.end === "open"], ["cut", false]);
  assertEquals(await within.lines(), [
    `allow client=one ${WHERE} status=200 reason=revoked sent=0 received=2`,
  ]);
});

Deno.test("forward() ends when the proxy stops, in its own words", async () => {
  await using made = setUp();
  await made.send(head("GET"));
  made.engine.context.grants.close();
  await settle();
  assertMatch(made.client.got.text, /^HTTP\/1\.1 503 slicer-proxy: shutdown /);
});

Deno.test("forward() has a time-out for the upstream's answer, and one for the client's body", async (t) => {
  const limits = { responseTimeoutMs: 50, bodyIdleTimeoutMs: 50 };
  const rows: readonly (readonly [string, string, Partial<RuleInput>, RegExp])[] = [
    [
      "the upstream",
      head("GET"),
      {},
      /^HTTP\/1\.1 504 slicer-proxy: upstream-timeout [^]*\nCannot forward the request: the upstream did not answer in time\.\n/,
    ],
    ["the upstream behind a body", head("POST", "Content-Length: 1\r\n") + "a", {}, /^HTTP\/1\.1 504 /],
    [
      "the client",
      head("POST", "Content-Length: 9\r\n") + "a",
      {},
      /^HTTP\/1\.1 408 slicer-proxy: idle-timeout [^]*\nCannot forward the request: the client stopped sending its body\.\n/,
    ],
  ];
  for (const [name, text, rule, expected] of rows) {
    await t.step(name, async () => {
      await using made = setUp(rule, { limits });
      await made.send(text);
      await until(() => made.client.got.text !== "");
      await settle();
      assertMatch(made.client.got.text, expected);
      assertEquals(made.upstreams[0]?.got.end === "open", false);
    });
  }
});

Deno.test("forward() says that it closes where nothing more may follow on the upstream connection, and does", async (t) => {
  const rows: readonly (readonly [string, Partial<RuleInput>, string, isLone: boolean])[] = [
    ["a rule that wants it", { oneRequestPerConnection: true }, head("GET"), true],
    [
      "a body that servers may not read",
      { secret: "key" },
      head("DELETE", "Content-Length: 1\r\n") + "a",
      true,
    ],
    ["a body that they read", { secret: "key" }, head("POST", "Content-Length: 1\r\n") + "a", false],
    ["no limits", {}, head("DELETE", "Content-Length: 1\r\n") + "a", false],
  ];
  for (const [name, rule, text, isLone] of rows) {
    await t.step(name, async () => {
      await using made = setUp(rule);
      await made.send(text);
      await made.answer(0);
      assertEquals(made.upstreams[0]?.got.text.includes("\r\nConnection: close\r\n"), isLone);
      assertEquals(
        [made.engine.context.pool.size, made.upstreams[0]?.got.end],
        isLone ? [0, "closed"] : [1, "open"],
      );
      assertEquals(made.client.got.text.endsWith("ok"), true);
    });
  }
});

Deno.test("forward() keeps no connection on which an answer came before the body, under a rule that checks", async (t) => {
  for (
    const [name, rule, isKept] of [["checked", { secret: "key" }, false], ["not checked", {}, true]] as const
  ) {
    await t.step(name, async () => {
      await using made = setUp(rule);
      await made.send(head("POST", "Content-Length: 4\r\n") + "ab");
      await made.answer(0, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\no");
      await made.send("cd");
      await made.answer(0, "k!");
      assertEquals(made.engine.context.pool.size, isKept ? 1 : 0);
    });
  }
});

Deno.test("forward() sends Host where HTTP/1.0 lacks it, and the fields of an upgrade behind all others", async () => {
  await using old = setUp();
  await old.send("GET /a HTTP/1.0\r\nA: b\r\n\r\n");
  assertEquals(old.upstreams[0]?.got.text, "GET /a HTTP/1.0\r\nHost: up.test\r\nA: b\r\n\r\n");
  await using upgraded = setUp();
  await upgraded.send(
    head("GET", "Upgrade: websocket\r\nConnection: upgrade\r\nA: b\r\nSec-WebSocket-Extensions: x\r\n"),
  );
  assertEquals(
    upgraded.upstreams[0]?.got.text,
    "GET /a HTTP/1.1\r\nHost: up.test\r\nA: b\r\nSec-WebSocket-Extensions: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
  );
  await using secret = setUp({ secret: "key" });
  await secret.send(
    head("GET", "Accept-Encoding: zstd, gzip\r\nSec-WebSocket-Extensions: x\r\nAuthorization: FAKE\r\n"),
  );
  assertEquals(
    secret.upstreams[0]?.got.text,
    "GET /a HTTP/1.1\r\nHost: up.test\r\nAccept-Encoding: gzip\r\nAuthorization: Bearer REAL\r\n\r\n",
  );
  await using counted = setUp({ budget: ["tokens=1K/h"] });
  await counted.send(head("GET", "Accept-Encoding: zstd\r\nSec-WebSocket-Extensions: x\r\n"));
  assertEquals(
    counted.upstreams[0]?.got.text,
    "GET /a HTTP/1.1\r\nHost: up.test\r\nAccept-Encoding: zstd\r\n\r\n",
  );
});

Deno.test("forward() checks what admitted it right before the head is written", async () => {
  await using made = setUp();
  const { dialler } = made.engine.context;
  const dial = dialler.dial.bind(dialler);
  dialler.dial = async (...args) => {
    const connection = await dial(...args);
    made.engine.policy.isLive = () => false; // nobody is told, and nothing is swept
    return connection;
  };
  await made.send(head("GET"));
  assertMatch(made.client.got.text, /^HTTP\/1\.1 403 slicer-proxy: revoked/);
  assertEquals([made.upstreams[0]?.got.text, made.upstreams[0]?.got.end], ["", "closed"]);
});

Deno.test("forward() logs what passed, how long it took to ask, and how an upgrade ended", async () => {
  await using made = setUp({ secret: "key" });
  await made.send(head("POST", "Content-Length: 2\r\n") + "ab");
  await made.answer(0);
  const [record] = made.records;
  assert(record?.setupMs !== undefined && record.durationMs !== undefined);
  assertEquals([record.setupMs >= 0, record.setupMs <= record.durationMs, record.opened], [
    true,
    true,
    undefined,
  ]);
  assertEquals(
    (await made.lines())[0],
    "allow client=one method=POST scheme=https host=up.test port=443 path=/a status=200 secret=key sent=2 received=2",
  );
  await using upgraded = setUp({}, { limits: { tunnelIdleTimeoutMs: 50 } });
  await upgraded.send(head("GET", "Upgrade: websocket\r\nConnection: upgrade\r\n"));
  await upgraded.answer(0, "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nabc");
  await upgraded.send("12");
  assertEquals(upgraded.client.got.text.endsWith("\r\n\r\nabc"), true);
  await until(() => upgraded.records.length > 0);
  assertEquals(await upgraded.lines(), [
    `allow client=one ${WHERE} status=101 reason=idle-timeout sent=2 received=3`,
  ]);
  await using revoked = setUp();
  await revoked.send(head("GET", "Upgrade: websocket\r\nConnection: upgrade\r\n"));
  await revoked.answer(0, "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
  revoked.engine.policy.revoke(revoked.rule);
  await settle();
  assertEquals(await revoked.lines(), [
    `allow client=one ${WHERE} status=101 reason=revoked sent=0 received=0`,
  ]);
});

Deno.test("forward() says of a call how it ended", async () => {
  await using made = setUp();
  await made.send(head("GET"));
  await made.answer(0, "HTTP/1.1 200 OK\r\nGrpc-Status: 7\r\nContent-Length: 0\r\n\r\n");
  assertEquals([made.records[0]?.grpcStatus, made.records[0]?.status], [7, 200]);
  await made.send(head("GET"));
  await made.answer(0);
  assertEquals("grpcStatus" in (made.records[1] ?? {}), false);
});

Deno.test("forward() tells the log what begins, before anything is dialled", async () => {
  await using made = setUp({ secret: "key" });
  const begun: AuditRecord[] = [];
  made.engine.context.audit.begin = (record) => {
    begun.push(record);
    assertEquals(made.upstreams.length, 0);
    return 7;
  };
  await made.send(head("GET"));
  await made.answer(0);
  const [{ origin, ...known } = { origin: undefined }] = begun;
  assertEquals(JSON.parse(JSON.stringify(known)), {
    ...{
      verdict: "allow",
      client: "one",
      method: "GET",
      scheme: "https",
      host: "up.test",
      port: 443,
      secret: "key",
    },
  });
  assertEquals([origin?.src, made.records[0]?.opened], ["192.0.2.1:40000", 7]);
});

Deno.test("forward() sends nothing again that was ended on purpose", async () => {
  await using made = setUp();
  await made.send(head("GET"));
  await made.answer(0);
  await made.send(head("GET"));
  made.engine.policy.revoke(made.rule);
  await settle();
  assertEquals(made.upstreams.length, 1);
  assertMatch(made.client.got.text, /okHTTP\/1\.1 403 slicer-proxy: revoked/);
});

Deno.test("forward() cuts the connection of a client that ends inside its body", async () => {
  await using made = setUp();
  await made.send(head("POST", "Content-Length: 4\r\n") + "ab");
  await made.client.stream.closeWrite();
  await settle();
  assertEquals([made.client.got.text, made.client.got.end, made.upstreams[0]?.got.end === "open"], [
    "",
    "cut",
    false,
  ]);
  assertEquals((await made.lines())[0]?.endsWith("reason=client-closed sent=2 received=0"), true);
});

Deno.test("forward() sends a request whose credential was refused once more with the next one, and closes behind the first", async () => {
  await using made = setUp({ secret: "key" });
  const { policy } = made.engine;
  policy.setCredential({
    ...{ secret: "key", host: "up.test", headers: [["Authorization", "Bearer REAL"]], generation: "1" },
  });
  let asked = 0;
  policy.rejected = () => {
    const credential = policy.credential("key");
    const headers = [["Authorization", "Bearer NEXT"]] as const;
    return Promise.resolve(asked++ > 0 || !credential ? undefined : { ...credential, headers });
  };
  await made.send(head("POST", "Content-Length: 2\r\n") + "ab");
  await made.answer(0, "HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n");
  assertEquals([made.upstreams.length, made.upstreams[0]?.got.end, made.client.got.text], [2, "closed", ""]);
  assertMatch(made.upstreams[1]?.got.text ?? "", /\r\nAuthorization: Bearer NEXT\r\n\r\nab$/);
  await made.answer(1, "HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n");
  assertMatch(made.client.got.text, /^HTTP\/1\.1 401 X\r\n/);
  assertEquals(made.upstreams.length, 2);
});

Deno.test("forward() ends a dial when the client goes away meanwhile", async (t) => {
  const rows = [["a request", ""], ["an upgrade", "Upgrade: websocket\r\nConnection: upgrade\r\n"]] as const;
  for (const [name, more] of rows) {
    await t.step(name, async () => {
      await using made = setUp();
      let dialled: AbortSignal | undefined;
      made.engine.context.dialler.dial = (_, signal) => {
        dialled = signal;
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      };
      await made.send(head("GET", more));
      assertEquals(dialled?.aborted, false);
      if (more !== "") { // what it sends next is for the upstream: nobody reads it yet
        made.client.stream.abort();
        await settle();
        assertEquals(dialled?.aborted, false);
        made.engine.policy.revoke(made.rule);
        await settle();
        assertEquals(dialled?.aborted, true);
        return;
      }
      made.client.stream.abort();
      await settle();
      assertEquals(dialled?.aborted, true);
      assertEquals(await made.lines(), [`allow client=one ${WHERE} reason=client-closed sent=0 received=0`]);
    });
  }
});

Deno.test("forward() does not look behind a body whose answer has begun: that end is the next request's to see", async () => {
  await using made = setUp({}, { limits: { endWithRequestMs: 0 } });
  await made.send(head("POST", "Content-Length: 4\r\n") + "ab");
  await made.answer(0, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\no");
  await made.send("cd");
  await made.client.stream.closeWrite();
  await settle();
  await made.answer(0, "k!");
  assertEquals([made.client.got.text.endsWith("ok!"), made.client.got.end], [true, "closed"]);
});

Deno.test("forward() counts the tokens that a whole answer says, and estimates those of one that was cut", async (t) => {
  const said = JSON.stringify({ usage: { input_tokens: 30, output_tokens: 5 } });
  const answer = (length: number) =>
    `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${said}`;
  const ask = head("POST", "Content-Length: 8\r\n") + "12345678";
  await t.step("whole", async () => {
    await using made = setUp({ budget: ["tokens=1K/h"] });
    await made.send(ask);
    await made.answer(0, answer(said.length));
    assertEquals(made.records[0]?.tokens, { input: 30, output: 5, isEstimated: false });
  });
  await t.step("cut", async () => {
    await using made = setUp({ budget: ["tokens=1K/h"] });
    await made.send(ask);
    await made.answer(0, answer(400));
    made.upstreams[0]?.stream.close();
    await settle();
    const output = Math.ceil(said.length / 4);
    assertEquals(made.records[0]?.tokens, { input: 30, output, isEstimated: true });
  });
  await t.step("refused", async () => {
    await using made = setUp({ budget: ["tokens=1K/h"] });
    await made.send(ask);
    await made.answer(0, "HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno");
    assertEquals([made.records[0]?.status, made.records[0]?.tokens], [400, undefined]);
  });
  await t.step("refused, and cut", async () => {
    await using made = setUp({ budget: ["tokens=1K/h"] });
    await made.send(ask);
    await made.answer(0, "HTTP/1.1 400 No\r\nContent-Length: 9\r\n\r\nno");
    made.client.stream.abort();
    made.upstreams[0]?.stream.close();
    await settle();
    assertEquals(made.records[0]?.tokens, { input: 2, output: 1, isEstimated: true });
  });
});

Deno.test("forward() cuts a client that takes nothing of its answer once its rule goes", async () => {
  let upstream: PipeEnd | undefined;
  await using engine = new Engine({ onDial: (stream) => void (upstream = stream) });
  const rule = engine.policy.allow("one", { host: "up.test" });
  const client = engine.connect(TUNNEL);
  await client.write(Buffer.from(head("GET")));
  await settle();
  await upstream?.write(Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"));
  for (let i = 0; i < 4; i++) void upstream?.write(new Uint8Array(1_000_000)).catch(() => {});
  await settle();
  engine.policy.revoke(rule);
  await settle();
  await engine.context.audit.flush();
  assertMatch(engine.lines.join("\n"), / status=200 reason=revoked sent=0 received=\d+ /);
  client.close();
});

Deno.test("forward() says that a secret left without TLS, and only then", async (t) => {
  const rows = [
    ["with a secret", "http", "key", true],
    ["without one", "http", undefined, undefined],
    ["over TLS", "https", "key", undefined],
  ] as const;
  for (const [name, scheme, secret, expected] of rows) {
    await t.step(name, async () => {
      const records: AuditRecord[] = [];
      await using engine = new Engine({
        onDial: (stream) => void stream.write(Buffer.from(OK)),
      });
      const write = engine.context.audit.write.bind(engine.context.audit);
      engine.context.audit.write = (record) => (records.push(record), write(record));
      const headers = [["Authorization", "Bearer REAL"]] as const;
      engine.policy.setCredential({ secret: "key", host: "up.test", headers, cleartext: true });
      engine.policy.allow("one", { host: "up.test", ports: [80, 443], ...(secret ? { secret } : {}) });
      const client = engine.connect({ scheme, host: "up.test", port: scheme === "http" ? 80 : 443 });
      await client.write(Buffer.from(head("GET")));
      await settle();
      assertEquals([records[0]?.status, records[0]?.secret, records[0]?.cleartext], [200, secret, expected]);
      client.close();
    });
  }
});

Deno.test("forward() waits for a credential that is still fetched", async () => {
  await using made = setUp({ secret: "key" });
  const { policy } = made.engine;
  const { promise, resolve } = Promise.withResolvers<ReturnType<typeof policy.credential>>();
  const stored = policy.credential("key");
  policy.credential = () => promise as never;
  await made.send(head("GET"));
  assertEquals(made.upstreams.length, 0);
  resolve(stored);
  await settle();
  assertMatch(made.upstreams[0]?.got.text ?? "", /\r\nAuthorization: Bearer REAL\r\n/);
});

Deno.test("forward() reports a bug, answers without its words, and logs it", async () => {
  await using made = setUp({ secret: "key" });
  made.engine.policy.credential = () => {
    throw new TypeError("of ours");
  };
  await made.send(head("GET"));
  assertEquals(made.engine.bugs.splice(0).map(String), ["TypeError: of ours"]);
  assertMatch(made.client.got.text, /^HTTP\/1\.1 500 /);
  assertEquals(made.client.got.text.includes("of ours"), false);
  assertEquals((await made.lines()).length, 1);
});

Deno.test("forward() says how long a request took, and how much of that until it was sent", async () => {
  await using made = setUp();
  let at = 1_000;
  Object.assign(made.engine.context.clock, { monotonic: () => at });
  const { dialler } = made.engine.context;
  const dial = dialler.dial.bind(dialler);
  dialler.dial = (...args) => {
    at += 30;
    return dial(...args);
  };
  await made.send(head("GET"));
  at += 200;
  await made.answer(0);
  assertEquals([made.records[0]?.setupMs, made.records[0]?.durationMs], [30, 230]);
});

Deno.test("forward() says how often the answer held the credential, once too", async (t) => {
  const key = "sk-planted-0123456789";
  for (const count of [0, 1, 2]) {
    await t.step(`${count}`, async () => {
      await using made = setUp({ secret: "key" });
      const headers = [["Authorization", `Bearer ${key}`]] as const;
      made.engine.policy.setCredential({ secret: "key", host: "up.test", headers, material: [key] });
      const body = `${key} `.repeat(count);
      await made.send(head("GET"));
      await made.answer(0, `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      assertEquals([made.records[0]?.status, made.records[0]?.echoed], [200, count || undefined]);
      assertEquals(made.client.got.text.includes(key), false);
    });
  }
});
