import { assertEquals, assertRejects } from "@std/assert";
import {
  type AuditOptions,
  type AuditRecord,
  SlicerProxy,
  SlicerProxyError,
} from "../../../sdk/slicer_proxy.ts";
import { startRecordingApi } from "../cli/api/recording_api.ts";

const RECORD = { v: 1, time: "2026-01-02T03:04:05.000Z", verdict: "deny", client: "ci-1", host: "x.example" };

/** A stream of these pieces of text, which then ends, or stays open. */
function answer(pieces: readonly string[], stays = false): Response {
  const encoder = new TextEncoder();
  let next = 0;
  return new Response(
    new ReadableStream({
      async pull(controller) {
        const piece = pieces[next++];
        if (piece !== undefined) controller.enqueue(encoder.encode(piece));
        else if (stays) await new Promise(() => {});
        else controller.close();
      },
    }),
    { headers: { "content-type": "application/x-ndjson" } },
  );
}

async function read(pieces: readonly string[], options: AuditOptions = {}): Promise<readonly AuditRecord[]> {
  await using api = startRecordingApi(() => answer(pieces));
  return await Array.fromAsync(new SlicerProxy({ url: `http://127.0.0.1:${api.port}` }).audit(options));
}

Deno.test("audit() reads records however they are cut", async (t) => {
  const line = JSON.stringify(RECORD) + "\n";
  const missed: number[] = [];
  const rows: readonly (readonly [name: string, pieces: readonly string[], expected: number])[] = [
    ["none", [], 0],
    ["one each", [line, line], 2],
    ["several at once", [line + line + line], 3],
    [
      "within a line",
      [line.slice(0, 9), line.slice(9, 20), line.slice(20) + line.slice(0, 1), line.slice(1)],
      2,
    ],
    ["empty lines, which say that it lives", ["\n", line, "\n\r\n"], 1],
    ["a last line that was cut short", [line, line.slice(0, 30)], 1],
    ["what was missed", [line, '{"missed":7}\n', line], 2],
  ];
  for (const [name, pieces, expected] of rows) {
    await t.step(name, async () => {
      const records = await read(pieces, { onMissed: (count) => missed.push(count) });
      assertEquals(records, Array(expected).fill(RECORD));
    });
  }
  assertEquals(missed, [7]);
});

Deno.test("audit() of all hosts says whose records they are, and whose are missing", async () => {
  const said: string[] = [];
  const note = (fields: Record<string, unknown>) =>
    `${JSON.stringify({ ...fields, fleet_host: "host-2" })}\n`;
  const records = await read([
    note(RECORD),
    note({ unanswered: "connection refused" }),
    note({ answers: true }),
    note({ missed: 3 }),
  ], {
    fleet: { onUnanswered: (host, why) => said.push(`${host}: ${why}`), onAnswer: (host) => said.push(host) },
    onMissed: (count) => said.push(`${count}`),
  });
  assertEquals(records.map(({ fleet_host: host }) => host), ["host-2"]);
  assertEquals(said, ["host-2: connection refused", "host-2", "3"]);
});

Deno.test("audit() asks for what its options say", async (t) => {
  const since = new Date(Date.UTC(2026, 0, 2));
  const rows: readonly (readonly [AuditOptions, string])[] = [
    [{}, ""],
    [{ follow: false, denied: false, client: undefined }, ""],
    [{ follow: true, denied: true }, "?follow=1&denied=1"],
    [{ client: "-", host: "*.example.com", limit: 5 }, "?client=-&host=*.example.com&limit=5"],
    [{ since }, "?since=2026-01-02T00%3A00%3A00.000Z"],
    [{ since: "15m" }, "?since=15m"],
    [{ src: "10.0.0.5" }, "?src=10.0.0.5"],
    [{ src: "2001:db8::/64", tls: "1.3" }, "?src=2001%3Adb8%3A%3A%2F64&tls=1.3"],
    [
      { src: "10.0.0.5:40001", proxyPort: 3128, tls: "none" },
      "?src=10.0.0.5%3A40001&proxy_port=3128&tls=none",
    ],
    [{ fleet: { onUnanswered: () => {} }, limit: 3 }, "?fleet=1&limit=3"],
    [{ src: undefined, proxyPort: undefined, tls: undefined }, ""],
  ];
  for (const [options, query] of rows) {
    await t.step(query || "nothing", async () => {
      await using api = startRecordingApi(() => answer([]));
      await Array.fromAsync(new SlicerProxy({ url: `http://127.0.0.1:${api.port}` }).audit(options));
      assertEquals(api.requests.map(({ method, path }) => `${method} ${path}`), [
        `GET /proxy/v1/audit${query}`,
      ]);
    });
  }
});

Deno.test("audit() ends when the caller leaves the loop, and with the signal's reason when it aborts", async () => {
  await using api = startRecordingApi(() => answer([JSON.stringify(RECORD) + "\n"], true));
  const proxy = new SlicerProxy({ url: `http://127.0.0.1:${api.port}`, timeoutMs: 50 });
  for await (const { host } of proxy.audit({ follow: true })) {
    assertEquals(host, "x.example");
    break;
  }
  const stop = new AbortController();
  const reason = new Error("enough");
  const error = await assertRejects(async () => {
    for await (const _record of proxy.audit({ follow: true, signal: stop.signal })) stop.abort(reason);
  });
  assertEquals(error, reason);
});

Deno.test("audit() waits for records longer than a call may take", async () => {
  const timeoutMs = 30;
  const line = new TextEncoder().encode(JSON.stringify(RECORD) + "\n");
  // The second record comes when the limit in time of a call has long passed.
  const body = () =>
    new ReadableStream({
      async start(controller) {
        controller.enqueue(line);
        await new Promise((resolve) => setTimeout(resolve, 4 * timeoutMs));
        controller.enqueue(line);
        controller.close();
      },
    });
  await using api = startRecordingApi(() => new Response(body()));
  const proxy = new SlicerProxy({ url: `http://127.0.0.1:${api.port}`, timeoutMs });
  assertEquals((await Array.fromAsync(proxy.audit({ follow: true }))).length, 2);
});

Deno.test("audit() says what is wrong with a line that is no record, and with a refusal", async () => {
  await assertRejects(() => read(["<html>\n"]), SlicerProxyError, "its answer is not the proxy's");
  await using api = startRecordingApi(() =>
    new Response("Cannot read x\nhint: write 15m\n", { status: 400 })
  );
  const proxy = new SlicerProxy({ url: `http://127.0.0.1:${api.port}` });
  const error = await assertRejects(
    () => proxy.audit({ since: "x" }).next(),
    SlicerProxyError,
    "Cannot read x",
  );
  assertEquals([error.status, error.hint], [400, "write 15m"]);
});
