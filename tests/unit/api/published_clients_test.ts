/** What people already drive this API with: `curl`, and clients that work like the published ones for Go and TypeScript. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import http from "node:http";
import { TestApi, TOKEN } from "./support.ts";

/** As the published TypeScript client does: node:http on the socket, with a token of another API. */
function request(socketPath: string, method: string, path: string, body?: unknown) {
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const payload = body === undefined ? undefined : new TextEncoder().encode(JSON.stringify(body));
    const sent = http.request({
      socketPath,
      method,
      path,
      agent: false,
      headers: {
        "User-Agent": "slicer-sdk",
        Authorization: "Bearer token-of-the-slicer-api",
        ...(payload ? { "Content-Type": "application/json", "Content-Length": String(payload.length) } : {}),
      },
    }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk: string) => text += chunk);
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text }));
      answer.on("error", reject);
    });
    sent.on("error", reject);
    if (payload) sent.write(payload);
    sent.end();
  });
}

Deno.test("the calls of the published clients get the statuses and bodies that they check", async () => {
  await using api = await TestApi.start();
  const call = (method: string, path: string, body?: unknown) =>
    request(api.socketPath, method, `/proxy/v1${path}`, body);

  const created = await call("POST", "/clients", { name: "web-1" });
  assertEquals([created.status, Object.keys(JSON.parse(created.text))], [201, [
    "name",
    "token",
    "created_at",
  ]]);
  assertMatch(JSON.parse(created.text).token, /^spi_/);
  const again = await call("POST", "/clients", { name: "web-1" });
  assertEquals(again.status, 409);
  assertStringIncludes(again.text, "taken");

  const secret = {
    name: "reg",
    host: "registry.example.com",
    value: "user:pass",
    type: "basic",
    force: true,
  };
  assertEquals((await call("POST", "/secrets", secret)).status, 201);
  assertEquals((await call("POST", "/secrets", secret)).status, 201);
  const secrets = JSON.parse((await call("GET", "/secrets")).text);
  assertEquals([secrets.length, secrets[0].type, "value" in secrets[0]], [1, "basic", false]);

  const rule = { client: "web-1", host: "registry.example.com", methods: ["GET"], ports: [5000, 8443] };
  const added = await call("POST", "/allows", { ...rule, secret: "reg", ttl_seconds: 600 });
  assertEquals(added.status, 201);
  assertMatch(JSON.parse(added.text).expires, /Z$/);
  assertEquals((await call("POST", "/allows", { client: "web-1", host: "*.example.com" })).status, 201);
  assertEquals(JSON.parse((await call("GET", "/clients/web-1")).text).length, 2);

  assertEquals(await call("POST", "/allows/revoke", rule), { status: 204, text: "" });
  assertEquals((await call("POST", "/allows/revoke", rule)).status, 404);
  assertEquals(await call("DELETE", `/allows/web-1/${encodeURIComponent("*.example.com")}`), {
    status: 204,
    text: "",
  });
  assertEquals((await call("DELETE", "/allows/web-1/*.example.com")).status, 404);
  assertEquals((await call("GET", "/clients/web-1")).text, "[]");

  assertEquals((await call("DELETE", "/secrets/reg")).status, 204);
  assertEquals((await call("DELETE", "/clients/web-1")).status, 204);
  assertEquals((await call("DELETE", "/clients/web-1")).status, 404);
  assertEquals((await call("GET", "/clients")).text, "[]");
});

async function curl(...args: string[]): Promise<string> {
  const { stdout, stderr } = await new Deno.Command("curl", {
    args: ["-sS", "--max-time", "10", "-w", "%{http_code}", ...args],
  }).output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

const hasCurl = await new Deno.Command("curl", { args: ["--version"], stdout: "null" }).output()
  .then(({ success }) => success, () => false);

Deno.test({
  name: "curl drives the API over the socket and over TCP",
  ignore: !hasCurl,
  async fn() {
    await using api = await TestApi.start({ tcp: {} });
    const onSocket = ["--unix-socket", api.socketPath];
    const url = "http://unix/proxy/v1";
    const json = (body: unknown) => ["-H", "Content-Type: application/json", "-d", JSON.stringify(body)];
    assertMatch(await curl(...onSocket, `${url}/clients`, ...json({ name: "c" })), /"token":"spi_.*201$/s);
    assertMatch(
      await curl(...onSocket, `${url}/allows`, ...json({ client: "c", host: "*.example.com" })),
      /^\{"host":"\*\.example\.com"\}201$/,
    );
    assertMatch(await curl(...onSocket, `${url}/clients`, "-d", '{"name":"d"}'), /content type.*415$/s);
    assertEquals(await curl(...onSocket, "-X", "DELETE", `${url}/allows/c/*.example.com`), "204");
    assertEquals(await curl(...onSocket, "-I", "-o", "/dev/null", `${url}/status`), "200");
    // A large body is announced with Expect: 100-continue.
    const large = { name: "big", host: "x.example", value: "v".repeat(16_000) };
    assertMatch(
      await curl(...onSocket, `${url}/secrets`, ...json(large), "-H", "Expect: 100-continue"),
      /201$/,
    );

    const { port } = api.address;
    const overTcp = `http://localhost:${port}/metrics`;
    assertMatch(await curl("--noproxy", "*", overTcp), /no token was sent.*401$/s);
    assertMatch(
      await curl("--noproxy", "*", "-H", `Authorization: Bearer ${TOKEN}`, overTcp),
      /slicer_proxy_clients 1\n.*200$/s,
    );
  },
});
