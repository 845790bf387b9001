import { Buffer } from "node:buffer";
import { assertEquals, assertMatch } from "@std/assert";
import { Engine } from "../../../wire/harness.ts";
import { makePipe, type PipeEnd } from "../../../wire/pipe.ts";

const TUNNEL = { scheme: "https", host: "up.test", port: 443 } as const;
const GET = "GET / HTTP/1.1\r\nHost: up.test\r\n\r\n";
/** Longer than any wait here: what must not decide. */
const NEVER_MS = 3_600_000;

async function readAll(stream: PipeEnd): Promise<string> {
  let text = "";
  const buffer = new Uint8Array(4_096);
  try {
    for (let count; (count = await stream.read(buffer)) !== null;) {
      text += Buffer.from(buffer.subarray(0, count)).toString("latin1");
    }
  } catch {
    text += "<cut>";
  }
  return text;
}

Deno.test("serveSession() gives a head that comes in drops no more than the head time-out", async (t) => {
  const rows = [
    { name: "the first head", sent: "GET / HT" },
    { name: "a head that begins in the same write as the request before it", sent: GET + "GET / HT" },
  ];
  for (const { name, sent } of rows) {
    await t.step(name, async () => {
      await using engine = new Engine({ limits: { headTimeoutMs: 50, keepAliveTimeoutMs: NEVER_MS } });
      const client = engine.connect(TUNNEL);
      await client.write(Buffer.from(sent));
      assertMatch(
        await readAll(client),
        /HTTP\/1\.1 408 slicer-proxy: idle-timeout \(up\.test\)\r\n[^]*\r\nX-Slicer-Proxy-Reason: idle-timeout\r\n/,
      );
    });
  }
});

Deno.test("serveSession() closes an idle connection after the keep-alive time-out, without a word", async () => {
  await using engine = new Engine({ limits: { headTimeoutMs: NEVER_MS, keepAliveTimeoutMs: 50 } });
  const client = engine.connect(TUNNEL);
  await client.write(Buffer.from(GET));
  const got = await readAll(client);
  assertEquals(got.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 403"]);
});

Deno.test("serveSession() ends a client that sends requests and reads no answers", async () => {
  await using engine = new Engine({ limits: { headTimeoutMs: 50, keepAliveTimeoutMs: NEVER_MS } });
  const [client, stream] = makePipe(1_000);
  engine.serve(stream, TUNNEL);
  const flood = (async () => {
    for (;;) await client.write(Buffer.from(GET));
  })();
  await flood.catch(() => {});
  assertEquals(stream.ended, "cut");
});

Deno.test("serveSession() leaves a client that went away at once, unanswered and unlogged", async () => {
  await using engine = new Engine();
  const client = engine.connect(TUNNEL);
  client.close();
  await engine.context.audit.flush();
  assertEquals(engine.lines, []);
});
