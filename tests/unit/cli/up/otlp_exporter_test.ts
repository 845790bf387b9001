/** The exporter against a collector that listens on loopback, and misbehaves. */
import { Trust } from "../../../../proxy/egress/tls/trust.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { OtlpExporter } from "../../../../cli/up/otlp_exporter.ts";
import { parseOtlpHeaders, parseOtlpUrl } from "../../../../cli/up/otlp_place.ts";
import { openOtlpTarget } from "../../../../cli/up/otlp_target.ts";
import { type Resolve, systemResolve } from "../../../../proxy/egress/dialler.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { hasNativeCalls } from "../../../../core/native.ts";
import { formatStored, type StoredRecord } from "../../../../policy/audit_record.ts";
import { LineQueue } from "../../../../store/audit/line_queue.ts";
import { makeRecord } from "../../../support/make_record.ts";
import { OtlpReceiver } from "../../../support/otlp_receiver.ts";
import { soon, waitUntil } from "../../../support/sockets.ts";
import { upstreamAuthority } from "../../../support/test_authority.ts";
import { tempFolder } from "../../store/support.ts";

hasNativeCalls(); // opens the C library here, not within a test

const BOUNDS = { maxBytes: 1_000_000, segmentBytes: 10_000 };
const FAST = { gatherMs: 5, minRetryMs: 5, maxRetryMs: 20 };

/** An exporter in a folder, with what it said. */
class Stage implements AsyncDisposable {
  readonly exporter: OtlpExporter;
  readonly said: string[];

  private constructor(exporter: OtlpExporter, said: string[]) {
    this.exporter = exporter;
    this.said = said;
  }

  static async start(
    dir: string,
    url: string,
    more: {
      readonly headersFile?: string;
      readonly caFile?: string;
      readonly bounds?: typeof BOUNDS;
      readonly limits?: Readonly<Record<string, number>>;
      readonly resolve?: Resolve;
    } = {},
  ): Promise<Stage> {
    const { headersFile, caFile, bounds = BOUNDS, limits, resolve = systemResolve } = more;
    const said: string[] = [];
    const send = await openOtlpTarget({ url: parseOtlpUrl(url), headersFile, caFile }, {
      denyCidrs: [],
      resolve,
      trust: new Trust([]),
      now: () => Date.now(),
    });
    const line = (level: string) => (text: string) => void said.push(`${level} ${text}`);
    return new Stage(
      new OtlpExporter({
        queues: {
          main: await LineQueue.open(`${dir}/otlp`, bounds),
          unauthenticated: await LineQueue.open(`${dir}/otlp-unauthenticated`, bounds),
        },
        source: { version: "1.0", hostgroup: "sbox" },
        send,
        name: "the collector",
        log: { info: line("info"), warn: line("warn"), error: line("error") },
        monotonic: () => performance.now(),
        limits: { ...FAST, ...limits },
      }),
      said,
    );
  }

  async write(...records: StoredRecord[]): Promise<void> {
    await this.exporter.write(records, records.map((record) => `${formatStored(record, "json")}\n`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.exporter[Symbol.asyncDispose]();
  }
}

function records(from: number, to: number): StoredRecord[] {
  return Array.from({ length: to - from }, (_, i) => makeRecord(from + i));
}

function portsOf(receiver: OtlpReceiver): number[] {
  return receiver.taken.map(({ attributes }) => Number(attributes["server.port"])).sort((a, b) => a - b);
}

Deno.test("OtlpExporter sends every record once to a collector that takes them, in few requests", async () => {
  await using folder = await tempFolder();
  await using receiver = new OtlpReceiver();
  await using stage = await Stage.start(folder.path, receiver.url, { limits: { gatherMs: 50 } });
  for (let n = 2; n < 42; n += 4) await stage.write(...records(n, n + 4));
  await stage.write({ ...makeRecord(101), client: undefined }); // nobody's denial has a queue of its own
  await receiver.waitFor(41);
  assertEquals(portsOf(receiver), [...Array.from({ length: 40 }, (_, i) => i + 2), 101]);
  assertEquals(receiver.taken[0]?.body, formatStored(makeRecord(2), "text"));
  assertEquals(receiver.taken[0]?.timeUnixNano, `${makeRecord(2).timeMs}000000`);
  assert(receiver.requests.length <= 4, `${receiver.requests.length} requests`);
  assertEquals(new Set(receiver.taken.map(({ resource }) => resource["service.instance.id"])).size, 1);
  await waitUntil("all are marked", () => stage.exporter.figures.queued === 0);
  assertEquals(stage.exporter.figures, { queued: 0, sent: 41, dropped: 0, failures: 0 });
  assertEquals(stage.said, []);
});

Deno.test("the collector's name is looked up as all names are", async () => {
  await using folder = await tempFolder();
  await using receiver = new OtlpReceiver();
  const url = `http://collector.test:${receiver.port}`;
  const resolve = () => Promise.resolve(["127.0.0.1"]);
  await using stage = await Stage.start(folder.path, url, { resolve });
  await stage.write(makeRecord(1));
  await receiver.waitFor(1);
});

Deno.test("OtlpExporter loses nothing while the collector is away, and says so once", async () => {
  await using folder = await tempFolder();
  let port: number;
  {
    await using gone = new OtlpReceiver();
    port = gone.port;
  }
  {
    await using stage = await Stage.start(folder.path, `http://127.0.0.1:${port}`);
    await stage.write(...records(1, 11));
    await waitUntil("some failures", () => stage.exporter.figures.failures > 3);
    await stage.write(...records(11, 21));
    assertEquals([stage.exporter.figures.sent, stage.exporter.figures.queued], [0, 20]);
    assertStringIncludes(stage.exporter.figures.failing ?? "", "connection refused");
    assertEquals(stage.said.length, 1, stage.said.join());
    assertStringIncludes(stage.said[0] ?? "", "takes no records: Cannot connect to 127.0.0.1");
  }
  await using stage = await Stage.start(folder.path, `http://127.0.0.1:${port}`);
  await stage.write(...records(21, 31));
  await waitUntil("a failure", () => stage.exporter.figures.failures > 0);
  await using receiver = new OtlpReceiver({ port });
  await receiver.waitFor(30);
  assertEquals(portsOf(receiver), Array.from({ length: 30 }, (_, i) => i + 1));
  await waitUntil("it says so", () => stage.said.includes("info the collector takes records again"));
});

Deno.test("OtlpExporter goes on trying, whatever a collector does instead of taking records", async (t) => {
  const hang = Promise.withResolvers<Response>();
  const rows: readonly (readonly [string, () => Response | Promise<Response>, RegExp])[] = [
    ["hangs", () => hang.promise, /did not answer within 0\.2 seconds/],
    ["a page", () => new Response("<html>log in</html>"), /none of OTLP/],
    ["too many", () => new Response("", { status: 429, headers: { "retry-after": "0" } }), /429/],
    ["a fault", () => new Response("", { status: 500 }), /500/],
    ["a wrong path", () => new Response("", { status: 404 }), /404/],
    [
      "a redirect",
      () => new Response("", { status: 307, headers: { location: "http://127.0.0.1:1/" } }),
      /307/,
    ],
    ["an endless answer", () => new Response(new Uint8Array(3_000_000)), /larger than/],
    ["packed", () => new Response("x", { headers: { "content-encoding": "br" } }), /encoded/],
  ];
  for (const [name, misbehave, why] of rows) {
    await t.step(name, async () => {
      await using folder = await tempFolder();
      await using receiver = new OtlpReceiver();
      let tries = 0;
      receiver.behave = () => ++tries <= 3 ? misbehave() : undefined;
      await using stage = await Stage.start(folder.path, receiver.url, { limits: { timeoutMs: 200 } });
      await stage.write(...records(1, 6));
      await receiver.waitFor(5);
      hang.resolve(new Response());
      await waitUntil("marked", () => stage.exporter.figures.queued === 0);
      const { sent, dropped, failures } = stage.exporter.figures;
      assertEquals({ sent, dropped, failures }, { sent: 5, dropped: 0, failures: 3 });
      assert(stage.said.some((line) => why.test(line)), stage.said.join());
      const counts = receiver.requests.map(({ count }) => count);
      assertEquals(counts, [5, 5, 5, 5], "the same again");
    });
  }
});

Deno.test("OtlpExporter waits as long as Retry-After says, and no call of a proxy waits with it", async () => {
  await using folder = await tempFolder();
  await using receiver = new OtlpReceiver();
  const at: number[] = [];
  receiver.behave = () => {
    at.push(performance.now());
    return at.length === 1 ? new Response("", { status: 429, headers: { "retry-after": "1" } }) : undefined;
  };
  await using stage = await Stage.start(folder.path, receiver.url);
  await stage.write(...records(1, 3));
  await waitUntil("the first", () => at.length === 1);
  const before = performance.now();
  for (let n = 3; n < 53; n++) await stage.write(makeRecord(n));
  assert(performance.now() - before < 900, "writing does not wait");
  await receiver.waitFor(52);
  assert((at[1] ?? 0) - (at[0] ?? 0) >= 990, `${(at[1] ?? 0) - (at[0] ?? 0)} ms`);
});

Deno.test("OtlpExporter counts what the collector rejects, sends it no more, and tells its words escaped", async () => {
  await using folder = await tempFolder();
  await using receiver = new OtlpReceiver();
  receiver.behave = (_, { length }) =>
    length < 5 ? undefined : Response.json({
      partialSuccess: { rejectedLogRecords: "2", errorMessage: "too old\u001b[31m\nforged" },
    });
  {
    await using stage = await Stage.start(folder.path, receiver.url);
    await stage.write(...records(1, 6));
    await waitUntil("an answer", () => stage.exporter.figures.queued === 0);
    assertEquals(stage.exporter.figures, { queued: 0, sent: 3, dropped: 2, failures: 0 });
    const line = stage.said.find((each) => each.includes("too old")) ?? "";
    assert(line !== "" && !line.includes("\u001b") && !line.includes("\n"), line);
    await waitUntil(
      "it says so",
      () => stage.said.some((each) => each.startsWith("error 2 records will not get")),
    );
  }
  assertEquals(receiver.requests.length, 1);
});

Deno.test("OtlpExporter finds the one record that a collector refuses, and loses only that", async () => {
  await using folder = await tempFolder();
  await using receiver = new OtlpReceiver();
  receiver.behave = (_, all) =>
    all.some(({ attributes }) => attributes["server.port"] === 13)
      ? new Response("", { status: 400 })
      : undefined;
  await using stage = await Stage.start(folder.path, receiver.url);
  await stage.write(...records(1, 41));
  await receiver.waitFor(39);
  await waitUntil("all marked", () => stage.exporter.figures.queued === 0);
  assertEquals(portsOf(receiver), Array.from({ length: 40 }, (_, i) => i + 1).filter((n) => n !== 13));
  const { sent, dropped } = stage.exporter.figures;
  assertEquals({ sent, dropped }, { sent: 39, dropped: 1 });
  assert(receiver.requests.length < 25, `${receiver.requests.length} requests`);
});

Deno.test("OtlpExporter drops the oldest beyond its bound; nobody unknown takes the place of a client's records", async () => {
  await using folder = await tempFolder();
  await using receiver = new OtlpReceiver();
  receiver.behave = () => new Response("", { status: 503 });
  await using stage = await Stage.start(folder.path, receiver.url, {
    bounds: { maxBytes: 20_000, segmentBytes: 4_000 },
  });
  await stage.write(...records(1, 11));
  for (let n = 0; n < 50; n++) {
    await stage.write(
      ...records(1_000, 1_010).map((record): StoredRecord => ({
        ...record,
        verdict: "deny",
        client: undefined,
      })),
    );
  }
  const { dropped, queued } = stage.exporter.figures;
  assert(dropped > 300, `${dropped} dropped`);
  assertEquals(dropped + queued, 510);
  receiver.behave = () => undefined;
  await receiver.waitFor(queued);
  assertEquals(portsOf(receiver).filter((port) => port < 1_000), Array.from({ length: 10 }, (_, i) => i + 1));
  assert(stage.said.some((line) => /^error \d+ records will not get to the collector/.test(line)));
});

Deno.test("OtlpExporter shows headers of a file, and reads a new token without a restart", async () => {
  await using folder = await tempFolder();
  await using receiver = new OtlpReceiver();
  receiver.behave = (request) =>
    request.headers.get("authorization") === "Bearer new" ? undefined : new Response("", { status: 401 });
  const headersFile = `${folder.path}/headers`;
  await Deno.writeTextFile(
    headersFile,
    "# of the collector\nAuthorization: Bearer old\nX-Scope-OrgID: team\n",
  );
  await using stage = await Stage.start(folder.path, receiver.url, { headersFile });
  await stage.write(...records(1, 3));
  await waitUntil("it is refused", () => receiver.requests.length > 1);
  await Deno.writeTextFile(headersFile, "garbage");
  await waitUntil("the old ones are kept", () => receiver.requests.length > 3);
  await Deno.writeTextFile(headersFile, "Authorization: Bearer new\nX-Scope-OrgID: team\n");
  await receiver.waitFor(2);
  assertEquals(receiver.requests[0]?.headers.get("x-scope-orgid"), "team");
  assertEquals(receiver.requests[0]?.headers.get("authorization"), "Bearer old");
  assert(!stage.said.join().includes("Bearer"), "no token is told");
});

Deno.test("OtlpExporter verifies TLS by the roots that it was given, and goes in clear only to what is near", async (t) => {
  const authority = await upstreamAuthority();
  const { certPem, keyPem } = await authority.issue(["localhost"]);
  await t.step("a root that is known", async () => {
    await using folder = await tempFolder();
    await using receiver = new OtlpReceiver({ tls: { cert: certPem, key: keyPem } });
    const caFile = `${folder.path}/ca.pem`;
    await Deno.writeTextFile(caFile, authority.caPem);
    await using stage = await Stage.start(folder.path, `https://localhost:${receiver.port}`, { caFile });
    await stage.write(...records(1, 3));
    await receiver.waitFor(2);
  });
  await t.step("one that is not", async () => {
    await using folder = await tempFolder();
    await using receiver = new OtlpReceiver({ tls: { cert: certPem, key: keyPem } });
    await using stage = await Stage.start(folder.path, `https://localhost:${receiver.port}`);
    await stage.write(...records(1, 3));
    await waitUntil("it fails", () => stage.exporter.figures.failures > 1);
    assertEquals([receiver.requests.length, stage.exporter.figures.queued], [0, 2]);
  });
  await t.step("a file that is none", async () => {
    await using folder = await tempFolder();
    const error = await assertRejects(
      () => Stage.start(folder.path, "https://localhost", { caFile: `${folder.path}/none` }),
      ProxyError,
    );
    assertEquals(error.code, "input.invalid");
  });
});

Deno.test("OtlpExporter ends at once while a collector hangs, and sends what is left when it does not", async () => {
  await using folder = await tempFolder();
  await using receiver = new OtlpReceiver();
  const stage = await Stage.start(folder.path, receiver.url, { limits: { gatherMs: 60_000 } });
  await stage.write(...records(1, 4));
  await stage[Symbol.asyncDispose]();
  assertEquals(receiver.taken.length, 3);
  const hang = Promise.withResolvers<Response>();
  receiver.behave = () => hang.promise;
  const other = await Stage.start(folder.path, receiver.url, { limits: { closingMs: 50 } });
  await other.write(makeRecord(9));
  await waitUntil("it is asked", () => receiver.requests.length === 2);
  await soon("its end", other[Symbol.asyncDispose]());
  hang.resolve(new Response());
  receiver.behave = () => undefined;
  await using again = await Stage.start(folder.path, receiver.url);
  await receiver.waitFor(4);
  assertEquals(again.exporter.figures.dropped, 0);
});

Deno.test("parseOtlpUrl() takes https, and http for what is near", async (t) => {
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["https://otel.example.com", "https://otel.example.com/v1/logs"],
    ["https://otel.example.com/", "https://otel.example.com/v1/logs"],
    ["https://otel.example.com:4318/otlp/v1/logs?x=y#z", "https://otel.example.com:4318/otlp/v1/logs?x=y"],
    ["http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/logs"],
    ["http://[::1]:4318", "http://[::1]:4318/v1/logs"],
    ["http://10.1.2.3:4318", "http://10.1.2.3:4318/v1/logs"],
    ["http://collector.internal:4318", "http://collector.internal:4318/v1/logs"], // its address decides
    ["http://8.8.8.8:4318", undefined],
    ["https://user:pass@otel.example.com", undefined],
    ["ftp://otel.example.com", undefined],
    ["otel.example.com:4318", undefined],
    ["/v1/logs", undefined],
  ];
  for (const [text, expected] of rows) {
    await t.step(text, () => {
      if (expected !== undefined) return assertEquals(parseOtlpUrl(text), expected);
      const error = assertThrows(() => parseOtlpUrl(text), ProxyError);
      assertEquals(error.code, "input.invalid");
      assert(!error.message.includes("pass@"));
    });
  }
});

Deno.test("parseOtlpHeaders() refuses what is no header, or frames the request, without showing it", () => {
  assertEquals(parseOtlpHeaders("A: b\r\n\n# c\nD:e: f\n", "f"), { A: "b", D: "e: f" });
  for (
    const line of [
      "secret-text",
      ": secret-text",
      "A secret: b",
      "A: secr\u00e9t",
      "A:",
      "Content-Length: 7",
      "HOST: x",
    ]
  ) {
    const error = assertThrows(() => parseOtlpHeaders(`A: b\n${line}`, "f"), ProxyError);
    assertEquals(error.code, "input.invalid");
    assertStringIncludes(error.message, "line 2 of f");
    assert(!error.message.includes("secr"));
  }
});
