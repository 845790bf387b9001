import { assertEquals, assertFalse, assertRejects, assertStringIncludes } from "@std/assert";
import { ApiClient } from "../../../../cli/api/client.ts";
import { parseApiUrl } from "../../../../cli/api/url.ts";
import { run } from "../../../../cli/run.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { fakeIo } from "../terminal/fake_io.ts";
import { startRecordingApi } from "./recording_api.ts";

/** The error of `slicer-proxy status` with this environment. */
async function statusError(env: Readonly<Record<string, string>>): Promise<string> {
  const io = fakeIo({ env });
  await run(["status"], io);
  return io.stderr();
}

Deno.test("ApiClient says why a socket cannot be used", async (t) => {
  const dir = await Deno.makeTempDir();
  try {
    await t.step("absent", async () => {
      const words = await statusError({ SLICER_URL: `${dir}/none.sock` });
      assertStringIncludes(
        words,
        `at ${dir}/none.sock: there is no such socket\nhint: is the proxy running? start it with`,
      );
    });
    await t.step("left behind", async () => {
      const script = `import socket; socket.socket(socket.AF_UNIX).bind("${dir}/stale.sock")`;
      await new Deno.Command("python3", { args: ["-c", script] }).output();
      const words = await statusError({ SLICER_URL: `${dir}/stale.sock` });
      assertStringIncludes(words, "stale.sock: the socket is there, but nothing listens");
    });
    await t.step("closed without an answer", async () => {
      using listener = Deno.listen({ transport: "unix", path: `${dir}/mute.sock` });
      const accepting = (async () => {
        for await (const conn of listener) conn.close();
      })();
      const words = await statusError({ SLICER_URL: `${dir}/mute.sock` });
      assertStringIncludes(words, "mute.sock: the connection was closed without an answer");
      listener.close();
      await accepting;
    });
    await t.step("no answer in time", async () => {
      using listener = Deno.listen({ transport: "unix", path: `${dir}/slow.sock` });
      const accepted = listener.accept();
      const client = new ApiClient(parseApiUrl(`${dir}/slow.sock`, undefined), { timeoutMs: 50 });
      const error = await assertRejects(() => client.call("GET", "status"), ProxyError, "no answer in time");
      assertEquals(error.code, "api.unreachable");
      (await accepted).close();
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("apiClient() sends the token over TCP, and not to a socket", async (t) => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/token`, "hunter2\n");
    const rows: readonly (readonly [string, Record<string, string>, string | null])[] = [
      ["none", {}, null],
      ["SLICER_TOKEN", { SLICER_TOKEN: "hunter1" }, "Bearer hunter1"],
      ["SLICER_TOKEN_FILE", { SLICER_TOKEN_FILE: `${dir}/token` }, "Bearer hunter2"],
      ["SLICER_TOKEN_FILE under ~", { SLICER_TOKEN_FILE: "~/token", HOME: dir }, "Bearer hunter2"],
      ["both", { SLICER_TOKEN: "hunter1", SLICER_TOKEN_FILE: `${dir}/token` }, "Bearer hunter1"],
    ];
    for (const [name, env, expected] of rows) {
      await t.step(name, async () => {
        await using api = startRecordingApi(() => Response.json({}));
        assertEquals(await statusError({ ...env, SLICER_URL: `http://127.0.0.1:${api.port}` }), "");
        assertEquals(api.requests.map((each) => each.authorization), [expected]);
        assertEquals(api.requests[0]?.path, "/proxy/v1/status");
      });
    }
    await t.step("a socket", async () => {
      await using api = startRecordingApi(() => Response.json({}), `${dir}/api.sock`);
      assertEquals(await statusError({ SLICER_TOKEN: "hunter1", SLICER_URL: `${dir}/api.sock` }), "");
      assertEquals(api.requests.map((each) => each.authorization), [null]);
    });
    await t.step("401", async () => {
      await using api = startRecordingApi(() => new Response("who?", { status: 401 }));
      const words = await statusError({
        SLICER_TOKEN: "hunter1",
        SLICER_URL: `http://localhost:${api.port}`,
      });
      assertStringIncludes(words, "the token is missing or wrong\nhint: set SLICER_TOKEN_FILE");
      assertFalse(words.includes("hunter1"));
    });
    await t.step("plain http to another machine", async () => {
      const words = await statusError({ SLICER_TOKEN: "hunter1", SLICER_URL: "http://192.0.2.1:80" });
      assertStringIncludes(words, "plain http would show it to the network");
      assertFalse(words.includes("hunter1"));
    });
    await t.step("a token file that is not there", async () => {
      const words = await statusError({ SLICER_TOKEN_FILE: `${dir}/x`, SLICER_URL: "http://127.0.0.1:1" });
      assertStringIncludes(words, `cannot read the file that SLICER_TOKEN_FILE names: ${dir}/x`);
    });
    await t.step("nobody listens", async () => {
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const base = `http://127.0.0.1:${listener.addr.port}`;
      listener.close();
      assertStringIncludes(
        await statusError({ SLICER_URL: base }),
        `API at ${base}/: connection refused\nhint: is the`,
      );
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("ApiClient keeps the token from HTTP_PROXY", async () => {
  await using proxy = startRecordingApi(() => Response.json({ from: "proxy" }));
  await using api = startRecordingApi(() => Response.json({ from: "api" }));
  // In a process of its own: the variable is read once, at the first request.
  const output = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-prompt",
      new URL("../../../../main.ts", import.meta.url).pathname,
      "status",
      "--json",
    ],
    env: {
      HTTP_PROXY: `http://127.0.0.1:${proxy.port}`,
      http_proxy: `http://127.0.0.1:${proxy.port}`,
      NO_PROXY: "",
      no_proxy: "",
      SLICER_URL: `http://127.0.0.1:${api.port}`,
      SLICER_TOKEN: "hunter1",
    },
  }).output();
  assertEquals(new TextDecoder().decode(output.stdout), '{\n  "from": "api"\n}\n');
  assertEquals([proxy.requests.length, api.requests.length], [0, 1]);
});

Deno.test("apiClient() verifies https, with SLICER_CA_FILE against a CA of our own", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const io = fakeIo({ nowMs: Date.now() });
    const ca = ["--ca-dir", `${dir}/ca`];
    assertEquals(await run(["ca", "init", ...ca], io), 0, io.stderr());
    assertEquals(
      await run(["ca", "issue", "--host", "127.0.0.1", "--out", `${dir}/api`, ...ca], io),
      0,
      io.stderr(),
    );
    const identity = {
      cert: await Deno.readTextFile(`${dir}/api.crt`),
      key: await Deno.readTextFile(`${dir}/api.key`),
    };
    await using api = startRecordingApi(() => Response.json({}), identity);
    const env = { SLICER_URL: `https://127.0.0.1:${api.port}`, SLICER_TOKEN: "hunter1" };
    const words = await statusError(env);
    assertStringIncludes(words, "its certificate is not trusted\nhint: set SLICER_CA_FILE to the ca.crt");
    assertEquals(api.requests.length, 0);
    assertEquals(await statusError({ ...env, SLICER_CA_FILE: `${dir}/ca/ca.crt` }), "");
    assertEquals(api.requests.map((each) => each.authorization), ["Bearer hunter1"]);
    const wrongName = await statusError({
      SLICER_URL: `https://localhost:${api.port}`,
      SLICER_CA_FILE: `${dir}/ca/ca.crt`,
    });
    assertStringIncludes(
      wrongName,
      "its certificate is not valid for it\nhint: call it by what up was given",
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
