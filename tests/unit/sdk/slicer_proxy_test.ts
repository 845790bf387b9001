import { assert, assertEquals, assertFalse, assertMatch, assertRejects } from "@std/assert";
import { SlicerProxy, SlicerProxyError } from "../../../sdk/slicer_proxy.ts";
import { TestApi, TOKEN } from "../api/support.ts";
import { startRecordingApi } from "../cli/api/recording_api.ts";

Deno.test("SlicerProxy makes, lists and ends the three nouns, over the socket and over TCP", async (t) => {
  await using api = await TestApi.start({ tcp: {} });
  const { port } = api.address;
  const proxies: readonly (readonly [name: string, proxy: SlicerProxy])[] = [
    ["socket", new SlicerProxy({ url: api.socketPath })],
    ["TCP", new SlicerProxy({ url: `http://127.0.0.1:${port}`, token: TOKEN })],
  ];
  for (const [name, proxy] of proxies) {
    await t.step(name, async () => {
      const created = await proxy.clients.create("ci-1");
      assertMatch(created.token, /^spi_/);
      const own = await proxy.clients.create("ci-2", { token: `a-token-of-ones-own-${name}` });
      assertEquals(own.token, `a-token-of-ones-own-${name}`);
      assertEquals((await proxy.clients.list()).map((client) => client.name), ["ci-1", "ci-2"]);
      assertFalse((await proxy.clients.rotate("ci-1")).token === created.token);

      const secret = { name: "llm-key", host: "api.example.com", value: "sk-hunter2" };
      assertEquals((await proxy.secrets.create(secret)).type, "bearer");
      assertFalse(JSON.stringify(await proxy.secrets.list()).includes("hunter2"));

      const rule = {
        client: "ci-1",
        host: "api.example.com",
        methods: ["POST"],
        paths: ["/v1/*"],
        ports: [443],
      };
      const added = await proxy.allows.add({ ...rule, secret: "llm-key", ttl_seconds: 60 });
      assertEquals([added.secret, typeof added.expires], ["llm-key", "string"]);
      await proxy.allows.add({ client: "ci-1", host: "*.example.com" });
      await proxy.allows.add({ client: "ci-1", host: "*" });
      assertEquals((await proxy.clients.rules("ci-1")).map(({ host }) => host), [
        "api.example.com",
        "*.example.com",
        "*",
      ]);
      assertEquals(await proxy.allows.revoke(rule), undefined);
      await proxy.allows.revokeHost("ci-1", "*.example.com");
      await proxy.allows.revokeHost("ci-1", "*");
      assertEquals(await proxy.clients.rules("ci-1"), []);

      assertEquals([(await proxy.status()).mode, (await proxy.status()).clients], ["audit", 2]);
      await proxy.secrets.delete("llm-key");
      await proxy.clients.delete("ci-1");
      await proxy.clients.delete("ci-2");
    });
  }
});

Deno.test("allows.addProfile() adds the rules of a profile, which allows.profiles() lists", async () => {
  await using api = await TestApi.start();
  const proxy = new SlicerProxy({ url: api.socketPath });
  await proxy.clients.create("ci-1");
  const pip = (await proxy.allows.profiles()).find(({ name }) => name === "pip");
  assertEquals([pip?.profile, pip?.rules.length], ["pip@1", 2]);
  const shown = await proxy.allows.addProfile({ client: "ci-1", profile: "pip", dry_run: true });
  assertEquals(await proxy.clients.rules("ci-1"), []);
  const added = await proxy.allows.addProfile({ client: "ci-1", profile: shown.profile, ttl_seconds: 60 });
  assert(added.rules.every(({ expires }) => expires !== undefined));
  assertEquals(added.rules.map(({ host, paths }) => ({ host, paths })), [
    { host: "pypi.org", paths: ["/simple/*"] },
    { host: "files.pythonhosted.org", paths: ["/packages/*"] },
  ]);
  const again = () => proxy.allows.addProfile({ client: "ci-1", profile: "pip@1" });
  assertEquals((await assertRejects(again, SlicerProxyError)).status, 409);
  assertEquals((await proxy.clients.rules("ci-1")).length, 2);
});

Deno.test("policy.export() and policy.apply() are inverses, and apply() takes YAML", async () => {
  await using api = await TestApi.start();
  const proxy = new SlicerProxy({ url: api.socketPath });
  const yaml = "version: 1\nclients:\n  ci-1:\n    allow:\n      - host: a.example\n        methods: [GET]\n";
  const planned = await proxy.policy.apply(yaml, { dryRun: true });
  assertEquals([planned.changes.map(({ action }) => action), planned.created], [["create"], []]);
  assertEquals(await proxy.clients.list(), []);
  const applied = await proxy.policy.apply(yaml);
  assertMatch(applied.created[0]?.token ?? "", /^spi_/);
  const policy = await proxy.policy.export();
  assertEquals(policy.clients["ci-1"]?.allow, [{ host: "a.example", methods: ["GET"] }]);
  assertEquals((await proxy.policy.apply(policy)).changes, []);

  await proxy.allows.add({ client: "ci-1", host: "b.example" });
  await proxy.clients.create("ci-2");
  assertEquals((await proxy.policy.apply(policy)).changes, []);
  await proxy.policy.apply(policy, { prune: true });
  assertEquals(await proxy.policy.export(), policy);

  const error = await assertRejects(
    () => proxy.policy.apply("clients: 7", { name: "p.yaml" }),
    SlicerProxyError,
  );
  assertEquals(error.status, 400);
  assertMatch(error.message, /p\.yaml/);
});

Deno.test("errors have the API's status, words and hint", async (t) => {
  await using api = await TestApi.start({ tcp: {} });
  const proxy = new SlicerProxy({ url: api.socketPath });
  await proxy.clients.create("ci-1");
  const noToken = new SlicerProxy({ url: `http://127.0.0.1:${api.address.port}` });
  const unknownField = { client: "ci-1", host: "x.example", pathes: ["/v1"] };
  const rows: readonly (readonly [string, () => Promise<unknown>, number | undefined, RegExp, RegExp])[] = [
    ["taken", () => proxy.clients.create("ci-1"), 409, /^Cannot create client ci-1: /, /./],
    ["not there", () => proxy.secrets.delete("none"), 404, /^Cannot delete secret "none": /, /^undefined$/],
    ["unknown field", () => proxy.allows.add(unknownField), 400, /unknown field "pathes"/, /openapi\.json/],
    ["no token", () => noToken.status(), 401, /the token is missing or wrong/, /api-token/],
    ["an empty name", () => proxy.clients.rules(""), undefined, /it is no name/, /^undefined$/],
    ["a step to another path", () => proxy.clients.delete(".."), undefined, /it is no name/, /^undefined$/],
    ["a slash", () => proxy.clients.delete("../secrets/x"), 404, /^Cannot /, /./],
  ];
  for (const [name, call, status, message, hint] of rows) {
    await t.step(name, async () => {
      const error = await assertRejects(call, SlicerProxyError);
      assertEquals(error.status, status);
      assertMatch(error.message, message);
      assertMatch(String(error.hint), hint);
    });
  }
});

Deno.test("an answer that is not the API's is said to be none", async (t) => {
  const rows: readonly (readonly [string, Response])[] = [
    ["another program's 404", new Response("404 page not found\n", { status: 404 })],
    ["no JSON", new Response("<html>hunter2")],
    ["a redirect, which is not followed", new Response(null, { status: 302, headers: { location: "/x" } })],
  ];
  for (const [name, answer] of rows) {
    await t.step(name, async () => {
      await using api = startRecordingApi(() => answer);
      const proxy = new SlicerProxy({ url: `http://127.0.0.1:${api.port}`, token: "hunter1" });
      const error = await assertRejects(() => proxy.status(), SlicerProxyError);
      assertMatch(error.message, /its answer is not the proxy's|it answered with status 302/);
      assertFalse(Deno.inspect(error).includes("hunter"));
      assertEquals(api.requests.length, 1);
    });
  }
});

Deno.test("a signal ends a call with its reason, and a limit in time with an error", async () => {
  const dir = await Deno.makeTempDir();
  try {
    using listener = Deno.listen({ transport: "unix", path: `${dir}/mute.sock` });
    const accepted: Deno.Conn[] = [];
    const accepting = (async () => {
      for await (const conn of listener) accepted.push(conn);
    })();
    const proxy = new SlicerProxy({ url: `${dir}/mute.sock`, timeoutMs: 60_000 });
    const late = await assertRejects(
      () => proxy.status({ timeoutMs: 20 }),
      SlicerProxyError,
      "no answer in time",
    );
    assertEquals(late.status, undefined);
    const stop = new AbortController();
    const reason = new Error("enough");
    const call = assertRejects(() => proxy.clients.list({ signal: stop.signal }), Error, "enough");
    stop.abort(reason);
    assertEquals(await call, reason);
    assertEquals(await proxy.status({ signal: stop.signal }).catch((error) => error), reason);
    listener.close();
    await accepting;
    for (const conn of accepted) conn.close();
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
