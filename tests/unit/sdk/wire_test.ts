import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { parseTarget } from "../../../sdk/target.ts";
import { explainFailure } from "../../../sdk/unreachable.ts";
import { send, sendByNode, type WireRequest } from "../../../sdk/wire.ts";
import { proxyAuthority } from "../../support/test_authority.ts";
import { startRecordingApi } from "../cli/api/recording_api.ts";

const SENDERS: readonly (readonly [string, typeof send])[] = [["Deno's", send], ["Node's", sendByNode]];

function request(url: string, more: Partial<WireRequest> = {}): WireRequest {
  const target = parseTarget(url, undefined);
  return {
    target,
    ca: undefined,
    method: "GET",
    path: "proxy/v1/x?a=1",
    headers: {},
    body: undefined,
    ...more,
  };
}

async function textOf(body: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const chunk of body) text += chunk;
  return text;
}

Deno.test("send() carries a call over a socket, http and https, either way", async (t) => {
  const dir = await Deno.makeTempDir();
  try {
    const { certPem: cert, keyPem: key } = await (await proxyAuthority()).issue(["127.0.0.1"]);
    const ca = (await proxyAuthority()).caPem;
    for (const [name, sender] of SENDERS) {
      for (const kind of ["socket", "http", "https"] as const) {
        await t.step(`${name} over ${kind}`, async () => {
          const where = kind === "socket"
            ? `${dir}/${name}.sock`
            : kind === "https"
            ? { cert, key }
            : undefined;
          await using api = startRecordingApi(() => new Response("äöü €", { status: 201 }), where);
          const url = kind === "socket" ? `${dir}/${name}.sock` : `${kind}://127.0.0.1:${api.port}/base`;
          const sent = request(url, {
            method: "POST",
            headers: { authorization: "Bearer t", "content-type": "application/json" },
            body: `{"n":"é"}`,
            ca: kind === "https" ? ca : undefined,
          });
          const answer = await sender(sent, new AbortController().signal);
          assertEquals([answer.status, await textOf(answer.body)], [201, "äöü €"]);
          assertEquals(api.requests, [{
            method: "POST",
            path: `${kind === "socket" ? "" : "/base"}/proxy/v1/x?a=1`,
            authorization: "Bearer t",
            body: { n: "é" },
          }]);
        });
      }
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("send() verifies certificates, and explainFailure() says what is wrong", async (t) => {
  const dir = await Deno.makeTempDir();
  try {
    const authority = await proxyAuthority();
    const { certPem: cert, keyPem: key } = await authority.issue(["127.0.0.1"]);
    await using api = startRecordingApi(() => new Response(), { cert, key });
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const closed = `http://127.0.0.1:${listener.addr.port}`;
    listener.close();
    const untrusted = "its certificate is not trusted, or not valid for it";
    const rows: readonly (readonly [string, WireRequest, string])[] = [
      ["no CA", request(`https://127.0.0.1:${api.port}`), untrusted],
      ["another name", request(`https://localhost:${api.port}`, { ca: authority.caPem }), untrusted],
      ["nobody listens", request(closed), "nothing listens there"],
      ["no socket", request(`${dir}/none.sock`), "there is no such socket"],
    ];
    for (const [name, sent, words] of rows) {
      for (const [kind, sender] of SENDERS) {
        await t.step(`${kind}: ${name}`, async () => {
          const failure = await assertRejects(() => sender(sent, new AbortController().signal));
          const { message, hint, status } = explainFailure(sent.target, failure);
          assertEquals(message, `Cannot reach the proxy's API at ${sent.target.label}: ${words}`);
          assertEquals([hint === undefined, status], [false, undefined]);
        });
      }
    }
    assertEquals(api.requests, []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("send() closes the connection when the body is left early, and when the signal aborts", async (t) => {
  for (const [name, sender] of SENDERS) {
    for (const how of ["left", "aborted"] as const) {
      await t.step(`${name}: ${how}`, async () => {
        const { promise: closed, resolve } = Promise.withResolvers<void>();
        const body = () =>
          new ReadableStream({
            start: (controller) => controller.enqueue(new TextEncoder().encode("first\n")),
            cancel: () => resolve(),
          });
        await using api = startRecordingApi(() => new Response(body()));
        const stop = new AbortController();
        const answer = await sender(request(`http://127.0.0.1:${api.port}`), stop.signal);
        const reading = (async () => {
          for await (const chunk of answer.body) {
            assertEquals(chunk, "first\n");
            if (how === "left") break;
            stop.abort();
          }
        })();
        if (how === "left") await reading;
        else await assertRejects(() => reading);
        await closed;
      });
    }
  }
});

Deno.test("send() keeps the token from HTTP_PROXY", async () => {
  await using proxy = startRecordingApi(() => Response.json({ from: "proxy" }));
  await using api = startRecordingApi(() => Response.json({ from: "api" }));
  const script = `import { SlicerProxy } from "slicer-proxy-sdk";
    console.log(JSON.stringify(await SlicerProxy.fromEnv().status()));`;
  const variable = `http://127.0.0.1:${proxy.port}`;
  // In a process of its own: the variable is read once, at the first request.
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--config", new URL("../../../deno.json", import.meta.url).pathname, script],
    cwd: new URL("../../../", import.meta.url),
    env: {
      HTTP_PROXY: variable,
      http_proxy: variable,
      NO_PROXY: "",
      no_proxy: "",
      SLICER_URL: `http://127.0.0.1:${api.port}`,
      SLICER_TOKEN: "hunter1",
    },
  }).output();
  assertStringIncludes(new TextDecoder().decode(output.stdout), `{"from":"api"}`);
  assertEquals([proxy.requests.length, api.requests.map((each) => each.authorization)], [0, [
    "Bearer hunter1",
  ]]);
});
