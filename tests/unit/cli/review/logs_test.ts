import { AUDIT_LIMITS } from "../../../../api/routes_audit.ts";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ApiClient } from "../../../../cli/api/client.ts";
import { parseApiUrl } from "../../../../cli/api/url.ts";
import type { Io } from "../../../../cli/terminal/io.ts";
import { Output, OutputClosed } from "../../../../cli/terminal/output.ts";
import { run } from "../../../../cli/run.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { formatStored, type StoredRecord } from "../../../../policy/audit_record.ts";
import { NO_AUDIT, TestApi } from "../../api/support.ts";
import { type FakeIo, fakeIo } from "../terminal/fake_io.ts";
import { startRecordingApi } from "../api/recording_api.ts";

const RECORDS: readonly StoredRecord[] = [
  {
    timeMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    repeated: 1,
    verdict: "allow",
    client: "ci-1",
    host: "a.test",
  },
  { timeMs: Date.UTC(2026, 0, 2, 3, 4, 6), repeated: 3, verdict: "deny", client: "ci-1", reason: "no-rule" },
  { timeMs: Date.UTC(2026, 0, 2, 3, 4, 7), repeated: 1, verdict: "passthrough", host: "b.test", port: 22 },
];
const TIME = "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(?:Z|[+-]\\d\\d:\\d\\d)";

/** Runs `logs` against an API. */
async function logs(socketPath: string, args: readonly string[], io: Io): Promise<number> {
  return await run(["logs", ...args, "--url", socketPath], io);
}

async function printed(api: TestApi, args: readonly string[], io: FakeIo = fakeIo()): Promise<string> {
  assertEquals(await logs(api.socketPath, args, io), 0, io.stderr());
  return io.stdout();
}

Deno.test("logs prints the documented lines behind their times, the same as JSON, and colours when they are wanted", async () => {
  await using api = await TestApi.start();
  await api.audit.write(RECORDS);
  const lines = (await printed(api, [])).split("\n");
  assertEquals(lines.length, 4);
  for (const [i, record] of RECORDS.entries()) {
    assertMatch(lines[i] ?? "", new RegExp(`^${TIME} ${formatStored(record, "text")}$`));
    assertEquals(
      Date.parse(lines[i]?.split(" ")[0] ?? ""),
      Math.floor(record.timeMs / 1_000) * 1_000,
      "local, with its zone",
    );
  }
  assertEquals(
    await printed(api, ["--json"]),
    RECORDS.map((record) => `${formatStored(record, "json")}\n`).join(""),
  );
  const styled = await printed(api, [], fakeIo({ hasStyles: true }));
  for (const [verdict, sgr] of [["allow", 32], ["deny", 31], ["passthrough", 36]]) {
    assertMatch(
      styled,
      new RegExp(`\\x1b\\[2m${TIME}\\x1b\\[0m \\x1b\\[${sgr}m${verdict}\\x1b\\[0m client=`),
    );
  }
});

Deno.test("logs asks for what its flags say", async (t) => {
  const dir = await Deno.makeTempDir();
  const rows: [args: readonly string[], query: string][] = [
    [[], ""],
    [["-f"], "follow=1&limit=10"],
    [["--follow", "--since", "15m"], "follow=1&since=15m"],
    [["-f", "--limit", "3"], "follow=1&limit=3"],
    [["--client", "ci-1", "--denied"], "client=ci-1&denied=1"],
    [["--client", "-"], "client=-"],
    [["--host", "*.Example.com."], "host=*.example.com"],
    [["--since", "2026-01-02T03:04:05+02:00"], "since=2026-01-02T03%3A04%3A05%2B02%3A00"],
    [["--limit", "10000"], "limit=10000"],
  ];
  try {
    await using api = startRecordingApi(() => new Response(""), `${dir}/api.sock`);
    for (const [args, query] of rows) {
      await t.step(args.join(" ") || "none", async () => {
        await logs(`${dir}/api.sock`, args, fakeIo());
        assertEquals(api.requests.at(-1)?.path.split("?")[1] ?? "", query);
      });
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("logs --follow shows what comes, and ends with 1 when the proxy stops", async () => {
  const api = await TestApi.start();
  await api.audit.write(RECORDS.slice(0, 1));
  const seen = Promise.withResolvers<void>();
  const io = fakeIo();
  const output = new Output((bytes) => {
    void io.output.raw(bytes);
    if (io.stdout().includes("passthrough")) seen.resolve();
  }, (bytes) => io.output.note(new TextDecoder().decode(bytes).trimEnd()));
  const ended = logs(api.socketPath, ["-f"], { ...io, output });
  while (!io.stdout().includes("allow")) await new Promise((resolve) => setTimeout(resolve, 1));
  await api.audit.write(RECORDS.slice(1));
  await seen.promise;
  await api[Symbol.asyncDispose]();
  assertEquals(await ended, 1);
  assertEquals(io.stdout().split("\n").length, 4);
  assertStringIncludes(io.stderr(), "cannot follow the audit log any longer: the proxy has stopped\nhint: ");
});

Deno.test("logs ends with 0 when nobody reads any longer", async () => {
  await using api = await TestApi.start();
  await api.audit.write(RECORDS);
  const output = new Output(() => {
    throw new OutputClosed("");
  }, () => {});
  for (const args of [[], ["-f"], ["--json", "-f"]]) {
    assertEquals(await logs(api.socketPath, args, { ...fakeIo(), output }), 0);
  }
});

Deno.test("logs says what was missed, and shows what it does not know", async () => {
  const dir = await Deno.makeTempDir();
  const lines = [formatStored(RECORDS[0] as StoredRecord, "json"), '{"missed":12}', "", '{"v":2,"x":"\x9b"}'];
  try {
    await using _api = startRecordingApi(
      () => new Response(lines.map((line) => `${line}\n`).join("")),
      `${dir}/api.sock`,
    );
    const io = fakeIo();
    await logs(`${dir}/api.sock`, [], io);
    assertMatch(io.stdout(), /^\S+ allow client=ci-1 host=a\.test\n\{"v":2,"x":"\\u\{9b\}"\}\n$/);
    assertEquals(
      io.stderr(),
      "warning: 12 records are not shown: they came faster than they were read\n",
    );
    const json = fakeIo();
    await logs(`${dir}/api.sock`, ["--json"], json);
    assertEquals(json.stdout().split("\n").slice(1, 3), ['{"missed":12}', '{"v":2,"x":"\\u009b"}']);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("ApiClient.lines() outlasts the time of a call, but not a silence or a broken answer", async (t) => {
  const signal = new AbortController().signal;
  const read = async (path: string, timeoutMs: number, what = signal) => {
    const client = new ApiClient(parseApiUrl(path, undefined), { timeoutMs });
    const lines: string[] = [];
    try {
      for await (const some of client.lines("audit?follow=1", what)) lines.push(...some);
    } catch (error) {
      return [...lines, error instanceof ProxyError ? error.message.replace(/.* at \S+: /, "") : "aborted"];
    }
    return lines;
  };
  const slowly = (
    pieces: number,
    tail: (controller: ReadableStreamDefaultController<Uint8Array>) => void,
  ) => ({
    ...NO_AUDIT,
    // A stream of the test's own, in place of a record: only its pace matters.
    follow: () => {
      let count = 0;
      return new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 20));
          if (count++ < pieces) controller.enqueue({ ...RECORDS[0] });
          else tail(controller);
        },
      });
    },
  });
  await t.step("longer than a call", async () => {
    await using api = await TestApi.start({ audit: slowly(20, (controller) => controller.close()) as never });
    assertEquals((await read(api.socketPath, 200)).length, 20);
  });
  await t.step("silence", async () => {
    await using api = await TestApi.start({ drainMs: 10 });
    assertEquals(await read(api.socketPath, 50), ["no answer in time"]);
  });
  await t.step("broken off", async () => {
    const fail = (controller: ReadableStreamDefaultController) => controller.error(new Error("disk"));
    await using api = await TestApi.start({ audit: slowly(2, fail) as never });
    assertEquals((await read(api.socketPath, 5_000)).slice(2), ["the answer broke off"]);
  });
  await t.step("interrupted", async () => {
    await using api = await TestApi.start();
    assertEquals(await read(api.socketPath, 5_000, AbortSignal.timeout(30)), ["aborted"]);
  });
  await t.step("refused", async () => {
    const auditLimits = { ...AUDIT_LIMITS, maxFollowers: 0, maxReaders: 0, heartbeatMs: 1_000 };
    await using api = await TestApi.start({ auditLimits });
    assertEquals(await read(api.socketPath, 5_000), ["Cannot read the audit log now: it has 0 followers"]);
  });
});
