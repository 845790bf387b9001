import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { AuditSource, FleetLogs } from "../../../api/control.ts";
import { AUDIT_LIMITS } from "../../../api/routes_audit.ts";
import { AuditRecordBody, HostNoteBody, LiveBody } from "../../../api/schemas_audit.ts";
import { type AuditRecord, boundRecord, formatRecord, formatStored } from "../../../policy/audit_record.ts";
import { MAX_RECORDS } from "../../../policy/record_filter.ts";
import { type Reason, REASONS } from "../../../policy/reason.ts";
import { RECORD_SCHEMA_FILE, recordSchema } from "../../../scripts/record_schema.ts";
import { makeRecord as record } from "../../support/make_record.ts";
import { NO_AUDIT, TestApi } from "./support.ts";

const AUDIT = "/proxy/v1/audit";
const EVENTS = { accept: "text/event-stream" };

/** An open answer, read piece by piece. Disposing it is what a caller does who goes away. */
class Stream implements AsyncDisposable {
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #client: Deno.HttpClient;
  #text = "";
  #isClosed = false;

  private constructor(readonly response: Response, client: Deno.HttpClient) {
    this.#client = client;
    this.#reader = (response.body ?? ReadableStream.from([])).pipeThrough(new TextDecoderStream())
      .getReader();
  }

  static async open(api: TestApi, query: string, headers: Record<string, string> = {}): Promise<Stream> {
    const client = Deno.createHttpClient({ proxy: { transport: "unix", path: api.socketPath } });
    return new Stream(await fetch(`http://localhost${AUDIT}${query}`, { client, headers }), client);
  }

  /** The text up to and with `end`. */
  async until(end: string): Promise<string> {
    for (;;) {
      const at = this.#text.indexOf(end);
      if (at >= 0) {
        const text = this.#text.slice(0, at + end.length);
        this.#text = this.#text.slice(at + end.length);
        return text;
      }
      const { done, value } = await this.#reader.read();
      if (done) throw new Error(`the answer ended after ${JSON.stringify(this.#text)}`);
      this.#text += value;
    }
  }

  /** The port of the record in the next line. */
  async port(): Promise<unknown> {
    return JSON.parse(await this.until("\n")).port;
  }

  /** What is left, once the server has ended it. */
  async rest(): Promise<string> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return this.#text;
      this.#text += value;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#reader.cancel().catch(() => {});
    this.#client.close();
  }
}

/** A whole answer. */
async function read(api: TestApi, query: string, headers: Record<string, string> = {}): Promise<string> {
  await using stream = await Stream.open(api, query, headers);
  assertEquals(stream.response.status, 200);
  return await stream.rest();
}

function portsIn(text: string): unknown[] {
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line).port);
}

Deno.test("GET /audit answers the stored records that are asked for, a line each", async (t) => {
  await using api = await TestApi.start();
  await api.audit.write(Array.from({ length: 26 }, (_, port) => record(port)));
  await api.audit.write([
    record(26, { origin: { src: "10.0.0.6:40001", proxyPort: 3128 } }),
    record(27, { origin: { src: "10.0.0.7:40001", proxyPort: 3128 } }),
    record(28, { origin: { src: "10.0.0.9:40001", proxyPort: 3128 } }),
    record(29, { origin: { src: "[fd00::5]:40001", proxyPort: 3129, tls: "1.3" } }),
  ]);
  await api.audit.write([record(30, { timeMs: Date.now() - 1_000, client: undefined, host: "a.test" })]);
  const at = new Date(record(27).timeMs).toISOString();
  const rows: [query: string, ports: readonly number[]][] = [
    ["?limit=2", [29, 30]],
    ["?follow=0&denied=0&limit=1", [30]],
    ["?client=c1&denied=1&limit=2", [19, 25]],
    ["?client=-", [30]],
    ["?denied=true&host=API.example.com.", [5, 15, 25]],
    ["?host=*.example.com&limit=1", [25]],
    [`?since=${at}`, [27, 28, 29, 30]],
    [`?since=${at.replace("Z", "%2B00:00")}&limit=2`, [29, 30]],
    ["?since=15m", [30]],
    ["?src=10.0.0.9", [28]],
    ["?src=10.0.0.0/29", [26, 27]],
    ["?src=10.0.0.6:40001", [26]],
    ["?src=10.0.0.6:40002", []],
    ["?src=fd00::/16&proxy_port=3129", [29]],
    ["?proxy_port=3128", [26, 27, 28]],
    ["?tls=1.3", [29]],
    ["?tls=none", [26, 27, 28]],
    ["?since=900ms", []],
    [`?limit=${MAX_RECORDS}&since=2020-01-01T00:00:00Z`, Array.from({ length: 31 }, (_, port) => port)],
  ];
  for (const [query, ports] of rows) {
    await t.step(query, async () => {
      assertEquals(portsIn(await read(api, query)), [...ports]);
    });
  }
  const all = await read(api, "");
  assertEquals(all.split("\n")[7], formatStored(record(7), "json"));
  assertEquals(all.split("\n").length, 32);
  assertEquals((await api.call(AUDIT)).headers["content-type"], "application/x-ndjson");
});

Deno.test("GET /audit refuses a query that it cannot understand, and says what to write", async (t) => {
  await using api = await TestApi.start();
  const rows: [query: string, says: string][] = [
    ["?follow=yes", "follow: write 1 or 0, once"],
    ["?follow=", "follow: write 1 or 0, once"],
    ["?denied=1&denied=1", "denied: write 1 or 0, once"],
    ["?clients=a", 'unknown field "clients"'],
    ["?client=", "client: must not be empty"],
    ["?client=a&client=b", "client: give it once"],
    ["?client=a%20b", 'Cannot use "a b" as a client name'],
    ["?host=", "host: must not be empty"],
    ["?host=https://a.test", 'Cannot use "https://a.test" as a host'],
    ["?since=", "since: must not be empty"],
    ["?since=yesterday", "write a duration (90s, 15m, 1h, 7d) or a time with its zone"],
    ["?since=2026-01-02", "write a duration"],
    ["?since=2026-01-02T15:04:05", "a time with its zone (2026-01-02T15:04:05Z)"],
    ["?since=2026-13-02T15:04:05Z", "write a duration"],
    ["?src=", "src: must not be empty"],
    ["?src=10.0.0.300", "write an address (10.0.0.5), a network (10.0.0.0/24), or IP:PORT"],
    ["?src=vm-1:80", "write an address"],
    ["?proxy_port=0", "proxy_port: write a port"],
    ["?proxy_port=3129x", "proxy_port: write a port"],
    ["?tls=1.1", "tls: write 1.2, 1.3 or none"],
    ["?limit=0", "limit: write a number from 1 to 10000"],
    ["?limit=10001", "limit: write a number"],
    ["?limit=1e3", "limit: write a number"],
  ];
  for (const [query, says] of rows) {
    await t.step(query, async () => {
      const answer = await api.call(AUDIT + query);
      assertEquals([answer.status, answer.headers["content-type"]], [400, "text/plain; charset=utf-8"]);
      assertStringIncludes(answer.text, says);
    });
  }
});

Deno.test("GET /audit?follow goes on with what comes, and begins with what is stored when that is asked for", async (t) => {
  await using api = await TestApi.start();
  await api.audit.write([record(0), record(1), record(2)]);
  await t.step("only what comes", async () => {
    await using stream = await Stream.open(api, "?follow=1"); // its head is there before any record
    await api.audit.write([record(3), record(4)]);
    assertEquals([await stream.port(), await stream.port()], [3, 4]);
  });
  await t.step("the newest before", async () => {
    await using stream = await Stream.open(api, "?follow=true&denied=1&limit=1");
    assertEquals(await stream.port(), 3);
    await api.audit.write([record(6), record(7)]);
    assertEquals(await stream.port(), 7);
  });
  await t.step("since", async () => {
    await using stream = await Stream.open(
      api,
      `?follow=1&since=${new Date(record(6).timeMs).toISOString()}`,
    );
    assertEquals([await stream.port(), await stream.port()], [6, 7]);
    await api.audit.write([record(8)]);
    assertEquals(await stream.port(), 8);
  });
});

Deno.test("GET /audit as events: ids to go on from, and what was missed as an event of its own", async () => {
  await using api = await TestApi.start({ store: { maxWaiting: 1 } });
  const { timeMs } = record(1);
  await api.audit.write([record(1), record(2, { timeMs }), record(3, { timeMs })]);
  const line = (port: number) => formatStored(record(port, { timeMs }), "json");
  {
    await using stream = await Stream.open(api, "?follow=1&since=2026-01-01T00:00:00Z", EVENTS);
    assertEquals(stream.response.headers.get("content-type"), "text/event-stream");
    assertEquals(/^id: \d+-0\n\n$/.test(await stream.until("\n\n")), true);
    for (const port of [1, 2, 3]) {
      assertEquals(await stream.until("\n\n"), `id: ${timeMs}-${port}\ndata: ${line(port)}\n\n`);
    }
    await api.audit.write([4, 5, 6, 7].map((port) => record(port)));
    assertEquals((await stream.until("\n\n")).split("\n")[0], `id: ${record(4).timeMs}-1`);
    assertEquals(await stream.until("\n\n"), 'event: missed\ndata: {"missed":3}\n\n');
  }
  // A reader that comes back: after the second of three at the same time. Its limit was for the first call.
  const events = (await read(api, "?limit=1", { ...EVENTS, "last-event-id": `${timeMs}-2` })).split("\n\n");
  assertEquals(events[0], `id: ${timeMs}-2`);
  assertEquals(events[1], `id: ${timeMs}-3\ndata: ${line(3)}`);
  assertEquals(events.length, 1 + 5 + 1);
  const foreign = await read(api, "?limit=1", { ...EVENTS, "last-event-id": "7" });
  assertEquals(foreign.split("\n\n").length, 1 + 1 + 1);
});

Deno.test("GET /audit as events goes on after a record whose path was cut, live and stored", async () => {
  await using api = await TestApi.start();
  const { timeMs } = record(1);
  const records = [1, 2, 3].map((port) => {
    const long = record(port, { timeMs, path: `/${"p".repeat(3_000)}/${port}`, query: "q".repeat(3_000) });
    const { path, query } = boundRecord(long);
    return { ...long, path, query };
  });
  const line = (at: number) => formatStored(records[at] ?? record(0), "json");
  {
    await using live = await Stream.open(api, "?follow=1", EVENTS);
    await live.until("\n\n");
    await api.audit.write(records);
    for (const at of [0, 1]) {
      assertEquals(await live.until("\n\n"), `id: ${timeMs}-${at + 1}\ndata: ${line(at)}\n\n`);
    }
  }
  const resumed = (await read(api, "", { ...EVENTS, "last-event-id": `${timeMs}-2` })).split("\n\n");
  assertEquals(resumed, [`id: ${timeMs}-2`, `id: ${timeMs}-3\ndata: ${line(2)}`, ""]);
  assertEquals(JSON.parse(line(2)).path.slice(0, 3), "/pp");
});

Deno.test("GET /audit is never silent for long", async () => {
  await using api = await TestApi.start({ auditLimits: { ...AUDIT_LIMITS, heartbeatMs: 20 } });
  await using lines = await Stream.open(api, "?follow=1");
  assertEquals(await lines.until("\n"), "\n");
  await using events = await Stream.open(api, "?follow=1", EVENTS);
  assertStringIncludes(await events.until(":"), "id");
  assertEquals(
    await events.until("\n\n: still here\n\n").then((text) => text.slice(-16)),
    "\n\n: still here\n\n",
  );
});

Deno.test("GET /audit takes so many followers, and gives their places back however they end", async (t) => {
  await using api = await TestApi.start({ auditLimits: { ...AUDIT_LIMITS, maxFollowers: 1, maxReaders: 0 } });
  const isFree = async () => {
    for (let tries = 0; tries < 500; tries++) {
      await using stream = await Stream.open(api, "?follow=1");
      if (stream.response.status === 200) return;
    }
    throw new Error("its place was not given back");
  };
  await t.step("one more is refused", async () => {
    await using stream = await Stream.open(api, "?follow=1");
    assertEquals(stream.response.status, 200);
    const refused = await api.call(`${AUDIT}?follow=1`);
    assertEquals([refused.status, refused.headers["retry-after"]], [503, "5"]);
    assertStringIncludes(refused.text, "it has 1 followers");
    assertEquals((await api.call("/healthz")).status, 200);
  });
  await t.step("the caller went away", isFree);
  await t.step("a call with HEAD", async () => {
    assertEquals((await api.call(`${AUDIT}?follow=1`, { method: "HEAD" })).status, 200);
    await isFree();
  });
  await t.step("a query that was refused", async () => {
    for (let i = 0; i < 3; i++) assertEquals((await api.call(`${AUDIT}?follow=1&since=x`)).status, 400);
    await isFree();
  });
  await t.step("readers have places of their own", async () => {
    const refused = await api.call(AUDIT);
    assertEquals([refused.status, refused.text.split("\n")[0]], [
      503,
      "Cannot read the audit log now: it has 0 readers",
    ]);
  });
});

Deno.test("GET /audit?follow lets go of the log as soon as its caller is gone", async () => {
  const gone = Promise.withResolvers<void>();
  const follow: AuditSource["follow"] = (_filter, signal) => {
    signal.addEventListener("abort", () => gone.resolve());
    return new ReadableStream(); // never a record
  };
  await using api = await TestApi.start({ audit: { ...NO_AUDIT, follow } });
  await using stream = await Stream.open(api, "?follow=1");
  await stream[Symbol.asyncDispose]();
  await gone.promise;
});

Deno.test("GET /audit?follow ends at once, and whole, when the API stops", async () => {
  const api = await TestApi.start({ drainMs: 60_000 });
  await api.audit.write([record(1)]);
  await using lines = await Stream.open(api, "?follow=1&limit=1");
  await using events = await Stream.open(api, "?follow=1", EVENTS);
  assertEquals(await lines.port(), 1);
  const startedAt = performance.now();
  await api[Symbol.asyncDispose]();
  assert(performance.now() - startedAt < 5_000);
  assertEquals(await lines.rest(), "");
  assertStringIncludes(await events.rest(), "id: ");
});

Deno.test("a follower that does not read slows nobody, and learns what it missed", async () => {
  await using api = await TestApi.start({ store: { maxWaiting: 100 } });
  await using slow = await Stream.open(api, "?follow=1");
  await using quick = await Stream.open(api, "?follow=1");
  // Far more than sockets hold: the slow one would block whoever waits for it.
  const path = "/" + "x".repeat(2_000);
  const COUNT = 10_000;
  for (let port = 0; port < COUNT; port += 50) {
    await api.audit.write(Array.from({ length: 50 }, (_, i) => record(port + i, { path })));
    for (let i = 0; i < 50; i++) assertEquals(await quick.port(), port + i);
  }
  let seen = 0;
  let missed = 0;
  while (seen + missed < COUNT) {
    const item = JSON.parse(await slow.until("\n"));
    if ("missed" in item) missed += item.missed;
    else {
      assertEquals(item.port, seen + missed);
      seen++;
    }
  }
  assert(missed > 0, "everything fitted into the sockets: write more");
});

Deno.test("GET /audit waits for a slow reader of what is stored, and gives it all", async () => {
  await using api = await TestApi.start();
  const path = "/" + "x".repeat(2_000);
  const COUNT = 5_000;
  await api.audit.write(Array.from({ length: COUNT }, (_, port) => record(port, { path })));
  await using stream = await Stream.open(api, "");
  await api.audit.write([record(COUNT)]); // while it waits
  for (let port = 0; port < COUNT; port++) assertEquals(await stream.port(), port);
  assertEquals(await stream.rest(), "");
});

Deno.test("GET /audit: a store that cannot be read cuts the answer short, and the log says so", async () => {
  await using api = await TestApi.start();
  await api.audit.write([record(1)]);
  const path = `${api.dir}/audit.jsonl`;
  await Deno.rename(path, `${path}.9`);
  await Deno.mkdir(path);
  await using stream = await Stream.open(api, "");
  assertEquals(await stream.rest().then(() => "whole", () => "cut"), "cut");
  assertStringIncludes(api.logged.join("\n"), "Cannot read the audit log: Is a directory");
});

const FULL: Required<Omit<AuditRecord, "setupMs" | "opened" | "repeated">> = {
  verdict: "deny",
  client: "c",
  auth: "none",
  ruleOwner: "o",
  method: "GET",
  scheme: "https",
  host: "h",
  port: 0,
  path: "/",
  query: "q",
  proto: "h2",
  status: 403,
  says: "query:service=git-upload-pack",
  grpcStatus: 7,
  budget: "requests=1000/h",
  tokens: { input: 10, output: 20, isEstimated: true },
  echoed: 2,
  secret: "s",
  cleartext: true,
  mode: "audit",
  reason: "no-rule",
  sent: 0,
  received: 0,
  durationMs: 0.4,
  origin: { src: "[fd00::5]:40312", proxyPort: 3129, tls: "1.3" },
};

Deno.test("the schema of a record has every field that a line may have, and every reason", () => {
  const printed = (record: AuditRecord, repeated?: number) =>
    JSON.parse(formatRecord(record, "json", 0, repeated));
  const full = printed(FULL, 2);
  const { shape } = AuditRecordBody;
  assertEquals(Object.keys(full).sort(), Object.keys(shape).sort());
  AuditRecordBody.parse(full);
  AuditRecordBody.parse(printed({ verdict: "passthrough" }));
  for (const reason of Object.keys(REASONS) as Reason[]) {
    AuditRecordBody.parse(printed({ verdict: "deny", reason }));
  }
  for (const name of ["v", "time", "verdict", "client"]) {
    const { [name]: _, ...rest } = full;
    assertEquals(AuditRecordBody.safeParse(rest).success, false, name);
  }
});

Deno.test("docs/audit_record.schema.json is the schema of a record", async () => {
  assertEquals(
    await Deno.readTextFile(RECORD_SCHEMA_FILE),
    recordSchema(),
    "run: deno run --allow-read --allow-write scripts/record_schema.ts",
  );
});

Deno.test("calls that read records wait until those of what was decided before are there", async (t) => {
  const late: (() => Promise<void>)[] = [];
  await using api = await TestApi.start({ auditSettled: async () => await late.shift()?.() });
  await api.control.createClient("ci-1");
  const rows: readonly (readonly [string, string, { method?: string; body?: unknown }?])[] = [
    ["the log", "/proxy/v1/audit?limit=1"],
    ["suggestions", "/proxy/v1/clients/ci-1/suggestions"],
    ["a policy test", "/proxy/v1/policy/test", {
      method: "POST",
      body: { policy: "version: 1\nclients: { ci-1: { allow: [{ host: late-3.test }] } }" },
    }],
  ];
  for (const [i, [name, path, options]] of rows.entries()) {
    await t.step(name, async () => {
      const denied = record(443, {
        client: "ci-1",
        method: "GET",
        scheme: "https",
        host: `late-${i + 1}.test`,
        path: "/x",
        mode: "audit",
        reason: "no-rule",
      });
      late.push(async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        await api.audit.write([denied]);
      });
      const { status, text } = await api.call(path, options);
      assertEquals(status, 200);
      assertStringIncludes(text, `late-${i + 1}.test`);
    });
  }
});

Deno.test("with fleet the logs of all hosts are lines, whatever is accepted, and few may ask at once", async () => {
  const fleetLogs: FleetLogs = {
    ownLabel: "host-1",
    hosts: () =>
      Promise.resolve({
        hosts: [{ id: "2", label: "host-2", isOwn: false, whyNot: "not open" }],
        isCut: false,
      }),
    ask: () => {
      throw new Error("nobody is to be asked");
    },
  };
  const auditLimits = { ...AUDIT_LIMITS, fleet: { ...AUDIT_LIMITS.fleet, maxCalls: 1 } };
  await using api = await TestApi.start({ fleetLogs, auditLimits });
  await api.audit.write([record(1)]);
  const answer = await api.call(`${AUDIT}?fleet=1`, { headers: EVENTS });
  assertEquals([answer.status, answer.headers["content-type"]], [200, "application/x-ndjson"]);
  const [note = "", line = ""] = answer.text.match(/\{.*\}/g) ?? [];
  assertEquals(JSON.parse(note), { fleet_host: "host-2", unanswered: "not open" });
  HostNoteBody.parse(JSON.parse(note));
  assertEquals(AuditRecordBody.parse(JSON.parse(line)).fleet_host, "host-1");
  {
    await using following = await Stream.open(api, "?fleet=1&follow=1&limit=1");
    await following.until('"fleet_host":"host-1"}\n');
    const second = await api.call(`${AUDIT}?fleet=1`);
    assertEquals([second.status, second.headers["retry-after"]], [503, "5"]);
    assertStringIncludes(second.text, "1 readers of all hosts");
    assertEquals((await api.call(AUDIT)).status, 200); // this host's own log alone has its own places
    await api.audit.write([record(2)]);
    assertEquals(await following.port(), 2);
  }
  while ((await api.call(`${AUDIT}?fleet=1`)).status === 503) await new Promise((end) => setTimeout(end, 10));
  await using alone = await TestApi.start();
  const none = await alone.call(`${AUDIT}?fleet=1`);
  assertEquals([none.status, none.text.split("\n")[0]], [
    404,
    "Cannot read the logs of the fleet: this host is in none",
  ]);
});

Deno.test("with mark a line says where what was stored ends", async () => {
  await using api = await TestApi.start();
  await api.audit.write([record(1)]);
  await using lines = await Stream.open(api, "?follow=1&limit=5&mark=1");
  assertEquals(await lines.port(), 1);
  LiveBody.parse(JSON.parse(await lines.until("\n")));
  await using events = await Stream.open(api, "?follow=1&limit=5&mark=1", EVENTS);
  assertStringIncludes(await events.until('event: live\ndata: {"live":true}\n\n'), '"port":1');
});
