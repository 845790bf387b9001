import { assertEquals, assertStringIncludes } from "@std/assert";
import { createGuard, type GuardOptions } from "../../../api/guard.ts";
import { UiSessions } from "../../../api/ui_sessions.ts";
import { systemClock } from "../../../core/clock.ts";
import { TestApi, TOKEN } from "./support.ts";

const PATHS = [
  "/proxy/v1/clients",
  "/proxy/v1/status",
  "/proxy/v1/openapi.json",
  "/metrics",
  "/healthz",
  "/nothing",
];

Deno.test("over TCP every call needs the token, on loopback too", async (t) => {
  await using api = await TestApi.start({ tcp: {} });
  const rows: [name: string, authorization: string, passes: boolean][] = [
    ["right", `Bearer ${TOKEN}`, true],
    ["right, scheme in lower case", `bearer ${TOKEN}`, true],
    ["none", "", false],
    ["wrong", "Bearer wrong", false],
    ["a prefix", `Bearer ${TOKEN.slice(0, -1)}`, false],
    ["longer", `Bearer ${TOKEN}x`, false],
    ["another case", `Bearer ${TOKEN.toUpperCase()}`, false],
    ["twice", `Bearer ${TOKEN} ${TOKEN}`, false],
    ["another scheme", `Basic ${btoa(`:${TOKEN}`)}`, false],
    ["bare", TOKEN, false],
  ];
  for (const [name, authorization, passes] of rows) {
    await t.step(name, async () => {
      for (const path of PATHS) {
        const answer = await api.callTcp(path, { headers: { authorization } });
        assertEquals(answer.status, passes ? (path === "/nothing" ? 404 : 200) : 401, path);
        assertEquals(answer.headers["www-authenticate"], passes ? undefined : 'Bearer realm="slicer-proxy"');
        if (!passes) {
          assertEquals(answer.text.includes(TOKEN.slice(4, 20)), false);
        }
      }
    });
  }
  await t.step("a write without it changes nothing", async () => {
    const answer = await api.callTcp("/proxy/v1/clients", {
      body: { name: "a" },
      headers: { authorization: "" },
    });
    assertEquals([answer.status, api.control.listClients()], [401, []]);
  });
});

Deno.test("over the unix socket Authorization is ignored", async () => {
  await using api = await TestApi.start({ tcp: {} });
  for (const authorization of ["", "Bearer of-another-api", "Basic x"]) {
    assertEquals((await api.call("/proxy/v1/clients", { headers: { authorization } })).status, 200);
  }
});

Deno.test("over TCP the Host must be the API's own", async (t) => {
  await using api = await TestApi.start({ tcp: { names: ["proxy.internal"] } });
  const { port } = api.address;
  const rows: [host: string, status: number][] = [
    [`127.0.0.1:${port}`, 200],
    [`localhost:${port}`, 200],
    [`LOCALHOST:${port}`, 200],
    [`proxy.internal:${port}`, 200],
    ["localhost:9000", 200], // ssh -L
    ["localhost", 200],
    [`evil.example:${port}`, 421],
    [`127.0.0.1.evil.example:${port}`, 421],
    [`localhost.evil.example:${port}`, 421],
    [`192.0.2.1:${port}`, 421],
    [`[::1]:${port}`, 421],
    [`0.0.0.0:${port}`, 421],
    [`user@127.0.0.1:${port}`, 421],
  ];
  for (const [host, status] of rows) {
    await t.step(host, async () => {
      const answer = await api.callTcp("/proxy/v1/status", { headers: { host } });
      assertEquals(answer.status, status, answer.text);
    });
  }
  await t.step("an absolute target must say the same", async () => {
    const own = `127.0.0.1:${port}`;
    assertEquals((await api.callTcp(`http://${own}/healthz`)).status, 200);
    assertEquals((await api.callTcp(`http://evil.example/healthz`)).status, 421);
    assertEquals(
      (await api.callTcp(`http://${own}/healthz`, { headers: { host: "evil.example" } })).status,
      421,
    );
  });
});

Deno.test("over TCP an Origin must be the API's own", async (t) => {
  await using api = await TestApi.start({ tcp: {} });
  const { port } = api.address;
  const rows: [origin: string, status: number][] = [
    [`http://127.0.0.1:${port}`, 200],
    [`HTTP://127.0.0.1:${port}`, 200],
    [`https://127.0.0.1:${port}`, 403],
    ["http://127.0.0.1", 403],
    ["http://127.0.0.1:1", 403],
    [`http://localhost:${port}`, 403],
    ["http://evil.example", 403],
    ["null", 403],
  ];
  for (const [origin, status] of rows) {
    await t.step(origin, async () => {
      assertEquals((await api.callTcp("/proxy/v1/clients", { headers: { origin } })).status, status);
    });
  }
  await t.step("a preflight is refused", async () => {
    const answer = await api.callTcp("/proxy/v1/clients", {
      method: "OPTIONS",
      headers: { origin: "http://evil.example", "access-control-request-method": "POST", authorization: "" },
    });
    assertEquals([answer.status, answer.headers["access-control-allow-origin"]], [403, undefined]);
  });
});

Deno.test("createGuard() on all addresses takes any address, and no name but its own", async (t) => {
  const options: GuardOptions = {
    token: TOKEN,
    scheme: "https",
    names: ["0.0.0.0", "proxy.internal", "localhost"],
    isAnyAddress: true,
    sessions: new UiSessions(systemClock()),
  };
  const guard = createGuard(options);
  const rows: [url: string, passes: boolean][] = [
    ["https://192.168.222.1:9090/healthz", true],
    ["https://[fd00::1]:9090/healthz", true],
    ["https://proxy.internal/healthz", true],
    ["https://localhost:9090/healthz", true],
    ["https://evil.example:9090/healthz", false],
  ];
  for (const [url, passes] of rows) {
    await t.step(url, async () => {
      const refused = guard(new Request(url, { headers: { authorization: `Bearer ${TOKEN}` } }));
      assertEquals(refused instanceof Response ? refused.status : undefined, passes ? undefined : 421);
      if (refused instanceof Response) assertStringIncludes(await refused.text(), "none of this API's names");
    });
  }
});

Deno.test("the token of the fleet reads this host's own audit log, and nothing else", async (t) => {
  const logToken = "spf_test-token-of-the-fleet-0123456789abcdef";
  await using api = await TestApi.start({ tcp: { logToken: () => logToken } });
  const headers = { authorization: `Bearer ${logToken}` };
  const rows: [call: string, status: number, method?: string][] = [
    ["/proxy/v1/audit", 200],
    ["/proxy/v1/audit?denied=1&limit=3&mark=1", 200],
    ["/proxy/v1/audit?fleet=1", 403],
    ["/proxy/v1/audit?fleet=0", 403],
    ["/proxy/v1/audit?%66leet=1", 403],
    ["/proxy/v1/audit", 403, "HEAD"],
    ["/proxy/v1/audit", 403, "POST"],
    ["/proxy/v1/audit/", 403],
    ["//proxy/v1/audit", 403],
    ["/proxy/v1/audit/../clients", 403],
    ["/proxy/v1/clients", 403],
    ["/proxy/v1/secrets", 403],
    ["/proxy/v1/fleet", 403],
    ["/proxy/v1/openapi.json", 403],
    ["/proxy/v1/ui/links", 403, "POST"],
    ["/metrics", 403],
    ["/ui/", 403],
    ["/other", 403],
  ];
  for (const [call, status, method = "GET"] of rows) {
    await t.step(`${method} ${call}: ${status}`, async () => {
      const answer = await api.callTcp(call, { headers, method });
      assertEquals(answer.status, status, answer.text);
      assertEquals(answer.text.includes(logToken), false);
    });
  }
  await t.step("another one is none, and without a fleet there is none", async () => {
    const wrong = { authorization: `Bearer ${logToken}x` };
    assertEquals((await api.callTcp("/proxy/v1/audit", { headers: wrong })).status, 401);
    await using alone = await TestApi.start({ tcp: {} });
    for (const authorization of [`Bearer ${logToken}`, "Bearer undefined", "Bearer "]) {
      assertEquals((await alone.callTcp("/proxy/v1/audit", { headers: { authorization } })).status, 401);
    }
  });
});
