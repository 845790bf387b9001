import { assertEquals, assertStringIncludes } from "@std/assert";
import { run } from "../../../../cli/run.ts";
import { TestApi, TOKEN } from "../../api/support.ts";
import { fakeIo } from "../terminal/fake_io.ts";
import { startRecordingApi } from "../api/recording_api.ts";

const NOW_MS = Date.parse("2026-01-02T03:04:05Z");
const LINK = "http://127.0.0.1:9090/ui/login?code=abc_-1";

Deno.test("ui prints the link bare, and says on stderr for how long it works", async () => {
  const dir = await Deno.makeTempDir();
  const body = { url: LINK, expires_at: "2026-01-02T03:05:05Z" };
  await using api = startRecordingApi(() => Response.json(body, { status: 201 }), `${dir}/api.sock`);
  const io = fakeIo({ nowMs: NOW_MS, env: { SLICER_URL: `${dir}/api.sock` } });
  assertEquals(await run(["ui"], io), 0);
  assertEquals(io.stdout(), `${LINK}\n`);
  assertEquals(io.stderr(), "open it in a browser: it works once, within 1m\n");
  assertEquals(api.requests.map(({ method, path }) => `${method} ${path}`), ["POST /proxy/v1/ui/links"]);
});

Deno.test("ui --manage asks for a session that may revoke, and says so", async () => {
  const dir = await Deno.makeTempDir();
  const body = { url: LINK, expires_at: "2026-01-02T03:05:05Z" };
  await using api = startRecordingApi(() => Response.json(body, { status: 201 }), `${dir}/api.sock`);
  const io = fakeIo({ nowMs: NOW_MS, env: { SLICER_URL: `${dir}/api.sock` } });
  assertEquals(await run(["ui", "--manage"], io), 0);
  assertEquals(
    io.stderr(),
    "open it in a browser: it works once, within 1m; its session may revoke, suspend and approve\n",
  );
  assertEquals(api.requests.map(({ path }) => path), ["/proxy/v1/ui/links?manage=1"]);
});

Deno.test("ui over TCP names the API as it was called, and the link leads in", async () => {
  await using api = await TestApi.start({ tcp: {} });
  const url = `http://localhost:${api.address.port}`;
  const io = fakeIo({ env: { SLICER_URL: url, SLICER_TOKEN: TOKEN } });
  assertEquals(await run(["ui"], io), 0);
  const link = io.stdout().trim();
  assertStringIncludes(link, `${url}/ui/login?code=`);
  const answer = await fetch(link, { redirect: "manual" });
  assertEquals([answer.status, await answer.text()], [303, ""]);
});

Deno.test("ui refuses an answer without a link", async () => {
  const dir = await Deno.makeTempDir();
  for (const body of [{}, { url: 7 }, { url: "not a URL" }]) {
    await using _api = startRecordingApi(() => Response.json(body), `${dir}/api.sock`);
    const io = fakeIo({ env: { SLICER_URL: `${dir}/api.sock` } });
    assertEquals([await run(["ui"], io), io.stdout()], [1, ""]);
    assertStringIncludes(io.stderr(), "the API's answer has none");
  }
});

Deno.test("ui says what to do when the API has no TCP", async () => {
  await using api = await TestApi.start();
  const io = fakeIo({ env: { SLICER_URL: api.socketPath } });
  assertEquals([await run(["ui"], io), io.stdout()], [1, ""]);
  assertEquals(
    io.stderr(),
    "error: cannot make a link to the web page: the API listens on its socket only, which no browser can open\n" +
      "hint: start the proxy with --api-bind 127.0.0.1:9090\n",
  );
});
